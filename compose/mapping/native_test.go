package mapping_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/compose/mapping"
)

// nativeWorld is random rows of testdata/native: full of nulls, repeats and times
// printed in several ways.
type nativeWorld struct {
	*rand.Rand
	whole   int // one value in so many is null, of columns that seldom are
	schemas map[string]*change.Schema
	rows    map[string][]mapping.Row
}

func newNativeWorld(seed uint64) *nativeWorld {
	w := &nativeWorld{rand.New(rand.NewPCG(seed, 1)), []int{10, 1000}[seed%2], map[string]*change.Schema{}, map[string][]mapping.Row{}}
	stamp := change.Timestamp
	if seed%3 == 0 {
		stamp = change.Instant
	}
	column := func(name string, typ change.Type) change.Column {
		return change.Column{Name: name, Type: typ, Key: name == "id"}
	}
	s := func(table string, columns ...change.Column) {
		t, _ := change.ParseTable(table)
		w.schemas[table] = &change.Schema{Table: t, Columns: append([]change.Column{column("id", change.String)}, columns...)}
	}
	common := []change.Column{column("kind", change.String), column("number", change.Int), column("person", change.String)}
	s("a.people", append(common, column("flag", change.Bool), column("best", change.String))...)
	s("a.orders", append(common, column("start", stamp), column("stop", stamp))...)
	s("a.fills", append(common, column("order_id", change.String), column("at", stamp))...)
	s("a.zoned", append(common, column("at", change.Timestamp))...)
	for table, n := range map[string]int{"a.people": 1, "a.orders": w.IntN(30), "a.fills": w.IntN(60), "a.zoned": w.IntN(20)} {
		for i := range n {
			w.rows[table] = append(w.rows[table], w.row(table, fmt.Sprintf("%s-%02d", table[2:3], i)))
		}
	}
	return w
}

func (w *nativeWorld) row(table, key string) mapping.Row {
	s := w.schemas[table]
	values := make([]change.Value, len(s.Columns))
	for i, c := range s.Columns {
		if c.Name == "id" {
			values[i] = change.Of(key)
			continue
		}
		if optional := c.Name == "stop" || c.Name == "best"; !optional && w.IntN(w.whole) > 0 || optional && w.IntN(3) > 0 {
			values[i] = change.Of(w.text(c))
		}
	}
	return mapping.Row{Schema: s, Values: values, Key: key}
}

func (w *nativeWorld) text(c change.Column) string {
	switch c.Type {
	case change.Int:
		return fmt.Sprint(w.IntN(4))
	case change.Bool:
		return fmt.Sprint(w.IntN(2) == 0)
	case change.Timestamp, change.Instant:
		text := fmt.Sprintf("20%02d-%02d-%02dT00:00:%02d", 18+w.IntN(3), 1+w.IntN(12), 1+w.IntN(28), w.IntN(3))
		text += []string{"", "", ".000000", ".5"}[w.IntN(4)]
		if c.Type == change.Instant {
			text += "Z"
		}
		return text
	}
	if c.Name == "order_id" || c.Name == "best" {
		return fmt.Sprintf("o-%02d", w.IntN(30))
	}
	return []string{"x", "1", "z", "true", "\u00e9"}[w.IntN(5)]
}

// input joins by hand what the mapping joins.
func (w *nativeWorld) input(r *mapping.Resource, rows map[string]*mapping.Rows, set *mapping.Set, newest string) mapping.Input {
	in := mapping.Input{Row: w.rows["a.people"][0], Newest: newest}
	for _, j := range r.Joins {
		table := j.Table.String()
		switch {
		case j.Cardinality == mapping.All:
			in.Joined = append(in.Joined, rows[table])
		case j.Name == "own":
			in.Joined = append(in.Joined, rows[table].Where("person", "x"))
		default:
			best, _ := text(in.Row, "best")
			var found []mapping.Row
			for _, row := range w.rows[table] {
				if row.Key == best {
					found = append(found, row)
				}
			}
			in.Joined = append(in.Joined, set.Rows(j.Table, found...))
		}
	}
	return in
}

// edit changes, adds or removes one row, and the shared rows with it.
func (w *nativeWorld) edit(shared map[string]*mapping.Rows) {
	table := []string{"a.orders", "a.fills", "a.zoned"}[w.IntN(3)]
	key := fmt.Sprintf("%s-%02d", table[2:3], w.IntN(70))
	rows := w.rows[table]
	i, found := slices.BinarySearchFunc(rows, key, func(r mapping.Row, key string) int { return strings.Compare(r.Key, key) })
	end := i
	if found {
		end++
	}
	row := w.row(table, key)
	fresh := []mapping.Row{row}
	if w.IntN(3) == 0 {
		row, fresh = mapping.Row{}, nil
	}
	w.rows[table] = slices.Concat(rows[:i], fresh, rows[end:])
	shared[table] = shared[table].Splice(i, end, row)
}

func (w *nativeWorld) make(set *mapping.Set) map[string]*mapping.Rows {
	made := map[string]*mapping.Rows{}
	for table, s := range w.schemas {
		made[table] = set.Rows(s.Table, w.rows[table]...)
	}
	return made
}

// TestNativesGiveWhatCELGives composes the same random rows with and without
// CEL, the one from rows that went through many changes with their index.
func TestNativesGiveWhatCELGives(t *testing.T) {
	folder := os.DirFS("testdata/native")
	options := mapping.Options{IDKey: []byte("key")}
	fast, ps := mapping.Load(folder, options)
	plain, ps2 := mapping.LoadPlain(folder, options)
	if len(ps)+len(ps2) > 0 {
		t.Fatal(ps, ps2)
	}
	composed, failed := 0, 0
	for seed := range uint64(150) {
		w := newNativeWorld(seed)
		shared := w.make(fast)
		for range 12 {
			w.edit(shared)
			for n, r := range fast.Resources() {
				if r.Type != "Basic" {
					continue
				}
				newest := []string{"", "2020-06-01T00:00:00Z", "2019-03-31T00:00:01.5Z"}[w.IntN(3)]
				other := plain.Resources()[n]
				want, _, wantErr := other.Compose(nil, w.input(other, w.make(plain), plain, newest))
				got, _, err := r.Compose(nil, w.input(r, shared, fast, newest))
				if string(got) != string(want) || fmt.Sprint(err) != fmt.Sprint(wantErr) {
					t.Fatalf("seed %d:\n got %s %v\nwant %s %v", seed, got, err, want, wantErr)
				}
				if composed++; err != nil {
					failed++
				}
			}
		}
	}
	if failed == 0 || failed > composed*3/4 {
		t.Errorf("%d of %d compositions failed: the rows try too little", failed, composed)
	}
	t.Logf("%d compositions, %d of them failed alike", composed, failed)
}
