package clock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/change"
)

// history is the one history that a clock has.
const history = "clock"

// Reader lands the days. Run it once.
type Reader struct {
	cfg         Config
	log         capture.Log
	snapshotted atomic.Bool
}

// New returns a Reader; it does nothing until Run.
func New(cfg Config, log capture.Log) *Reader {
	cfg.Heartbeat = cmp.Or(cfg.Heartbeat, 500*time.Millisecond)
	return &Reader{cfg: cfg, log: log}
}

// Snapshotted reports whether Run has finished a snapshot that is durable in the
// Log. Any goroutine may ask.
func (r *Reader) Snapshotted() bool { return r.snapshotted.Load() }

// Run takes the next incarnation, lands today's row or the days since the last
// one, and then each day when it comes, until ctx is done (then it returns ctx's
// error) or something stops it. It starts no goroutine.
func (r *Reader) Run(ctx context.Context) error {
	t, err := r.cfg.timer()
	if err != nil {
		return err
	}
	run := &run{timer: t, cfg: &r.cfg, log: r.log, incarnation: r.log.Resume().Incarnation + 1}
	if err := run.start(ctx); err != nil {
		return err
	}
	r.snapshotted.Store(run.fresh)
	return run.follow(ctx)
}

// run is one Run's state.
type run struct {
	*timer
	cfg         *Config
	log         capture.Log
	incarnation change.Incarnation
	generation  uint32
	landed      day
	fresh       bool      // it began with a snapshot
	told        time.Time // the time of the last record
	waits       bool      // today is before what was landed, and that was said
}

// start begins the incarnation where the log left off.
func (r *run) start(ctx context.Context) error {
	resume := r.log.Resume()
	durable := resume.Durable
	today, err := r.today()
	if err != nil {
		return err
	}
	r.generation = max(1, durable.Position.Generation)
	if durable.Position.IsZero() || r.cfg.Resnapshot {
		if old := durable.Position; !old.IsZero() && (resume.History != history || uint64(today) < old.Ordinal) {
			r.generation++
		}
		return r.snapshot(ctx, today)
	}
	if err := resumable(resume); err != nil {
		return err
	}
	r.landed = day(durable.Position.Ordinal)
	if today > r.landed+MaxMissed {
		return r.snapshot(ctx, today)
	}
	return r.log.Start(ctx, r.record(change.Started, durable, r.instant()))
}

// resumable refuses a log that is not a clock's.
func resumable(resume capture.Resume) error {
	at := resume.Durable
	e := &capture.Error{Op: "resume", Kind: capture.History, Source: Source, Position: at.Position.String(),
		Hint: "if there was another source of this name: tributary run --resnapshot " + Source}
	switch {
	case resume.History != "" && resume.History != history:
		e.Err = fmt.Errorf("the log was taken from another source (%s)", resume.History)
	case at.Position.Ordinal < 1 || at.Position.Ordinal > uint64(lastDay) || at.Token != day(at.Position.Ordinal).String():
		e.Kind, e.Err = capture.Corrupt, errors.New("the durable mark is not a day's")
	default:
		return nil
	}
	return e
}

// snapshot lands the table: its one row.
func (r *run) snapshot(ctx context.Context, today day) error {
	r.fresh = true
	start := r.record(change.Started, change.Mark{}, r.instant())
	start.Snapshot = true
	if err := r.log.Start(ctx, start); err != nil {
		return err
	}
	return r.land(ctx, today)
}

// land writes the snapshot of a day.
func (r *run) land(ctx context.Context, today day) error {
	mark, at := r.mark(today), r.instant()
	ev := change.Event{Position: mark.Position, Incarnation: r.incarnation, Op: change.Read, Schema: schema,
		After: row(today), Committed: at}
	ev.Position.Sequence = 1
	if err := r.log.Append(ctx, "", &ev); err != nil {
		return err
	}
	if h := r.cfg.Hooks.Rows; h != nil {
		h(1)
	}
	if h := r.cfg.Hooks.SnapshotTable; h != nil {
		h(Today, 1, 1, true)
	}
	end := r.record(change.SnapshotEnded, mark, at)
	end.Snapshot = true
	r.landed = today
	return r.log.SnapshotEnd(ctx, end, []change.Table{Today})
}

// follow lands each day when it comes, and says every heartbeat that nothing is
// unseen.
func (r *run) follow(ctx context.Context) error {
	beat := time.NewTicker(r.cfg.Heartbeat)
	defer beat.Stop()
	for {
		if err := r.catchUp(ctx); err != nil {
			return err
		}
		mark, at := r.mark(r.landed), r.instant()
		if err := r.log.Watermark(ctx, mark, at); err != nil {
			return err
		}
		if h := r.cfg.Hooks.Head; h != nil {
			h(mark, at)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-beat.C:
		}
		if err := r.log.Err(); err != nil {
			return err
		}
	}
}

// catchUp lands every day up to today.
func (r *run) catchUp(ctx context.Context) error {
	today, err := r.today()
	if err != nil {
		return err
	}
	if today < r.landed {
		if h := r.cfg.Behind; h != nil && !r.waits {
			h(r.landed.String(), today.String())
		}
		r.waits = true
		return nil
	}
	for r.waits = false; r.landed < today; {
		if err := r.next(ctx); err != nil {
			return err
		}
	}
	return nil
}

// next lands the day after the landed one.
func (r *run) next(ctx context.Context) error {
	d := r.landed + 1
	mark, at := r.mark(d), r.begins(d)
	ev := change.Event{Position: mark.Position, Incarnation: r.incarnation, Op: change.Update, Schema: schema,
		Before: row(r.landed), After: row(d), Committed: at}
	ev.Position.Sequence = 1
	if err := r.log.Append(ctx, "", &ev); err != nil {
		return err
	}
	if err := r.log.End(ctx, r.record(change.Ended, mark, at)); err != nil {
		return err
	}
	r.landed = d
	if h := r.cfg.Hooks.Rows; h != nil {
		h(1)
	}
	if h := r.cfg.Hooks.Transaction; h != nil {
		h(mark, at)
	}
	return nil
}

// begins is when a day was committed: when it began. One that has not begun, as a
// fixed day may not have, is committed now.
func (r *run) begins(d day) time.Time {
	at, now := d.in(r.zone).UTC(), r.instant()
	if at.After(now) {
		return now
	}
	return at
}

// instant is the time now. It does not go back.
func (r *run) instant() time.Time {
	if now := r.now().UTC().Truncate(time.Microsecond); now.After(r.told) {
		r.told = now
	}
	return r.told
}

func (r *run) mark(d day) change.Mark {
	return change.Mark{Position: change.Position{Generation: r.generation, Ordinal: uint64(d)}, Token: d.String()}
}

func (r *run) record(status change.Status, mark change.Mark, at time.Time) change.TxRecord {
	return change.TxRecord{Status: status, Source: Source, Incarnation: r.incarnation, Mark: mark, ID: mark.Token,
		Committed: at, History: history}
}
