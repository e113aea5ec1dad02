package compose

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
)

// Announced is one version as the change topic has it. Of Info, Count is what
// the topic says; Committed is in microseconds.
type Announced struct {
	Info    commit.Info
	Version commit.Version // without Index, Postings and Hash; Updated is zero
}

// Announcements gives what was announced, in the order of commit and sequence,
// and then io.EOF.
type Announcements interface {
	Next(ctx context.Context) (*Announced, error)
}

// RebuildConfig is what Rebuild needs: of Config everything but Feed, and a store
// that is empty or was left by a Rebuild of the same topics.
type RebuildConfig struct {
	Config
	// Feeds are as in ReplayConfig.
	Feeds   map[string]Feed
	Changes Announcements
	// Last is the outbox number of the last record that each partition of the
	// change topic holds.
	Last []uint64
	// Progress, if not nil, is told of each version that is carried over.
	Progress func(*Announced)
}

// Rebuild makes a store that was lost again:
//
//	B1  What was announced is history. Each version is carried over as it is,
//	    under its commit number and outbox number, whatever the mappings are now.
//	    So no version number ever means two contents.
//	B2  Under it lies the row state of that commit, from the landing log.
//	B3  Behind the last of it everything is composed once. What comes of that
//	    are new versions: the difference to what was announced last. The outbox
//	    goes on with them.
//
// Rows beyond the last announced commit are left to the next start. It goes on
// where an earlier one was cut off, and is done when it returned nil.
func Rebuild(ctx context.Context, cfg RebuildConfig) error {
	r, err := newReplayer(cfg.Config, cfg.Feeds)
	if err != nil {
		return err
	}
	b := &rebuilder{replayer: r, cfg: &cfg}
	return errors.Join(b.rebuild(ctx), r.w.Close())
}

// ErrTopicLacks says that the change topic does not hold every version.
var ErrTopicLacks = errors.New("the change topic lacks versions that were made, as after a rebuild that announced nothing: it is no base for another rebuild")

// rebuilder carries versions over while a replayer moves the rows.
type rebuilder struct {
	*replayer
	cfg  *RebuildConfig
	info commit.Info // of the unit that is open
}

func (b *rebuilder) rebuild(ctx context.Context) error {
	w := b.w
	if w.extra.Composed {
		return nil // it was done when it was cut off
	}
	from := w.w.number
	for {
		a, err := b.cfg.Changes.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("compose: rebuild: %w", err)
		}
		if a.Info.Number <= from {
			continue
		}
		if a.Info.Number != b.info.Number {
			if err := b.enter(ctx, &a.Info); err != nil {
				return fmt.Errorf("compose: rebuild commit %d: %w", a.Info.Number, err)
			}
		}
		if err := b.carry(ctx, &a.Version); err != nil {
			return fmt.Errorf("compose: rebuild commit %d: %w", a.Info.Number, err)
		}
		if b.cfg.Progress != nil {
			b.cfg.Progress(a)
		}
	}
	b.leave()
	if err := b.flush(ctx); err != nil {
		return err
	}
	if w.w.number == 0 || w.asm.snapshotting() {
		return nil // nothing was ever announced, or a snapshot is open: the next start composes
	}
	w.w.recorded = nil
	return w.composeAll(ctx)
}

// leave ends the unit that is open.
func (b *rebuilder) leave() {
	if b.w.w.open {
		b.w.w.end(b.sources())
	}
}

// sources is how far what was carried over shows the sources.
func (b *rebuilder) sources() []change.Freshness {
	if b.info.Sources == nil {
		return b.w.shown
	}
	return b.info.Sources
}

// enter opens the unit of an announced commit: the rows of its transaction, and
// before it the commits that announced nothing.
func (b *rebuilder) enter(ctx context.Context, info *commit.Info) error {
	w := b.w
	b.leave()
	if w.w.full() {
		if err := w.commit(ctx); err != nil {
			return err
		}
	}
	if info.Number <= w.w.number {
		return fmt.Errorf("%w: the change topic has it after commit %d", ErrContradiction, w.w.number)
	}
	b.info.Committed, b.info.Number = info.Committed, info.Number
	if w.w.number+1 < info.Number {
		w.w.begin("", change.Mark{}, info.Committed)
	} else { // what announced nothing has no number of its own
		w.w.begin(info.Source, change.Mark{Position: info.Position}, info.Committed)
	}
	w.extra.Composed = false
	w.live()
	for _, s := range info.Sources {
		if s.Source == info.Source {
			s.Position = info.Position
		}
		if err := b.bring(ctx, s.Source, s.Position, s.Source == info.Source); err != nil {
			return err
		}
	}
	for w.w.number < info.Number {
		b.leave()
		if err := b.breathe(ctx); err != nil {
			return err
		}
		if w.w.number+1 < info.Number {
			w.w.begin("", change.Mark{}, info.Committed)
		} else {
			w.w.begin(info.Source, change.Mark{Position: info.Position}, info.Committed)
		}
	}
	b.info = *info
	if info.Source == "" {
		w.frontier.Composed = true
		return nil
	}
	done, err := b.next(ctx, info.Source, info.Position)
	if err != nil {
		return err
	}
	if done.transaction == nil {
		return fmt.Errorf("%w: the log has a snapshot there", ErrContradiction)
	}
	return b.rows(ctx, done.transaction)
}

// breathe commits between units that make no versions.
func (b *rebuilder) breathe(ctx context.Context) error {
	if !b.w.w.full() {
		return nil
	}
	return b.w.commit(ctx)
}

// bring applies the source's transactions up to the position, or (before) up to
// the one there.
func (b *rebuilder) bring(ctx context.Context, source string, to change.Position, before bool) error {
	w := b.w
	if to.IsZero() {
		return nil
	}
	s := w.asm.sources[source]
	if s == nil {
		return &Error{Op: "rebuild", Source: source, Err: errors.New("the change topic names a source that is not configured")}
	}
	for {
		done, err := b.ready(source, func(t *transaction) int {
			if c := t.at.Compare(to); c > 0 || before && c == 0 {
				return 1
			}
			return 0
		})
		switch {
		case errors.Is(err, errNotYet):
			return nil
		case err != nil:
			return err
		case done != nil:
			if err := b.gap(ctx, done); err != nil {
				return err
			}
			continue
		case s.fresh.Position.Compare(to) >= 0:
			return nil
		}
		if b.stuck(source, to) {
			b.open[source] = true
		}
		if err := b.pump(ctx, source); errors.Is(err, io.EOF) {
			return lost(source, to, errors.New("it ends before that is whole"))
		} else if err != nil {
			return err
		}
	}
}

// gap applies what was committed and announced nothing.
func (b *rebuilder) gap(ctx context.Context, done *ready) error {
	if done.snapshot != nil {
		return b.w.settle(ctx, done)
	}
	return b.rows(ctx, done.transaction)
}

// rows applies a transaction's rows and composes nothing.
func (b *rebuilder) rows(ctx context.Context, t *transaction) error {
	w := b.w
	w.extra.Composed = false
	w.live()
	err := w.asm.rows(t, func(ev *change.Event) error {
		if _, err := w.engine.apply(ev); err != nil {
			return err
		}
		w.w.rows[t.source]++
		return w.w.breathe(ctx)
	})
	if err != nil {
		return err
	}
	return w.asm.drop(t)
}

// carry writes an announced version into the unit that is open.
func (b *rebuilder) carry(ctx context.Context, v *commit.Version) error {
	w := b.w
	head, existed, err := w.engine.state.head(v.ResourceID)
	if err != nil {
		return err
	}
	if existed && !head.Deleted && head.Member != v.Member && v.Number > head.Number+1 {
		// It moved, and the topic ends before it says so in the former record.
		if err := w.w.version(ctx, &draft{id: v.ResourceID, head: head, existed: true, member: head.Member}); err != nil {
			return err
		}
		head.Number, head.Deleted = head.Number+1, true
	}
	for ; head.Number+1 < v.Number; head.Number++ {
		if err := b.hole(v, head.Number+1); err != nil {
			return err
		}
		existed, head.Deleted = true, true
	}
	d := &draft{id: v.ResourceID, head: head, existed: existed, member: v.Member}
	if !v.Deleted {
		d.content = fhir.Unstamp(v.Body)
		sum := sha256.Sum256(d.content)
		copy(d.hash[:], sum[:])
	}
	if err := b.agrees(d, v); err != nil {
		return err
	}
	return w.w.version(ctx, d)
}

// hole stands for a version that the topic ends too early to have: of a resource
// that was made and left again in a record whose partition lags behind. Nobody
// was told what it was; it is announced as a deletion, where nothing follows.
func (b *rebuilder) hole(v *commit.Version, number uint64) error {
	w := b.w
	for p, last := range b.cfg.Last {
		if w.w.outbox[p] < last || int32(p) == v.Partition {
			continue
		}
		u := w.engine.unit
		w.w.outbox[p]++
		gone := commit.Version{Op: commit.Delete, Partition: int32(p), Outbox: w.w.outbox[p], Sequence: w.w.count}
		gone.ResourceID, gone.Member, gone.Number, gone.Commit = v.ResourceID, v.Member, number, uint64(u.Number)
		gone.Deleted, gone.Updated = true, u.Committed.UTC().Truncate(time.Millisecond)
		u.Versions = append(u.Versions, gone)
		w.w.count++
		w.engine.state.putHead(v.ResourceID, commit.Head{Number: number, Updated: gone.Updated, Deleted: true, Member: v.Member})
		return nil
	}
	return fmt.Errorf("%w: it has %s version %d and not the one before", ErrTopicLacks, v.ResourceID, number+1)
}

// agrees wants that the version comes out as it was announced.
func (b *rebuilder) agrees(d *draft, v *commit.Version) error {
	w := b.w
	wrong := func(what string, got, want any) error {
		return fmt.Errorf("%w: the change topic has %s version %d with %s %v, it would be %v", ErrContradiction, v.ResourceID, v.Number, what, want, got)
	}
	if d.head.Number+1 != v.Number {
		return wrong("number", d.head.Number+1, v.Number)
	}
	if next := w.w.outbox[v.Partition] + 1; next != v.Outbox {
		return fmt.Errorf("%w: its partition %d goes on with number %d after %d", ErrTopicLacks, v.Partition, v.Outbox, next-1)
	}
	updated := w.engine.unit.Committed.UTC().Truncate(time.Millisecond)
	if updated.Before(d.head.Updated) {
		updated = d.head.Updated
	}
	if d.content != nil && !bytes.Equal(fhir.Stamp(nil, d.content, v.Number, updated), v.Body) {
		return wrong("another stamp than at", updated.Format(fhir.LastUpdatedLayout), "")
	}
	return nil
}
