package pebble_test

import (
	"maps"
	"slices"
	"testing"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/store/pebble"
)

// contents is everything that a closed store holds, but names: these stay.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	spoil(t, dir, func(db *engine.DB) error {
		it, err := db.NewIter(nil)
		if err != nil {
			return err
		}
		for it.First(); it.Valid(); it.Next() {
			if it.Key()[0] != 'N' {
				all[string(it.Key())] = string(it.Value())
			}
		}
		return it.Close()
	})
	return all
}

// first are the two pieces of a first composition: resources of two members, one
// of which is made and moved, and one made and deleted.
func first() []commit.Batch {
	make := func(id string, number, outbox uint64, member string, op commit.Op) commit.Version {
		v := commit.Version{Op: op, Outbox: outbox, Postings: []commit.Posting{{Param: "name", Value: []byte(id)}}}
		v.Index = []byte("index")
		v.ResourceID, v.Number, v.Member, v.Body = fhir.ResourceID{Type: "Claim", ID: id}, number, member, []byte("body "+id)
		if v.Deleted = op == commit.Delete; v.Deleted {
			v.Body, v.Index, v.Postings = nil, nil, nil
		}
		return v
	}
	row := func(key, body string) commit.Row {
		return commit.Row{Route: "1", Key: key, Body: []byte(body), Deleted: body == ""}
	}
	tokens := func(id string) commit.TokenSet {
		return commit.TokenSet{Resource: fhir.ResourceID{Type: "Claim", ID: id}, Member: "m", Tokens: []commit.Token{{1}, {2}}}
	}
	return []commit.Batch{
		{Units: []commit.Unit{{Number: 2, Count: 2, Rows: []commit.Row{row("changed", "second"), row("gone", "")}, Tokens: []commit.TokenSet{tokens("a")},
			Versions: []commit.Version{make("a", 1, 1, "m", commit.Create), make("b", 1, 2, "m", commit.Create)}}}},
		{Units: []commit.Unit{{Number: 2, Count: 4, Rows: []commit.Row{row("changed", "third"), row("new", "new")}, Tokens: []commit.TokenSet{tokens("b")},
			Versions: []commit.Version{make("a", 2, 3, "other", commit.Update), make("b", 2, 4, "m", commit.Delete)}}}},
	}
}

// A first composition that is cut off leaves nothing behind; one that is not
// leaves all of it.
func TestFirstCompositionCutOff(t *testing.T) {
	dir := t.TempDir()
	open := func() *pebble.DB {
		db, err := pebble.Open(dir, small)
		if err != nil {
			t.Fatal(err)
		}
		return db
	}
	db := open()
	rows := commit.Batch{Units: []commit.Unit{{Number: 1, Rows: []commit.Row{
		{Route: "1", Key: "changed", Body: []byte("first"), New: true}, {Route: "1", Key: "gone", Body: []byte("there"), New: true},
	}}}}
	if err := db.Commit(ctx, rows, commit.Frontier{Number: 1, Outbox: []uint64{0}}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	before := contents(t, dir)
	for pieces := range 3 {
		db = open()
		for _, b := range first()[:pieces] {
			if err := db.Stage(ctx, b); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if staged := contents(t, dir); pieces > 0 && len(staged) < len(before)+8 {
			t.Fatalf("%d keys before, %d with %d pieces staged", len(before), len(staged), pieces)
		}
		if err := open().Close(); err != nil {
			t.Fatal(err)
		}
		if after := contents(t, dir); !maps.Equal(before, after) {
			t.Errorf("%d pieces: keys %q are not %q", pieces, slices.Sorted(maps.Keys(after)), slices.Sorted(maps.Keys(before)))
		}
	}
	db = open()
	for _, b := range first() {
		if err := db.Stage(ctx, b); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Commit(ctx, commit.Batch{}, commit.Frontier{Number: 2, Outbox: []uint64{4}}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open()
	defer func() { _ = db.Close() }()
	if err := db.Check(ctx); err != nil {
		t.Error(err)
	}
	if h, ok, err := db.Head(fhir.ResourceID{Type: "Claim", ID: "a"}); err != nil || !ok || h.Number != 2 || h.Member != "other" {
		t.Errorf("head %+v, %v, %v", h, ok, err)
	}
}
