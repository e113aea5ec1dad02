package mapping_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"golang.org/x/tools/txtar"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/compose/mapping"
)

func load(t testing.TB, text string, options mapping.Options) *mapping.Set {
	t.Helper()
	set, ps := mapping.Load(fstest.MapFS{"m.yaml": {Data: []byte(text)}}, options)
	for _, p := range ps {
		t.Error(p)
	}
	if t.Failed() {
		t.FailNow()
	}
	return set
}

const small = `
tables:
  emr.patients: {root: pid}
  emr.rows: {member: patient, time: at}
  emr.drugs: {reference: true}
  emr.lines: {parent: emr.rows, key: row}
---
resource: Patient
from: emr.patients
join:
  unused: {all: emr.rows}
  row: {one: emr.drugs, key: x}
body: {active: true}
`

func TestNamesOfJoins(t *testing.T) {
	_, ps := mapping.Load(fstest.MapFS{"m.yaml": {Data: []byte(small)}}, mapping.Options{})
	if len(ps) != 1 || !strings.Contains(ps[0].What, `"row" is taken`) {
		t.Errorf("%v", ps)
	}
}

func TestTables(t *testing.T) {
	set := load(t, strings.Replace(small, "  row: {one", "  drug: {one", 1), mapping.Options{})
	var names []string
	for _, d := range set.Tables() {
		names = append(names, d.Table.String())
	}
	if got := strings.Join(names, " "); got != "emr.patients emr.rows emr.drugs emr.lines" {
		t.Errorf("tables in order: %s", got)
	}
	lines, ok := set.Table(change.Table{Source: "emr", Name: "lines"})
	if !ok || lines.Route != (change.Route{Kind: change.ByParent, Column: "row", Parent: change.Table{Source: "emr", Name: "rows"}}) {
		t.Errorf("%+v", lines)
	}
	if root := set.Root(); root.Route.Column != "pid" || !root.Root {
		t.Errorf("%+v", root)
	}
	columns := func(names ...string) []change.Column {
		var out []change.Column
		for i, n := range names {
			out = append(out, change.Column{Name: n, Type: change.String, Key: i == 0})
		}
		return out
	}
	schemas := map[change.Table]*change.Schema{}
	for name, cols := range map[string][]change.Column{
		"emr.patients": columns("pid", "x"), "emr.rows": columns("id", "patient"), "emr.drugs": columns("id"), "emr.lines": columns("id", "row"),
	} {
		table, _ := change.ParseTable(name)
		schemas[table] = &change.Schema{Table: table, Columns: cols}
	}
	rows := schemas[change.Table{Source: "emr", Name: "rows"}]
	rows.Columns = append(rows.Columns, change.Column{Name: "at", Type: change.Timestamp})
	if ps := set.Check(schemas); len(ps) != 0 {
		t.Errorf("%v", ps)
	}
	if got := set.Root().Route.Column; got != "pid" {
		t.Errorf("root column %q", got)
	}
	if r := set.Resources()[0]; len(r.Joins) != 0 || r.UsesNewest {
		t.Errorf("unused joins are kept: %+v", r.Joins)
	}
	row := mapping.Row{Schema: rows, Values: []change.Value{change.Of("1"), change.Of("p"), change.Of("2020-01-02T03:04:05.000")}}
	if at, ok := set.RowTime(row); !ok || at != "2020-01-02T03:04:05Z" {
		t.Errorf("RowTime = %q, %v", at, ok)
	}
	row.Values[2] = change.Of("infinity")
	if at, ok := set.RowTime(row); ok {
		t.Errorf("RowTime = %q", at)
	}
	if !mapping.Later("2020-01-01T00:00:00.5Z", "2020-01-01T00:00:00Z") || mapping.Later("2020-01-01", "2020-01-01T00:00:00Z") || !mapping.Later("2020", "") {
		t.Error("Later")
	}
}

func TestResourceID(t *testing.T) {
	text := strings.Replace(small, "  row: {one", "  drug: {one", 1)
	set := load(t, text, mapping.Options{IDKey: []byte("a key")})
	table := change.Table{Source: "emr", Name: "patients"}
	id := set.ResourceID("Patient", table, "", "p1")
	if id != set.Resources()[0].ID("p1") || len(id) != 26 || strings.ToLower(id) != id {
		t.Errorf("id %q", id)
	}
	// base32 of HMAC-SHA256("a key", "Patient\0emr.patients\0\0p1")[:16]; computed apart.
	if id != "d6r27a767l75lzmrhr3chc6sgm" {
		t.Errorf("id %q", id)
	}
	other := load(t, text, mapping.Options{IDKey: []byte("another")})
	for _, o := range []string{
		other.ResourceID("Patient", table, "", "p1"), set.ResourceID("Patient", table, "x", "p1"),
		set.ResourceID("Patient", table, "", "p2"), set.ResourceID("Person", table, "", "p1"),
	} {
		if o == id {
			t.Error("ids are equal that must differ")
		}
	}
}

func TestVersion(t *testing.T) {
	version := func(files fstest.MapFS) string {
		set, _ := mapping.Load(files, mapping.Options{})
		return set.Version()
	}
	a := version(fstest.MapFS{"a.yaml": {Data: []byte("x")}, "b.yaml": {Data: []byte("y")}, "notes.txt": {Data: []byte("1")}})
	if a != version(fstest.MapFS{"a.yaml": {Data: []byte("x")}, "b.yaml": {Data: []byte("y")}}) {
		t.Error("the version depends on other files")
	}
	for _, other := range []fstest.MapFS{
		{"a.yaml": {Data: []byte("y")}, "b.yaml": {Data: []byte("x")}},
		{"a.yaml": {Data: []byte("x")}}, {"c.yaml": {Data: []byte("x")}, "b.yaml": {Data: []byte("y")}},
	} {
		if version(other) == a {
			t.Error("the version does not tell files apart")
		}
	}
}

func TestEmptyFolder(t *testing.T) {
	_, ps := mapping.Load(fstest.MapFS{}, mapping.Options{})
	if len(ps) != 1 || ps[0].What != "the folder holds no mapping" {
		t.Errorf("%v", ps)
	}
}

// TestErrorsHoldNoValues composes rows whose every value is a marker and looks
// for it in the errors.
func TestErrorsHoldNoValues(t *testing.T) {
	const secret = "s3cretvalue"
	for _, expression := range []string{
		`int(row.a)`, `double(row.a)`, `row.a[0]`, `row.a + 1`, `{"x": 1}[row.a]`, `[1][int(row.a)]`, `timestamp(row.a)`,
		`duration(row.a)`, `date(row.a)`, `addMonths(row.a, 1)`, `row.a.substring(99)`, `row.a.matches("(")`, `"%d".format([row.a])`,
		`row.a ? "x" : "y"`, `-row.a`, `row.a.x`, `[row.a][3]`, `first([row.a]).x`, `{row.a: 1}`, `row.a < 1`, `bool(row.a)`, `1 / 0`,
	} {
		set, ps := mapping.Load(fstest.MapFS{"m.yaml": {Data: []byte(
			"tables: {emr.p: {root: id}}\n---\nresource: Patient\nfrom: emr.p\nbody:\n  birthDate: |\n    = " + expression + "\n")}}, mapping.Options{})
		if len(ps) > 0 {
			continue // refused earlier still
		}
		in := mapping.Input{Row: row(change.String, secret)}
		_, _, err := set.Resources()[0].Compose(nil, in)
		var composeError *mapping.Error
		if !errors.As(err, &composeError) {
			t.Errorf("%s: error %v", expression, err)
			continue
		}
		if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), secret[:4]) {
			t.Errorf("%s: the error holds the value: %v", expression, err)
		}
		if !strings.Contains(err.Error(), "m.yaml:7:") {
			t.Errorf("%s: no place: %v", expression, err)
		}
	}
}

// row is a row of table emr.p with a key and a column a.
func row(typ change.Type, text string) mapping.Row {
	s := &change.Schema{Table: change.Table{Source: "emr", Name: "p"}, Columns: []change.Column{
		{Name: "id", Type: change.String, Key: true}, {Name: "a", Type: typ},
	}}
	return mapping.Row{Schema: s, Values: []change.Value{change.Of("k"), change.Of(text)}}
}

func TestComposeRefusesHalfRows(t *testing.T) {
	set := load(t, "tables: {emr.p: {root: id}}\n---\nresource: Patient\nfrom: emr.p\nbody: {birthDate: '= row.a'}\n", mapping.Options{})
	r := set.Resources()[0]
	in := row(change.Date, "2020-01-01")
	in.Values[1] = change.Value{State: change.Unchanged}
	if _, _, err := r.Compose(nil, mapping.Input{Row: in}); err == nil || !strings.Contains(err.Error(), "missing from the row state") {
		t.Errorf("unchanged: %v", err)
	}
	in.Schema = &change.Schema{Table: in.Schema.Table, Columns: in.Schema.Columns[:1]}
	if _, _, err := r.Compose(nil, mapping.Input{Row: in}); err == nil || !strings.Contains(err.Error(), `has no column "a"`) {
		t.Errorf("dropped column: %v", err)
	}
	in.Values[0] = change.Value{}
	if _, _, err := r.Compose(nil, mapping.Input{Row: in}); err == nil {
		t.Error("a row without a key was composed")
	}
	if _, _, err := r.Compose(nil, mapping.Input{}); err == nil {
		t.Error("no row was composed")
	}
}

func TestComposeConcurrently(t *testing.T) {
	a, err := txtar.ParseFile(filepath.Join("testdata", "compose", "profile.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	set, _ := mapping.Load(mappings(a), mapping.Options{})
	s := schemas(t, a)
	set.Check(s)
	d := readRows(t, file(a, "rows"), set, s)
	var all sync.WaitGroup
	for _, r := range set.Resources() {
		for _, row := range d.rows[r.From] {
			in := d.input(r, row)
			want, _, err := r.Compose(nil, in)
			if err != nil {
				t.Fatal(err)
			}
			for range 4 {
				all.Go(func() {
					for range 20 {
						if got, _, err := r.Compose(nil, in); err != nil || !bytes.Equal(got, want) {
							t.Error("composed differently beside others")
						}
					}
				})
			}
		}
	}
	all.Wait()
}

func FuzzLoad(f *testing.F) {
	for _, folder := range []string{"compose", "problems"} {
		cases, _ := filepath.Glob(filepath.Join("testdata", folder, "*.txtar"))
		for _, name := range cases {
			a, err := txtar.ParseFile(name)
			if err != nil {
				f.Fatal(err)
			}
			for _, file := range a.Files {
				if strings.HasPrefix(file.Name, "mappings/") {
					f.Add(file.Data)
				}
			}
		}
	}
	f.Add([]byte("a: &x [*x]\n? {a: b}\n: !!map c\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		set, ps := mapping.Load(fstest.MapFS{"m.yaml": {Data: text}}, mapping.Options{})
		for _, p := range ps {
			if p.Line < 1 || p.Column < 1 || p.What == "" || p.File == "" {
				t.Errorf("problem without a place: %+v", p)
			}
		}
		set.Check(nil)
		if len(ps) > 0 {
			return
		}
		for _, r := range set.Resources() {
			in := mapping.Input{Row: mapping.Row{
				Schema: &change.Schema{Table: r.From, Columns: []change.Column{{Name: "id", Type: change.String, Key: true}}},
				Values: []change.Value{change.Of("k")},
			}}
			in.Joined = make([]*mapping.Rows, len(r.Joins))
			content, skipped, err := r.Compose(nil, in)
			if err == nil && !skipped && !json.Valid(content) {
				t.Errorf("not JSON: %s", content)
			}
		}
	})
}

func TestLoadFolder(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "a.yaml"), []byte("tables: {emr.p: {root: id}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ps := mapping.Load(os.DirFS(folder), mapping.Options{}); len(ps) != 0 {
		t.Errorf("%v", ps)
	}
	if _, ps := mapping.Load(os.DirFS(filepath.Join(folder, "nowhere")), mapping.Options{}); len(ps) != 1 {
		t.Errorf("%v", ps)
	}
}
