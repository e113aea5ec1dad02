package mapping_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/goccy/go-yaml"
	"golang.org/x/tools/txtar"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/compose/mapping"
)

var rewrite = flag.Bool("rewrite", false, "write what the cases give into their files")

// eachCase runs fn for every case of a folder and compares, or rewrites, the
// file "want" of it with fn's result.
func eachCase(t *testing.T, folder string, fn func(t *testing.T, a *txtar.Archive) string) {
	t.Helper()
	cases, err := filepath.Glob(filepath.Join("testdata", folder, "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) == 0 {
		t.Fatalf("no cases in testdata/%s", folder)
	}
	for _, name := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := fn(t, a)
			want := file(a, "want")
			if *rewrite {
				setFile(a, "want", got)
				if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func file(a *txtar.Archive, name string) string {
	for _, f := range a.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

func setFile(a *txtar.Archive, name, text string) {
	for i := range a.Files {
		if a.Files[i].Name == name {
			a.Files[i].Data = []byte(text)
			return
		}
	}
	a.Files = append(a.Files, txtar.File{Name: name, Data: []byte(text)})
}

// mappings are the case's files below "mappings/".
func mappings(a *txtar.Archive) fs.FS {
	m := fstest.MapFS{}
	for _, f := range a.Files {
		if name, ok := strings.CutPrefix(f.Name, "mappings/"); ok {
			m[name] = &fstest.MapFile{Data: f.Data}
		}
	}
	return m
}

// schemas reads lines "source.table: column type [key], ...".
func schemas(t *testing.T, a *txtar.Archive) map[change.Table]*change.Schema {
	t.Helper()
	out := map[change.Table]*change.Schema{}
	for line := range strings.Lines(file(a, "schema")) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		name, columns, ok := strings.Cut(line, ":")
		table, ok2 := change.ParseTable(name)
		if !ok || !ok2 {
			t.Fatalf("schema: %q", line)
		}
		s := &change.Schema{Table: table}
		for column := range strings.SplitSeq(columns, ",") {
			words := strings.Fields(column)
			s.Columns = append(s.Columns, change.Column{Name: words[0], Type: columnType(t, words[1]), Key: len(words) > 2})
		}
		out[table] = s
	}
	return out
}

func columnType(t *testing.T, name string) change.Type {
	t.Helper()
	for typ := change.String; typ <= change.EnumSet; typ++ {
		if typ.String() == name {
			return typ
		}
	}
	t.Fatalf("schema: no type %q", name)
	return 0
}

// database is a case's rows: what a composer would have of them.
type database struct {
	set     *mapping.Set
	schemas map[change.Table]*change.Schema
	rows    map[change.Table][]mapping.Row
}

func readRows(t *testing.T, text string, set *mapping.Set, schemas map[change.Table]*change.Schema) *database {
	t.Helper()
	d := &database{set, schemas, map[change.Table][]mapping.Row{}}
	var tables map[string][]map[string]any
	if err := yaml.Unmarshal([]byte(text), &tables); err != nil {
		t.Fatal(err)
	}
	for name, rows := range tables {
		table, _ := change.ParseTable(name)
		s := schemas[table]
		if s == nil {
			t.Fatalf("rows: table %s has no schema", name)
		}
		for _, row := range rows {
			values := make([]change.Value, len(s.Columns))
			for column, v := range row {
				i := s.Column(column)
				if i < 0 {
					t.Fatalf("rows: %s has no column %s", name, column)
				}
				if v != nil {
					values[i] = change.Of(fmt.Sprint(v))
				}
			}
			d.rows[table] = append(d.rows[table], mapping.Row{Schema: s, Values: values})
		}
		slices.SortStableFunc(d.rows[table], func(a, b mapping.Row) int { return strings.Compare(key(a), key(b)) })
	}
	return d
}

func key(r mapping.Row) string {
	k, _ := r.Schema.Key(r.Values)
	return k
}

func text(r mapping.Row, column string) (string, bool) {
	v := r.Values[r.Schema.Column(column)]
	return v.Text, v.State == change.Set
}

// member follows a row's route to the member key.
func (d *database) member(r mapping.Row) string {
	decl, _ := d.set.Table(r.Schema.Table)
	switch decl.Route.Kind {
	case change.ByMember:
		m, _ := text(r, decl.Route.Column)
		return m
	case change.ByParent:
		parent, _ := text(r, decl.Route.Column)
		for _, p := range d.rows[decl.Route.Parent] {
			if key(p) == parent {
				return d.member(p)
			}
		}
	}
	return ""
}

// visible are the rows of a table that a row of the member may be joined with.
func (d *database) visible(table change.Table, member string) []mapping.Row {
	decl, _ := d.set.Table(table)
	if decl.Route.Kind == change.Reference {
		return d.rows[table]
	}
	var out []mapping.Row
	for _, r := range d.rows[table] {
		if d.member(r) == member {
			out = append(out, r)
		}
	}
	return out
}

func (d *database) input(r *mapping.Resource, row mapping.Row) mapping.Input {
	in := mapping.Input{Row: row, Joined: make([]*mapping.Rows, len(r.Joins))}
	member := d.member(row)
	for i, j := range r.Joins {
		from := row
		if j.From >= 0 {
			if in.Joined[j.From].Len() == 0 {
				continue
			}
			from = in.Joined[j.From].At(0)
		}
		var joined []mapping.Row
		for _, other := range d.visible(j.Table, member) {
			match := j.Cardinality == mapping.All
			switch j.Cardinality {
			case mapping.One:
				if j.Fixed != "" {
					match = j.Fixed == key(other)
					break
				}
				k, ok := text(from, j.Column)
				match = ok && k == key(other)
			case mapping.Many:
				k, ok := text(other, j.Column)
				match = ok && k == key(row)
			}
			if match {
				joined = append(joined, other)
			}
		}
		in.Joined[i] = d.set.Rows(j.Table, joined...)
	}
	for _, decl := range d.set.Tables() {
		if member == "" || decl.Time == "" {
			continue
		}
		for _, r := range d.visible(decl.Table, member) {
			if at, ok := d.set.RowTime(r); ok && mapping.Later(at, in.Newest) {
				in.Newest = at
			}
		}
	}
	return in
}

// TestCompose loads each case's mappings, checks them against its schema and
// composes every row of its tables.
func TestCompose(t *testing.T) {
	eachCase(t, "compose", func(t *testing.T, a *txtar.Archive) string {
		set, ps := mapping.Load(mappings(a), mapping.Options{IDKey: []byte("key")})
		s := schemas(t, a)
		for _, p := range append(ps, set.Check(s)...) {
			t.Error(p)
		}
		if t.Failed() {
			t.FailNow()
		}
		d := readRows(t, file(a, "rows"), set, s)
		var out strings.Builder
		for _, r := range set.Resources() {
			for _, row := range d.rows[r.From] {
				in := d.input(r, row)
				content, skipped, err := r.Compose([]byte("before"), in)
				excluded := r.Excludes(in.Row)
				if excluded && !skipped {
					t.Errorf("%s is excluded and composed", r)
				}
				switch {
				case err != nil:
					fmt.Fprintf(&out, "error: %v\n", err)
				case excluded:
					fmt.Fprintf(&out, "skipped whatever it is joined with: %s\n", r.Skipped)
				case skipped:
					fmt.Fprintf(&out, "skipped: %s\n", r.Skipped)
				default:
					content, ok := bytes.CutPrefix(content, []byte("before"))
					if !ok {
						t.Fatal("Compose does not append")
					}
					out.WriteString(pretty(t, content))
				}
				again, _, _ := r.Compose([]byte("before"), in)
				if err == nil && !skipped && !bytes.Equal(again[len("before"):], content[len("before"):]) {
					t.Error("composed differently the second time")
				}
			}
		}
		return out.String()
	})
}

func pretty(t *testing.T, content []byte) string {
	t.Helper()
	if bytes.ContainsAny(content, "\n") {
		t.Error("content has a line break")
	}
	var b bytes.Buffer
	if err := json.Indent(&b, content, "", "  "); err != nil {
		t.Errorf("not JSON: %v\n%s", err, content)
	}
	return b.String() + "\n"
}

// TestProblems compares the problems of each case, of Load and of Check, with
// those it wants.
func TestProblems(t *testing.T) {
	eachCase(t, "problems", func(t *testing.T, a *txtar.Archive) string {
		set, ps := mapping.Load(mappings(a), mapping.Options{})
		var out strings.Builder
		for _, p := range ps {
			fmt.Fprintln(&out, p.Error())
		}
		if file(a, "schema") != "" {
			out.WriteString("with schemas:\n")
			for _, p := range set.Check(schemas(t, a)) {
				fmt.Fprintln(&out, p.Error())
			}
		}
		return out.String()
	})
}
