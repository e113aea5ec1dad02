package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tributary-health/tributary/change"
)

// changes makes the live workload of the pharmacy: a new fill of an order, and
// an order that is stopped, or resumed, in turns.
type changes struct {
	s       *sample
	copies  int
	rnd     *rand.Rand
	fills   []row
	orders  []row
	stopped map[[2]int]string // orders whose stop was changed, by order and copy
	days    int
}

func newChanges(s *sample, copies int) *changes {
	return &changes{s: s, copies: copies, rnd: rand.New(rand.NewPCG(3, 4)), stopped: map[[2]int]string{},
		fills: s.of("pharmacy", "fills"), orders: s.of("pharmacy", "medications")}
}

// write writes transactions of so many rows and returns the last one's position
// and the number of all rows.
func (c *changes) write(ctx context.Context, r *recorder, rows, txs int) (last change.Position, n int, err error) {
	for range txs {
		events := make([]routed, 0, rows)
		seen := map[[2]int]bool{}
		for len(events) < rows {
			make := c.fill
			if len(events)%2 == 1 {
				make = func() (routed, error) { return c.order(seen) }
			}
			ev, err := make()
			if err != nil {
				return last, n, err
			}
			if ev.Schema != nil {
				events = append(events, ev)
			}
		}
		if last, err = r.transaction(ctx, "pharmacy", events); err != nil {
			return last, n, err
		}
		n += len(events)
	}
	return last, n, nil
}

// fill is a new fill like one there is.
func (c *changes) fill() (routed, error) {
	at, err := c.s.as(c.fills[c.rnd.IntN(len(c.fills))], c.rnd.IntN(c.copies))
	if err != nil {
		return routed{}, err
	}
	c.days++
	set := func(column, text string) { at.values[at.schema.Column(column)] = change.Of(text) }
	at.values = slices.Clone(at.values)
	set("id", fmt.Sprintf("%08x-0000-4000-8000-%012x", c.rnd.Uint32(), c.rnd.Uint64N(1<<48)))
	set("dispensed", time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(c.days)*time.Minute).Format("2006-01-02T15:04:05"))
	return routed{change.Event{Op: change.Create, Schema: at.schema, After: at.values}, at.route}, nil
}

// order stops an order, or resumes one that is stopped; an order that the
// transaction has changed already gives no event.
func (c *changes) order(seen map[[2]int]bool) (routed, error) {
	which := [2]int{c.rnd.IntN(len(c.orders)), c.rnd.IntN(c.copies)}
	if seen[which] {
		return routed{}, nil
	}
	seen[which] = true
	at, err := c.s.as(c.orders[which[0]], which[1])
	if err != nil {
		return routed{}, err
	}
	stop := at.schema.Column("stop")
	before := slices.Clone(at.values)
	if text, changed := c.stopped[which]; changed {
		before[stop] = change.Value{}
		if text != "" {
			before[stop] = change.Of(text)
		}
	}
	after := slices.Clone(before)
	if before[stop].State == change.Set {
		after[stop] = change.Value{}
	} else {
		after[stop] = change.Of("2025-06-01T00:00:00")
	}
	c.stopped[which] = after[stop].Text
	return routed{change.Event{Op: change.Update, Schema: at.schema, Before: before, After: after}, at.route}, nil
}
