package pebble_test

import (
	"errors"
	"strings"
	"testing"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/tributary-health/tributary/store"
	"github.com/tributary-health/tributary/store/pebble"
)

// TestCheckFinds takes one key of each space away, or swaps a value, behind the
// store's back, and wants Check to name what is wrong.
func TestCheckFinds(t *testing.T) {
	for _, c := range []struct {
		space byte
		says  string
	}{
		{'H', "Claim/c1: version"},
		{'L', "missing from the log"},
		{'M', "Claim/c1: its member has no entry"},
		{'E', "Claim/c1: its member's list"},
		{'O', "outbox number"},
		{'C', "a member entry names version"},
		{'B', "Claim/c1: a match token of commit 4 is left over"},
		{'T', "Claim/c1: a match token of commit 4 has no entry"},
	} {
		t.Run(string(c.space), func(t *testing.T) {
			dir := t.TempDir()
			db, err := pebble.Open(dir, small)
			if err != nil {
				t.Fatal(err)
			}
			for n := uint64(1); n <= 4; n++ {
				if err := write(db, n); err != nil {
					t.Fatal(err)
				}
			}
			check(t, db, 4)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			spoil(t, dir, func(db *engine.DB) error {
				if c.space == 'T' { // the others are closed, and no set lists those
					return deleteLast(db, c.space)
				}
				return deleteSecond(db, c.space)
			})
			if db, err = pebble.Open(dir, small); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = db.Close() }()
			if err := db.Check(ctx); !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("Check says %v", err)
			}
		})
	}
}

func deleteLast(db *engine.DB, space byte) error {
	it, err := db.NewIter(&engine.IterOptions{LowerBound: []byte{space}, UpperBound: []byte{space + 1}})
	if err != nil {
		return err
	}
	if !it.Last() {
		return errors.Join(errors.New("nothing there"), it.Close())
	}
	key := append([]byte(nil), it.Key()...)
	return errors.Join(it.Close(), db.Delete(key, engine.Sync))
}

// deleteSecond deletes the space's second key, or its only one.
func deleteSecond(db *engine.DB, space byte) error {
	it, err := db.NewIter(&engine.IterOptions{LowerBound: []byte{space}, UpperBound: []byte{space + 1}})
	if err != nil {
		return err
	}
	if !it.First() {
		return errors.Join(errors.New("nothing there"), it.Close())
	}
	key := append([]byte(nil), it.Key()...)
	if it.Next() {
		key = append(key[:0], it.Key()...)
	}
	return errors.Join(it.Close(), db.Delete(key, engine.Sync))
}
