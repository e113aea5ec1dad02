package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/store/pebble"
)

// history is all versions of one resource, newest first.
type history struct {
	id       fhir.ResourceID
	versions []fhir.Version
}

func (h *history) living() bool { return h.versions != nil && !h.versions[0].Deleted }

func (h *history) content() []byte { return fhir.Unstamp(h.versions[0].Body) }

// histories gives every resource of the type that was ever there at the commit
// number, by id.
func histories(db *pebble.DB, number uint64, typ string) iter.Seq2[history, error] {
	return func(yield func(history, error) bool) {
		view, err := db.At(number)
		if err == nil {
			defer view.Close()
			err = view.Histories(typ, func(id fhir.ResourceID, versions []fhir.Version) bool {
				return yield(history{id, versions}, nil)
			})
		}
		if err != nil {
			yield(history{}, err)
		}
	}
}

func eachHistory(db *pebble.DB, number uint64, fn func(history) error) error {
	for _, typ := range db.Types() {
		for h, err := range histories(db, number, typ) {
			if err == nil {
				err = fn(h)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// tally is what of one type differs.
type tally struct {
	same, added, removed, changed int
	past                          int // another history, whatever is current
	ids                           []string
}

// account is what differs between two stores.
type account struct {
	types    map[string]*tally
	elements map[string]int // by "Type.path": in how many resources
	limit    int
}

func newAccount(limit int) *account {
	return &account{types: map[string]*tally{}, elements: map[string]int{}, limit: limit}
}

func (a *account) of(typ string) *tally {
	t := a.types[typ]
	if t == nil {
		t = &tally{}
		a.types[typ] = t
	}
	return t
}

// account compares every resource and every history at a commit number, prints
// what differs, and returns errReported if anything does.
func (r *replay) account(ctx context.Context, old, now *pebble.DB, number uint64) error {
	types := append(old.Types(), now.Types()...)
	slices.Sort(types)
	a := newAccount(r.options.limit)
	for _, typ := range slices.Compact(types) {
		if err := a.compare(ctx, histories(old, number, typ), histories(now, number, typ)); err != nil {
			return err
		}
	}
	a.print(true)
	if current, past := a.differences(); current+past > 0 {
		fmt.Printf("replay: %d current resources and %d histories differ; nothing was announced\n", current, past)
		return errReported
	}
	fmt.Println("replay: nothing differs: the same resources, and the same history")
	return nil
}

// compare walks two stores' resources of one type side by side.
func (a *account) compare(ctx context.Context, olds, nows iter.Seq2[history, error]) error {
	nextOld, stopOld := iter.Pull2(olds)
	defer stopOld()
	nextNow, stopNow := iter.Pull2(nows)
	defer stopNow()
	old, err, oldOK := nextOld()
	now, err2, nowOK := nextNow()
	for (oldOK || nowOK) && cmp.Or(err, err2, ctx.Err()) == nil {
		var c int
		switch {
		case !nowOK:
			c = -1
		case !oldOK:
			c = 1
		default:
			c = cmp.Compare(old.id.ID, now.id.ID)
		}
		switch {
		case c < 0:
			a.pair(old, history{})
		case c > 0:
			a.pair(history{id: now.id}, now)
		default:
			a.pair(old, now)
		}
		if c <= 0 {
			old, err, oldOK = nextOld()
		}
		if c >= 0 {
			now, err2, nowOK = nextNow()
		}
	}
	return cmp.Or(err, err2, ctx.Err())
}

// pair counts one resource, as it was and as it is.
func (a *account) pair(old, now history) {
	t := a.of(old.id.Type)
	if !sameHistory(old.versions, now.versions) {
		t.past++
	}
	switch {
	case !old.living() && !now.living():
		return
	case !old.living():
		t.added++
	case !now.living():
		t.removed++
	case bytes.Equal(old.content(), now.content()) && old.versions[0].Member == now.versions[0].Member:
		t.same++
		return
	default:
		t.changed++
		for _, path := range differingElements(old.content(), now.content()) {
			a.elements[old.id.Type+path]++
		}
	}
	if len(t.ids) < a.limit {
		t.ids = append(t.ids, old.id.String())
	}
}

func sameHistory(a, b []fhir.Version) bool {
	return slices.EqualFunc(a, b, func(x, y fhir.Version) bool {
		return x.Number == y.Number && x.Commit == y.Commit && x.Updated.Equal(y.Updated) && x.Deleted == y.Deleted &&
			x.Member == y.Member && bytes.Equal(x.Body, y.Body) && bytes.Equal(x.Index, y.Index)
	})
}

func (a *account) differences() (current, past int) {
	for _, t := range a.types {
		current += t.added + t.removed + t.changed
		past += t.past
	}
	return current, past
}

// print says what differs: counts, ids and elements, and never a value.
func (a *account) print(past bool) {
	fmt.Printf("%-24s %9s %9s %9s %9s", "", "same", "added", "removed", "changed")
	if past {
		fmt.Printf(" %9s", "history")
	}
	fmt.Println()
	for _, typ := range slices.Sorted(maps.Keys(a.types)) {
		t := a.types[typ]
		fmt.Printf("%-24s %9d %9d %9d %9d", typ, t.same, t.added, t.removed, t.changed)
		if past {
			fmt.Printf(" %9d", t.past)
		}
		fmt.Println()
	}
	for _, typ := range slices.Sorted(maps.Keys(a.types)) {
		t := a.types[typ]
		if len(t.ids) > 0 {
			fmt.Printf("differing: %s%s\n", strings.Join(t.ids, " "), more(t.added+t.removed+t.changed-len(t.ids)))
		}
	}
	paths := slices.Collect(maps.Keys(a.elements))
	sort.Slice(paths, func(i, j int) bool {
		return cmp.Or(a.elements[paths[j]]-a.elements[paths[i]], strings.Compare(paths[i], paths[j])) < 0
	})
	for i, path := range paths {
		if i == a.limit {
			fmt.Printf("element:   and %d more\n", len(paths)-i)
			break
		}
		fmt.Printf("element:   %s, in %d resources\n", path, a.elements[path])
	}
}

func more(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" and %d more", n)
}

// differingElements lists the paths at which two resources differ, lists without
// their indexes, each once.
func differingElements(a, b []byte) []string {
	var x, y any
	read := func(text []byte, v *any) error {
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		return d.Decode(v)
	}
	if read(a, &x) != nil || read(b, &y) != nil {
		return []string{""}
	}
	found := map[string]bool{}
	walkDiffering("", x, y, found)
	if len(found) == 0 {
		found[" (the order of elements)"] = true
	}
	return slices.Sorted(maps.Keys(found))
}

func walkDiffering(path string, x, y any, found map[string]bool) {
	switch x := x.(type) {
	case map[string]any:
		if y, ok := y.(map[string]any); ok {
			for name := range x {
				walkDiffering(path+"."+name, x[name], y[name], found)
			}
			for name := range y {
				if _, ok := x[name]; !ok {
					found[path+"."+name] = true
				}
			}
			return
		}
	case []any:
		if y, ok := y.([]any); ok && len(x) == len(y) {
			for i := range x {
				walkDiffering(path, x[i], y[i], found)
			}
			return
		}
	default:
		if x == y {
			return
		}
	}
	found[path] = true
}
