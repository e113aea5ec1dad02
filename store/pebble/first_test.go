package pebble_test

import (
	"errors"
	"testing"

	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/store"
	"github.com/tributary-health/tributary/store/pebble"
)

// TestFirstVersion begins versions above 1, and wants every one of them to be
// found from any commit, whatever the store is opened with later.
func TestFirstVersion(t *testing.T) {
	const first, versions = 1 << 24, 40
	dir := t.TempDir()
	o := small
	o.FirstVersion = first
	db, err := pebble.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	numbered := func(n uint64) commit.Batch {
		b := unit(n, 10)
		b.Units[0].Versions[0].Number = first + n - 1
		return b
	}
	if err := db.Commit(ctx, unit(1, 10), at(1)); !errors.Is(err, store.ErrOrder) {
		t.Fatalf("version 1: %v", err)
	}
	for n := uint64(1); n <= versions; n++ {
		if err := db.Commit(ctx, numbered(n), at(n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if db, err = pebble.Open(dir, small); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	for n := uint64(1); n <= versions; n++ {
		v, err := db.At(n)
		if err != nil {
			t.Fatal(err)
		}
		got, ok, err := v.Read(claim)
		if err != nil || !ok || got.Number != first+n-1 {
			t.Fatalf("at %d: version %d %v %v", n, got.Number, ok, err)
		}
		seen := uint64(0)
		if err := v.History(claim, 0, func(fhir.Version) bool { seen++; return true }); err != nil || seen != n {
			t.Fatalf("at %d: %d versions: %v", n, seen, err)
		}
	}
	if err := db.Check(ctx); err != nil {
		t.Fatal(err)
	}
}
