package storetest

import (
	"fmt"
	"testing"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
)

// testCommits wants the order of commits back as it was written: those that
// changed no resource too, in pieces or whole, and nothing that is only staged.
func testCommits(t *testing.T, open Opener) {
	s, reopen := begin(t, open)
	var want []commit.Info
	unit := func(n uint64, versions ...commit.Version) commit.Batch {
		b := batch(n, versions...)
		u := &b.Units[0]
		u.Source, u.Position = []string{"emr", "pharmacy"}[n%2], change.Position{Generation: 1, Ordinal: 100 - n}
		u.Sources = []change.Freshness{fresh("emr", n), fresh("pharmacy", n+7)}
		want = append(want, commit.Info{Number: u.Number, Source: u.Source, Position: u.Position, Committed: u.Committed, Count: u.Count, Sources: u.Sources})
		return b
	}
	must(t, s.Commit(ctx, unit(1, version(claim, 1, 1, "m", "one")), at(1, 1)))
	must(t, s.Commit(ctx, unit(2), at(2, 1)))
	both := unit(3)
	both.Units = append(both.Units, unit(4, version(claim, 2, 2, "m", "two")).Units...)
	must(t, s.Commit(ctx, both, at(4, 2)))
	last := unit(5)
	must(t, s.Stage(ctx, last))
	committed := func(after commit.Number) (got []commit.Info) {
		must(t, s.Commits(after, func(i commit.Info) bool {
			got = append(got, i)
			return true
		}))
		return got
	}
	equal(t, "with one staged", committed(0), want[:4])
	must(t, s.Commit(ctx, commit.Batch{}, at(5, 2)))
	for range 2 {
		equal(t, "all", committed(0), want)
		equal(t, "after 3", committed(3), want[3:])
		equal(t, "after the last", len(committed(5)), 0)
		n := 0
		must(t, s.Commits(1, func(commit.Info) bool { n++; return n < 2 }))
		equal(t, "until false", n, 2)
		s = reopen()
	}
}

// testHistories wants every resource that ever was, with all that a view shows
// of it.
func testHistories(t *testing.T, open Opener) {
	s, _ := begin(t, open)
	must(t, s.Commit(ctx, batch(1, version(claim, 1, 1, "m", "one"), version(other, 1, 2, "m", "two")), at(1, 2)))
	must(t, s.Commit(ctx, batch(2, version(claim, 2, 3, "m", "")), at(2, 3)))
	must(t, s.Commit(ctx, batch(3, version(claim, 3, 4, "n", "again")), at(3, 4)))
	for number, want := range map[uint64]string{
		1: "c1:1 c2:1 ", 2: "c1:2d1 c2:1 ", 3: "c1:32d1 c2:1 ",
	} {
		v, err := s.At(number)
		must(t, err)
		got := ""
		must(t, v.Histories("Claim", func(id fhir.ResourceID, versions []fhir.Version) bool {
			got += id.ID + ":"
			for _, v := range versions {
				got += fmt.Sprint(v.Number)
				if v.Deleted {
					got += "d"
				}
			}
			got += " "
			return true
		}))
		equal(t, fmt.Sprint("at ", number), got, want)
		must(t, v.Histories("Nothing", func(fhir.ResourceID, []fhir.Version) bool { t.Fatal("a type that is not there"); return false }))
		must(t, v.Close())
	}
}

func testNotes(t *testing.T, open Opener) {
	s, reopen := begin(t, open)
	must(t, s.Note("a", []byte("one")))
	must(t, s.Note("b", []byte("two")))
	must(t, s.Note("b", nil))
	s = reopen()
	for name, want := range map[string]string{"a": "one", "b": "", "c": ""} {
		got, err := s.Noted(name)
		must(t, err)
		equal(t, "note "+name, string(got), want)
	}
}
