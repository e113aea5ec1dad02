package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/change"
)

// Reader captures one PostgreSQL database. Run it once.
type Reader struct {
	cfg         Config
	log         capture.Log
	snapshotted atomic.Bool
}

// New returns a Reader; it does nothing until Run.
func New(cfg Config, log capture.Log) *Reader {
	return &Reader{cfg: cfg.withDefaults(), log: log}
}

// Snapshotted reports whether Run has finished a snapshot that is durable in the
// Log. Any goroutine may ask.
func (r *Reader) Snapshotted() bool { return r.snapshotted.Load() }

// session is what one Run knows of the server and of where it goes on.
type session struct {
	tables      []*tableInfo
	replication *pgconn.PgConn
	in          *framing
	query       *pgx.Conn // for all else
	at          time.Time // the snapshot's time by the source's clock
	resume      capture.Resume
	history     string
	generation  uint32
	fresh       bool // begins with a snapshot
}

// Run takes a snapshot where the Log has none, and streams from there or from
// the Log's durable mark until ctx is done (then it returns ctx's error) or
// something stops it. Each Run is an incarnation: after an error of kind
// Transient the caller reopens the Log and runs a new Reader. An error of the
// Log is returned as it is. All its goroutines have ended when it returns, and
// its connections are closed.
func (r *Reader) Run(ctx context.Context) error {
	if err := r.cfg.validate(); err != nil {
		return err
	}
	err := r.cfg.fail(ctx, "capture", r.run(ctx))
	var lf logFailure
	if errors.As(err, &lf) {
		return lf.error
	}
	return err
}

func (r *Reader) run(ctx context.Context) error {
	s := &session{resume: r.log.Resume()}
	s.fresh = r.cfg.Resnapshot || s.resume.Durable == change.Mark{}
	if err := r.prepare(ctx, s); err != nil {
		return err
	}
	defer s.close(ctx)
	start := change.TxRecord{
		Status: change.Started, Source: r.cfg.Source, Incarnation: s.resume.Incarnation + 1,
		Snapshot: s.fresh, History: s.history,
	}
	if !s.fresh {
		start.Mark = s.resume.Durable
	}
	if err := r.log.Start(ctx, start); err != nil {
		return logFailure{err}
	}
	from := s.resume.Durable
	if s.fresh {
		var err error
		if from, err = r.snapshot(ctx, s, start.Incarnation); err != nil {
			return err
		}
		r.snapshotted.Store(true)
	}
	return r.stream(ctx, s, start.Incarnation, from)
}

// prepare connects, and refuses everything that would lose a change later. It
// changes only the publication.
func (r *Reader) prepare(ctx context.Context, s *session) (err error) {
	defer func() {
		if err != nil {
			s.close(ctx)
		}
	}()
	if s.query, err = r.cfg.connect(ctx); err != nil {
		return err
	}
	if s.tables, err = r.cfg.loadTables(ctx, s.query); err != nil {
		return r.cfg.fail(ctx, "read catalog", err)
	}
	problems, err := r.cfg.check(ctx, s.query, s.tables)
	if err != nil {
		return r.cfg.fail(ctx, "check", err)
	}
	if len(problems) > 0 {
		return refuse(problems)
	}
	if s.replication, s.in, err = r.cfg.connectReplication(ctx); err != nil {
		return err
	}
	return r.ready(ctx, s.query, s)
}

func (s *session) close(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	if s.query != nil {
		_ = s.query.Close(ctx)
	}
	if s.replication != nil { // closed already once it was hijacked
		_ = s.replication.Close(ctx)
	}
}

// ready settles history, slot and publication.
func (r *Reader) ready(ctx context.Context, q *pgx.Conn, s *session) error {
	id, err := pglogrepl.IdentifySystem(ctx, s.replication)
	if err != nil {
		return r.cfg.fail(ctx, "identify system", err)
	}
	s.history = fmt.Sprintf("%s/%d/%s", id.SystemID, id.Timeline, id.DBName)
	s.generation = max(1, s.resume.Durable.Position.Generation)
	if old := s.resume.History; old != "" && old != s.history && s.resume.Durable != (change.Mark{}) {
		if !s.fresh {
			return r.historyError(s, fmt.Errorf("the log was taken from %s, the server is %s (system, timeline, database)", old, s.history))
		}
		s.generation++
	}
	sl, err := loadSlot(ctx, q, r.cfg.Slot)
	if err != nil {
		return r.cfg.fail(ctx, "read slot", err)
	}
	if sl != nil && (sl.plugin != "pgoutput" || sl.database != id.DBName) {
		return &capture.Error{Op: "read slot", Kind: capture.Configuration, Source: r.cfg.Source,
			Err:  fmt.Errorf("slot %s belongs to plugin %q, database %q", r.cfg.Slot, sl.plugin, sl.database),
			Hint: "configure another slot name"}
	}
	if s.fresh {
		if sl != nil && !r.cfg.Resnapshot && s.resume.Incarnation == 0 {
			// Every attempt starts in the log before it makes the slot.
			return &capture.Error{Op: "read slot", Kind: capture.Configuration, Source: r.cfg.Source,
				Err:  fmt.Errorf("slot %s exists, and this log never made it: another process may read it", r.cfg.Slot),
				Hint: "configure a slot and a publication of its own; if the slot is left over: tributary run --resnapshot " + r.cfg.Source}
		}
		if sl != nil { // of an attempt that died, or to be replaced
			if err := pglogrepl.DropReplicationSlot(ctx, s.replication, r.cfg.Slot, pglogrepl.DropReplicationSlotOptions{Wait: true}); err != nil {
				return r.cfg.fail(ctx, "drop slot", err)
			}
		}
		return r.cfg.fail(ctx, "create publication", r.cfg.publish(ctx, q, s.tables))
	}
	if err := r.resumable(s, sl, id.XLogPos); err != nil {
		return err
	}
	return r.cfg.fail(ctx, "read publication", r.cfg.republish(ctx, q, s.tables))
}

// resumable refuses a slot that cannot send all that follows the durable mark.
func (r *Reader) resumable(s *session, sl *slot, head pglogrepl.LSN) error {
	from := s.resume.Durable.Token
	lsn, err := pglogrepl.ParseLSN(from)
	if err != nil {
		return &capture.Error{Op: "resume", Kind: capture.Corrupt, Source: r.cfg.Source, Position: from, Err: errors.New("the durable mark's token is not an LSN")}
	}
	if head < lsn {
		return r.historyError(s, fmt.Errorf("the server's log ends at %s, before the durable mark: it was restored from an older copy", head))
	}
	gone := func(format string, args ...any) error {
		return &capture.Error{Op: "resume", Kind: capture.Gone, Source: r.cfg.Source, Position: from,
			Err: fmt.Errorf("changes from %s to %s are lost: %s", from, head, fmt.Sprintf(format, args...)), Hint: r.cfg.resnapshotHint()}
	}
	switch {
	case sl == nil:
		return gone("slot %s does not exist", r.cfg.Slot)
	case sl.lost:
		return gone("slot %s was invalidated by the server", r.cfg.Slot)
	case sl.confirmed > lsn:
		return gone("slot %s was moved to %s by another", r.cfg.Slot, sl.confirmed)
	}
	return nil
}

func (r *Reader) historyError(s *session, err error) error {
	return &capture.Error{Op: "resume", Kind: capture.History, Source: r.cfg.Source, Position: s.resume.Durable.Token, Err: err,
		Hint: "if this is the right server, take a new snapshot: tributary run --resnapshot " + r.cfg.Source}
}

// refuse makes one error of all problems.
func refuse(problems []capture.Problem) error {
	p := problems[0]
	err := errors.New(p.What)
	if n := len(problems) - 1; n > 0 {
		err = fmt.Errorf("%w, and %d more: tributary check lists all", err, n)
	}
	return &capture.Error{Op: "check", Kind: capture.Configuration, Source: p.Source, Table: p.Table.Name, Err: err, Hint: p.Hint}
}

// logFailure carries an error of the Log through unchanged.
type logFailure struct{ error }

// slot is a replication slot as the server has it.
type slot struct {
	plugin, database string
	lost             bool
	confirmed        pglogrepl.LSN
}

func loadSlot(ctx context.Context, q *pgx.Conn, name string) (*slot, error) {
	var s slot
	var confirmed string
	err := q.QueryRow(ctx, `
SELECT coalesce(plugin::text, ''), coalesce(database::text, ''), coalesce(confirmed_flush_lsn::text, '0/0'),
       coalesce(wal_status = 'lost', true) OR restart_lsn IS NULL
FROM pg_replication_slots WHERE slot_name = $1`, name).Scan(&s.plugin, &s.database, &confirmed, &s.lost)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s.confirmed, err = pglogrepl.ParseLSN(confirmed)
	return &s, err
}
