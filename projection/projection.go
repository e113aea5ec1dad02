package projection

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tributary-health/tributary/commit"
)

// maxPartitions is the most partitions that a base store's outbox may have.
const maxPartitions = 1 << 10

// Projection follows a base store into one client's store. Step and Run are used
// by one goroutine; the other methods by any.
type Projection struct {
	cfg   Config
	write writer
	from  reading

	taken []atomic.Uint64 // by partition of the base store, durably
	rest  time.Time       // before it nothing is committed again

	mu      sync.Mutex
	status  Status
	changed chan struct{} // closed when status moves
}

// Status is how far a projection has come.
type Status struct {
	// Base: what the base store's commits up to it show is in the client's store.
	Base commit.Number
	// Number is the client's store's own.
	Number commit.Number
	// Ready: it has come to the base store's frontier since it was started, and
	// follows. A client MUST NOT be served before.
	Ready bool
	// Err is why it stopped, if it did.
	Err error
}

// New returns a projection that goes on where the client's store stands. It does
// nothing until Step or Run. An empty store is made the policy's; one that was
// made of something else is ErrOther, and stays as it is.
func New(cfg Config) (*Projection, error) {
	cfg = cfg.withDefaults()
	p := &Projection{cfg: cfg, changed: make(chan struct{})}
	if err := cfg.validate(); err != nil {
		return nil, p.named(err)
	}
	if err := p.cfg.adopt(); err != nil {
		return nil, p.named(err)
	}
	f := cfg.Store.Frontier()
	base := cfg.Base.Frontier()
	p.write = newWriter(&p.cfg, f)
	at := places(f.Offsets)
	p.from = reading{begun: len(at) > 0, at: at, whole: slices.Clone(at)}
	p.taken = make([]atomic.Uint64, maxPartitions)
	if err := p.reachable(&base); err != nil {
		return nil, p.named(err)
	}
	p.status.Number = f.Number
	p.take(p.from.at)
	return p, nil
}

// named says whose projection an error is of.
func (p *Projection) named(err error) error {
	return fmt.Errorf("projection of client %s: %w", p.cfg.Client, err)
}

// reachable wants the base store to have everything after the place that was
// reached.
func (p *Projection) reachable(base *commit.Frontier) error {
	if n := max(len(p.from.at), len(base.Outbox)); n > maxPartitions {
		return fmt.Errorf("the base store has %d partitions, the most is %d", n, maxPartitions)
	}
	if !p.from.begun {
		return nil
	}
	for partition := range max(len(p.from.at), len(base.Outbox)) {
		at, last := number(p.from.at, partition), number(base.Outbox, partition)
		if at > last {
			return fmt.Errorf("%w: it has taken outbox number %d of partition %d, but the last one is %d: was the store restored from a backup?", ErrOther, at, partition, last)
		}
		dropped, err := p.cfg.Base.Dropped(int32(partition))
		if err != nil {
			return err
		}
		if at < dropped {
			return fmt.Errorf("%w: it has taken outbox number %d of partition %d, but those up to %d are gone", ErrOther, at, partition, dropped)
		}
	}
	return nil
}

func number(numbers []uint64, i int) uint64 {
	if i < len(numbers) {
		return numbers[i]
	}
	return 0
}

// take notes what the client's store has durably.
func (p *Projection) take(at []uint64) {
	for i, n := range at {
		p.taken[i].Store(n)
	}
}

// Taken returns the last outbox number of the base store's partition that is no
// longer needed.
func (p *Projection) Taken(partition int32) uint64 {
	if partition < 0 || int(partition) >= len(p.taken) {
		return 0
	}
	return p.taken[partition].Load()
}

// Taken returns what all of the projections have taken: what may be dropped of
// the base store's outbox.
func Taken(all ...*Projection) func(partition int32) uint64 {
	all = slices.Clone(all)
	return func(partition int32) uint64 {
		least := uint64(math.MaxUint64)
		for _, p := range all {
			least = min(least, p.Taken(partition))
		}
		return least
	}
}

// Run follows the base store until ctx ends, which is no error, or until it
// cannot go on. Then the client is not served any more: Status says so.
func (p *Projection) Run(ctx context.Context) error {
	for {
		changed := p.cfg.Base.Changed() // before the look, so that no change falls between
		caughtUp, err := p.Step(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if !caughtUp {
			continue
		}
		if !wait(ctx, changed, grid) || !wait(ctx, nil, time.Until(p.rest)) {
			return nil
		}
	}
}

// wait reports whether something changed, or the time passed, before ctx ended.
func wait(ctx context.Context, changed <-chan struct{}, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-changed:
		return true
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Status returns how far the projection has come.
func (p *Projection) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

// Wait returns when what the base store's commit shows is in the client's store.
// It fails when ctx ends or the projection has stopped.
func (p *Projection) Wait(ctx context.Context, base commit.Number) error {
	for {
		p.mu.Lock()
		status, changed := p.status, p.changed
		p.mu.Unlock()
		switch {
		case status.Err != nil:
			return status.Err
		case status.Base >= base:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return p.named(fmt.Errorf("wait for commit %d, now at %d: %w", base, status.Base, ctx.Err()))
		}
	}
}

// report publishes a new status.
func (p *Projection) report(change func(*Status)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.status
	change(&p.status)
	if p.status == before {
		return
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// fail ends the projection, unless only ctx has ended.
func (p *Projection) fail(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return err
	}
	err = p.named(err)
	p.report(func(s *Status) { s.Ready, s.Err = false, err })
	return err
}
