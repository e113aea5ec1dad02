package compose_test

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/compose"
)

// Commits makes a memStore a compose.Order.
func (s *memStore) Commits(after commit.Number, fn func(commit.Info) bool) error {
	for n := after + 1; n <= s.committed.frontier.Number; n++ {
		if !fn(*s.committed.units[n]) {
			return nil
		}
	}
	return nil
}

// of is the part of the log that is the source's.
func (l *simLog) of(source string) *simLog {
	own := newSimLog()
	for tp, recs := range l.parts {
		if strings.HasPrefix(tp.Topic, "cdc."+source+".") {
			own.parts[tp] = recs
		}
	}
	return own
}

// replayInto replays the world's log in the order of another store, through
// crashes.
func (w *world) replayInto(t *testing.T, store, order *memStore, rnd *rand.Rand, edit func(*compose.ReplayConfig), crashes int) error {
	t.Helper()
	for {
		cfg := compose.ReplayConfig{Config: compose.Config{
			Set: w.set, Store: store, Sources: []string{"a", "b"}, Partitions: partitions, ChangePartitions: 3,
			SpillDir: t.TempDir(), GroupTxs: 1 + rnd.IntN(9), PieceVersions: 1 + rnd.IntN(50),
		}, Order: order, Feeds: map[string]compose.Feed{}, Last: order.Frontier().Number}
		for _, source := range cfg.Sources {
			f := &simFeed{log: w.log.of(source), next: map[tp]int64{}, rnd: rnd, batch: 30}
			for at, next := range store.Frontier().Offsets {
				if f.log.parts[at] != nil {
					f.next[at] = next
				}
			}
			cfg.Feeds[source] = f
		}
		w.withTokens(&cfg.Config, store)
		if edit != nil {
			edit(&cfg)
		}
		store.failAt = 0
		if crashes > 0 {
			crashes--
			store.failAt = int(store.calls.Load()) + 1 + rnd.IntN(800)
		}
		err := compose.Replay(context.Background(), cfg)
		if !errors.Is(err, errInjected) {
			return err
		}
		store.reopen()
	}
}

// recorded is a world with a long life behind it: snapshots that died, one that
// was taken again, transactions of both sources in an order that only the store
// knows, members that could not be composed.
func recorded(t *testing.T, seed uint64) (*world, *memStore) {
	w, store := newWorld(t, seed), newMemStore()
	w.seed()
	rnd := rand.New(rand.NewPCG(seed, 3))
	crashes := 6
	apply := func() {
		w.drive(t, store, rnd, func(c *compose.Config) { c.GroupTxs, c.PieceVersions = 1+rnd.IntN(5), 1+rnd.IntN(50) }, func() int {
			if crashes--; crashes < 0 || rnd.IntN(2) == 0 {
				return 0
			}
			return 1 + rnd.IntN(400)
		})
	}
	w.wa.start(3 + rnd.IntN(20)) // dies within its snapshot
	w.wa.snapshot()
	apply()
	w.wa.start(-1)
	w.wa.snapshot()
	w.wb.start(-1)
	w.wb.snapshot()
	apply()
	for round := range 12 {
		for range 4 {
			w.change([]*system{w.a, w.b}[rnd.IntN(2)], 5)
		}
		if round == 6 {
			w.wa.stream()
			w.wb.stream()
			w.change(w.a, 5)
			w.wa.resnapshot()
			w.wa.start(-1)
			w.wa.snapshot()
		}
		if round == 3 || round == 9 { // a reader that died and came again
			w.wb.start(rnd.IntN(30))
			w.wb.stream()
			w.wb.start(-1)
		}
		w.wa.stream()
		w.wb.stream()
		if round%3 > 0 {
			apply()
		}
	}
	apply()
	return w, store
}

// The recorded order gives the same history, number by number, whatever is
// killed meanwhile.
func TestReplayInTheRecordedOrder(t *testing.T) {
	for seed := range uint64(12) {
		w, store := recorded(t, seed)
		rnd := rand.New(rand.NewPCG(seed, 4))
		again := newMemStore()
		if err := w.replayInto(t, again, store, rnd, nil, int(seed%5)); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		sameStore(t, seed, again, store)
		w.check(t, again)
	}
}

func sameStore(t *testing.T, seed uint64, got, want *memStore) {
	t.Helper()
	if g, w := got.histories(), want.histories(); !maps.EqualFunc(w, g, slices.Equal[[]string]) {
		t.Fatalf("seed %d: another history: %d versions, want %d", seed, len(got.committed.order), len(want.committed.order))
	}
	if g, w := got.Frontier(), want.Frontier(); g.Number != w.Number || !slices.Equal(g.Outbox, w.Outbox) {
		t.Fatalf("seed %d: frontier %d %v, want %d %v", seed, g.Number, g.Outbox, w.Number, w.Outbox)
	}
	for id, versions := range want.committed.versions {
		for i, v := range versions {
			if v.Commit != got.committed.versions[id][i].Commit {
				t.Fatalf("seed %d: %s version %d is of commit %d, want %d", seed, id, v.Number, got.committed.versions[id][i].Commit, v.Commit)
			}
		}
	}
	if g, w := got.holdings(), want.holdings(); !maps.Equal(g, w) || len(g) == 0 {
		t.Fatalf("seed %d: %d resources have tokens, or others than the %d that have to", seed, len(g), len(w))
	}
	for n, info := range want.committed.units {
		if g := got.committed.units[n]; g == nil || g.Source != info.Source || g.Position != info.Position || !g.Committed.Equal(info.Committed) || !slices.Equal(g.Sources, info.Sources) {
			t.Fatalf("seed %d: commit %d is %+v, want %+v", seed, n, g, info)
		}
	}
}

// There are histories that only their own order gives: without the record, a
// replay gives the same resources and another history.
func TestOrderMatters(t *testing.T) {
	other := 0
	for seed := range uint64(6) {
		w, store := recorded(t, seed)
		again := newMemStore()
		w.drive(t, again, rand.New(rand.NewPCG(seed, 9)), nil, never)
		w.check(t, again)
		if !maps.EqualFunc(store.histories(), again.histories(), slices.Equal[[]string]) {
			other++
		}
	}
	if other == 0 {
		t.Fatal("no order gave another history: the test of the recorded order proves nothing")
	}
}

// A log that lost what was committed is refused, by source and position.
func TestReplayOfALogWithAHole(t *testing.T) {
	for _, topic := range []string{"cdc.a.tx", "cdc.b.tx", "cdc.a.people", "cdc.b.fills"} {
		w, store := recorded(t, 1)
		for at, recs := range w.log.parts {
			if at.Topic == topic {
				w.log.parts[at] = recs[:0]
			}
		}
		err := w.replayInto(t, newMemStore(), store, rand.New(rand.NewPCG(1, 1)), nil, 0)
		if !errors.Is(err, compose.ErrLogLacks) {
			t.Errorf("%s: %v", topic, err)
		}
		t.Log(err)
	}
}

// Other mappings give the history that they would have made, under the same
// commit numbers.
func TestReplayWithOtherMappings(t *testing.T) {
	w, store := recorded(t, 2)
	w.set = loadMappings(t, `"profile "`, `"summary "`)
	again := newMemStore()
	start := time.Now()
	if err := w.replayInto(t, again, store, rand.New(rand.NewPCG(2, 4)), nil, 0); err != nil {
		t.Fatal(err)
	}
	w.check(t, again)
	if got, want := again.Frontier().Number, store.Frontier().Number; got != want {
		t.Errorf("commit %d, want %d (%v)", got, want, time.Since(start))
	}
}
