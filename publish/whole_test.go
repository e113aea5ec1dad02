package publish_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/publish"
)

// growing is an outbox whose frontier moves while it is read.
type growing struct {
	*outbox
	unit commit.Number
	grow func()
}

func (g *growing) Announcements(partition int32, after uint64, fn func(uint64, commit.Announcement) bool) error {
	err := g.outbox.Announcements(partition, after, fn)
	if g.grow != nil {
		g.grow()
	}
	return err
}

// addUnit makes the next commit visible: so many versions in each partition.
func (g *growing) addUnit(source string, versions ...int) {
	g.unit++
	for p, n := range versions {
		for range n {
			g.add(int32(p))
			g.mu.Lock()
			e := &g.entries[int32(p)][len(g.entries[int32(p)])-1]
			e.Info.Number, e.Info.Source = g.unit, source
			g.mu.Unlock()
		}
	}
}

// txTopic is a topic in memory that commits transactions whole, or fails before
// or after it has.
type txTopic struct {
	*topic
	sizes   []int    // of each transaction
	commits [][]bool // of each, which commits it holds
	asked   bool     // Last was, since the last failure
	tb      testing.TB
}

func (t *txTopic) Last(ctx context.Context, partition int32) (uint64, int64, error) {
	t.asked = true
	return t.topic.Last(ctx, partition)
}

func (t *txTopic) Transact(_ context.Context, fn func(func(int32, publish.Record) error) error) error {
	if !t.asked {
		t.tb.Fatal("a transaction after a failure, without having asked where the topic stands")
	}
	t.calls++
	before, after := t.fail(t.calls)
	var all []publish.Record
	var at []int32
	err := fn(func(p int32, r publish.Record) error {
		if before != nil && len(all) > 1 {
			return before // in the middle
		}
		all, at = append(all, r), append(at, p)
		return nil
	})
	if err = errors.Join(err, before); err != nil {
		t.asked = false
		return err
	}
	holds := make([]bool, 2000)
	for i, r := range all {
		t.records[at[i]] = append(t.records[at[i]], r)
		var n int
		if _, err := fmt.Sscan(header(r, publish.HeaderCommit), &n); err != nil {
			t.tb.Fatal(err)
		}
		holds[n] = true
	}
	t.sizes, t.commits = append(t.sizes, len(all)), append(t.commits, holds)
	t.asked = after == nil
	return after
}

// checkWhole wants each source's unit in one transaction, and no more units in
// one than allowed.
func (t *txTopic) checkWhole(tb testing.TB, g *growing, units int) {
	tb.Helper()
	t.check(tb, g.outbox)
	sources := map[int]string{}
	for _, entries := range g.entries {
		for _, e := range entries {
			sources[int(e.Info.Number)] = e.Info.Source
		}
	}
	in := map[int]int{}
	for i, holds := range t.commits {
		n := 0
		for c, held := range holds {
			if !held {
				continue
			}
			n++
			if in[c]++; in[c] > 1 && sources[c] != "" {
				tb.Fatalf("unit %d is in %d transactions", c, in[c])
			}
		}
		if n > units {
			tb.Fatalf("transaction %d holds %d units, allowed are %d", i, n, units)
		}
	}
}

// Units of one to many versions, visible at once, while the frontier moves
// between any two looks, the topic fails anywhere, and the publisher is given up.
func TestWholeTransactions(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		units := []int{1, 3, 100}[seed%3]
		g := &growing{outbox: newOutbox("g")}
		left := 40
		g.grow = func() {
			if left == 0 || r.IntN(3) == 0 {
				return
			}
			left--
			source := []string{"emr", "pharmacy", "emr", ""}[r.IntN(4)]
			g.addUnit(source, r.IntN(3)*r.IntN(5), r.IntN(3), r.IntN(2)*r.IntN(20))
		}
		tp := &txTopic{topic: newTopic(), tb: t}
		tp.fail = func(int) (before, after error) {
			switch r.IntN(8) {
			case 0:
				return errAway, nil
			case 1:
				return nil, errAway
			}
			return nil, nil
		}
		open := func() *publish.Publisher {
			return publish.New(publish.Config{Outbox: g, Topic: tp, Generation: "g", Partitions: 3, Records: 4, Units: units})
		}
		for range 20 {
			p := open()
			for range r.IntN(6) {
				_, _ = p.Step(context.Background())
			}
		}
		g.grow = nil
		tp.fail = func(int) (before, after error) { return nil, nil }
		drain(t, open())
		tp.checkWhole(t, g, units)
	}
}

// A unit far larger than the limits is one transaction; one that is no source's
// transaction is not.
func TestWholeLarge(t *testing.T) {
	g := &growing{outbox: newOutbox("g")}
	g.addUnit("", 10, 500)
	g.addUnit("emr", 700, 0, 1000)
	g.addUnit("emr", 1)
	tp := &txTopic{topic: newTopic(), tb: t}
	drain(t, publish.New(publish.Config{Outbox: g, Topic: tp, Generation: "g", Partitions: 3, Records: 50, Units: 1}))
	tp.checkWhole(t, g, 1)
	if n := len(tp.sizes); n < 12 || tp.sizes[n-2] != 1700 || tp.sizes[n-1] != 1 {
		t.Errorf("transactions of %v records", tp.sizes)
	}
	for _, n := range tp.sizes[:10] {
		if n > 100 {
			t.Errorf("a transaction of %d records of the first composition", n)
		}
	}
}

// Another publisher took over: that is the end, and it is told.
func TestWholeFenced(t *testing.T) {
	g := &growing{outbox: newOutbox("g")}
	g.addUnit("emr", 1)
	tp := &txTopic{topic: newTopic(), tb: t}
	p := publish.New(publish.Config{Outbox: g, Topic: tp, Generation: "g", Partitions: 1})
	tp.fail = func(call int) (before, after error) {
		if call > 1 {
			return fmt.Errorf("%w: somewhere else", publish.ErrFenced), nil
		}
		return nil, nil
	}
	if err := p.Run(t.Context()); !errors.Is(err, publish.ErrFenced) {
		t.Fatalf("got %v", err)
	}
}
