package storetest

import (
	"context"
	"fmt"
	"testing"
)

// testModel plays random histories against the store and the model, reopens at
// random points, with something staged as often as not, and compares all there
// is at every commit number.
func testModel(t *testing.T, open Opener) {
	seeds, steps := uint64(6), 45
	if testing.Short() {
		seeds, steps = 2, 25
	}
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed%d", seed), func(t *testing.T) {
			p := &player{t: t, open: open, dir: t.TempDir(), seed: seed, model: newModel()}
			p.store = open(t, p.dir)
			defer func() { must(t, p.store.Close()) }()
			for range steps {
				p.step()
			}
			p.compare(1)
		})
	}
}

// player plays one history.
type player struct {
	t     *testing.T
	open  Opener
	dir   string
	seed  uint64
	store Store
	model *model
	moves uint64
}

func (p *player) step() {
	ctx := context.Background()
	p.moves++
	r := random(p.seed, 1<<32+p.moves)
	ahead := p.model.clone()
	s := next(p.seed, ahead)
	cut := -1
	if r.IntN(4) == 0 {
		cut = r.IntN(len(s.staged) + 1)
	}
	seen := p.model.clone()
	for i, b := range s.staged {
		if i == cut {
			break
		}
		must(p.t, p.store.Stage(ctx, b))
		for _, u := range b.Units {
			seen.apply(u)
		}
		if r.IntN(3) == 0 {
			compareState(p.t, p.store, seen)
			compareFrontier(p.t, p.store, p.model)
			p.compareAt(r.Uint64N(uint64(p.model.frontier.Number) + 1))
			compareOutbox(p.t, p.store, p.model, p.store.Frontier().Generation)
		}
	}
	if cut >= 0 {
		p.reopen()
		return
	}
	must(p.t, p.store.Commit(ctx, s.last, s.frontier))
	p.model = ahead
	compareFrontier(p.t, p.store, p.model)
	if r.IntN(3) == 0 {
		p.compareAt(uint64(p.model.frontier.Number))
		p.compareAt(r.Uint64N(uint64(p.model.frontier.Number) + 1))
	}
	if r.IntN(3) == 0 {
		part := r.Int32N(partitions)
		mark, err := p.store.Mark(part)
		must(p.t, err)
		if last := p.model.frontier.Outbox[part]; last > mark {
			must(p.t, p.store.Published(ctx, part, mark+1+r.Uint64N(last-mark)))
		}
	}
	if r.IntN(5) == 0 {
		p.reopen()
	}
}

func (p *player) reopen() {
	generation := p.store.Frontier().Generation
	must(p.t, p.store.Close())
	p.store = p.open(p.t, p.dir)
	equal(p.t, "Generation after reopen", p.store.Frontier().Generation, generation)
	p.compare(3)
}

// compare compares everything, views at every nth commit number.
func (p *player) compare(every uint64) {
	compareState(p.t, p.store, p.model)
	compareFrontier(p.t, p.store, p.model)
	compareOutbox(p.t, p.store, p.model, p.store.Frontier().Generation)
	for n := uint64(1); n <= uint64(p.model.frontier.Number); n += every {
		p.compareAt(n)
	}
}

func (p *player) compareAt(number uint64) {
	if number > 0 {
		compareView(p.t, p.store, p.model, random(p.seed, 2<<32+number), number)
	}
}
