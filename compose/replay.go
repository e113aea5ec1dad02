package compose

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
)

// Order is a recorded order of commits, as a store keeps it: dense from 1.
type Order interface {
	// Commits calls fn for the commits after the given number, in order, until fn
	// returns false.
	Commits(after commit.Number, fn func(commit.Info) bool) error
}

// ReplayConfig is what Replay needs: of Config everything but Feed, and a store
// that is empty or was left by a Replay of the same order.
type ReplayConfig struct {
	Config
	// Feeds give each source's records by itself, from the offsets of
	// Store.Frontier, and io.EOF at the end of what the log held when the replay
	// began.
	Feeds map[string]Feed
	Order Order
	Last  commit.Number // of Order; for Progress
	// Progress, if not nil, is told how many of the commits are made again.
	Progress func(done, last commit.Number)
}

// Replay applies the log in the recorded order: each commit number gets the
// transaction that it had, and what is composed under it has the time it had. So
// the same mappings give the same history, number by number; other mappings give
// the one that they would have made. It goes on where an earlier Replay into the
// same store was cut off. A commit whose transaction the log does not hold is an
// error that names source and position.
func Replay(ctx context.Context, cfg ReplayConfig) error {
	r, err := newReplayer(cfg.Config, cfg.Feeds)
	if err != nil {
		return err
	}
	return errors.Join(r.follow(ctx, &cfg), r.w.Close())
}

// replayer drives a worker by a record instead of by what comes in.
//
//	P1  A source's records are read only when its next commit is due.
//	P2  A newer snapshot of a source is held back, with all that lies behind it,
//	    until its commit is due: until then the transactions before it still are.
type replayer struct {
	w     *Worker
	feeds map[string]Feed
	held  map[commit.TopicPartition][]Record
	open  map[string]bool               // a newer snapshot of the source is due
	dead  map[string]change.Incarnation // of a snapshot that will never be whole: the next is let in
}

func newReplayer(cfg Config, feeds map[string]Feed) (*replayer, error) {
	cfg.Feed = noFeed{}
	cfg.Resnapshot = cfg.Sources // what was no reason to stop then is none now
	w, err := New(cfg)
	if err != nil {
		return nil, err
	}
	for _, name := range cfg.Sources {
		if feeds[name] == nil {
			return nil, errors.Join(fmt.Errorf("compose: replay: source %s has no feed", name), w.Close())
		}
	}
	return &replayer{w: w, feeds: feeds, held: make(map[commit.TopicPartition][]Record), open: make(map[string]bool), dead: make(map[string]change.Incarnation)}, nil
}

// noFeed stands for the feed that a replay does not poll.
type noFeed struct{}

func (noFeed) Poll(context.Context) ([]Record, error) { return nil, io.EOF }

// chunk is how many commits are taken from the order at a time.
const chunk = 1000

func (r *replayer) follow(ctx context.Context, cfg *ReplayConfig) error {
	for {
		var infos []commit.Info
		err := cfg.Order.Commits(r.w.w.number, func(info commit.Info) bool {
			infos = append(infos, info)
			return len(infos) < chunk
		})
		if err != nil {
			return fmt.Errorf("compose: replay: %w", err)
		}
		for i := range infos {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := r.unit(ctx, &infos[i]); err != nil {
				return fmt.Errorf("compose: replay commit %d: %w", infos[i].Number, err)
			}
			if cfg.Progress != nil {
				cfg.Progress(infos[i].Number, cfg.Last)
			}
		}
		if len(infos) == 0 {
			return r.flush(ctx)
		}
	}
}

// flush commits what is gathered.
func (r *replayer) flush(ctx context.Context) error {
	if !r.w.w.dirty {
		return nil
	}
	return r.w.commit(ctx)
}

// unit does again what one commit did.
func (r *replayer) unit(ctx context.Context, info *commit.Info) error {
	w := r.w
	if w.w.number+1 != info.Number {
		return fmt.Errorf("the order goes on after commit %d", w.w.number)
	}
	w.w.recorded = info
	if info.Source == "" {
		if err := r.flush(ctx); err != nil {
			return err
		}
		if !w.extra.Composed || info.Count > 0 { // of everything; else a retry
			return w.composeAll(ctx)
		}
		return w.retry(ctx)
	}
	var err error
	if info.Position.IsZero() {
		err = r.snapshotRows(ctx, info)
	} else {
		err = r.applied(ctx, info)
	}
	if err == nil && w.w.full() {
		err = w.commit(ctx)
	}
	return err
}

// applied makes the commit of a transaction, or of a snapshot's end.
func (r *replayer) applied(ctx context.Context, info *commit.Info) error {
	w := r.w
	done, err := r.next(ctx, info.Source, info.Position)
	if err != nil {
		return err
	}
	if done.snapshot != nil {
		return w.snapshotDone(ctx, done)
	}
	// Then too a transaction composed only if what was served moved with it.
	w.extra.Composed = composedWith(info)
	return w.transaction(ctx, done, nil)
}

func composedWith(info *commit.Info) bool {
	for _, s := range info.Sources {
		if s.Source == info.Source {
			return s.Position.Compare(info.Position) >= 0
		}
	}
	return false
}

// snapshotRows makes a commit of a snapshot's rows. Which of them it was does not
// matter, for none is shown before the snapshot has ended: the first takes all.
func (r *replayer) snapshotRows(ctx context.Context, info *commit.Info) error {
	w := r.w
	s := w.asm.sources[info.Source]
	r.open[info.Source] = true
	w.w.begin(info.Source, change.Mark{}, info.Committed)
	w.extra.Composed = false
	w.live()
	for {
		if _, ok := s.snap.finished(w.asm.partitions, s.known); ok {
			break
		}
		if err := r.pump(ctx, info.Source); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
	}
	w.w.end(w.freshness())
	return nil
}

// next gives out the source's transaction at the position, or its snapshot that
// ends there.
func (r *replayer) next(ctx context.Context, source string, at change.Position) (*ready, error) {
	for {
		done, err := r.ready(source, func(t *transaction) int { return t.at.Compare(at) })
		if errors.Is(err, errNotYet) {
			err = lost(source, at, errors.New("it goes on behind it"))
		}
		if err != nil {
			return nil, err
		}
		if done != nil {
			if m := done.snapshot; m != nil && m.mark.Position != at {
				return nil, lost(source, at, fmt.Errorf("its snapshot ends at %s", m.mark.Position))
			}
			return done, nil
		}
		s := r.w.asm.sources[source]
		if s.fresh.Position.Compare(at) > 0 {
			return nil, lost(source, at, fmt.Errorf("it goes on at %s", s.fresh.Position))
		}
		if r.stuck(source, at) {
			r.open[source] = true
		}
		if err := r.pump(ctx, source); errors.Is(err, io.EOF) {
			return nil, lost(source, at, errors.New("it ends before that is whole"))
		} else if err != nil {
			return nil, err
		}
	}
}

// ready gives out what of the source is ready, if it is a transaction that order
// calls 0, or a snapshot that has ended; errNotYet if it comes later. What comes
// before was dropped by a snapshot then, which must be let in.
func (r *replayer) ready(source string, order func(*transaction) int) (*ready, error) {
	a := r.w.asm
	s := a.sources[source]
	if rec, ok := s.snap.finished(a.partitions, s.known); ok {
		r.open[source] = false
		return a.finish(s, rec)
	}
	t, err := a.first(s)
	if err != nil || t == nil {
		return nil, err
	}
	switch c := order(t); {
	case c < 0:
		r.open[source] = true
		return nil, nil
	case c > 0:
		return nil, errNotYet
	}
	s.take(t)
	return &ready{source: source, transaction: t}, nil
}

// errNotYet says that the source's next transaction lies behind what is due.
var errNotYet = errors.New("compose: not due")

// stuck reports whether nothing more can come before the source's next snapshot:
// every partition of its tx topic has reached it, and what is due is not among
// what lies before.
func (r *replayer) stuck(source string, at change.Position) bool {
	n := int32(0)
	for _, queue := range r.held {
		if len(queue) > 0 && queue[0].Tx != nil && queue[0].Tx.Source == source {
			n++
		}
	}
	if n < r.w.asm.partitions {
		return false
	}
	for _, t := range r.w.asm.sources[source].all {
		if t.at == at && t.any != nil {
			return false
		}
	}
	return true
}

// pump reads more of the source. It returns io.EOF when there is no more.
func (r *replayer) pump(ctx context.Context, source string) error {
	moved := false
	for tp, queue := range r.held {
		n := 0
		for n < len(queue) && sourceOf(&queue[n]) == source && !r.early(&queue[n]) {
			if err := r.add(ctx, &queue[n]); err != nil {
				return err
			}
			n++
		}
		if moved = moved || n > 0; n == len(queue) {
			delete(r.held, tp)
		} else {
			r.held[tp] = queue[n:]
		}
	}
	if moved {
		return nil
	}
	snap := &r.w.asm.sources[source].snap
	if r.dead[source] != snap.Incarnation && r.cutOff(source) {
		r.dead[source] = snap.Incarnation
		return nil
	}
	recs, err := r.feeds[source].Poll(ctx)
	if errors.Is(err, io.EOF) {
		if r.open[source] && snap.Open && r.dead[source] != snap.Incarnation {
			r.dead[source] = snap.Incarnation
			return nil
		}
		return io.EOF
	}
	if err != nil {
		return fmt.Errorf("compose: poll: %w", err)
	}
	for i := range recs {
		if queue := r.held[recs[i].From]; len(queue) > 0 || r.early(&recs[i]) {
			r.held[recs[i].From] = append(queue, recs[i])
			continue
		}
		if err := r.add(ctx, &recs[i]); err != nil {
			return err
		}
	}
	return nil
}

// add gives a record to the assembler; a snapshot's row is applied at once, in
// the unit that is open.
func (r *replayer) add(ctx context.Context, rec *Record) error {
	w := r.w
	ev, err := w.asm.Add(rec)
	if err != nil || ev == nil {
		return err
	}
	if !w.w.open {
		return w.snapshotRow(ctx, ev)
	}
	if _, err := w.engine.apply(ev); err != nil {
		return err
	}
	w.w.rows[ev.Schema.Table.Source]++
	return w.w.breathe(ctx)
}

// early reports whether the record is of a newer snapshot that is not due. Only a
// record of the tx topic begins one; its rows wait for that. One that was left
// unfinished is followed by the next at once; one that has ended in this
// partition is not, for it may still be whole.
func (r *replayer) early(rec *Record) bool {
	s := r.w.asm.sources[sourceOf(rec)]
	if s == nil {
		return false
	}
	if rec.Event != nil {
		return rec.Event.Op == change.Read && rec.Event.Incarnation > s.snap.Incarnation
	}
	begins := rec.Tx.Status == change.Started && rec.Tx.Snapshot || rec.Tx.Status == change.SnapshotEnded
	if !begins || rec.Tx.Incarnation <= s.snap.Incarnation {
		return false
	}
	return !r.open[s.name] || r.dead[s.name] != s.snap.Incarnation && s.snap.Open && s.snap.ends[rec.Tx.Partition] != nil
}

// cutOff reports whether the source's open snapshot lacks a row of a partition
// in which the next one has begun already: its reader died when some partitions
// had its end and others not yet all rows.
func (r *replayer) cutOff(source string) bool {
	s := r.w.asm.sources[source]
	if !s.snap.Open {
		return false
	}
	for _, queue := range r.held {
		if len(queue) == 0 || queue[0].Event == nil || sourceOf(&queue[0]) != source {
			continue
		}
		k := streamKey{queue[0].From.Partition, queue[0].Event.Schema.Table.Name}
		c, end := s.snap.Counts[streamName(k)], s.snap.ends[k.partition]
		if end != nil && (c == nil || c.N < end.Counts[k.table]) && end.Counts[k.table] > 0 {
			return true
		}
	}
	return false
}

func sourceOf(rec *Record) string {
	if rec.Tx != nil {
		return rec.Tx.Source
	}
	return rec.Event.Schema.Table.Source
}

// ErrLogLacks is wrapped by the error about a commit whose transaction the
// landing log does not hold.
var ErrLogLacks = errors.New("the landing log does not hold what was committed")

func lost(source string, at change.Position, why error) error {
	return &Error{Op: "replay", Source: source, Position: at, Err: fmt.Errorf("%w: %w", ErrLogLacks, why),
		Hint: "a landing topic was cut, removed or made anew; without its base a log cannot be replayed: restore the topics"}
}
