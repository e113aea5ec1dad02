package compose

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/compose/mapping"
)

// A wave is some source transactions that lie next to each other and have nothing
// to do with each other: each changes rows of members' records only, and no two of
// them of the same member. Their rows are applied one transaction after the other,
// what depends on them is read and composed side by side, and then it is written
// one transaction after the other.
//
//	W1  Each transaction is the unit that it would be if it came alone: what is
//	    composed from a record depends on the record and on the rows that members
//	    share, and in a wave nobody changes either under another.
//	W2  The rows of all of them lie over the store as long as one of them may be
//	    read. So nothing is staged while a unit before the last is being written,
//	    but to park a member; and what is staged then, or behind a unit with which
//	    the group is full, leaves the rows of the units after it over the store.
type wave struct {
	parts   []*part
	members map[string]bool // of all parts
}

// part is one transaction of a wave.
type part struct {
	ready   *ready
	sources []change.Freshness // with it
	unit    *unit
	rc      *recomposer
}

const (
	maxWave      = 64       // transactions
	maxWaveRows  = 64       // of one transaction
	maxWaveBytes = 64 << 10 // of one transaction
)

// gather takes the next transactions, as many as make a wave; one that makes none
// with others, or a snapshot's end, comes alone. nil: nothing is ready.
func (w *Worker) gather() (*wave, error) {
	r, err := w.asm.Next(nil)
	if err != nil || r == nil {
		return nil, err
	}
	g := &wave{members: make(map[string]bool), parts: []*part{{ready: r}}}
	if r.snapshot != nil || !w.live() || !w.joins(g, r.transaction) {
		return g, nil
	}
	limit := min(maxWave, w.cfg.GroupTxs-w.w.txs)
	for {
		g.parts[len(g.parts)-1].sources = w.freshness()
		if len(g.parts) >= limit {
			return g, nil
		}
		r, err := w.asm.Next(func(t *transaction) bool { return w.joins(g, t) })
		if err != nil || r == nil {
			return g, err
		}
		g.parts = append(g.parts, &part{ready: r})
	}
}

// joins reports whether the transaction may be in the wave, and notes its members
// if so. What cannot be told, also for an error, is left to who applies it alone.
func (w *Worker) joins(g *wave, t *transaction) bool {
	members, ok := w.membersOf(t)
	if !ok {
		return false
	}
	for m := range members {
		if g.members[m] {
			return false
		}
	}
	maps.Copy(g.members, members)
	return true
}

// membersOf lists whose rows a small transaction changes; ok is false if it has
// rows that are no member's, or many.
func (w *Worker) membersOf(t *transaction) (members map[string]bool, ok bool) {
	if t.got > maxWaveRows || t.bytes > maxWaveBytes || t.spilled() {
		return nil, false
	}
	members = make(map[string]bool)
	for _, s := range t.streams {
		for _, ev := range s.mem {
			d, err := w.engine.place(ev)
			if err != nil || d.decl.Route.Kind == change.Reference {
				return nil, false
			}
			m, ok, err := w.engine.memberOf(d.decl.Table, d.route)
			if err != nil || !ok {
				return nil, false
			}
			members[m] = true
		}
	}
	return members, true
}

// spilled reports whether rows of it lie in the spill file.
func (t *transaction) spilled() bool {
	for _, s := range t.streams {
		if len(s.segs) > 0 {
			return true
		}
	}
	return false
}

// applyWave applies and composes the wave.
func (w *Worker) applyWave(ctx context.Context, g *wave) error {
	w.warm(g)
	w.w.held = true
	defer func() { w.w.held = false }()
	var chunk []prepared
	for n, p := range g.parts {
		of, err := w.applyPart(ctx, p)
		if err != nil {
			return err
		}
		for i := range of {
			of[i].part = n
		}
		chunk = append(chunk, of...)
	}
	written := 0 // parts
	upTo := func(n int) error {
		for ; written < n; written++ {
			if err := w.endPart(ctx, g.parts[written]); err != nil {
				return err
			}
			if err := w.breathe(ctx, g.parts[written+1:]); err != nil {
				return err
			}
		}
		return nil
	}
	for len(chunk) > 0 {
		done := chunk[:g.parts[0].rc.prepare(chunk, w.cfg.Readers)]
		for i := range done {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := upTo(done[i].part); err != nil {
				return err
			}
			if err := w.writePart(ctx, g, &done[i]); err != nil {
				return err
			}
		}
		clear(done)
		chunk = chunk[len(done):]
	}
	return upTo(len(g.parts))
}

// writePart writes what was prepared of one member into its transaction's unit.
func (w *Worker) writePart(ctx context.Context, g *wave, d *prepared) error {
	p, rest := g.parts[d.part], g.parts[d.part+1:]
	w.w.held = len(rest) > 0
	w.w.resume(p.unit)
	if err := d.batch.renew(w.engine); err != nil {
		return p.fault(err)
	}
	if err := p.rc.write(ctx, d); err != nil {
		return p.fault(err)
	}
	if d.err != nil { // it parked, for which everything was staged
		w.lay(rest)
	}
	return nil
}

// renew takes the heads as they are now: a part before may have taken a resource
// out of the record that it was in, because its key was deleted there and comes
// again in another.
func (b *batch) renew(e *engine) (err error) {
	for _, d := range b.drafts {
		if d.head, d.existed, err = e.state.head(d.id); err != nil {
			return err
		}
	}
	return nil
}

// breathe stages what is written if it has grown too large for memory, and keeps
// over the store what is not.
func (w *Worker) breathe(ctx context.Context, rest []*part) error {
	if len(rest) == 0 || w.engine.state.bytes < w.cfg.GroupBytes {
		return nil
	}
	if err := w.w.stage(ctx); err != nil {
		return err
	}
	w.lay(rest)
	return nil
}

// lay lays the parts' rows over the store, which was given all that lay over it.
func (w *Worker) lay(parts []*part) {
	for _, p := range parts {
		for _, r := range p.unit.Rows {
			w.engine.state.put(r.Table, r.Route, r.Key, r.Body)
		}
	}
}

// applyPart applies the transaction's rows and returns what of whom is to be
// composed.
func (w *Worker) applyPart(ctx context.Context, p *part) ([]prepared, error) {
	a, err := w.applyRows(ctx, p.ready)
	if err != nil {
		return nil, err
	}
	p.unit, p.rc = w.engine.unit, &recomposer{w: w.w, e: w.engine}
	defer w.w.pause()
	if len(a.references)+len(a.everywhere) > 0 {
		return nil, p.fault(fmt.Errorf("a change of members' rows affects %d resources that are nobody's", len(a.references)+len(a.everywhere)))
	}
	keys := slices.Sorted(maps.Keys(a.members))
	var all []prepared
	for len(keys) > 0 {
		of, err := p.rc.settle(keys, a.members)
		if err != nil {
			return nil, p.fault(err)
		}
		all = append(all, of...)
		keys = keys[len(of):]
	}
	return all, nil
}

// endPart finishes the transaction's unit.
func (w *Worker) endPart(ctx context.Context, p *part) error {
	w.w.resume(p.unit)
	if err := p.rc.finish(ctx); err != nil {
		return p.fault(err)
	}
	if err := w.asm.drop(p.ready.transaction); err != nil {
		return err
	}
	w.w.end(p.sources)
	return nil
}

func (p *part) fault(err error) error {
	return fmt.Errorf("compose: source %s, transaction at %s: %w", p.ready.source, p.ready.transaction.at, err)
}

// warm reads, side by side, most of what the wave is going to read one by one: the
// rows before, the tables and rows that composing takes, and heads. It changes
// nothing, and an error is left to who reads again.
func (w *Worker) warm(g *wave) {
	var taken atomic.Int64
	work := func() {
		for {
			i := taken.Add(1) - 1
			if i >= int64(len(g.parts)) {
				return
			}
			for _, s := range g.parts[i].ready.transaction.streams {
				for _, ev := range s.mem {
					w.engine.warm(ev)
				}
			}
		}
	}
	var all sync.WaitGroup
	for range min(w.cfg.Readers, len(g.parts)) {
		all.Go(work)
	}
	all.Wait()
}

// warm reads what a change of the row is going to need.
func (e *engine) warm(ev *change.Event) {
	d, err := e.place(ev)
	if err != nil {
		return
	}
	member, ok, err := e.memberOf(d.decl.Table, d.route)
	if err != nil || !ok {
		return
	}
	before, existed, err := e.at(d.decl.Table, d.route, d.key)
	if err != nil {
		return
	}
	d.before = before.row
	row := d.before
	if ev.Op != change.Delete {
		values, err := e.whole(ev, d.before)
		if err != nil {
			return
		}
		d.after = mapping.Row{Schema: ev.Schema, Values: values}
		row = d.after
	}
	_, _ = e.dates(member)
	for _, dp := range e.plan.deps[d.decl.Table] {
		r := &e.plan.resources[dp.resource]
		if !r.concerned(d) {
			continue
		}
		if dp.join < 0 {
			id := e.plan.resourceID(dp.resource, d.key)
			if existed {
				_, _, _ = e.state.headOf(e.plan.memberID(member), id)
			} else {
				_, _, _ = e.state.head(id)
			}
		}
		e.warmJoins(r, dp, row, member)
	}
}

// warmJoins reads what the resource is joined with: for its own row, or for those
// that lead to the row.
func (e *engine) warmJoins(r *resource, dp dep, row mapping.Row, member string) {
	table := func(t change.Table) {
		if e.plan.tables[t].Route.Kind == change.ByMember {
			_, _ = e.rowsOf(t, member)
		}
	}
	if dp.join >= 0 {
		switch join := &r.joins[dp.join]; join.Cardinality {
		case mapping.One:
			table(e.plan.source(r, *join))
		case mapping.All:
			table(r.from)
		}
	}
	for j := range r.joins {
		switch join := &r.joins[j]; {
		case join.Cardinality != mapping.One:
			table(join.Table)
		case join.Fixed == "" && join.From < 0 && dp.join < 0:
			if text, ok := textOf(row, join.Column); ok {
				_, _, _ = e.find(join.Table, change.JoinKey(text), member)
			}
		}
	}
}
