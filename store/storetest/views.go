package storetest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
)

// testMemory wants what was handed out to stay, and what was handed in to be the
// caller's again.
func testMemory(t *testing.T, open Opener) {
	s, _ := begin(t, open)
	b := batch(1, version(claim, 1, 1, "m", "one"))
	f := at(1, 1)
	f.Sources = map[string]commit.Progress{"emr": {Freshness: fresh("emr", 1), Extra: []byte("extra")}}
	must(t, s.Commit(ctx, b, f))
	copy(b.Units[0].Versions[0].Body, "XXX")
	copy(f.Sources["emr"].Extra, "XXXXX")
	f.Outbox[0] = 7
	delete(f.Sources, "emr")
	got := s.Frontier()
	equal(t, "Frontier's outbox", got.Outbox[0], uint64(1))
	equal(t, "Frontier's extra", string(got.Sources["emr"].Extra), "extra")
	delete(got.Sources, "emr")
	equal(t, "Frontier's sources", len(s.Frontier().Sources), 1)
	v, err := s.At(0)
	must(t, err)
	kept, _, err := v.Read(claim)
	must(t, err)
	must(t, v.Close())
	for i := uint64(2); i < 50; i++ {
		must(t, s.Commit(ctx, batch(i, version(claim, i, i, "m", "two")), at(i, i)))
	}
	equal(t, "kept body", string(kept.Body), "one")
	equal(t, "kept index", string(kept.Index), "index of one")
}

// testOldViews reads far behind a resource with many versions.
func testOldViews(t *testing.T, open Opener) {
	s, _ := begin(t, open)
	const last = 120
	must(t, s.Commit(ctx, batch(1, version(other, 1, 1, "m", "x")), at(1, 1)))
	for i := uint64(2); i <= last; i++ {
		must(t, s.Commit(ctx, batch(i, version(claim, i-1, i, "m", fmt.Sprint("v", i))), at(i, i)))
	}
	equal(t, "before the first", body(t, s, 1, claim), "none")
	for i := uint64(2); i <= last; i++ {
		equal(t, "old view", body(t, s, i, claim), fmt.Sprint("v", i))
	}
}

// testReadWhileScanning reads resources, and scans another record, in the middle
// of a scan; the resources of no member are a record of their own.
func testReadWhileScanning(t *testing.T, open Opener) {
	s, _ := begin(t, open)
	must(t, s.Commit(ctx, batch(1, version(claim, 1, 1, "m", "one"), version(other, 1, 2, "", "shared")), at(1, 2)))
	v, err := s.At(0)
	must(t, err)
	defer func() { must(t, v.Close()) }()
	seen := ""
	must(t, v.Scan("Claim", "m", false, "m", "", func(outer fhir.Version) bool {
		got, ok, err := v.Read(outer.ResourceID)
		must(t, err)
		equal(t, "read of what is scanned", ok && string(got.Body) == "one", true)
		must(t, v.Scan("Claim", "", false, "", "", func(inner fhir.Version) bool {
			seen += outer.ID + " " + inner.ID + " " + inner.Member + ";"
			return true
		}))
		return true
	}))
	equal(t, "scanned", seen, claim.ID+" "+other.ID+" ;")
}

// testReaders reads while two resources change together: every view shows them
// the same, wherever it looks, and does not change while it is open.
func testReaders(t *testing.T, open Opener) {
	s, _ := begin(t, open)
	pair := func(n uint64) commit.Batch {
		text := fmt.Sprintf("%09d", n)
		return batch(n, version(claim, n, 2*n-1, "m", text), version(other, n, 2*n, fmt.Sprint("m", n%2), text))
	}
	must(t, s.Commit(ctx, pair(1), at(1, 2)))
	done := make(chan struct{})
	var wait sync.WaitGroup
	for range 3 {
		wait.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := readPair(s); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for n := uint64(2); n < 400 && !t.Failed(); n++ {
		if n%3 == 0 {
			must(t, s.Stage(ctx, pair(n)))
			must(t, s.Commit(ctx, commit.Batch{}, at(n, 2*n)))
			continue
		}
		must(t, s.Commit(ctx, pair(n), at(n, 2*n)))
	}
	close(done)
	wait.Wait()
}

func readPair(s Store) error {
	v, err := s.At(0)
	if err != nil {
		return err
	}
	defer func() { _ = v.Close() }()
	want := fmt.Sprintf("%09d", v.Number())
	for range 2 {
		for _, id := range []fhir.ResourceID{claim, other} {
			got, _, err := v.Read(id)
			if err != nil {
				return err
			}
			if string(got.Body) != want {
				return fmt.Errorf("%s is %s in the view at %d", id, got.Body, v.Number())
			}
		}
		n := 0
		err := v.Scan("Claim", "", true, "", "", func(got fhir.Version) bool {
			if n++; string(got.Index) != "index of "+want {
				err = fmt.Errorf("%s has %q in the view at %d", got.ResourceID, got.Index, v.Number())
			}
			return true
		})
		if err != nil {
			return err
		}
		if n != 2 {
			return fmt.Errorf("%d resources in the view at %d", n, v.Number())
		}
		found := map[string]bool{}
		err = v.Postings("Claim", "name", []byte(want), []byte(want+"\x00"), func(_, id string) bool { found[id] = true; return true })
		if err != nil {
			return err
		}
		if len(found) != 2 {
			return fmt.Errorf("%d candidates in the view at %d", len(found), v.Number())
		}
	}
	return nil
}
