package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/tributary-health/tributary/store/pebble"
)

// verify is worth something only if it finds what is wrong: bytes changed in the
// store, and rows changed where the log does not see it.
func TestVerifyAttacked(t *testing.T) {
	t.Parallel()
	d := composedDemo(t)
	d.start()
	d.ready()
	d.kill()
	letter := d.damage(t, "Practitioner", func(body []byte) int { return bytes.Index(body, []byte(`"family":"`)) + len(`"family":"`) })
	broken := d.damage(t, "AllergyIntolerance", func([]byte) int { return 0 })
	d.start()
	d.ready()
	want := map[string]string{letter: "different", broken: "different"}
	t.Run("store", func(t *testing.T) { d.verifyNames(t, want, 0) })
	for id, kind := range d.behindTheLog(t) {
		want[id] = kind
	}
	t.Run("sources", func(t *testing.T) { d.verifyNames(t, want, 1) })
}

// verifyNames runs verify and expects exactly these differences, and so many
// missing resources, whose ids nobody knows yet.
func (d *demoRun) verifyNames(t *testing.T, want map[string]string, missing int) {
	t.Helper()
	exit, out := d.verify("--tries", "2")
	if exit != 1 {
		t.Errorf("exit %d, want 1", exit)
	}
	named := 0
	for _, m := range regexp.MustCompile(`(?m)^([A-Z]\w+/\w+): (\w+)$`).FindAllStringSubmatch(out, -1) {
		id, kind := m[1], m[2]
		switch {
		case want[id] == kind:
			named++
		case kind == "missing" && missing > 0:
			missing--
		case strings.HasPrefix(id, "Composition/"): // it tells of the same rows
		default:
			t.Errorf("%s: %s, which nobody did", id, kind)
		}
	}
	if named != len(want) || missing > 0 {
		t.Errorf("not all of %v are named, or the missing one is not", want)
	}
	if t.Failed() {
		t.Log(out)
	}
}

// silent is an engine logger that says nothing.
type silent struct{}

func (silent) Infof(string, ...any)              {}
func (silent) Errorf(string, ...any)             {}
func (silent) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// damage changes one byte of one stored resource of a type, in the store of a
// process that does not run, and returns the resource's name.
func (d *demoRun) damage(t *testing.T, typ string, at func(body []byte) int) string {
	t.Helper()
	db, err := engine.Open(filepath.Join(d.work, "data", "store"), &engine.Options{
		FormatMajorVersion: engine.FormatNewest, Comparer: pebble.Order, Logger: silent{}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	it, err := db.NewIter(&engine.IterOptions{LowerBound: []byte("V"), UpperBound: []byte("W")})
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	start := []byte(`{"resourceType":"` + typ + `"`)
	for it.First(); it.Valid(); it.Next() {
		body := bytes.Index(it.Value(), start)
		if body < 0 {
			continue
		}
		value := bytes.Clone(it.Value())
		var head struct{ ID string }
		if err := json.Unmarshal(value[body:], &head); err != nil {
			t.Fatal(err)
		}
		value[body+at(value[body:])] ^= 0x20 // a letter changes its case
		if err := db.Set(bytes.Clone(it.Key()), value, engine.Sync); err != nil {
			t.Fatal(err)
		}
		return typ + "/" + head.ID
	}
	t.Fatalf("the store holds no %s", typ)
	return ""
}

// behindTheLog changes, deletes and adds rows so that no log tells of it, and
// returns what verify must say.
func (d *demoRun) behindTheLog(t *testing.T) map[string]string {
	t.Helper()
	rows := column(t, d.pg, "SELECT id::text FROM immunizations ORDER BY id LIMIT 2")
	want := map[string]string{
		d.idOf(t, "Immunization", "urn:tributary:sample:immunization|"+rows[0]): "different",
		d.idOf(t, "Immunization", "urn:tributary:sample:immunization|"+rows[1]): "ghost",
	}
	exec1(t, d.pg, "ALTER PUBLICATION tributary_emr DROP TABLE immunizations")
	exec1(t, d.pg, "UPDATE immunizations SET description = 'changed behind the log' WHERE id = $1", rows[0])
	exec1(t, d.pg, "DELETE FROM immunizations WHERE id = $1", rows[1])
	exec1(t, d.pg, "ALTER PUBLICATION tributary_emr ADD TABLE immunizations")

	fill := column(t, d.maria, "SELECT id FROM fills ORDER BY id LIMIT 1")[0]
	code, _, body := d.get("/MedicationDispense?_count=1")
	system := regexp.MustCompile(`"system":"(urn:tributary:sample:[a-z-]+)"`).FindSubmatch(body)
	if code != http.StatusOK || system == nil {
		t.Fatalf("a dispense without an identifier: %d %.300s", code, body)
	}
	want[d.idOf(t, "MedicationDispense", string(system[1])+"|"+fill)] = "different"
	conn, err := d.maria.Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, s := range []string{
		"SET sql_log_bin = 0",
		"UPDATE fills SET days_supply = days_supply + 1 WHERE id = '" + fill + "'",
		`INSERT INTO fills (id, medication, patient, organization, dispensed, refill_number, days_supply, quantity, daw, code, ndc, description)
		 SELECT uuid(), medication, patient, organization, dispensed, refill_number, days_supply, quantity, daw, code, ndc, description
		 FROM fills WHERE id = '` + fill + "'",
		"SET sql_log_bin = 1",
	} {
		if _, err := conn.ExecContext(context.Background(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	return want
}

// idOf returns the name of the resource with the identifier.
func (d *demoRun) idOf(t *testing.T, typ, identifier string) string {
	t.Helper()
	found := d.all("/" + typ + "?identifier=" + url.QueryEscape(identifier))
	var head struct{ ID string }
	if len(found) != 1 || json.Unmarshal(found[0], &head) != nil {
		t.Fatalf("%s: %d resources with identifier %s", typ, len(found), identifier)
	}
	return typ + "/" + head.ID
}
