package pebble_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/store"
	"github.com/tributary-health/tributary/store/pebble"
)

// many is a store with so many units of random versions over three partitions,
// the last of which is only staged. It returns the frontier of the others.
func many(t *testing.T, units int) (*pebble.DB, commit.Frontier) {
	t.Helper()
	db, err := pebble.Open(t.TempDir(), small)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	r := rand.New(rand.NewPCG(1, uint64(units)))
	outbox := make([]uint64, 3)
	heads := map[string]uint64{}
	var f commit.Frontier
	for n := 1; n <= units; n++ {
		u := commit.Unit{Number: commit.Number(n)}
		for i := range r.IntN(6) {
			v := commit.Version{Op: commit.Update, Partition: r.Int32N(3), Sequence: uint32(i)}
			v.ResourceID = fhir.ResourceID{Type: "Claim", ID: fmt.Sprint(n%7, "-", i)}
			heads[v.ID]++
			v.Number, v.Member = heads[v.ID], "m"
			v.Body = fmt.Append(nil, n, i)
			if v.Number%4 == 3 {
				v.Op, v.Deleted, v.Body = commit.Delete, true, nil
			}
			outbox[v.Partition]++
			v.Outbox = outbox[v.Partition]
			u.Versions = append(u.Versions, v)
		}
		u.Count = uint32(len(u.Versions))
		if n == units {
			err = db.Stage(ctx, commit.Batch{Units: []commit.Unit{u}})
		} else {
			f = commit.Frontier{Number: commit.Number(n), Outbox: slices.Clone(outbox)}
			err = db.Commit(ctx, commit.Batch{Units: []commit.Unit{u}}, f)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return db, f
}

// TestChanges wants what all partitions announce, merged: each entry once, whole
// commits after one another, nothing above the frontier; from every place.
func TestChanges(t *testing.T) {
	db, f := many(t, 200)
	type place struct {
		partition int32
		number    uint64
	}
	var order []place
	at := make([]uint64, 3)
	var number commit.Number
	var sequence uint32
	err := db.Changes(nil, func(p int32, n uint64, a commit.Announcement) bool {
		if n != at[p]+1 || a.Version.Partition != p || a.Version.Outbox != n {
			t.Fatalf("partition %d: number %d after %d", p, n, at[p])
		}
		at[p] = n
		if a.Info.Number != number {
			if a.Info.Number < number {
				t.Fatalf("commit %d after %d", a.Info.Number, number)
			}
			number, sequence = a.Info.Number, 0
		}
		if a.Version.Sequence != sequence || a.Version.Sequence >= a.Info.Count {
			t.Fatalf("commit %d: version %d of %d, want %d", number, a.Version.Sequence, a.Info.Count, sequence)
		}
		sequence++
		if want := fmt.Sprint(number, a.Version.Sequence); !a.Version.Deleted && string(a.Version.Body) != want {
			t.Fatalf("body %s, want %s", a.Version.Body, want)
		}
		order = append(order, place{p, n})
		return true
	})
	if err != nil || !slices.Equal(at, f.Outbox) {
		t.Fatalf("came to %v, the frontier is %v: %v", at, f.Outbox, err)
	}
	for from := 0; from < len(order); from += 17 {
		after := make([]uint64, 3)
		for _, o := range order[:from] {
			after[o.partition] = o.number
		}
		got := order[from:from]
		err := db.Changes(after, func(p int32, n uint64, _ commit.Announcement) bool {
			got = append(got, place{p, n})
			return len(got) < 40
		})
		if want := order[from:min(from+40, len(order))]; err != nil || !slices.Equal(got, want) {
			t.Fatalf("from %d: %v, want %v: %v", from, got, want, err)
		}
	}
}

// TestCurrent wants the resources that are, with their bodies, as of any commit.
func TestCurrent(t *testing.T) {
	db, f := many(t, 60)
	for number := commit.Number(0); number <= f.Number; number += 7 {
		want := map[fhir.ResourceID]string{}
		err := db.Changes(nil, func(_ int32, _ uint64, a commit.Announcement) bool {
			if a.Info.Number <= number {
				delete(want, a.Version.ResourceID)
				if !a.Version.Deleted {
					want[a.Version.ResourceID] = string(a.Version.Body)
				}
			}
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		err = db.Current(number, func(v fhir.Version) bool {
			if v.Deleted || want[v.ResourceID] != string(v.Body) {
				t.Fatalf("at %d: %+v, want %q", number, v, want[v.ResourceID])
			}
			delete(want, v.ResourceID)
			return true
		})
		if err != nil || len(want) > 0 {
			t.Fatalf("at %d: %d are missing: %v", number, len(want), err)
		}
	}
	if err := db.Current(f.Number+1, nil); !errors.Is(err, store.ErrAbove) {
		t.Fatal(err)
	}
	n := 0
	if err := db.Current(f.Number, func(fhir.Version) bool { n++; return false }); err != nil || n != 1 {
		t.Fatalf("went on: %d %v", n, err)
	}
}

// TestKeep wants entries to stay until they are published and taken, and one
// that is gone to be an error.
func TestKeep(t *testing.T) {
	db, err := pebble.Open(t.TempDir(), small)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	const entries = 13_000
	u := commit.Unit{Number: 1, Count: entries}
	for i := range uint64(entries) {
		v := commit.Version{Op: commit.Create, Outbox: i + 1, Sequence: uint32(i)}
		v.ResourceID, v.Number = fhir.ResourceID{Type: "Claim", ID: fmt.Sprint(i)}, 1
		u.Versions = append(u.Versions, v)
	}
	if err := db.Commit(ctx, commit.Batch{Units: []commit.Unit{u}}, commit.Frontier{Number: 1, Outbox: []uint64{entries}}); err != nil {
		t.Fatal(err)
	}
	taken := uint64(0)
	kept := db.Keep(func(int32) uint64 { return taken })
	for _, c := range []struct{ published, taken, dropped uint64 }{
		{5000, 0, 0},       // published and not taken
		{5001, 4000, 0},    // too few to be dropped
		{5002, 4500, 4500}, // taken up to here
		{6000, 12_000, 4500},
		{9000, 12_000, 9000}, // published up to here
		{9001, 0, 9000},      // a new follower brings nothing back
		{12_999, 12_990, 9000},
		{13_000, 13_000, 9000},
	} {
		taken = c.taken
		if err := kept.Published(ctx, 0, c.published); err != nil {
			t.Fatal(err)
		}
		if got, err := db.Dropped(0); got != c.dropped || err != nil {
			t.Fatalf("%+v: dropped up to %d: %v", c, got, err)
		}
		if got, err := kept.Mark(0); got != c.published || err != nil {
			t.Fatalf("%+v: marked up to %d: %v", c, got, err)
		}
		never := func(int32, uint64, commit.Announcement) bool { t.Fatal("an entry after a gap"); return false }
		if c.dropped > 0 {
			if err := db.Changes([]uint64{c.dropped - 1}, never); !errors.Is(err, store.ErrCorrupt) {
				t.Fatalf("%+v: an entry that is gone: %v", c, err)
			}
		}
		n := c.dropped
		if err := db.Changes([]uint64{n}, func(int32, uint64, commit.Announcement) bool { n++; return true }); err != nil || n != entries {
			t.Fatalf("%+v: %d entries: %v", c, n, err)
		}
	}
	if got, err := db.Dropped(7); got != 0 || err != nil {
		t.Fatalf("a partition that never was: %d %v", got, err)
	}
}
