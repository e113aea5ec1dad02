package mapping_test

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/compose/mapping"
)

// TestUsesLeaveOutNothing changes columns that a mapping is said not to use, one
// at a time, in its own row and in every joined one: the resource stays as it is.
func TestUsesLeaveOutNothing(t *testing.T) {
	set, ps := mapping.Load(os.DirFS("testdata/native"), mapping.Options{IDKey: []byte("key")})
	if len(ps) > 0 {
		t.Fatal(ps)
	}
	tried := map[string]int{}
	for seed := range uint64(15) {
		w := newNativeWorld(2*seed + 1)
		for _, r := range set.Resources() {
			if r.Type != "Basic" {
				continue
			}
			newest := "2020-06-01T00:00:00Z"
			want, _, wantErr := r.Compose(nil, w.input(r, w.make(set), set, newest))
			for table := range w.schemas {
				w.eachUnused(t, r, table, func(column string) {
					got, _, err := r.Compose(nil, w.input(r, w.make(set), set, newest))
					if string(got) != string(want) || fmt.Sprint(err) != fmt.Sprint(wantErr) {
						t.Fatalf("seed %d: column %s of %s makes a difference:\n got %s %v\nwant %s %v", seed, column, table, got, err, want, wantErr)
					}
					tried[table+"."+column]++
				})
			}
		}
	}
	if len(tried) == 0 {
		t.Error("the mapping uses every column: nothing was tried")
	}
	t.Log(tried)
}

// eachUnused calls fn once for each column of each row that the mapping does not
// use, with another value in it.
func (w *nativeWorld) eachUnused(t *testing.T, r *mapping.Resource, table string, fn func(column string)) {
	s := w.schemas[table]
	used, all := r.Uses(s.Table)
	for _, j := range r.Joins {
		if j.Cardinality != mapping.All && j.Table == s.Table || j.Cardinality == mapping.One && r.From == s.Table {
			used = append(used, j.Column)
		}
	}
	if all {
		t.Fatalf("%s: every column is said to be used", r)
	}
	for i, c := range s.Columns {
		if c.Key || slices.Contains(used, c.Name) {
			continue
		}
		for _, row := range w.rows[table] {
			old := row.Values[i]
			for _, v := range []change.Value{{State: change.Null}, change.Of(w.text(c))} {
				row.Values[i] = v
				fn(c.Name)
			}
			row.Values[i] = old
		}
	}
}
