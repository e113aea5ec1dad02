package compose

import (
	"context"
	"fmt"
	"time"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
)

// writer gathers units into groups and gives them to the store: finished units
// wait for the group's one Commit; what grows beyond the limits is staged in
// pieces.
type writer struct {
	cfg    *Config
	store  Store
	engine *engine

	number   commit.Number // of the newest unit
	outbox   []uint64
	units    []commit.Unit // finished and not staged
	begun    time.Time     // when the group's first unit was begun
	txs      int           // units in the group
	open     bool          // a unit is being made
	staged   bool          // a part of the group is with the store already
	count    uint32        // its versions so far
	rows     map[string]int
	versions map[string]int
	parked   map[string]commit.Parked
	news     []commit.Parked // of the group, for the hook
	dirty    bool            // there is something to commit
	held     bool            // units wait that are not finished: nothing may be staged
	recorded *commit.Info    // what a replay knows of the unit; nil otherwise
}

// begin starts the next unit.
func (w *writer) begin(source string, at change.Mark, committed time.Time) {
	if w.txs == 0 {
		w.begun = time.Now()
	}
	w.number++
	w.count, w.open, w.dirty = 0, true, true
	w.engine.unit = &unit{index: make(map[rowID]int), Unit: commit.Unit{
		Number: w.number, Source: source, Position: at.Position, Token: at.Token, Committed: committed,
	}}
}

// end finishes the unit; sources is how far each is applied with it.
func (w *writer) end(sources []change.Freshness) {
	u := w.engine.unit
	u.Count, u.Sources = w.count, sources
	if w.recorded != nil {
		u.Sources = w.recorded.Sources
	}
	w.units = append(w.units, u.Unit)
	w.engine.unit, w.open = nil, false
	w.txs++
}

// pause lays the open unit aside before any version of it is written.
func (w *writer) pause() { w.engine.unit, w.open = nil, false }

// resume goes on with a unit, until its end once versions of it are written.
func (w *writer) resume(u *unit) {
	if w.engine.unit != u {
		w.count = 0
	}
	w.engine.unit, w.open = u, true
}

// full reports whether the group has reached its limits.
func (w *writer) full() bool {
	return w.staged || w.txs >= w.cfg.GroupTxs || w.txs > 0 && time.Since(w.begun) > w.cfg.GroupTime || w.engine.state.bytes >= w.cfg.GroupBytes
}

// breathe stages what there is if it has grown too large for memory. It MUST NOT
// be called while stored bodies are in use.
func (w *writer) breathe(ctx context.Context) error {
	u := w.engine.unit
	if w.held || w.engine.state.bytes < w.cfg.GroupBytes && (u == nil || len(u.Versions) < w.cfg.PieceVersions) {
		return nil
	}
	return w.stage(ctx)
}

// stage writes everything that waits, above the frontier.
func (w *writer) stage(ctx context.Context) error {
	batch := commit.Batch{Units: w.units}
	if u := w.engine.unit; u != nil && len(u.Rows)+len(u.Versions)+len(u.Parked)+len(u.Tokens) > 0 {
		piece := u.Unit
		batch.Units = append(batch.Units, piece)
		u.Rows, u.Versions, u.Parked, u.Tokens = nil, nil, nil, nil
		u.index = make(map[rowID]int)
	}
	if len(batch.Units) == 0 {
		return nil
	}
	if err := w.store.Stage(ctx, batch); err != nil {
		return fmt.Errorf("compose: stage unit %d: %w", w.number, err)
	}
	w.units, w.staged = nil, true
	w.engine.state.reset()
	return nil
}

// commit makes the group visible with the frontier.
func (w *writer) commit(ctx context.Context, f commit.Frontier) error {
	if err := w.store.Commit(ctx, commit.Batch{Units: w.units}, f); err != nil {
		return fmt.Errorf("compose: commit unit %d: %w", w.number, err)
	}
	w.units, w.txs, w.dirty, w.staged = nil, 0, false, false
	w.engine.state.reset()
	return nil
}

// draft is a version before it has its numbers.
type draft struct {
	id      fhir.ResourceID
	head    commit.Head
	existed bool
	content []byte // nil to delete
	hash    [16]byte
	member  string // the member's Patient id
	encoded *encoded
	tokens  []commit.Token
}

// write makes the draft a version of the unit. A resource that moves from one
// member to another is deleted in the one's record before it is created in the
// other's: who follows only the first must hear that it is gone.
func (w *writer) write(ctx context.Context, d *draft) error {
	if d.content != nil && d.existed && !d.head.Deleted && d.head.Member != d.member {
		if err := w.version(ctx, &draft{id: d.id, head: d.head, existed: true, member: d.head.Member}); err != nil {
			return err
		}
		d.head.Number++
		d.head.Deleted = true
	}
	return w.version(ctx, d)
}

// version gives the draft its numbers.
func (w *writer) version(ctx context.Context, d *draft) error {
	u := w.engine.unit
	v := commit.Version{Op: commit.Update, Hash: d.hash, Sequence: w.count}
	v.ResourceID, v.Member, v.Commit = d.id, d.member, uint64(u.Number)
	v.Number = d.head.Number + 1
	v.Updated = d.head.UpdatedAt(u.Committed)
	switch {
	case d.content == nil:
		v.Op, v.Deleted = commit.Delete, true
	case !d.existed || d.head.Deleted:
		v.Op = commit.Create
	}
	if d.content != nil {
		x := d.encoded
		if x == nil || x.number != v.Number || !x.updated.Equal(v.Updated) { // a resource that moved has a version in between
			x = encode(d.id.Type, d.content, v.Number, v.Updated)
		}
		v.Body, v.Index, v.Postings = x.body, x.index, x.postings
	}
	key := d.member
	if key == "" {
		key = d.id.String()
	}
	v.Partition = change.Partition(key, int32(len(w.outbox)))
	w.outbox[v.Partition]++
	v.Outbox = w.outbox[v.Partition]
	u.Versions = append(u.Versions, v)
	w.count++
	w.versions[u.Source]++
	w.engine.state.bytes += len(v.Body) + len(v.Index)
	if w.engine.tokens.has(d.id.Type, d.member) {
		w.tokens(commit.TokenSet{Resource: d.id, Member: d.member, Tokens: d.tokens})
	}
	w.engine.state.putHead(d.id, commit.Head{Number: v.Number, Hash: v.Hash, Updated: v.Updated, Deleted: v.Deleted, Member: v.Member})
	return w.breathe(ctx)
}

// park records that a root could not be composed.
func (w *writer) park(root, reason string) {
	p, ok := w.parked[root]
	if !ok {
		p = commit.Parked{Root: root, Since: w.engine.unit.Committed}
	}
	p.Attempts++
	p.Reason = reason
	w.parked[root] = p
	w.engine.unit.Parked = append(w.engine.unit.Parked, p)
	w.news = append(w.news, p)
}

// unpark records that a root is composed again.
func (w *writer) unpark(root string) {
	p, ok := w.parked[root]
	if !ok {
		return
	}
	delete(w.parked, root)
	p.Cleared = true
	w.engine.unit.Parked = append(w.engine.unit.Parked, p)
	w.news = append(w.news, p)
}
