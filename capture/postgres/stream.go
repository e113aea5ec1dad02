package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/change"
)

// silence is for how long a server that is asked every heartbeat may say nothing
// before the connection counts as dead. Decoding a huge transaction that touches
// no captured table can keep it busy for a while.
const silence = 5 * time.Minute

// Above gatherAbove messages in each gather's time (20,000 a second), reading
// waits so long between two reads.
const (
	gather      = time.Millisecond
	gatherAbove = 20
)

// stream turns the log's messages into events, on one goroutine that reads,
// decodes and appends; another one sends the status, so that the server hears
// from us while an Append is blocked.
type stream struct {
	ctx        context.Context // of the one call that it lives in
	cfg        *Config
	log        capture.Log
	conn       net.Conn
	in         *framing
	confirm    confirmer
	tables     []*tableInfo
	generation uint32

	relations map[uint32]*relation
	resumed   change.Position // transactions at or below it are in the log
	floor     pglogrepl.LSN   // the server's log is known up to here
	told      time.Time       // when the last watermark was written
	known     time.Time       // all that was committed before, by the source's clock, has been sent
	probe     atomic.Pointer[probe]
	patience  time.Time // when the read deadline was last set

	window time.Time // since when read counts messages
	read   int
	fast   bool // messages come fast

	open    bool // within a transaction
	skip    bool // which is in the log already
	final   pglogrepl.LSN
	xid     uint32
	pending int // rows not yet told to the hook

	ev      change.Event // position and time are the open transaction's
	old     row
	new     row
	derived []change.Value
}

// stream starts replication after the mark and runs it to its end.
func (r *Reader) stream(ctx context.Context, s *session, inc change.Incarnation, from change.Mark) error {
	lsn, err := pglogrepl.ParseLSN(from.Token)
	if err != nil {
		return r.cfg.fail(ctx, "stream", err)
	}
	beat := r.beat(s.replication)
	// Asking for LSN 0/0 would be "as far as the slot says", which prepare compared.
	err = pglogrepl.StartReplication(ctx, s.replication, r.cfg.Slot, lsn, pglogrepl.StartReplicationOptions{
		Mode:       pglogrepl.LogicalReplication,
		PluginArgs: []string{"proto_version '1'", "publication_names '" + quote(r.cfg.Publication) + "'"},
	})
	if err != nil {
		return r.cfg.fail(ctx, "start replication", err)
	}
	hijacked, err := s.replication.Hijack()
	if err != nil {
		return r.cfg.fail(ctx, "start replication", err)
	}
	defer hijacked.Conn.Close()
	st := &stream{
		cfg: &r.cfg, log: r.log, conn: hijacked.Conn, in: s.in, tables: s.tables, generation: s.generation,
		relations: make(map[uint32]*relation), resumed: from.Position, floor: lsn,
		known:   s.at,
		confirm: confirmer{log: r.log, confirmed: lsn, last: from.Position},
		ev:      change.Event{Position: change.Position{Generation: s.generation}, Incarnation: inc},
	}
	return r.cfg.fail(ctx, "stream", st.serve(ctx, s.query, beat))
}

// serve runs the three goroutines of a stream until one of them stops; the
// first one's error counts.
func (s *stream) serve(ctx context.Context, q *pgx.Conn, beat time.Duration) error {
	inner, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	s.ctx = inner
	var group sync.WaitGroup
	group.Go(func() { stop(s.status(inner, beat)) })
	group.Go(func() { stop(s.ask(inner, q, beat)) })
	stop(s.run())
	group.Wait()
	return context.Cause(inner)
}

// run reads messages until something stops it; the error is never nil.
func (s *stream) run() error {
	for {
		if s.in.br.Buffered() < 5 {
			if err := s.drained(time.Now()); err != nil {
				return err
			}
		}
		s.read++
		kind, body, err := s.in.next()
		if err != nil {
			return err
		}
		switch kind {
		case 'd':
			err = s.data(body)
		case 'E':
			err = serverError(body)
		case 'c', 'C', 'Z':
			err = fmt.Errorf("the server ended the stream: %w", io.EOF)
		case 'N', 'S':
		default:
			err = s.corrupt("message kind %q", kind)
		}
		if err != nil {
			return err
		}
	}
}

// drained is called when the next read may wait. The server sends every message
// by itself, and waking up for each costs both sides more than all the rest: so
// while messages come fast they are left to gather for a moment.
func (s *stream) drained(now time.Time) error {
	if now.Sub(s.patience) > time.Second {
		s.patience = now
		if err := s.conn.SetReadDeadline(now.Add(silence)); err != nil {
			return err
		}
	}
	if window := now.Sub(s.window); window > gather {
		s.fast = s.read > int(window/gather)*gatherAbove
		s.window, s.read = now, 0
	}
	if s.fast {
		time.Sleep(gather)
	}
	return nil
}

func serverError(body []byte) error {
	var msg pgproto3.ErrorResponse
	if err := msg.Decode(body); err != nil {
		return err
	}
	return pgconn.ErrorResponseToPgError(&msg)
}

func (s *stream) data(b []byte) error {
	c := cursor{b: b}
	switch kind := c.byte(); kind {
	case 'w':
		c.take(24) // LSNs of the change and of the log, clock: none is a place to resume at
		if c.bad || len(c.b) == 0 {
			return s.corrupt("empty message")
		}
		return s.change(&c)
	case 'k':
		end := c.lsn()
		if c.bad {
			return s.corrupt("malformed keepalive")
		}
		return s.keepalive(end)
	default:
		return s.corrupt("stream message %q", kind)
	}
}

// change handles one pgoutput message.
func (s *stream) change(c *cursor) error {
	kind := c.byte()
	switch kind {
	case 'B':
		return s.begin(c)
	case 'C':
		return s.commit(c)
	case 'R':
		return s.decodeError(nil, s.relation(c))
	case 'I', 'U', 'D':
		if !s.open {
			return s.corrupt("a row outside a transaction")
		}
		rel, ok := s.relations[c.uint32()]
		if !ok || c.bad {
			return s.corrupt("a row of an unknown relation")
		}
		if rel == nil || s.skip {
			return nil
		}
		return s.decodeError(rel, s.row(kind, c, rel))
	case 'T':
		return s.truncate(c)
	case 'Y', 'O', 'M', 'A':
		// Types are looked up in the catalog; origins and messages are not asked
		// for; PostgreSQL 18 sends stream aborts that nobody asked for.
		return nil
	default:
		return s.corrupt("log message %q", kind)
	}
}

func (s *stream) begin(c *cursor) error {
	final, at, xid := c.lsn(), c.time(), c.uint32()
	if c.bad || s.open {
		return s.corrupt("unexpected begin")
	}
	s.open, s.final, s.xid, s.pending = true, final, xid, 0
	s.ev.Position.Ordinal, s.ev.Position.Sequence = uint64(final), 0
	s.ev.Committed = at
	s.skip = s.ev.Position.Compare(s.resumed) <= 0
	return nil
}

func (s *stream) commit(c *cursor) error {
	c.byte()
	commit, end, at := c.lsn(), c.lsn(), c.time()
	if c.bad || !s.open || commit != s.final || end <= commit {
		return s.corrupt("unexpected commit")
	}
	s.open = false
	if s.skip {
		return nil
	}
	rows := s.ev.Position.Sequence
	mark := change.Mark{Position: s.ev.Position.Transaction(), Token: end.String()}
	if rows > 0 { // else nothing is written
		s.confirm.before(mark.Position)
	}
	rec := change.TxRecord{Status: change.Ended, Source: s.cfg.Source, Incarnation: s.ev.Incarnation,
		Mark: mark, ID: strconv.FormatUint(uint64(s.xid), 10), Committed: at}
	if err := s.log.End(s.ctx, rec); err != nil {
		return logFailure{err}
	}
	s.tellRows()
	if h := s.cfg.Hooks.Transaction; h != nil && rows > 0 {
		h(mark, at)
	}
	s.seen(at)
	if time.Since(s.told) < s.cfg.Heartbeat {
		return nil
	}
	return s.watermark(end) // keepalives are rare under load
}

func (s *stream) tellRows() {
	if h := s.cfg.Hooks.Rows; h != nil && s.pending > 0 {
		h(s.pending)
	}
	s.pending = 0
}

// keepalive says that all that committed before end has been sent. Its clock
// says nothing of what the server has not sent yet; the probe does.
func (s *stream) keepalive(end pglogrepl.LSN) error {
	if p := s.probe.Load(); p != nil && end >= p.end {
		s.seen(p.at)
	}
	if s.open || time.Since(s.told) < s.cfg.Heartbeat*3/4 {
		return nil
	}
	return s.watermark(end)
}

// seen notes that all that was committed before at has been sent.
func (s *stream) seen(at time.Time) {
	if at.After(s.known) {
		s.known = at
	}
}

// watermark states that nothing below end is unseen.
func (s *stream) watermark(end pglogrepl.LSN) error {
	if end < s.floor || s.known.IsZero() {
		return nil // it reads again what was confirmed, or is far behind
	}
	s.floor, s.told = end, time.Now()
	mark := change.Mark{Position: below(s.generation, end), Token: end.String()}
	s.confirm.before(mark.Position)
	if err := s.log.Watermark(s.ctx, mark, s.known); err != nil {
		return logFailure{err}
	}
	return nil
}

// below is the position of an LSN up to which the log was read: above every
// commit that ended there, below one that begins there.
func below(generation uint32, end pglogrepl.LSN) change.Position {
	return change.Position{Generation: generation, Ordinal: uint64(end) - 1}
}

// truncate stops the reader: what the rows were is not in the log.
func (s *stream) truncate(c *cursor) error {
	n := c.uint32()
	c.byte()
	for ; n > 0 && !c.bad; n-- {
		rel, ok := s.relations[c.uint32()]
		if !ok && !c.bad {
			return s.corrupt("TRUNCATE of an unknown relation")
		}
		if rel != nil && !s.skip {
			return s.at(rel.table.Table, "", capture.Unsupported, errors.New("TRUNCATE says nothing of the rows it removes"),
				"use DELETE; to go on now: tributary run --resnapshot "+s.cfg.Source)
		}
	}
	if c.bad {
		return s.corrupt("malformed truncate")
	}
	return nil
}

// decodeError says where a message could not be read.
func (s *stream) decodeError(rel *relation, err error) error {
	var table change.Table
	if rel != nil {
		table = rel.table.Table
	}
	var col *columnError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &col):
		return s.at(table, col.column, capture.Unsupported, col.err, "")
	case errors.Is(err, errTuple):
		return s.at(table, "", capture.Corrupt, err, "")
	}
	return err
}

// at is an error with the place in the log.
func (s *stream) at(table change.Table, column string, kind capture.Kind, err error, hint string) error {
	e := &capture.Error{Op: "stream", Kind: kind, Source: s.cfg.Source, Table: table.Name, Column: column, Err: err, Hint: hint}
	if s.open {
		e.Position = s.final.String()
	}
	return e
}

func (s *stream) corrupt(format string, args ...any) error {
	return s.at(change.Table{}, "", capture.Corrupt, fmt.Errorf(format, args...), "")
}
