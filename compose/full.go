package compose

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/compose/mapping"
	"github.com/tributary-health/tributary/fhir"
)

// page is how many rows are taken from a store's iteration before any is
// changed.
const page = 1000

// snapshotRow applies a snapshot's row. Rows of one source share a unit until
// the group is committed.
func (w *Worker) snapshotRow(ctx context.Context, ev *change.Event) error {
	source := ev.Schema.Table.Source
	if w.w.open && (!w.rowsUnit || w.engine.unit.Source != source) {
		w.closeRows()
	}
	if !w.w.open {
		w.w.begin(source, change.Mark{}, ev.Committed)
		w.rowsUnit = true
	}
	w.live()
	if _, err := w.engine.apply(ev); err != nil {
		return err
	}
	w.w.rows[source]++
	return w.w.breathe(ctx)
}

// closeRows ends the unit of snapshot rows, if one is open.
func (w *Worker) closeRows() {
	if w.rowsUnit {
		w.rowsUnit = false
		w.w.end(w.freshness())
	}
}

// snapshotDone sweeps the rows that a finished snapshot did not name.
func (w *Worker) snapshotDone(ctx context.Context, r *ready) error {
	done := r.snapshot
	w.w.begin(r.source, change.Mark{Position: done.mark.Position, Token: done.mark.Token}, done.mark.Committed)
	if err := w.settle(ctx, r); err != nil {
		return err
	}
	w.w.end(w.freshness())
	if h := w.cfg.Hooks.Snapshot; h != nil {
		for _, t := range done.tables {
			h(t, w.engine.sources[t.Source].Rows[t.Name])
		}
	}
	return nil
}

// settle sweeps, in the unit that is open.
func (w *Worker) settle(ctx context.Context, r *ready) error {
	done := r.snapshot
	w.extra.Composed = false
	w.live()
	if w.asm.sources[r.source].snap.Again {
		for _, t := range done.tables {
			if _, ok := w.plan.tables[t]; !ok {
				continue
			}
			if err := w.sweep(ctx, t, done.incarnation); err != nil {
				return &Error{Op: "sweep after a snapshot", Table: t, Position: done.mark.Position, Err: err}
			}
		}
	}
	return nil
}

// sweep removes the table's rows whose stamp is older than the snapshot: they
// are gone at the source.
func (w *Worker) sweep(ctx context.Context, t change.Table, than change.Incarnation) error {
	return w.eachRow(ctx, t, func(p placed, stamp change.Incarnation) error {
		if stamp >= than {
			return nil
		}
		return w.engine.remove(&delta{decl: w.plan.tables[t], route: p.route, key: p.key, before: p.row})
	})
}

// eachRow calls fn, which may change rows, for every row of the table.
func (w *Worker) eachRow(ctx context.Context, t change.Table, fn func(placed, change.Incarnation) error) error {
	var afterRoute, afterKey string
	for {
		if err := w.w.stage(ctx); err != nil { // the iteration reads the store alone
			return err
		}
		var rows []placed
		var stamps []change.Incarnation
		var bad error
		err := w.cfg.Store.AllRows(t, afterRoute, afterKey, func(route, key string, body []byte) bool {
			row, stamp, err := w.engine.schemas.decode(body)
			if bad = err; bad != nil {
				return false
			}
			rows, stamps = append(rows, placed{route, key, row}), append(stamps, stamp)
			return len(rows) < page
		})
		if err != nil || bad != nil {
			return firstError(err, bad)
		}
		for i := range rows {
			if err := fn(rows[i], stamps[i]); err != nil {
				return err
			}
		}
		if len(rows) < page {
			return nil
		}
		afterRoute, afterKey = rows[len(rows)-1].route, rows[len(rows)-1].key
	}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// composeAll composes every member and every reference row, each once, as one
// unit that becomes visible by its one Commit. What is unchanged makes no
// version, so it serves after a new snapshot or with new mappings as well.
func (w *Worker) composeAll(ctx context.Context) error {
	w.w.begin("", change.Mark{}, w.newestCommit())
	if w.extra.Mapping != w.plan.version {
		if err := w.reindex(ctx); err != nil {
			return err
		}
	}
	r := &recomposer{w: w.w, e: w.engine, remake: w.extra.Tokens.Making}
	if err := w.composeReferences(ctx, r); err != nil {
		return err
	}
	members, err := w.members()
	if err != nil {
		return err
	}
	defer w.engine.readOnce()()
	for i := 0; i < len(members); i += preparedAtOnce * workers() {
		if h := w.cfg.Hooks.Composing; h != nil {
			h(i, len(members))
		}
		chunk := members[i:min(i+preparedAtOnce*workers(), len(members))]
		sets := make(map[string]*memberSet, len(chunk))
		for _, m := range chunk {
			sets[m] = &memberSet{whole: true}
		}
		if err := r.members(ctx, chunk, sets); err != nil {
			return err
		}
	}
	if err := r.finish(ctx); err != nil {
		return err
	}
	if err := w.clearGone(); err != nil {
		return err
	}
	w.extra.Composed, w.frontier.Composed = true, true
	w.w.end(w.freshness())
	w.extra.Mapping = w.plan.version
	if r.remake {
		w.finishTokens()
	}
	w.more = true
	if err := w.commit(ctx); err != nil {
		return err
	}
	if h := w.cfg.Hooks.Composing; h != nil {
		h(len(members), len(members))
	}
	return nil
}

// newestCommit is the time of a unit that belongs to no source transaction.
func (w *Worker) newestCommit() (newest time.Time) {
	if w.w.recorded != nil {
		return w.w.recorded.Committed
	}
	for _, f := range w.asm.freshness() {
		if f.Committed.After(newest) {
			newest = f.Committed
		}
	}
	return newest
}

// composeReferences composes every reference row and deletes the resources
// whose row is gone.
func (w *Worker) composeReferences(ctx context.Context, r *recomposer) error {
	alive := make(map[fhir.ResourceID]bool)
	for _, t := range slices.SortedFunc(maps.Keys(w.plan.byTable), compareTables) {
		if w.plan.tables[t].Route.Kind != change.Reference {
			continue
		}
		err := w.eachRow(ctx, t, func(p placed, _ change.Incarnation) error {
			k := refKey{t, p.key}
			instances := r.instancesOf(k)
			for _, i := range instances {
				alive[w.plan.resourceID(i.resource, i.key)] = true
			}
			return r.reference(ctx, k, instances)
		})
		if err != nil {
			return err
		}
	}
	b := &batch{alive: alive}
	if err := b.goneOf(w.engine, ""); err != nil {
		return err
	}
	return r.keep(ctx, b)
}

// members lists every member that has rows, or lost rows while nothing was
// composed.
func (w *Worker) members() ([]string, error) {
	set := make(map[string]bool)
	for t, decl := range w.plan.tables {
		if decl.Route.Kind != change.ByMember {
			continue
		}
		routes, err := w.engine.state.allRoutes(t)
		if err != nil {
			return nil, err
		}
		for _, m := range routes {
			set[m] = m != ""
		}
	}
	err := w.engine.state.rows(goneTable(w.plan.root), "", func(m string, _ []byte) bool {
		set[m] = true
		return true
	})
	delete(set, "")
	return slices.Sorted(maps.Keys(set)), err
}

// clearGone removes the marks of members that lost rows.
func (w *Worker) clearGone() error {
	var marks []string
	err := w.engine.state.rows(goneTable(w.plan.root), "", func(m string, _ []byte) bool {
		marks = append(marks, m)
		return true
	})
	for _, m := range marks {
		w.engine.put(goneTable(w.plan.root), "", m, nil)
	}
	return err
}

// reindex makes the rows by which rows are found again, for mappings that may
// need other ones.
func (w *Worker) reindex(ctx context.Context) error {
	clear(w.engine.skipped)
	for t := range w.plan.tables {
		if !w.plan.located[t] && len(w.plan.links[t]) == 0 {
			continue
		}
		err := w.eachRow(ctx, t, func(p placed, _ change.Incarnation) error {
			d := &delta{decl: w.plan.tables[t], route: p.route, key: p.key, after: mapping.Row{Schema: p.row.Schema, Values: p.row.Values}}
			return w.engine.keepReserved(d)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// retry composes the parked roots again, as one unit.
func (w *Worker) retry(ctx context.Context) error {
	w.retried = time.Now()
	w.w.begin("", change.Mark{}, w.newestCommit())
	a := newAffected(w.engine)
	r := &recomposer{w: w.w, e: w.engine}
	for root := range w.w.parked {
		if k, ok := w.plan.parkedRef(root); ok {
			for _, i := range r.instancesOf(k) {
				a.put(i, known, "")
			}
			continue
		}
		a.whole(root)
	}
	if err := r.affected(ctx, a); err != nil {
		return err
	}
	w.w.end(w.freshness())
	return w.commit(ctx)
}

// Retry composes the parked roots again now. Like Step it MUST NOT be called
// beside another method.
func (w *Worker) Retry(ctx context.Context) error {
	if w.failed != nil || !w.extra.Composed || len(w.w.parked) == 0 {
		return w.failed
	}
	if w.failed = w.retry(ctx); w.failed != nil {
		return w.failed
	}
	return nil
}
