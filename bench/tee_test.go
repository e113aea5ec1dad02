package main

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"

	engine "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/store/pebble"
)

// What the baseline writes is what the store wrote: both hold the same bytes.
func TestDirectHoldsWhatTheStoreWrote(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	copied := &tee{FS: vfs.Default}
	db, err := pebble.Open(filepath.Join(dir, "store"), pebble.Options{FS: copied})
	if err != nil {
		t.Fatal(err)
	}
	d, err := openDirect(filepath.Join(dir, "direct"))
	if err != nil {
		t.Fatal(err)
	}
	for n := commit.Number(1); n <= 20; n++ {
		row := commit.Row{Table: change.Table{Source: "s", Name: "t"}, Route: "r", Key: string(rune('a' + n%7)), Body: bytes.Repeat([]byte{byte(n)}, 50_000), Deleted: n%5 == 0}
		batch := commit.Batch{Units: []commit.Unit{{Number: n, Rows: []commit.Row{row}}}}
		if n%2 == 0 {
			if err := db.Stage(ctx, batch); err != nil {
				t.Fatal(err)
			}
			batch = commit.Batch{}
		}
		if err := db.Commit(ctx, batch, commit.Frontier{Number: n}); err != nil {
			t.Fatal(err)
		}
		batches, err := copied.take()
		if err != nil || len(batches) == 0 {
			t.Fatal(len(batches), err)
		}
		if _, err := d.write(batches); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.db.Close(); err != nil {
		t.Fatal(err)
	}
	stores := *engine.DefaultComparer // its order; the groups that the store makes of keys are for looking up
	stores.Name = "tributary.3"
	ours, base := content(t, filepath.Join(dir, "store"), &stores), content(t, filepath.Join(dir, "direct"), engine.DefaultComparer)
	if len(ours) == 0 || !bytes.Equal(ours, base) {
		t.Fatalf("the store holds %d bytes and the baseline %d, or others", len(ours), len(base))
	}
}

// content is every key and value of a Pebble.
func content(t *testing.T, dir string, order *engine.Comparer) (all []byte) {
	t.Helper()
	db, err := engine.Open(dir, &engine.Options{ReadOnly: true, Comparer: order, Logger: silent{}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	it, err := db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for it.First(); it.Valid(); it.Next() {
		all = append(append(all, it.Key()...), it.Value()...)
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	return all
}
