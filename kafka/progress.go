package kafka

import (
	"sync"
	"sync/atomic"

	"github.com/tributary-health/tributary/change"
)

// progress follows which records were acknowledged, and says up to which mark
// all of them were: a contiguous prefix of what was appended.
//
// The records between two marks form a span, which counts those that are
// outstanding; so a transaction of millions of rows costs one counter. A span's
// mark holds once the span is closed and empty and all spans before it were.
type progress struct {
	current *span // the appender's alone

	mu      sync.Mutex
	open    []*span // closed by the appender, not yet settled; oldest first
	durable change.Mark
	// recorded is the largest durable mark that an acknowledged record states.
	recorded change.Mark
	moved    chan struct{} // closed and replaced when durable moves
}

// span counts its outstanding records and, until it is closed, one more.
type span struct {
	pending atomic.Int64
	used    bool // the appender's alone
	mark    change.Mark
	states  change.Mark // the durable mark that its tx records state
}

func newProgress(durable change.Mark) *progress {
	p := &progress{durable: durable, recorded: durable, moved: make(chan struct{})}
	p.begin()
	return p
}

func (p *progress) begin() {
	p.current = &span{}
	p.current.pending.Store(1)
}

// sent counts a record of the current span, which it returns.
func (p *progress) sent() *span {
	p.current.used = true
	p.current.pending.Add(1)
	return p.current
}

// acked takes back what sent counted. A record that failed is never acked, so
// nothing at or after its span ever becomes durable.
func (p *progress) acked(s *span) {
	if s.pending.Add(-1) == 0 {
		p.settle()
	}
}

// reach says that everything up to mark was sent. Without a record since the
// last mark nothing new is waited for.
func (p *progress) reach(mark change.Mark) {
	p.mu.Lock()
	if !p.current.used {
		if n := len(p.open); n > 0 {
			p.open[n-1].mark = later(p.open[n-1].mark, mark)
		} else {
			p.advance(mark)
		}
		p.mu.Unlock()
		return
	}
	s := p.current
	s.mark = mark
	p.open = append(p.open, s)
	p.mu.Unlock()
	p.begin()
	p.acked(s)
}

func (p *progress) settle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for ; n < len(p.open) && p.open[n].pending.Load() == 0; n++ {
		p.advance(p.open[n].mark)
		p.recorded = later(p.recorded, p.open[n].states)
		p.open[n] = nil
	}
	if p.open = p.open[n:]; len(p.open) == 0 {
		p.open = nil
	}
}

// advance moves durable on, never back. The caller holds mu.
func (p *progress) advance(mark change.Mark) {
	if mark.Position.Compare(p.durable.Position) <= 0 {
		return
	}
	p.durable = mark
	close(p.moved)
	p.moved = make(chan struct{})
}

// state says that a record of the current span states that durable is so far.
func (p *progress) state(durable change.Mark) { p.current.states = later(p.current.states, durable) }

// reset begins anew: nothing is durable until a mark is reached again.
func (p *progress) reset(durable change.Mark) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.durable, p.recorded = durable, durable
}

// stated returns the largest durable mark that the log itself states.
func (p *progress) stated() change.Mark {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.recorded
}

// now returns the durable mark and a channel that is closed when it moves.
func (p *progress) now() (change.Mark, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.durable, p.moved
}

func later(a, b change.Mark) change.Mark {
	if b.Position.Compare(a.Position) > 0 {
		return b
	}
	return a
}
