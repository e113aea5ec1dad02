package compose_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/compose"
	"github.com/tributary-health/tributary/fhir"
)

// flow is a world with one worker that is stepped by hand.
type flow struct {
	*world
	t     *testing.T
	store *memStore
}

// newFlow snapshots what setup made and composes it.
func newFlow(t *testing.T, setup func(w *world)) *flow {
	f := &flow{world: newWorld(t, 7), t: t, store: newMemStore()}
	setup(f.world)
	f.wa.start(-1)
	f.wa.snapshot()
	f.wb.start(-1)
	f.wb.snapshot()
	f.run(nil)
	return f
}

// run captures what the sources did and applies it, returning the versions that
// came of it, as "op Type text".
func (f *flow) run(edit func(*compose.Config)) []commit.Version {
	f.t.Helper()
	before := len(f.store.committed.order)
	f.wa.stream()
	f.wb.stream()
	f.drive(f.t, f.store, rand.New(rand.NewPCG(5, 5)), edit, never)
	f.check(f.t, f.store)
	return f.store.committed.order[before:]
}

// types lists "op Type" of the versions, sorted.
func types(vs []commit.Version) string {
	var s []string
	for _, v := range vs {
		s = append(s, string(v.Op)+" "+v.Type)
	}
	slices.Sort(s)
	return strings.Join(s, ", ")
}

func (f *flow) want(vs []commit.Version, want string) {
	f.t.Helper()
	if got := types(vs); got != want {
		f.t.Errorf("versions:\n got  %s\n want %s", got, want)
	}
}

// two has two members, one with a little of everything.
func two(w *world) {
	w.a.do(op{"a.people", nil, vals("p1", "one", "1950-01-01")}, op{"a.people", nil, vals("p2", "two", "1951-01-01")})
	w.a.do(op{"a.makers", nil, vals("k1", "maker")}, op{"a.drugs", nil, vals("d1", "drug", "k1")}, op{"a.drugs", nil, vals("d2", "other", "k1")})
	w.a.do(op{"a.orders", nil, vals("o1", "p1", "d1", "note", "2020-01-01T00:00:00")})
	w.b.do(op{"b.fills", nil, vals("f1", "p1", "o1", "c", "fill", "2020-02-01T00:00:00Z")})
	w.b.do(op{"b.claims", nil, vals("c1", "p1", "2020-03-01")}, op{"b.lines", nil, vals("l1", "c1", "line")}, op{"b.notes", nil, vals("n1", "l1", "deep")})
}

func TestOnlyWhatDependsIsComposed(t *testing.T) {
	f := newFlow(t, two)
	if n := len(f.store.committed.order); n != 2+1+2+1+1+1+1+2 {
		t.Fatalf("first composition made %d versions: %s", n, types(f.store.committed.order))
	}
	f.a.do(f.a.update("a.people", "p2", "name", "zwei"))
	f.want(f.run(nil), "update Patient")
	f.a.do(f.a.update("a.people", "p2", "name", "zwei"))
	f.want(f.run(nil), "")
	f.b.do(f.b.update("b.fills", "f1", "text", "refill"))
	f.want(f.run(nil), "update MedicationDispense, update MedicationRequest")
	f.b.do(f.b.update("b.claims", "c1", "day", "2020-03-02")) // the newest date, too
	f.want(f.run(nil), "update ChargeItem, update Communication, update Composition")
	f.b.do(f.b.update("b.claims", "c1", "day", "2019-03-02")) // the newest is now the fill's
	f.want(f.run(nil), "update ChargeItem, update Communication, update Composition")
	f.b.do(f.b.update("b.notes", "n1", "text", "deeper"))
	f.want(f.run(nil), "update ChargeItem, update Communication")
	f.b.do(f.b.update("b.fills", "f1", "code", "NULL"))
	f.want(f.run(nil), "delete MedicationDispense")
	f.b.do(f.b.update("b.fills", "f1", "code", "c"))
	f.want(f.run(nil), "create MedicationDispense")
}

func TestReferenceRowRecomposesItsUsers(t *testing.T) {
	f := newFlow(t, two)
	f.a.do(f.a.update("a.drugs", "d1", "name", "renamed"))
	f.want(f.run(nil), "update Medication, update MedicationDispense, update MedicationRequest, update Organization")
	f.a.do(f.a.update("a.makers", "k1", "name", "renamed"))
	f.want(f.run(nil), "update Medication, update Medication, update MedicationRequest, update Organization")
	f.a.do(f.a.remove("a.drugs", "d1"))
	f.want(f.run(nil), "delete Medication, update MedicationDispense, update MedicationRequest, update Organization")
}

// A row that moves leaves the one member's record by a deletion and comes into
// the other's, and both members' profiles change in the same unit.
func TestRowMovesBetweenMembers(t *testing.T) {
	f := newFlow(t, two)
	before := f.store.committed.frontier.Number
	f.b.do(f.b.update("b.fills", "f1", "who", "p2"))
	vs := f.run(nil)
	f.want(vs, "create MedicationDispense, delete MedicationDispense, update Composition, update Composition, update MedicationRequest")
	left := map[commit.Op]string{}
	for _, v := range vs {
		if v.Type == "MedicationDispense" {
			left[v.Op] = v.Member
		}

		if v.Commit != uint64(before)+1 {
			t.Errorf("%s is in unit %d", v.ResourceID, v.Commit)
		}
	}
	if left[commit.Delete] == left[commit.Create] || left[commit.Delete] == "" || left[commit.Create] == "" {
		t.Errorf("deleted in and created in: %v", left)
	}
	f.b.do(f.b.update("b.claims", "c1", "who", "p2")) // its lines and notes go with it
	f.want(f.run(nil), "create ChargeItem, create Communication, delete ChargeItem, delete Communication, update Composition, update Composition")
	f.b.do(f.b.remove("b.claims", "c1")) // they stay behind and are nobody's
	f.want(f.run(nil), "delete ChargeItem, delete Communication, update Composition")
	f.b.do(op{"b.claims", nil, vals("c1", "p1", "2020-03-01")})
	f.want(f.run(nil), "create ChargeItem, create Communication, update Composition")
}

func TestMemberParksWhole(t *testing.T) {
	f := newFlow(t, two)
	f.a.do(f.a.update("a.people", "p1", "name", "broken"), f.a.update("a.orders", "o1", "note", "lost?"), f.a.update("a.people", "p2", "name", "zwei"))
	f.want(f.run(nil), "update Patient") // p2's
	if p := f.store.committed.parked["p1"]; p.Attempts != 1 || !strings.Contains(p.Reason, "Patient from a.people") {
		t.Fatalf("parked: %+v", f.store.committed.parked)
	}
	f.b.do(f.b.update("b.fills", "f1", "text", "refill"))
	f.want(f.run(nil), "")
	if p := f.store.committed.parked["p1"]; p.Attempts != 2 {
		t.Fatalf("parked: %+v", f.store.committed.parked)
	}
	f.a.do(f.a.update("a.people", "p1", "name", "eins"))
	f.want(f.run(nil), "update Composition, update MedicationDispense, update MedicationRequest, update Patient")
	if len(f.store.committed.parked) > 0 {
		t.Fatalf("still parked: %+v", f.store.committed.parked)
	}
}

func TestReferenceRowParksAlone(t *testing.T) {
	f := newFlow(t, two)
	f.a.do(f.a.update("a.drugs", "d1", "name", "broken"))
	f.want(f.run(nil), "update MedicationDispense, update MedicationRequest, update Organization")
	if p := f.store.committed.parked["a.drugs/d1"]; p.Attempts != 1 {
		t.Fatalf("parked: %+v", f.store.committed.parked)
	}
	f.a.do(f.a.update("a.drugs", "d1", "name", "mended"))
	f.want(f.run(nil), "update Medication, update MedicationDispense, update MedicationRequest, update Organization")
	if len(f.store.committed.parked) > 0 {
		t.Fatalf("still parked: %+v", f.store.committed.parked)
	}
}

func TestRetry(t *testing.T) {
	f := newFlow(t, two)
	f.a.do(f.a.update("a.people", "p1", "name", "broken"))
	f.run(nil)
	var heard []string
	edit := func(c *compose.Config) {
		c.RetryEvery = time.Nanosecond
		c.Hooks.Parked = func(root, reason string, cleared bool) { heard = append(heard, fmt.Sprint(root, cleared)) }
	}
	f.run(edit)
	if p := f.store.committed.parked["p1"]; p.Attempts < 2 || len(heard) == 0 || heard[0] != "p1false" {
		t.Fatalf("parked: %+v, heard %v", f.store.committed.parked, heard)
	}
}

// Rows deleted between two attempts at a snapshot are no ghosts, nor are the
// resources of rows that a later snapshot does not name.
func TestNoGhosts(t *testing.T) {
	w := newWorld(t, 9)
	two(w)
	store := newMemStore()
	w.wa.start(-1)
	w.wa.snapshot()
	w.wb.start(3)
	w.wb.snapshot()
	w.drive(t, store, w.rnd, nil, never)
	if store.committed.frontier.Composed || len(store.committed.order) > 0 {
		t.Fatal("composed before every snapshot has ended")
	}
	for _, table := range []string{"b.fills", "b.claims", "b.lines", "b.notes"} {
		for key := range w.b.rows[table] {
			w.b.do(w.b.remove(table, key))
		}
	}
	w.wb.start(-1)
	w.wb.snapshot()
	w.drive(t, store, w.rnd, nil, never)
	w.check(t, store)
	w.a.do(w.a.remove("a.orders", "o1"))
	w.a.do(w.a.remove("a.people", "p1"))
	w.a.do(w.a.remove("a.drugs", "d2"))
	w.wa.resnapshot() // the log of these is lost
	w.wa.start(-1)
	w.wa.snapshot()
	w.drive(t, store, w.rnd, nil, never)
	w.check(t, store)
	if !store.committed.frontier.Composed {
		t.Fatal("not composed")
	}
}

// While any source's snapshot is open, transactions of the others change row
// state only; what they did comes with the composition after it.
func TestNothingIsComposedWhileASnapshotIsOpen(t *testing.T) {
	f := newFlow(t, two)
	before := len(f.store.committed.order)
	shown := f.store.committed.frontier.Sources["a"].Freshness
	f.wb.resnapshot()
	f.wb.start(4)
	f.wb.snapshot()
	f.a.do(f.a.update("a.people", "p1", "name", "eins"), f.a.remove("a.people", "p2"))
	f.wa.stream()
	w := f.drive(t, f.store, f.rnd, nil, never)
	if n := len(f.store.committed.order); n != before || w.Status().Composed {
		t.Fatalf("%d versions came, status says composed: %v", n-before, w.Status().Composed)
	}
	a := f.store.committed.frontier.Sources["a"]
	var p struct{ Applied change.Freshness }
	if err := json.Unmarshal(a.Extra, &p); err != nil || p.Applied.Position.Ordinal < f.a.ordinal {
		t.Fatalf("the other source waits: %v, %v", p.Applied, err)
	}
	if a.Freshness != shown {
		t.Errorf("resources stand still at %v, and are said to be as fresh as %v", shown, a.Freshness)
	}
	f.wb.start(-1)
	f.wb.snapshot()
	f.want(f.run(nil), "delete Composition, delete Patient, update Patient")
}

// A transaction with many rows is applied in pieces, within the memory budget,
// and seen at once.
func TestLargeTransaction(t *testing.T) {
	f := newFlow(t, two)
	n := 0
	f.a.doEach(6_000, func() op {
		n++
		return op{"a.orders", nil, vals(fmt.Sprintf("o%d", n+100), fmt.Sprintf("p%d", n%50), "d1", "note", "2020-01-01T00:00:00")}
	})
	f.a.do(f.a.update("a.people", "p2", "name", "after"))
	commits := f.store.commits
	f.store.staged = 0
	vs := f.run(func(c *compose.Config) { c.GroupBytes, c.MemoryBudget, c.PieceVersions = 100_000, 10_000, 200 })
	if len(vs) < 6_000 || vs[0].Commit != vs[6_000].Commit {
		t.Fatalf("%d versions", len(vs))
	}
	if f.store.staged > 2000 || f.store.commits-commits > 3 {
		t.Errorf("largest piece %d, %d commits", f.store.staged, f.store.commits-commits)
	}
	f.a.doEach(3_000, func() op {
		n--
		return f.a.remove("a.orders", fmt.Sprintf("o%d", n+101))
	})
	f.want(f.run(func(c *compose.Config) { c.GroupBytes, c.MemoryBudget = 100_000, 10_000 })[:1], "update Composition")
}

// From the same point on, the same log gives the same history, member by member,
// however it is read.
func TestSameHistory(t *testing.T) {
	f := newFlow(t, func(w *world) { w.seed() })
	base := f.store.committed.clone()
	for range 60 {
		f.change(f.a, 6)
	}
	f.wa.stream()
	var first map[string][]string
	for seed := range uint64(8) {
		rnd := rand.New(rand.NewPCG(seed, 8))
		store := &memStore{committed: base.clone(), work: base.clone()}
		crashes := 10
		f.drive(t, store, rnd, func(c *compose.Config) { c.GroupTxs, c.PieceVersions = 1+rnd.IntN(5), 1+rnd.IntN(50) }, func() int {
			if crashes--; crashes < 0 {
				return 0
			}
			return 1 + rnd.IntN(500)
		})
		f.check(t, store)
		if got := store.histories(); first == nil {
			first = got
		} else if !maps.EqualFunc(first, got, slices.Equal[[]string]) {
			t.Fatalf("seed %d gave another history", seed)
		}
	}
}

// An update of a row that was never seen is refused, by name and without a
// value.
func TestUpdateOfAnUnknownRow(t *testing.T) {
	f := newFlow(t, two)
	secret := vals("o9", "p1", "d1", "secret", "2020-01-01T00:00:00")
	f.a.do(op{"a.orders", secret, vals("o9", "p1", "d2", "secret", "2020-01-01T00:00:00")})
	f.wa.stream()
	w, err := compose.New(compose.Config{Set: f.set, Store: f.store, Sources: []string{"a", "b"}, Partitions: partitions, ChangePartitions: 3,
		Feed: &simFeed{log: f.log, next: maps.Clone(f.store.Frontier().Offsets), rnd: f.rnd, batch: 30}})
	for err == nil {
		err = w.Step(context.Background())
	}
	var e *compose.Error
	if errors.Is(err, io.EOF) || !errors.As(err, &e) || e.Table.String() != "a.orders" || e.Position.IsZero() || strings.Contains(err.Error(), "secret") {
		t.Fatalf("got %v", err)
	}
	if err2 := w.Step(context.Background()); !errors.Is(err2, err) {
		t.Fatalf("after an error: %v", err2)
	}
}

func TestStatusCounts(t *testing.T) {
	f := newFlow(t, two)
	f.b.do(op{"b.fills", nil, vals("f2", "p1", "o1", "NULL", "fill", "2020-02-01T00:00:00Z")}, op{"b.fills", nil, vals("f3", "p2", "o1", "NULL", "fill", "2020-02-01T00:00:00Z")})
	f.b.do(op{"b.fills", nil, vals("f4", "p2", "o1", "NULL", "fill", "2020-02-01T00:00:00Z")}, f.b.update("b.fills", "f1", "code", "NULL"))
	f.wb.stream()
	f.b.do(f.b.remove("b.fills", "f2"), f.b.update("b.fills", "f3", "code", "c"), f.b.update("b.fills", "f4", "who", "p1"))
	f.b.do(op{"b.fills", vals("f9", "p1", "o1", "c", "x", "2020-02-01T00:00:00Z"), nil})
	f.wb.stream()
	s := f.drive(t, f.store, f.rnd, nil, never).Status()
	if got := s.Skipped["b.fills"]["fill without a code"]; got != 2 { // f1 and f4
		t.Errorf("%d fills skipped", got)
	}
	b := s.Sources[1]
	if b.Source != "b" || b.Rows["fills"] != 3 || b.Rows["lines"] != 1 || b.Missing != 1 || b.Snapshot || !s.Composed {
		t.Errorf("%+v", s)
	}
}

// Other mappings have everything composed again from the rows that are there;
// joins that were not needed before work, too.
func TestOtherMappings(t *testing.T) {
	f := newFlow(t, two)
	f.set = loadMappings(t, "note: [{text: '= row.text'}, {text: '= order == null", "location: {display: '= maker == null ? \"\" : maker.name'}\n  note: [{text: '= row.text'}, {text: '= order == null",
		"  drug: {one: a.drugs, key: order.drug}\n", "  drug: {one: a.drugs, key: order.drug}\n  maker: {one: a.makers, key: code}\n",
		"resource: Communication", "resource: Basic", "  status: completed\n  note: [{text: '= row.text'}, {text: '= line.text'}, {text: '= claim == null ? \"none\" : claim.day'}]",
		"  code: {text: '= row.text'}")
	f.a.do(op{"a.makers", nil, vals("c", "linked by code")})
	f.want(f.run(nil), "create Basic, create Organization, delete Communication, update MedicationDispense")
	f.a.do(f.a.update("a.makers", "c", "name", "renamed"))
	f.want(f.run(nil), "update MedicationDispense, update Organization")
}

// A store whose search entries another version made is refused: searches would
// not find what it holds.
func TestOtherSearchEntries(t *testing.T) {
	f := newFlow(t, two)
	f.run(nil)
	at := f.store.committed.frontier
	old := bytes.Replace(at.Extra, []byte(fhir.IndexVersion()), []byte("0123456789abcdef"), 1)
	if bytes.Equal(old, at.Extra) {
		t.Fatal("the frontier does not say which version made the search entries")
	}
	f.store.committed.frontier.Extra = old
	_, err := compose.New(compose.Config{Set: f.set, Store: f.store, Feed: &idleFeed{}, Sources: []string{"a", "b"}, ChangePartitions: 3, SpillDir: t.TempDir()})
	if !errors.Is(err, compose.ErrIndex) {
		t.Errorf("got %v, want ErrIndex", err)
	}
}

// idleFeed gives what it has and then waits for ctx.
type idleFeed struct{ recs []compose.Record }

func (f *idleFeed) Poll(ctx context.Context) ([]compose.Record, error) {
	if recs := f.recs; len(recs) > 0 {
		f.recs = nil
		return recs, nil
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// A watermark alone is committed, a little later; then the worker waits.
func TestWatermarkIsCommittedWhenIdle(t *testing.T) {
	f := newFlow(t, two)
	from := f.store.Frontier()
	f.wa.watermark(f.a.ordinal+100, f.clock)
	feed := &idleFeed{}
	for at, recs := range f.log.parts {
		feed.recs = append(feed.recs, recs[from.Offsets[at]:]...)
	}
	cfg := compose.Config{Set: f.set, Store: f.store, Sources: []string{"a", "b"}, Partitions: partitions, ChangePartitions: 3, Feed: feed}
	f.withTokens(&cfg, f.store)
	w, err := compose.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for range 10 {
		if err := w.Step(ctx); err != nil {
			t.Fatal(err)
		}
		if f.store.Frontier().Sources["a"].Position.Ordinal == f.a.ordinal+103 {
			if f.store.Frontier().Number != from.Number {
				t.Error("a watermark took a commit number")
			}
			cancel()
			if err := w.Run(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("Run returned %v", err)
			}
			return
		}
	}
	t.Fatalf("the frontier is at %s", f.store.Frontier().Sources["a"].Position)
}

// A log that begins after its snapshot is refused.
func TestLogWithoutBase(t *testing.T) {
	w := newWorld(t, 3)
	w.wa.durable, w.wa.incarnation = 50, 4
	w.wa.start(-1)
	wk, err := compose.New(compose.Config{Set: w.set, Store: newMemStore(), Sources: []string{"a", "b"}, Partitions: partitions,
		Feed: &simFeed{log: w.log, next: map[tp]int64{}, rnd: w.rnd, batch: 30}})
	for err == nil {
		err = wk.Step(context.Background())
	}
	if errors.Is(err, io.EOF) || !strings.Contains(err.Error(), "no base") {
		t.Fatalf("got %v", err)
	}
}
