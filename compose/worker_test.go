package compose_test

import (
	"github.com/tributary-health/tributary/compose"
	"math/rand/v2"
	"testing"

	"github.com/tributary-health/tributary/commit"
)

type tp = commit.TopicPartition

func TestSnapshotThenTransactions(t *testing.T) {
	w := newWorld(t, 1)
	w.seed()
	w.wa.start(-1)
	w.wa.snapshot()
	w.wb.start(-1)
	w.wb.snapshot()
	store := newMemStore()
	rnd := rand.New(rand.NewPCG(1, 2))
	w.drive(t, store, rnd, nil, never)
	w.check(t, store)
	if !store.committed.frontier.Composed {
		t.Fatal("not composed after all snapshots")
	}
	for range 100 {
		w.change(w.a, 5)
		w.change(w.b, 5)
	}
	w.wa.stream()
	w.wb.stream()
	w.drive(t, store, rnd, nil, never)
	w.check(t, store)
}

// The same log, however it is cut into batches, however partitions interleave,
// and wherever the process dies, gives the same rows and resources.
func TestAnyBatchingAndAnyCrash(t *testing.T) {
	seeds := uint64(40)
	if testing.Short() {
		seeds = 5
	}
	for seed := range seeds {
		w := newWorld(t, seed)
		w.seed()
		w.a.minimal = seed%2 == 0
		rnd := rand.New(rand.NewPCG(seed, 3))
		w.capture(w.wa, 3)
		w.capture(w.wb, 3)
		store := newMemStore()
		limits := func(c *compose.Config) {
			c.MemoryBudget = []int{1, 2000, 0}[rnd.IntN(3)]
			c.GroupBytes = []int{1, 5000, 0}[rnd.IntN(3)]
			c.GroupTxs = []int{1, 3, 0}[rnd.IntN(3)]
			c.PieceVersions = []int{1, 20, 0}[rnd.IntN(3)]
			c.PreparedBytes = []int{1, 0}[rnd.IntN(2)]
			c.Readers = []int{1, 0}[rnd.IntN(2)]
			c.CacheBytes = []int{1, 0}[rnd.IntN(2)]
		}
		crashes := 30
		w.drive(t, store, rnd, limits, func() int {
			if crashes--; crashes < 0 {
				return 0
			}
			return 1 + rnd.IntN(3000)
		})
		w.check(t, store)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// capture has a source write its log, dying and restarting now and then, within
// snapshots as well, with changes in between.
func (w *world) capture(c *writer, lives int) {
	for range lives { // attempts at a snapshot that die
		c.start(w.rnd.IntN(40))
		c.snapshot()
		if !c.cut {
			break
		}
		w.change(c.s, 10)
		w.change(c.s, 10)
	}
	if c.cut || c.durable == 0 {
		c.start(-1)
		c.snapshot()
	}
	for range lives {
		for range 20 {
			w.change(c.s, 6)
		}
		c.left = w.rnd.IntN(100)
		c.stream()
		c.start(-1)
		c.stream()
	}
	if w.rnd.IntN(3) == 0 { // a new snapshot, beside which changes were missed
		w.change(c.s, 20)
		c.resnapshot()
		c.start(-1)
		c.snapshot()
		w.change(c.s, 5)
		c.stream()
	}
	c.watermark(c.s.ordinal, w.clock)
}
