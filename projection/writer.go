package projection

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
)

// writer gathers the units of the client's store: finished ones wait for one
// Commit, what grows beyond the limits is staged in pieces.
type writer struct {
	store    Store
	first    uint64    // number of a resource's first version
	began    time.Time // nothing is updated before
	number   commit.Number
	outbox   []uint64
	composed bool
	told     freshness

	units    []commit.Unit                   // finished and not staged
	unit     *commit.Unit                    // is being made; nil while nothing of it is shown
	count    uint32                          // its versions so far
	heads    map[fhir.ResourceID]commit.Head // of what waits
	bytes    int
	versions int  // since the last commit
	looked   int  // entries of the base store since then
	staged   bool // a part is with the store already

	redacted []byte // room for a redacted body
}

func newWriter(cfg *Config, f commit.Frontier) writer {
	w := writer{
		store: cfg.Store, first: FirstVersion(cfg.Build), began: cfg.began,
		number: f.Number, outbox: make([]uint64, cfg.Partitions), composed: f.Composed,
		told: freshness{}, heads: map[fhir.ResourceID]commit.Head{},
	}
	copy(w.outbox, f.Outbox)
	for name, s := range f.Sources {
		w.told[name] = s.Committed
	}
	return w
}

// head returns the newest version's, written or waiting; the zero Head for none.
// It is looked for at the member first.
func (w *writer) head(id fhir.ResourceID, member string) (commit.Head, error) {
	if h, ok := w.heads[id]; ok {
		return h, nil
	}
	h, _, err := w.store.HeadOf(member, id)
	return h, err
}

// draft is a version before it has its numbers.
type draft struct {
	id      fhir.ResourceID
	member  string
	content []byte
	hash    [16]byte
}

// content writes the draft as the version after head, which is the zero Head for
// a new resource.
func (w *writer) content(from *commit.Info, d draft, head commit.Head) (err error) {
	defer func() {
		if recover() != nil {
			err = fmt.Errorf("stamp %s: %w", d.id, errors.New("what is left of it is not a resource"))
		}
	}()
	v := w.next(from, d.id, head)
	v.Member, v.Hash, v.Op = d.member, d.hash, commit.Update
	if head.Number == 0 || head.Deleted {
		v.Op = commit.Create
	}
	v.Body = fhir.Stamp(nil, d.content, v.Number, v.Updated)
	var postings []fhir.Posting
	v.Index, postings = fhir.Index(d.id.Type, v.Body)
	for _, p := range postings {
		v.Postings = append(v.Postings, commit.Posting(p))
	}
	w.add(from, v)
	return nil
}

// delete writes the deletion after head, and returns its head.
func (w *writer) delete(from *commit.Info, id fhir.ResourceID, head commit.Head) commit.Head {
	v := w.next(from, id, head)
	v.Member, v.Op, v.Deleted = head.Member, commit.Delete, true
	return w.add(from, v)
}

func (w *writer) next(from *commit.Info, id fhir.ResourceID, head commit.Head) commit.Version {
	var v commit.Version
	v.ResourceID = id
	v.Number = max(head.Number+1, w.first)
	if v.Updated = head.UpdatedAt(from.Committed); v.Updated.Before(w.began) {
		v.Updated = w.began
	}
	return v
}

// versionBytes is about what a version takes in memory beside its body.
const versionBytes = 400

// add makes the version the next of the unit. Only now does the unit get a
// number: a commit of which nothing is shown has none.
func (w *writer) add(from *commit.Info, v commit.Version) commit.Head {
	if w.unit == nil {
		w.number++
		w.count = 0
		w.unit = &commit.Unit{Number: w.number, Source: from.Source, Committed: from.Committed}
	}
	v.Commit, v.Sequence = uint64(w.number), w.count
	key := v.Member
	if key == "" {
		key = v.ResourceID.String()
	}
	v.Partition = change.Partition(key, int32(len(w.outbox)))
	w.outbox[v.Partition]++
	v.Outbox = w.outbox[v.Partition]
	w.unit.Versions = append(w.unit.Versions, v)
	w.count++
	w.versions++
	w.bytes += len(v.Body) + len(v.Index) + versionBytes
	head := commit.Head{Number: v.Number, Hash: v.Hash, Updated: v.Updated, Deleted: v.Deleted, Member: v.Member}
	w.heads[v.ResourceID] = head
	return head
}

// end finishes the unit, if something is shown of it.
func (w *writer) end(from *commit.Info, now time.Time) {
	if w.unit == nil {
		return
	}
	w.told.tellAll(from.Sources, now)
	w.unit.Count, w.unit.Sources = w.count, w.told.list()
	w.units = append(w.units, *w.unit)
	w.unit = nil
}

// stage writes everything that waits, above the frontier.
func (w *writer) stage(ctx context.Context) error {
	batch := commit.Batch{Units: w.units}
	if w.unit != nil && len(w.unit.Versions) > 0 {
		batch.Units = append(batch.Units, *w.unit)
	}
	if len(batch.Units) == 0 {
		return nil
	}
	if err := w.store.Stage(ctx, batch); err != nil {
		return fmt.Errorf("stage commit %d: %w", w.number, err)
	}
	if w.unit != nil {
		w.unit.Versions = nil
	}
	w.staged = true
	w.written()
	return nil
}

// commit makes everything visible, with the place in the base store's outbox.
func (w *writer) commit(ctx context.Context, at []uint64) error {
	f := commit.Frontier{
		Number: w.number, Composed: w.composed, Sources: w.told.progress(),
		Offsets: offsets(at), Outbox: slices.Clone(w.outbox),
	}
	if err := w.store.Commit(ctx, commit.Batch{Units: w.units}, f); err != nil {
		return fmt.Errorf("commit %d: %w", w.number, err)
	}
	w.staged, w.versions, w.looked = false, 0, 0
	w.written()
	return nil
}

// written forgets what the store has now.
func (w *writer) written() {
	w.units, w.bytes = nil, 0
	clear(w.heads)
}
