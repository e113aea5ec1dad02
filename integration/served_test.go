package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tributary-health/tributary/fhir"
)

// What is served must hold what the HL7 validator cannot see. The demo's own
// members are served by the real binary, and read as a client reads them; the
// source's rows are asked by SQL.
func TestServed(t *testing.T) {
	t.Parallel()
	d := composedDemo(t)
	d.start()
	d.ready()
	d.takeAway(t)
	s := d.readServed(t)
	t.Run("profiles", s.testProfiles)
	t.Run("references", s.testReferences)
	t.Run("codes", s.testCodes)
	t.Run("absent", s.testAbsent)
}

// takeAway takes values away at the source, which the sample's rows all have, so
// that there is something to say of missing ones.
func (d *demoRun) takeAway(t *testing.T) {
	t.Helper()
	exec1(t, d.pg, `UPDATE observations SET value = NULL WHERE id IN (
		(SELECT id FROM observations WHERE code = '8302-2' ORDER BY id LIMIT 1),
		(SELECT id FROM observations WHERE code = '8462-4' ORDER BY id LIMIT 1),
		(SELECT id FROM observations WHERE category = 'laboratory' AND type = 'text' ORDER BY id LIMIT 1))`)
	exec1(t, d.pg, `DELETE FROM observations WHERE id = (SELECT id FROM observations WHERE code = '8480-6' ORDER BY id LIMIT 1)`)
	d.ready()
}

// served is everything that a server serves, and the sources behind it.
type served struct {
	d         *demoRun
	resources map[string]*servedResource // by "Type/id"
	byRow     map[string][]*servedResource
}

type servedResource struct {
	ref, typ string
	profiles []string
	rows     []string // the values of its identifiers: the rows that it was made of among them
	body     map[string]any
}

func (d *demoRun) readServed(t *testing.T) *served {
	t.Helper()
	s := &served{d: d, resources: map[string]*servedResource{}, byRow: map[string][]*servedResource{}}
	code, _, body := d.get("/metadata")
	var statement struct {
		Rest []struct{ Resource []struct{ Type string } }
	}
	if err := json.Unmarshal(body, &statement); err != nil || code != http.StatusOK || len(statement.Rest) != 1 {
		t.Fatalf("GET /metadata: %d, %v", code, err)
	}
	for _, typ := range statement.Rest[0].Resource {
		for _, raw := range d.all("/" + typ.Type + "?_count=1000") {
			r := readResource(t, raw)
			if r.typ != typ.Type || s.resources[r.ref] != nil {
				t.Errorf("%s is among the %ss, or there twice", r.ref, typ.Type)
			}
			s.resources[r.ref] = r
			for _, row := range r.rows {
				s.byRow[r.typ+" "+row] = append(s.byRow[r.typ+" "+row], r)
			}
		}
	}
	if len(s.resources) < 10000 {
		t.Fatalf("only %d resources are served", len(s.resources))
	}
	return s
}

func readResource(t *testing.T, raw []byte) *servedResource {
	t.Helper()
	var top struct {
		ResourceType, ID string
		Meta             struct{ Profile []string }
		Identifier       any
	}
	r := &servedResource{}
	for _, into := range []any{&top, &r.body} {
		if err := json.Unmarshal(raw, into); err != nil {
			t.Fatal(err)
		}
	}
	r.typ, r.ref, r.profiles = top.ResourceType, top.ResourceType+"/"+top.ID, top.Meta.Profile
	identifiers, ok := top.Identifier.([]any)
	if !ok {
		identifiers = []any{top.Identifier} // a Composition has one
	}
	for _, i := range identifiers {
		if i, ok := i.(map[string]any); ok {
			value, _ := i["value"].(string)
			r.rows = append(r.rows, value)
		}
	}
	return r
}

// rows asks a source, written "emr SELECT ...", for the cells of its rows.
func (s *served) rows(t *testing.T, source string) [][]string {
	t.Helper()
	name, query, _ := strings.Cut(source, " ")
	db := s.d.pg
	switch name {
	case "emr":
	case "pharmacy":
		db = s.d.maria
	default:
		t.Fatalf("%q names no source", source)
	}
	found, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatalf("%s: %v", source, err)
	}
	defer found.Close()
	names, err := found.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var all [][]string
	for found.Next() {
		cells := make([]string, len(names))
		to := make([]any, len(names))
		pointers := make([]*string, len(names))
		for i := range to {
			to[i] = &pointers[i]
		}
		if err := found.Scan(to...); err != nil {
			t.Fatal(err)
		}
		for i, p := range pointers {
			if p != nil {
				cells[i] = *p
			}
		}
		all = append(all, cells)
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// eachElement calls fn with every element of a resource: its path from the type
// without numbers, what FHIR says of it, and its value. Names that FHIR does not
// have fail the test.
func (s *served) eachElement(t *testing.T, r *servedResource, fn func(path string, e fhir.Element, value any)) {
	t.Helper()
	top, ok := fhir.Lookup(r.typ)
	if !ok {
		t.Fatalf("%s: FHIR has no such type", r.ref)
	}
	walkElement(t, r.ref, r.typ, top, r.body, fn)
}

func walkElement(t *testing.T, ref, path string, e fhir.Element, value any, fn func(path string, e fhir.Element, value any)) {
	t.Helper()
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			walkElement(t, ref, path, e, item, fn)
		}
		return
	case map[string]any:
		if typ, ok := v["resourceType"].(string); ok && e.Type != typ {
			e, _ = fhir.Lookup(typ) // contained
		}
		for name, inner := range v {
			if name == "resourceType" {
				continue
			}
			child, ok := e.Child(name)
			if !ok {
				t.Errorf("%s: %s.%s: FHIR has no such element", ref, path, name)
				continue
			}
			walkElement(t, ref, path+"."+name, child, inner, fn)
		}
	}
	fn(path, e, value)
}

// reporter keeps the failures of a test readable: the first of each kind, and
// how many there were.
type reporter struct {
	count map[string]int
	first map[string]string
}

func (r *reporter) add(kind, where string) {
	if r.count == nil {
		r.count, r.first = map[string]int{}, map[string]string{}
	}
	if r.count[kind]++; r.count[kind] == 1 {
		r.first[kind] = where
	}
}

func (r *reporter) report(t *testing.T) {
	t.Helper()
	kinds := make([]string, 0, len(r.count))
	for k := range r.count {
		kinds = append(kinds, fmt.Sprintf("%s (%d times, first: %s)", k, r.count[k], r.first[k]))
	}
	slices.Sort(kinds)
	for _, k := range kinds {
		t.Error(k)
	}
}
