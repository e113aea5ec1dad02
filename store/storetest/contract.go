package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/store"
)

var (
	ctx   = context.Background()
	claim = fhir.ResourceID{Type: "Claim", ID: "c1"}
	other = fhir.ResourceID{Type: "Claim", ID: "c2"}
	fills = change.Table{Source: "emr", Name: "t"}
)

// version makes one in partition 0.
func version(id fhir.ResourceID, number, outbox uint64, member, body string) commit.Version {
	v := commit.Version{Op: commit.Update, Outbox: outbox}
	v.ResourceID, v.Number, v.Member = id, number, member
	v.Updated = epoch
	if number == 1 {
		v.Op = commit.Create
	}
	if body == "" {
		v.Op, v.Deleted = commit.Delete, true
		return v
	}
	v.Body, v.Index = []byte(body), []byte("index of "+body)
	v.Postings = []commit.Posting{{Param: "name", Value: []byte(body)}}
	return v
}

func batch(number uint64, versions ...commit.Version) commit.Batch {
	return commit.Batch{Units: []commit.Unit{{Number: commit.Number(number), Committed: epoch, Count: uint32(len(versions)), Versions: versions}}}
}

func at(number uint64, outbox ...uint64) commit.Frontier {
	return commit.Frontier{Number: commit.Number(number), Outbox: outbox}
}

// begin opens a store in a new directory.
func begin(t *testing.T, open Opener) (Store, func() Store) {
	dir := t.TempDir()
	s := open(t, dir)
	t.Cleanup(func() { must(t, s.Close()) })
	return s, func() Store {
		must(t, s.Close())
		s = open(t, dir)
		return s
	}
}

func body(t testing.TB, s Store, number uint64, id fhir.ResourceID) string {
	t.Helper()
	v, err := s.At(number)
	must(t, err)
	defer func() { must(t, v.Close()) }()
	got, ok, err := v.Read(id)
	must(t, err)
	switch {
	case !ok:
		return "none"
	case got.Deleted:
		return "deleted"
	}
	return string(got.Body)
}

func testEmpty(t *testing.T, open Opener) {
	s, _ := begin(t, open)
	m := newModel()
	compareState(t, s, m)
	compareFrontier(t, s, m)
	compareOutbox(t, s, m, s.Frontier().Generation)
	v, err := s.At(0)
	must(t, err)
	equal(t, "Number", v.Number(), uint64(0))
	equal(t, "Read", body(t, s, 0, claim), "none")
	if len(v.Freshness()) != 0 {
		t.Fatal("an empty store is fresh")
	}
	must(t, v.Close())
}

// testStagedIsInvisible stages over everything a view shows.
func testStagedIsInvisible(t *testing.T, open Opener) {
	s, _ := begin(t, open)
	must(t, s.Commit(ctx, batch(1, version(claim, 1, 1, "m", "one")), at(1, 1)))
	must(t, s.Stage(ctx, batch(2, version(claim, 2, 2, "n", "two"), version(other, 1, 3, "m", "new"))))
	equal(t, "Frontier", s.Frontier().Number, commit.Number(1))
	equal(t, "staged update", body(t, s, 0, claim), "one")
	equal(t, "staged create", body(t, s, 0, other), "none")
	v, err := s.At(0)
	must(t, err)
	_, ok, err := v.VRead(claim, 2)
	must(t, err)
	equal(t, "VRead of a staged version", ok, false)
	n := 0
	must(t, v.History(claim, 0, func(v fhir.Version) bool { n += int(v.Number); return true }))
	equal(t, "versions in the history", n, 1)
	for member, want := range map[string]int{"m": 1, "n": 0} {
		n := 0
		must(t, v.Scan("Claim", member, false, "", "", func(v fhir.Version) bool {
			n++
			equal(t, "Scan's index", string(v.Index), "index of one")
			return true
		}))
		equal(t, "Scan of "+member, n, want)
	}
	must(t, v.Postings("Claim", "name", nil, []byte("z"), func(_, id string) bool {
		equal(t, "candidate", id, claim.ID)
		return true
	}))
	must(t, s.Announcements(0, 1, func(number uint64, _ commit.Announcement) bool {
		t.Fatalf("outbox number %d is announced before its commit", number)
		return true
	}))
	head, _, err := s.Head(claim)
	must(t, err)
	equal(t, "composition's own head", head.Number, uint64(2))
}

func testStagedIsGone(t *testing.T, open Opener) {
	s, reopen := begin(t, open)
	row := func(body string) commit.Batch {
		b := batch(2, version(claim, 2, 2, "n", "two "+body))
		b.Units[0].Rows = []commit.Row{{Table: fills, Route: "1", Key: "1", Body: []byte(body)}, {Table: fills, Route: "1", Key: "2", Deleted: true}}
		b.Units[0].Parked = []commit.Parked{{Root: "r", Since: epoch}}
		return b
	}
	first := batch(1, version(claim, 1, 1, "m", "one"))
	first.Units[0].Rows = []commit.Row{{Table: fills, Route: "1", Key: "1", Body: []byte("old")}, {Table: fills, Route: "1", Key: "2", Body: []byte("kept")}}
	must(t, s.Commit(ctx, first, at(1, 1)))
	must(t, s.Stage(ctx, row("a")))
	again := row("b")
	again.Units[0].Versions[0] = version(claim, 3, 3, "o", "")
	must(t, s.Stage(ctx, again))
	s = reopen()
	m := newModel()
	m.apply(first.Units[0])
	m.frontier = at(1, 1)
	compareState(t, s, m)
	equal(t, "Read", body(t, s, 0, claim), "one")
	must(t, s.Commit(ctx, batch(2, version(claim, 2, 2, "m", "other two")), at(2, 2)))
	equal(t, "Read", body(t, s, 0, claim), "other two")
	s = reopen()
	equal(t, "Read", body(t, s, 0, claim), "other two")
	equal(t, "Read", body(t, s, 1, claim), "one")
}

func testStagedThenCommitted(t *testing.T, open Opener) {
	s, reopen := begin(t, open)
	must(t, s.Stage(ctx, batch(1, version(claim, 1, 1, "m", "one"))))
	must(t, s.Stage(ctx, batch(1, version(other, 1, 2, "m", "two"))))
	must(t, s.Commit(ctx, commit.Batch{}, at(1, 2)))
	for range 2 {
		equal(t, "first piece", body(t, s, 0, claim), "one")
		equal(t, "second piece", body(t, s, 0, other), "two")
		v, err := s.At(1)
		must(t, err)
		equal(t, "Committed", v.Committed(), epoch)
		must(t, v.Close())
		s = reopen()
	}
}

// testOrder gives what is out of order, and wants it refused without a trace.
func testOrder(t *testing.T, open Opener) {
	s, reopen := begin(t, open)
	must(t, s.Commit(ctx, batch(1, version(claim, 1, 1, "m", "one")), at(1, 1)))
	elsewhere := at(2, 2)
	elsewhere.Generation = "another"
	for name, c := range map[string]struct {
		b commit.Batch
		f commit.Frontier
	}{
		"number skipped":             {batch(3, version(other, 1, 2, "m", "x")), at(3, 2)},
		"number again":               {batch(1, version(other, 1, 2, "m", "x")), at(1, 2)},
		"version skipped":            {batch(2, version(claim, 3, 2, "m", "x")), at(2, 2)},
		"version again":              {batch(2, version(claim, 1, 2, "m", "x")), at(2, 2)},
		"version of nothing":         {batch(2, version(other, 2, 2, "m", "x")), at(2, 2)},
		"outbox skipped":             {batch(2, version(other, 1, 3, "m", "x")), at(2, 3)},
		"outbox again":               {batch(2, version(other, 1, 1, "m", "x")), at(2, 1)},
		"frontier's outbox behind":   {batch(2, version(other, 1, 2, "m", "x")), at(2, 1)},
		"frontier back":              {commit.Batch{}, at(0, 1)},
		"frontier ahead":             {commit.Batch{}, at(2, 1)},
		"frontier before its unit":   {batch(2, version(other, 1, 2, "m", "x")), at(1, 2)},
		"frontier of another's data": {batch(2, version(other, 1, 2, "m", "x")), elsewhere},
	} {
		if err := s.Commit(ctx, c.b, c.f); !errors.Is(err, store.ErrOrder) {
			t.Fatalf("%s: %v", name, err)
		}
		equal(t, name, body(t, s, 0, other), "none")
		equal(t, name, s.Frontier().Number, commit.Number(1))
	}
	newType := version(fhir.ResourceID{Type: "Fresh", ID: "1"}, 1, 2, "m", "x")
	refused := batch(2, newType, version(other, 5, 3, "m", "x"))
	if err := s.Commit(ctx, refused, at(2, 3)); !errors.Is(err, store.ErrOrder) {
		t.Fatal(err)
	}
	must(t, s.Commit(ctx, batch(2, newType), at(2, 2)))
	s = reopen()
	equal(t, "a type whose first commit was refused", body(t, s, 0, newType.ResourceID), "x")
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.Commit(canceled, batch(3, version(other, 1, 3, "m", "x")), at(3, 3)); !errors.Is(err, context.Canceled) {
		t.Fatalf("canceled: %v", err)
	}
	equal(t, "canceled", s.Frontier().Number, commit.Number(2))
}

// testGroup commits several units, each replacing what the one before wrote.
func testGroup(t *testing.T, open Opener) {
	s, _ := begin(t, open)
	var b commit.Batch
	for i := uint64(1); i <= 12; i++ {
		u := batch(i, version(claim, i, i, fmt.Sprint("m", i%2), fmt.Sprint("v", i))).Units[0]
		u.Sources = []change.Freshness{fresh("emr", i)}
		b.Units = append(b.Units, u)
	}
	f := at(12, 12)
	f.Sources = map[string]commit.Progress{"emr": {Freshness: fresh("emr", 99)}}
	must(t, s.Commit(ctx, b, f))
	for i := uint64(1); i <= 12; i++ {
		equal(t, "Read", body(t, s, i, claim), fmt.Sprint("v", i))
		v, err := s.At(i)
		must(t, err)
		want := i
		if i == 12 {
			want = 99 // the frontier has seen a watermark since
		}
		equal(t, "Freshness", v.Freshness(), []change.Freshness{fresh("emr", want)})
		must(t, v.Close())
	}
}

// testMove moves a resource between members and back, deletes and makes it
// again, and looks at every place at every number.
func testMove(t *testing.T, open Opener) {
	s, _ := begin(t, open)
	where := []string{"", "a", "b", "a", "a", "-", "b", "-", "c"} // "-": deleted
	member := ""
	for i := 1; i < len(where); i++ {
		text := fmt.Sprint("v", i)
		if where[i] == "-" {
			text = ""
		} else {
			member = where[i]
		}
		n := uint64(i)
		must(t, s.Commit(ctx, batch(n, version(claim, n, n, member, text)), at(n, n)))
		for at := 1; at <= i; at++ {
			v, err := s.At(uint64(at))
			must(t, err)
			for _, m := range []string{"a", "b", "c"} {
				var got []string
				must(t, v.Scan("Claim", m, false, "", "", func(v fhir.Version) bool {
					got = append(got, string(v.Index))
					return true
				}))
				var want []string
				if where[at] == m {
					want = []string{fmt.Sprint("index of v", at)}
				}
				equal(t, fmt.Sprintf("member %s at %d of %d", m, at, i), got, want)
			}
			must(t, v.Close())
		}
	}
}

func testRows(t *testing.T, open Opener) {
	s, _ := begin(t, open)
	b := commit.Batch{Units: []commit.Unit{{Number: 1, Committed: epoch, Rows: []commit.Row{
		{Table: fills, Key: "reference", Body: []byte("r")},
		{Table: fills, Route: "1", Key: "gone", Deleted: true},
		{Table: fills, Route: "1", Key: "twice", Body: []byte("a")},
		{Table: fills, Route: "1", Key: "twice", Body: []byte("b")},
		{Table: fills, Route: "1", Key: "empty", Body: []byte{}},
	}}}}
	must(t, s.Commit(ctx, b, at(1)))
	got, err := s.Row(fills, "1", "twice")
	must(t, err)
	equal(t, "the later of two", string(got), "b")
	got, err = s.Row(fills, "1", "empty")
	must(t, err)
	equal(t, "an empty body is there", got != nil, true)
	got, err = s.Row(fills, "1", "gone")
	must(t, err)
	equal(t, "what is not there", got == nil, true)
	n := 0
	must(t, s.Rows(fills, "1", func(string, []byte) bool { n++; return false }))
	equal(t, "Rows that is stopped", n, 1)
}

// testGroupedRows reads each of several tables with the same routes, some grouped
// and some not, of which some change their mind.
func testGroupedRows(t *testing.T, open Opener) {
	s, reopen := begin(t, open)
	named := func(n int) change.Table { return change.Table{Source: "emr", Name: fmt.Sprint("t", n)} }
	grouped := func(n int, number uint64) bool { return n%2 == 0 != (n%3 == 0 && number > 1) }
	const count = 6
	want := map[int][]rowID{}
	bodies := map[rowID]string{}
	for number := uint64(1); number <= 3; number++ {
		b := batch(number)
		for n := range count {
			for i, route := range routes {
				if (n+i)%3 == 0 {
					continue
				}
				for _, key := range []string{fmt.Sprint(number), "\x00", fmt.Sprint("k", number)} {
					id := rowID{named(n), route, key}
					if bodies[id] == "" {
						want[n] = append(want[n], id)
					}
					bodies[id] = fmt.Sprint(n, number)
					b.Units[0].Rows = append(b.Units[0].Rows, commit.Row{Table: id.table, Route: route, Key: key, Grouped: grouped(n, number), Body: []byte(bodies[id])})
				}
			}
		}
		must(t, s.Commit(ctx, b, at(number)))
		for n := range count {
			slices.SortFunc(want[n], func(a, b rowID) int { return cmp.Or(cmp.Compare(a.route, b.route), cmp.Compare(a.key, b.key)) })
			compareTable(t, s, named(n), want[n], bodies)
		}
		if number == 2 {
			s = reopen()
		}
	}
}

// compareTable wants these rows and no others, however they are asked for.
func compareTable(t *testing.T, s Store, table change.Table, want []rowID, bodies map[rowID]string) {
	t.Helper()
	var all, parts []rowID
	must(t, s.AllRows(table, "", "", func(route, key string, body []byte) bool {
		all = append(all, rowID{table, route, key})
		equal(t, "AllRows body", string(body), bodies[rowID{table, route, key}])
		return true
	}))
	equal(t, "AllRows", all, want)
	must(t, s.Routes(table, func(route string) bool {
		must(t, s.Rows(table, route, func(key string, body []byte) bool {
			parts = append(parts, rowID{table, route, key})
			equal(t, "Rows body", string(body), bodies[rowID{table, route, key}])
			return true
		}))
		return true
	}))
	equal(t, "Rows of all routes", parts, want)
	for _, id := range want {
		body, err := s.Row(table, id.route, id.key)
		must(t, err)
		equal(t, "Row", string(body), bodies[id])
	}
	comparePages(t, s, table, want)
}

func testChanged(t *testing.T, open Opener) {
	s, _ := begin(t, open)
	c := s.Changed()
	must(t, s.Stage(ctx, batch(1, version(claim, 1, 1, "m", "one"))))
	select {
	case <-c:
		t.Fatal("Changed by what is only staged")
	default:
	}
	must(t, s.Commit(ctx, commit.Batch{}, at(1, 1)))
	<-c
	select {
	case <-s.Changed():
		t.Fatal("Changed again")
	default:
	}
}

func testPublished(t *testing.T, open Opener) {
	s, reopen := begin(t, open)
	const entries = 9000
	var b commit.Batch
	u := batch(1).Units[0]
	for i := uint64(1); i <= entries; i++ {
		u.Versions = append(u.Versions, version(fhir.ResourceID{Type: "Claim", ID: fmt.Sprint(i)}, 1, i, "m", "x"))
	}
	b.Units = append(b.Units, u)
	must(t, s.Commit(ctx, b, at(1, entries)))
	if err := s.Published(ctx, 0, entries+1); err == nil {
		t.Fatal("published what is not there")
	}
	for _, mark := range []uint64{1, 5000, 4000, 8999} {
		must(t, s.Published(ctx, 0, mark))
	}
	got, err := s.Mark(0)
	must(t, err)
	equal(t, "Mark", got, uint64(8999))
	equal(t, "Mark of another partition", first(s.Mark(1)), uint64(0))
	must(t, s.Commit(ctx, commit.Batch{}, at(1, entries))) // the mark itself need not be durable
	s = reopen()
	equal(t, "Mark after reopen", first(s.Mark(0)), uint64(8999))
	n := uint64(8999)
	must(t, s.Announcements(0, n, func(number uint64, a commit.Announcement) bool { n = number; return true }))
	equal(t, "last announced", n, uint64(entries))
}

func first[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func testGeneration(t *testing.T, open Opener) {
	a, reopen := begin(t, open)
	b, _ := begin(t, open)
	generation := a.Frontier().Generation
	if generation == b.Frontier().Generation {
		t.Fatal("two stores have one generation")
	}
	must(t, a.Commit(ctx, batch(1, version(claim, 1, 1, "m", "one")), at(1, 1)))
	must(t, a.Announcements(0, 0, func(_ uint64, an commit.Announcement) bool {
		equal(t, "announced generation", an.Generation, generation)
		return true
	}))
	equal(t, "generation after a commit", a.Frontier().Generation, generation)
	equal(t, "generation after reopen", reopen().Frontier().Generation, generation)
}

func testAbove(t *testing.T, open Opener) {
	s, _ := begin(t, open)
	must(t, s.Stage(ctx, batch(1, version(claim, 1, 1, "m", "one"))))
	if _, err := s.At(1); !errors.Is(err, store.ErrAbove) {
		t.Fatalf("view above the frontier: %v", err)
	}
}
