package audit

import (
	"context"
	"sync"
	"time"
)

// Each client's first refusals of a stretch have entries of their own; what comes
// behind them in it is counted. A stretch that follows one in which something was
// counted has no first ones: who goes on is counted on.
const (
	defaultRefusals = 100
	defaultStretch  = time.Minute
)

// folds is what of refusals is counted and not written yet. It is bounded: a
// client's are as many as there are kinds and reasons.
type folds struct {
	stretch time.Duration
	first   int // how many in it have entries of their own

	mu      sync.Mutex // guards what follows
	clients map[string]*folded
	timer   *time.Timer // runs while anything is counted, until due
	due     time.Time
	closed  bool

	writing sync.Mutex // held while what was counted is written
}

// folded is one client's.
type folded struct {
	until   time.Time // of the stretch
	first   int       // refusals with an entry of their own
	counted map[alike]*Event
}

// alike is what refusals have in common that are one entry.
type alike struct{ kind, policy, outcome, reason string }

// fold counts the refusal and reports whether that is all: else it needs an entry
// of its own.
func (l *Log) fold(e *Event) bool {
	f, now := &l.folds, time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	c := f.clients[e.Client]
	if c == nil || len(c.counted) == 0 && !now.Before(c.until) {
		c = &folded{until: now.Add(f.stretch)}
		f.forget(now)
		f.clients[e.Client] = c
	}
	if c.first < f.first {
		c.first++
		return false
	}
	c.count(e)
	if f.timer == nil || c.until.Before(f.due) {
		l.wake(c.until, now)
	}
	return true
}

// wake lets unfold run at a time. It is called with the lock held.
func (l *Log) wake(at, now time.Time) {
	f := &l.folds
	if f.timer != nil {
		f.timer.Stop()
	}
	f.due, f.timer = at, time.AfterFunc(at.Sub(now), l.unfold)
}

func (c *folded) count(e *Event) {
	key := alike{e.Kind, e.Policy, e.Outcome, e.Reason}
	sum := c.counted[key]
	if sum == nil {
		if c.counted == nil {
			c.counted = map[alike]*Event{}
		}
		one := *e
		one.First = e.Time
		sum = &one
		c.counted[key] = sum
	}
	sum.Count++
	sum.Time = e.Time
	if sum.Request != e.Request {
		sum.Request = ""
	}
}

// forget drops clients that have been quiet for a stretch.
func (f *folds) forget(now time.Time) {
	for id, c := range f.clients {
		if len(c.counted) == 0 && !now.Before(c.until) {
			delete(f.clients, id)
		}
	}
}

// unfold writes what stretches counted that are over, and waits for the others.
func (l *Log) unfold() {
	f := &l.folds
	f.writing.Lock()
	defer f.writing.Unlock()
	now := time.Now()
	f.mu.Lock()
	counted := f.take(func(c *folded) bool { return !now.Before(c.until) }, now.Add(f.stretch))
	var next time.Time
	for _, c := range f.clients {
		if len(c.counted) > 0 && (next.IsZero() || c.until.Before(next)) {
			next = c.until
		}
	}
	switch {
	case f.closed:
	case next.IsZero():
		f.timer = nil
	default:
		l.wake(next, now)
	}
	f.mu.Unlock()
	l.addAll(counted)
}

// take returns what the clients in question have counted, whose next stretch lasts
// until then.
func (f *folds) take(over func(*folded) bool, until time.Time) (counted []*Event) {
	for _, c := range f.clients {
		if len(c.counted) == 0 || !over(c) {
			continue
		}
		for _, e := range c.counted {
			counted = append(counted, e)
		}
		c.counted, c.until = nil, until
	}
	return counted
}

// lastFolds writes what was counted; nothing is counted any more.
func (l *Log) lastFolds() {
	f := &l.folds
	f.writing.Lock()
	defer f.writing.Unlock()
	f.mu.Lock()
	f.closed = true
	if f.timer != nil {
		f.timer.Stop()
	}
	counted := f.take(func(*folded) bool { return true }, time.Time{})
	f.mu.Unlock()
	l.addAll(counted)
}

// addAll writes the events. A failure is final and told by Err and by every other
// Append: these have nobody who waits for them.
func (l *Log) addAll(events []*Event) {
	for _, e := range events {
		if l.add(context.Background(), e) != nil {
			return
		}
	}
}
