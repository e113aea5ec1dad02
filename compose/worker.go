package compose

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
)

// idleCommit is how long moved positions may wait when nothing else is to be
// committed.
const idleCommit = 250 * time.Millisecond

// Worker applies source transactions and composes what depends on them, in one
// order, from one goroutine. After an error it does nothing more: what it staged
// is above the frontier, so the store has to be opened again and another Worker
// and Feed made from its frontier. Only Status may be called from any goroutine.
type Worker struct {
	cfg    Config
	plan   *plan
	asm    *assembler
	engine *engine
	w      *writer
	extra  extra

	frontier  commit.Frontier
	queue     []Record
	more      bool // there may be something ready without another poll
	rowsUnit  bool // the open unit holds a snapshot's rows
	committed time.Time
	retried   time.Time
	failed    error

	shown []change.Freshness // how far what is served shows each source

	mu     sync.Mutex
	status Status
}

// New returns a worker that goes on from the store's frontier.
func New(cfg Config) (*Worker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.defaults()
	p := cfg.plan
	if p == nil {
		var err error
		if p, err = planOf(cfg.Set); err != nil {
			return nil, err
		}
	}
	f := cfg.Store.Frontier()
	if len(f.Outbox) > 0 && len(f.Outbox) != int(cfg.ChangePartitions) {
		return nil, fmt.Errorf("compose: the change topic has %d partitions, the store was made for %d", cfg.ChangePartitions, len(f.Outbox))
	}
	x, schemas, err := decodeExtra(f.Extra)
	if err != nil {
		return nil, err
	}
	if f.Composed && x.Index != fhir.IndexVersion() {
		return nil, &Error{Op: "open", Err: ErrIndex, Hint: "make the store anew from log and topic: tributary replay --rebuild"}
	}
	w := &Worker{cfg: cfg, plan: p, extra: x, frontier: f, committed: time.Now(), retried: time.Now(), more: true}
	made := w.openTokens()
	w.engine = &engine{plan: p, state: newState(cfg.Store), schemas: schemas, sources: make(map[string]*progress), skipped: x.Skipped,
		cache: newRowCache(cfg.CacheBytes), renewed: make(map[string]bool), tokens: made}
	w.engine.state.known.limit = knownHeads
	for _, source := range cfg.Resnapshot {
		w.engine.renewed[source] = true
	}
	w.w = &writer{cfg: &w.cfg, store: cfg.Store, engine: w.engine, number: f.Number, parked: make(map[string]commit.Parked),
		rows: make(map[string]int), versions: make(map[string]int)}
	w.w.outbox = append(make([]uint64, 0, cfg.ChangePartitions), f.Outbox...)[:cfg.ChangePartitions]
	if err := w.load(); err != nil {
		return nil, err
	}
	w.publish()
	return w, nil
}

// load reads what was kept of the sources and the parked roots.
func (w *Worker) load() error {
	snapshots := make(map[string]snapshot)
	for _, name := range w.cfg.Sources {
		p := &progress{}
		if b := w.frontier.Sources[name].Extra; len(b) > 0 {
			if err := json.Unmarshal(b, p); err != nil {
				return fmt.Errorf("compose: read the progress of source %s: %w", name, err)
			}
		}
		// A table that is not captured any more has a gap from now on.
		p.Snapshot.Tables = slices.DeleteFunc(p.Snapshot.Tables, func(table string) bool {
			_, declared := w.plan.tables[change.Table{Source: name, Name: table}]
			return !declared
		})
		w.engine.sources[name] = p
		snapshots[name] = p.Snapshot
	}
	parked, err := w.cfg.Store.Parked()
	if err != nil {
		return fmt.Errorf("compose: read parked roots: %w", err)
	}
	for _, p := range parked {
		w.w.parked[p.Root] = p
	}
	if w.frontier.Number == 0 { // every row that comes is found by these mappings
		w.extra.Mapping = w.plan.version
	}
	if w.extra.Mapping != w.plan.version { // everything is to be composed again
		w.extra.Composed = false
	}
	known := func(t change.Table) bool { _, ok := w.plan.tables[t]; return ok }
	applied := w.frontier
	applied.Sources = maps.Clone(applied.Sources)
	for name, p := range w.engine.sources {
		shown := w.frontier.Sources[name].Freshness
		shown.Source = name
		w.shown = append(w.shown, shown)
		if p.Applied != nil {
			applied.Sources[name] = commit.Progress{Freshness: *p.Applied}
		}
	}
	slices.SortFunc(w.shown, func(a, b change.Freshness) int { return strings.Compare(a.Source, b.Source) })
	w.asm = newAssembler(&w.cfg, known, applied, snapshots)
	if w.asm.snapshotting() { // a source that is new to the store
		w.extra.Composed = false
	}
	return nil
}

// Uncovered lists the declared tables whose source has a finished snapshot that
// did not hold them: rows that they had before they were declared, or had while
// they were not, are unknown until the source has a new snapshot. It MUST NOT be
// called once the worker runs.
func (w *Worker) Uncovered() []change.Table {
	var missing []change.Table
	for t := range w.plan.tables {
		p := w.engine.sources[t.Source]
		if p != nil && p.Snapshot.Finished && !p.Snapshot.Open && !slices.Contains(p.Snapshot.Tables, t.Name) {
			missing = append(missing, t)
		}
	}
	slices.SortFunc(missing, compareTables)
	return missing
}

// Close gives the spill file back. It commits nothing.
func (w *Worker) Close() error { return w.asm.close() }

// Run steps until ctx ends or a step fails, then closes the worker. It returns
// ctx's error, or the step's.
func (w *Worker) Run(ctx context.Context) error {
	for {
		if err := w.Step(ctx); err != nil {
			return errors.Join(err, w.Close())
		}
	}
}

// Step polls once, unless it left something over, and applies what has become
// ready, as far as it fits one group; the group is one Commit of the store. The
// first composition is a commit of its own.
func (w *Worker) Step(ctx context.Context) error {
	if w.failed != nil {
		return w.failed
	}
	if !w.more {
		recs, err := w.poll(ctx)
		if err != nil {
			return err
		}
		w.queue = recs
	}
	if err := w.step(ctx); err != nil {
		w.failed = err
		return err
	}
	return nil
}

// poll waits for records, but not longer than something waits to be done.
func (w *Worker) poll(ctx context.Context) ([]Record, error) {
	wait := time.Duration(-1)
	if len(w.w.parked) > 0 {
		wait = max(0, w.cfg.RetryEvery-time.Since(w.retried))
	}
	if w.moved() {
		idle := max(0, idleCommit-time.Since(w.committed))
		if wait < 0 || idle < wait {
			wait = idle
		}
	}
	if w.makingTokens() && (wait < 0 || wait > betweenTokens) {
		wait = betweenTokens
	}
	limited := ctx
	if wait >= 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, wait)
		defer cancel()
	}
	recs, err := w.cfg.Feed.Poll(limited)
	if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return recs, nil
	}
	if err != nil {
		return nil, fmt.Errorf("compose: poll: %w", err)
	}
	return recs, nil
}

// moved reports whether a source is further than the store's frontier says.
func (w *Worker) moved() bool {
	for _, f := range w.freshness() {
		if f != w.frontier.Sources[f.Source].Freshness {
			return true
		}
	}
	return false
}

func (w *Worker) step(ctx context.Context) error {
	if err := w.take(ctx); err != nil {
		return err
	}
	if w.more = len(w.queue) > 0; !w.more {
		if err := w.ready(ctx); err != nil {
			return err
		}
	}
	if w.w.dirty || w.moved() && time.Since(w.committed) >= idleCommit {
		if err := w.commit(ctx); err != nil {
			return err
		}
	}
	if len(w.queue) == 0 && !w.extra.Composed && !w.asm.snapshotting() {
		return w.composeAll(ctx)
	}
	if w.makingTokens() {
		return w.makeTokens(ctx)
	}
	if w.extra.Composed && len(w.w.parked) > 0 && time.Since(w.retried) >= w.cfg.RetryEvery {
		return w.retry(ctx)
	}
	return nil
}

// take gives queued records to the assembler and applies snapshot rows at once.
func (w *Worker) take(ctx context.Context) error {
	n := 0
	for ; n < len(w.queue) && !w.w.full(); n++ {
		ev, err := w.asm.Add(&w.queue[n])
		if err != nil {
			return err
		}
		if w.extra.Composed && w.asm.snapshotting() {
			w.extra.Composed, w.w.dirty = false, true
		}
		if ev != nil {
			if err := w.snapshotRow(ctx, ev); err != nil {
				return err
			}
		}
	}
	w.queue = w.queue[n:]
	return nil
}

// ready applies what the assembler has ready until the group is full.
func (w *Worker) ready(ctx context.Context) error {
	for !w.w.full() {
		g, err := w.gather()
		if err != nil || g == nil {
			return err
		}
		w.closeRows()
		r := g.parts[0].ready
		switch {
		case r.snapshot != nil:
			w.more = true // the first composition goes before what comes next
			return w.snapshotDone(ctx, r)
		case len(g.parts) == 1:
			err = w.transaction(ctx, r, g.parts[0].sources)
		default:
			err = w.applyWave(ctx, g)
		}
		if err != nil {
			return err
		}
	}
	w.more = true
	return nil
}

// transaction applies one source transaction as one unit. sources is how far each
// is applied with it; nil: as far as they are when it ends.
func (w *Worker) transaction(ctx context.Context, r *ready, sources []change.Freshness) error {
	a, err := w.applyRows(ctx, r)
	if err != nil {
		return err
	}
	if w.live() {
		rc := &recomposer{w: w.w, e: w.engine}
		if err := rc.affected(ctx, a); err != nil {
			return fmt.Errorf("compose: source %s, transaction at %s: %w", r.source, r.transaction.at, err)
		}
	}
	if err := w.asm.drop(r.transaction); err != nil {
		return err
	}
	if sources == nil {
		sources = w.freshness()
	}
	w.w.end(sources)
	return nil
}

// applyRows begins the transaction's unit, applies its rows and returns what
// depends on them.
func (w *Worker) applyRows(ctx context.Context, r *ready) (*affected, error) {
	t := r.transaction
	w.w.begin(r.source, t.any.Mark, t.any.Committed)
	live := w.live()
	a := newAffected(w.engine)
	err := w.asm.rows(t, func(ev *change.Event) error {
		d, err := w.engine.apply(ev)
		if err != nil {
			return err
		}
		w.w.rows[r.source]++
		if live {
			if err := a.add(d); err != nil {
				return err
			}
		}
		return w.w.breathe(ctx)
	})
	return a, err
}

// live reports whether transactions compose; if not, members that lose rows are
// marked, for the composition to come.
func (w *Worker) live() bool {
	w.engine.marking = !w.extra.Composed && w.frontier.Composed
	return w.extra.Composed
}

// freshness is how far what is served shows each source: never further than its
// resources are composed.
func (w *Worker) freshness() []change.Freshness {
	if w.extra.Composed && !w.asm.snapshotting() {
		w.shown = w.asm.freshness()
	}
	return w.shown
}

// commit makes the group visible.
func (w *Worker) commit(ctx context.Context) error {
	w.closeRows()
	f, err := w.nextFrontier()
	if err != nil {
		return err
	}
	if err := w.w.commit(ctx, f); err != nil {
		return err
	}
	w.frontier, w.committed = f, time.Now()
	w.publish()
	w.tell()
	return nil
}

// nextFrontier is the frontier as of everything applied.
func (w *Worker) nextFrontier() (commit.Frontier, error) {
	f := commit.Frontier{
		Number: w.w.number, Generation: w.frontier.Generation, Composed: w.frontier.Composed,
		Sources: make(map[string]commit.Progress), Offsets: w.asm.offsets.snapshot(), Outbox: slices.Clone(w.w.outbox),
		Matching: w.frontier.Matching,
	}
	maps.Copy(f.Sources, w.frontier.Sources)
	for _, fresh := range w.asm.freshness() {
		p := w.engine.sources[fresh.Source]
		p.Snapshot, p.Applied = w.asm.sources[fresh.Source].snap, &fresh
		b, err := json.Marshal(p)
		if err != nil {
			return f, fmt.Errorf("compose: write the progress of source %s: %w", fresh.Source, err)
		}
		f.Sources[fresh.Source] = commit.Progress{Extra: b}
	}
	for _, shown := range w.freshness() {
		f.Sources[shown.Source] = commit.Progress{Freshness: shown, Extra: f.Sources[shown.Source].Extra}
	}
	var err error
	f.Extra, err = w.extra.encode(w.engine.schemas)
	return f, err
}

// tell calls the hooks about the committed group.
func (w *Worker) tell() {
	h := &w.cfg.Hooks
	for _, fresh := range w.freshness() {
		if h.Applied != nil {
			h.Applied(fresh, w.w.rows[fresh.Source], w.w.versions[fresh.Source])
		}
	}
	if n := w.w.versions[""]; n > 0 && h.Applied != nil { // of no source: a composition of everything, or a retry
		h.Applied(change.Freshness{}, 0, n)
	}
	for _, p := range w.w.news {
		if h.Parked != nil {
			h.Parked(p.Root, p.Reason, p.Cleared)
		}
	}
	w.w.news = nil
	clear(w.w.rows)
	clear(w.w.versions)
}
