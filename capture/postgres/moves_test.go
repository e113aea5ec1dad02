package postgres_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/change"
)

// changes runs the statements under a reader and returns the events they made.
func changes(t *testing.T, d *db, tables []capture.Table, statements ...string) []entry {
	t.Helper()
	log := newLog()
	r := run(t, log, d.config(tables...))
	r.caughtUp(d)
	log.mu.Lock()
	from := len(log.entries)
	log.mu.Unlock()
	d.exec(statements...)
	r.caughtUp(d)
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	var rows []entry
	for _, e := range log.entries[from:] {
		if e.ev != nil {
			rows = append(rows, e)
		}
	}
	return rows
}

// show prints an entry: operation, route, old row, new row.
func show(e entry) string {
	side := func(row []change.Value) string {
		if row == nil {
			return "-"
		}
		return strings.ReplaceAll(rowText(row, nil), "\x1f", "|")
	}
	s := fmt.Sprintf("%c@%s %s > %s", e.ev.Op, e.route, side(e.ev.Before), side(e.ev.After))
	return strings.ReplaceAll(s, strings.Repeat("x", 100), "X")
}

func TestRowsThatMoveOrLeave(t *testing.T) {
	long := "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 400) i)"
	for _, tt := range []struct {
		name, identity string
		want           []string
	}{
		{"full", "FULL", []string{
			"u@a 1|a|0|LONG > 1|a|1|LONG", "d@a 1|a|1|LONG > -", "c@b - > 1|b|1|LONG",
			"d@b 1|b|1|LONG > -", "c@b - > 9|b|1|LONG", "d@b 9|b|1|LONG > -", "c@ - > 9|NULL|1|LONG", "d@ 9|NULL|1|LONG > -"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := database(t, items, "ALTER TABLE items REPLICA IDENTITY "+tt.identity, "INSERT INTO items VALUES (1, 'a', 0, "+long+")")
			text := d.text("SELECT note FROM items")
			got := changes(t, d, []capture.Table{member("items", "member")},
				"UPDATE items SET n = 1", "UPDATE items SET member = 'b'", "UPDATE items SET id = 9", "UPDATE items SET member = NULL", "DELETE FROM items")
			compare(t, got, text, tt.want)
		})
	}
	t.Run("index", func(t *testing.T) {
		d := database(t, "CREATE TABLE items (id bigint PRIMARY KEY, member text NOT NULL, n int, note text)",
			"CREATE UNIQUE INDEX who ON items (member, id)", "ALTER TABLE items REPLICA IDENTITY USING INDEX who",
			"INSERT INTO items VALUES (1, 'a', 0, "+long+")")
		got := changes(t, d, []capture.Table{member("items", "member")}, "UPDATE items SET n = 1", "UPDATE items SET member = 'b', note = 'short'", "DELETE FROM items")
		compare(t, got, "", []string{"u@a 1|a|UNKNOWN|UNKNOWN > 1|a|1|UNKNOWN", "d@a 1|a|UNKNOWN|UNKNOWN > -", "c@b - > 1|b|1|short", "d@b 1|b|UNKNOWN|UNKNOWN > -"})
	})
	t.Run("member's own table", func(t *testing.T) {
		d := database(t, items, "INSERT INTO items VALUES (1, 'a', 0, "+long+")")
		got := changes(t, d, []capture.Table{member("items", "id")}, "UPDATE items SET n = 1", "UPDATE items SET note = NULL", "UPDATE items SET id = 2", "DELETE FROM items")
		compare(t, got, "", []string{"u@1 1|UNKNOWN|UNKNOWN|UNKNOWN > 1|a|1|UNKNOWN", "u@1 1|UNKNOWN|UNKNOWN|UNKNOWN > 1|a|1|NULL",
			"d@1 1|UNKNOWN|UNKNOWN|UNKNOWN > -", "c@2 - > 2|a|1|NULL", "d@2 2|UNKNOWN|UNKNOWN|UNKNOWN > -"})
	})
	t.Run("not whole", func(t *testing.T) {
		d := database(t, items, "INSERT INTO items VALUES (1, 'a', 0, "+long+")")
		r := run(t, newLog(), d.config(member("items", "id")))
		r.caughtUp(d)
		d.exec("UPDATE items SET id = 2")
		if e := r.fails(capture.Unsupported); e.Table != "items" || e.Column != "note" || strings.Contains(e.Error(), d.text("SELECT left(note, 20) FROM items")) {
			t.Errorf("error %v", e)
		}
	})
	t.Run("identity changed", func(t *testing.T) {
		d := database(t, items, "ALTER TABLE items REPLICA IDENTITY FULL", "INSERT INTO items VALUES (1, 'a', 0, 'x')")
		r := run(t, newLog(), d.config(member("items", "member")))
		r.caughtUp(d)
		d.exec("ALTER TABLE items REPLICA IDENTITY DEFAULT", "DELETE FROM items")
		if e := r.fails(capture.Configuration); e.Table != "items" || e.Column != "member" || !strings.Contains(e.Hint, "REPLICA IDENTITY FULL") {
			t.Errorf("error %v", e)
		}
	})
}

func compare(t *testing.T, got []entry, long string, want []string) {
	t.Helper()
	var lines []string
	for _, e := range got {
		line := show(e)
		if long != "" {
			line = strings.ReplaceAll(line, long, "LONG")
		}
		lines = append(lines, line)
	}
	if strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("events\n%s\nwant\n%s", clip(strings.Join(lines, "\n")), strings.Join(want, "\n"))
	}
}
