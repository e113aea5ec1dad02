package postgres_test

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/tributary-health/tributary/change"
)

func TestTypes(t *testing.T) {
	d := database(t, "CREATE TYPE mood AS ENUM ('sad', 'so so')", "CREATE DOMAIN posint AS int CHECK (VALUE > 0)",
		"CREATE DOMAIN posintmood AS mood", "CREATE TYPE pair AS (a int, b text)",
		// Settings that would change how values print must not matter.
		"ALTER ROLE postgres IN DATABASE "+fmt.Sprintf("t%d", server1().dbs+1)+" SET TimeZone = 'Asia/Tokyo'",
		"ALTER ROLE postgres IN DATABASE "+fmt.Sprintf("t%d", server1().dbs+1)+" SET DateStyle = 'German'",
		"ALTER ROLE postgres IN DATABASE "+fmt.Sprintf("t%d", server1().dbs+1)+" SET bytea_output = 'escape'")
	f, err := os.Open("testdata/types.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	type typeCase struct{ native, sql, logical, text string }
	var cases []typeCase
	columns, values := []string{"id int PRIMARY KEY"}, []string{"1"}
	for in := bufio.NewScanner(f); in.Scan(); {
		if p := strings.Split(in.Text(), " | "); len(p) == 4 && !strings.HasPrefix(p[0], "#") {
			cases = append(cases, typeCase{p[0], p[1], p[2], p[3]})
			columns = append(columns, fmt.Sprintf("c%d %s", len(cases), p[0]))
			values = append(values, "("+p[1]+")::"+p[0])
		}
	}
	if len(cases) < 50 {
		t.Fatalf("only %d cases", len(cases))
	}
	d.exec("SET TimeZone = 'UTC'", "SET DateStyle = 'ISO'", "CREATE TABLE kinds ("+strings.Join(columns, ", ")+", gen int GENERATED ALWAYS AS (id + 1) STORED)",
		"INSERT INTO kinds VALUES ("+strings.Join(values, ", ")+")")
	log := newLog()
	r := run(t, log, d.config(reference("kinds")))
	r.caughtUp(d)
	d.exec("INSERT INTO kinds VALUES (2, " + strings.Join(values[1:], ", ") + ")")
	r.caughtUp(d)
	var rows []*change.Event
	for _, e := range log.entries {
		if e.ev != nil {
			rows = append(rows, e.ev)
		}
	}
	if len(rows) != 2 || rows[0].Op != change.Read || rows[1].Op != change.Create {
		t.Fatalf("%d events", len(rows))
	}
	for _, ev := range rows {
		if len(ev.After) != len(cases)+1 {
			t.Fatalf("%d columns, want %d without the generated one", len(ev.After), len(cases)+1)
		}
		for i, tt := range cases {
			want := change.Of(tt.text)
			if b, ok := strings.CutPrefix(tt.text, `\x`); ok && tt.logical == "bytes" {
				raw, _ := hex.DecodeString(b)
				want = change.Of(string(raw))
			}
			if tt.text == "NULL" {
				want = change.Value{}
			}
			if got := ev.After[i+1]; got != want {
				t.Errorf("%c %s %s: %q, want %q", ev.Op, tt.native, tt.sql, got.Text, want.Text)
			}
			if got := ev.Schema.Columns[i+1].Type.String(); got != tt.logical {
				t.Errorf("%s: type %s, want %s", tt.native, got, tt.logical)
			}
		}
	}
	native := rows[0].Schema.Columns
	for i := range cases {
		if cases[i].native == "numeric(12,2)" && native[i+1].Native != "numeric(12,2)" {
			t.Errorf("native type %q", native[i+1].Native)
		}
	}
	if rows[0].Schema.Columns[0].Nullable || !rows[0].Schema.Columns[0].Key {
		t.Error("id is nullable or no key")
	}
}

func server1() *pgServer {
	if server == nil {
		return &pgServer{}
	}
	return server
}
