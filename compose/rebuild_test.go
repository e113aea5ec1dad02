package compose_test

import (
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/compose"
)

// announced is what of a store's versions its change topic holds.
type announced []compose.Announced

func (a *announced) Next(context.Context) (*compose.Announced, error) {
	if len(*a) == 0 {
		return nil, io.EOF
	}
	first := &(*a)[0]
	*a = (*a)[1:]
	return first, nil
}

// announce gives the store's versions up to an outbox number per partition.
func announce(s *memStore, upto []uint64) announced {
	var all announced
	for _, v := range s.committed.order {
		if v.Outbox > upto[v.Partition] {
			continue
		}
		info := *s.committed.units[commit.Number(v.Commit)]
		v.Index, v.Postings, v.Hash = nil, nil, [16]byte{}
		all = append(all, compose.Announced{Info: info, Version: v})
	}
	slices.SortStableFunc(all, func(x, y compose.Announced) int {
		return cmp.Or(cmp.Compare(x.Info.Number, y.Info.Number), cmp.Compare(x.Version.Sequence, y.Version.Sequence))
	})
	return all
}

func (w *world) rebuildFrom(t *testing.T, store *memStore, topic announced, rnd *rand.Rand, crashes int) {
	last := make([]uint64, 3)
	for _, a := range topic {
		last[a.Version.Partition] = max(last[a.Version.Partition], a.Version.Outbox)
	}
	t.Helper()
	for {
		cfg := compose.RebuildConfig{Config: compose.Config{
			Set: w.set, Store: store, Sources: []string{"a", "b"}, Partitions: partitions, ChangePartitions: 3,
			SpillDir: t.TempDir(), GroupTxs: 1 + rnd.IntN(9), PieceVersions: 1 + rnd.IntN(50),
		}, Feeds: map[string]compose.Feed{}, Last: last}
		from := slices.Clone(topic)
		cfg.Changes = &from
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
		store.failAt = 0
		if crashes > 0 {
			crashes--
			store.failAt = int(store.calls.Load()) + 1 + rnd.IntN(800)
		}
		err := compose.Rebuild(context.Background(), cfg)
		if err == nil {
			store.failAt = 0
			return
		}
		if !errors.Is(err, errInjected) {
			t.Fatal(err)
		}
		store.reopen()
	}
}

// A store made again from log and topic has the announced history, and nothing
// more to announce.
func TestRebuild(t *testing.T) {
	for seed := range uint64(12) {
		w, store := recorded(t, seed)
		again := newMemStore()
		rnd := rand.New(rand.NewPCG(seed, 5))
		w.rebuildFrom(t, again, announce(store, store.Frontier().Outbox), rnd, int(seed%4))
		if got, want := len(again.committed.order), len(store.committed.order); got != want {
			t.Fatalf("seed %d: %d versions, %d were announced", seed, got, want)
		}
		for i, v := range store.committed.order {
			got := again.committed.order[i]
			if got.Commit != v.Commit || got.ResourceID != v.ResourceID || got.Number != v.Number || string(got.Body) != string(v.Body) ||
				got.Outbox != v.Outbox || string(got.Index) != string(v.Index) || got.Hash != v.Hash && !v.Deleted {
				t.Fatalf("seed %d: version %d of %s came back as another", seed, v.Number, v.ResourceID)
			}
		}
		if got, want := again.holdings(), store.holdings(); !maps.Equal(got, want) || len(want) == 0 {
			t.Fatalf("seed %d: %d resources have tokens, or others than the %d that have to", seed, len(got), len(want))
		}
		w.drive(t, again, rnd, nil, never) // the rest of the log
		w.check(t, again)
	}
}

// What the lost store had not announced in some partitions is announced now, and
// nothing twice.
func TestRebuildOfAnUnfinishedTopic(t *testing.T) {
	for seed := range uint64(12) {
		w, store := recorded(t, seed)
		rnd := rand.New(rand.NewPCG(seed, 6))
		upto := store.Frontier().Outbox
		for p := range upto {
			upto[p] -= min(upto[p], uint64(rnd.IntN(40)))
		}
		again := newMemStore()
		w.rebuildFrom(t, again, announce(store, upto), rnd, int(seed%3))
		again.faults = slices.DeleteFunc(again.faults, func(f string) bool { // what stands for versions that nobody has
			return strings.Contains(f, "delete where head") || strings.Contains(f, "two versions in unit")
		})
		w.drive(t, again, rnd, nil, never)
		w.check(t, again)
	}
}

// With other mappings the announced history stays; the difference they make comes
// behind it.
func TestRebuildWithOtherMappings(t *testing.T) {
	w, store := recorded(t, 3)
	w.set = loadMappings(t, `"profile "`, `"summary "`)
	again := newMemStore()
	w.rebuildFrom(t, again, announce(store, store.Frontier().Outbox), rand.New(rand.NewPCG(3, 3)), 0)
	difference := again.committed.order[len(store.committed.order):]
	profiles := 0
	for _, v := range difference {
		if v.Type != "Composition" || v.Op != commit.Update {
			t.Errorf("%s of a %s", v.Op, v.Type)
		}
		profiles++
	}
	if profiles == 0 {
		t.Error("the mappings made no difference")
	}
	w.drive(t, again, rand.New(rand.NewPCG(3, 3)), nil, never)
	w.check(t, again)
}
