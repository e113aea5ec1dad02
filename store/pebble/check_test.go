package pebble_test

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
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
		{'V', "Claim/c1: the content of version 4 is missing"},
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

// TestCheckCompares puts keys next to one another that cannot all be true, and
// wants Check to name it.
func TestCheckCompares(t *testing.T) {
	body := func(member string, kind string) string { return "V" + member + "\x00\x01" + kind + "c1" }
	for _, c := range []struct {
		name  string
		spoil func(db *engine.DB, kind string) error
		says  string
	}{
		{"content of another version", func(db *engine.DB, kind string) error {
			return copyKey(db, "H"+kind+"c1\x00\x01"+version(3), body("m", kind))
		}, "Claim/c1: the content of version 4 is missing, or another's"},
		{"content at another member", func(db *engine.DB, kind string) error {
			return copyKey(db, body("m", kind), body("other", kind))
		}, "Claim/c1: content of version 4 is left over"},
		{"content of before", func(db *engine.DB, kind string) error {
			return copyKey(db, "H"+kind+"c1\x00\x01"+version(2), body("other", kind))
		}, "Claim/c1: content of version 2 is left over"},
		{"content of nothing", func(db *engine.DB, kind string) error {
			return db.Delete([]byte("C"+kind+"c1"), engine.Sync)
		}, "Claim/c1: content of version 4 is left over"},
		{"newest version in the history", func(db *engine.DB, kind string) error {
			return copyKey(db, body("m", kind), "H"+kind+"c1\x00\x01"+version(4))
		}, "Claim/c1: version 4 is in the history, and version 4 is the newest"},
		{"deleted, without a head", func(db *engine.DB, kind string) error {
			return db.Delete([]byte("C"+kind+"c2"), engine.Sync)
		}, "Claim/c2: a member entry names version 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
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
			if err := deleted(db, 5); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(db.Check(ctx), db.Close()); err != nil {
				t.Fatal(err)
			}
			spoil(t, dir, func(db *engine.DB) error {
				number, closer, err := db.Get([]byte("NtClaim"))
				if err != nil {
					return err
				}
				kind := string(number)
				return errors.Join(closer.Close(), c.spoil(db, kind))
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

// deleted makes a claim and deletes it, in two units.
func deleted(db *pebble.DB, number uint64) error {
	var units []commit.Unit
	for n := range uint64(2) {
		v := commit.Version{Op: commit.Update, Outbox: number + n}
		v.ResourceID, v.Number, v.Member = fhir.ResourceID{Type: "Claim", ID: "c2"}, n+1, "m"
		if v.Deleted = n == 1; !v.Deleted {
			v.Body = []byte("body")
		}
		units = append(units, commit.Unit{Number: commit.Number(number + n), Versions: []commit.Version{v}, Count: 1})
	}
	return db.Commit(ctx, commit.Batch{Units: units}, at(number+1))
}

// version is a version's number as keys of the history end.
func version(n uint64) string { return string(binary.BigEndian.AppendUint64(nil, ^n)) }

func copyKey(db *engine.DB, from, to string) error {
	value, closer, err := db.Get([]byte(from))
	if err != nil {
		return err
	}
	return errors.Join(db.Set([]byte(to), value, engine.Sync), closer.Close())
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
