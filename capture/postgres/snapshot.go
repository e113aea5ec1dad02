package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/change"
)

// countBelow is the size of a table up to which an estimate that the server does
// not have is replaced by counting; above it a guess has to do.
const (
	countBelow   = 256 << 20
	bytesPerRow  = 150
	snapshotHint = "the next start drops the slot and takes the snapshot again"
)

// snapshot makes the slot, reads every table as of its consistent point, and
// returns the point once all is durable. s.tables is as of that point after it.
func (r *Reader) snapshot(ctx context.Context, s *session, inc change.Incarnation) (change.Mark, error) {
	made, err := pglogrepl.CreateReplicationSlot(ctx, s.replication, r.cfg.Slot, "pgoutput",
		pglogrepl.CreateReplicationSlotOptions{Mode: pglogrepl.LogicalReplication, SnapshotAction: "EXPORT_SNAPSHOT"})
	if err != nil {
		return change.Mark{}, r.cfg.fail(ctx, "create slot", err)
	}
	point, err := pglogrepl.ParseLSN(made.ConsistentPoint)
	if err != nil {
		return change.Mark{}, r.cfg.fail(ctx, "create slot", err)
	}
	mark := change.Mark{Position: below(s.generation, point), Token: point.String()}
	at, err := r.readTables(ctx, s, made.SnapshotName, mark, inc)
	if err != nil {
		return change.Mark{}, r.cfg.fail(ctx, "snapshot", err)
	}
	s.at = at
	tables := make([]change.Table, len(r.cfg.Tables))
	for i := range tables {
		tables[i] = r.cfg.Tables[i].Table
	}
	rec := change.TxRecord{Status: change.SnapshotEnded, Source: r.cfg.Source, Incarnation: inc, Mark: mark, Committed: at, History: s.history, Snapshot: true}
	if err := r.log.SnapshotEnd(ctx, rec, tables); err != nil {
		return change.Mark{}, logFailure{err}
	}
	return mark, nil
}

// readTables writes every row that the exported snapshot sees. The replication
// connection MUST stay idle meanwhile: its next command ends the export.
func (r *Reader) readTables(ctx context.Context, s *session, exported string, mark change.Mark, inc change.Incarnation) (at time.Time, err error) {
	q, err := r.cfg.connect(ctx)
	if err != nil {
		return at, err
	}
	defer q.Close(context.WithoutCancel(ctx))
	for _, sql := range []string{
		"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
		"SET TRANSACTION SNAPSHOT '" + strings.ReplaceAll(exported, "'", "''") + "'",
		"SET LOCAL row_security = off", // rows that a policy would hide are an error
	} {
		if _, err := q.Exec(ctx, sql); err != nil {
			return at, err
		}
	}
	if err := q.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&at); err != nil {
		return at, err
	}
	at = at.UTC()
	if s.tables, err = r.cfg.loadTables(ctx, q); err != nil {
		return at, err
	}
	w := &copyWriter{ctx: ctx, cfg: &r.cfg, log: r.log}
	w.ev = change.Event{Position: mark.Position, Incarnation: inc, Op: change.Read, Committed: at}
	for _, t := range s.tables {
		if err := r.readTable(ctx, q, w, t); err != nil {
			return at, err
		}
	}
	_, err = q.Exec(ctx, "COMMIT")
	return at, err
}

func (r *Reader) readTable(ctx context.Context, q *pgx.Conn, w *copyWriter, t *tableInfo) error {
	if t.oid == 0 {
		return &capture.Error{Op: "snapshot", Kind: capture.Configuration, Source: r.cfg.Source, Table: t.Table.Table.Name, Err: errors.New("the table was dropped meanwhile")}
	}
	if t.rows < 0 { // never counted by the server
		t.rows = float64(t.size / bytesPerRow)
		if t.size < countBelow {
			if err := q.QueryRow(ctx, "SELECT count(*)::float8 FROM ONLY "+t.quoted()).Scan(&t.rows); err != nil {
				return err
			}
		}
	}
	columns := make([]string, len(t.schema.Columns))
	for i := range columns {
		columns[i] = quote(t.schema.Columns[i].Name)
	}
	w.begin(t)
	_, err := q.PgConn().CopyTo(ctx, w, "COPY "+t.quoted()+" ("+strings.Join(columns, ", ")+") TO STDOUT")
	if err != nil {
		return w.place(err)
	}
	if len(w.partial) > 0 {
		return w.place(fmt.Errorf("%w: COPY ended within a line", errTuple))
	}
	w.report(true)
	return nil
}

// copyWriter turns COPY's text lines into Read events.
type copyWriter struct {
	ctx     context.Context // of the one call that it lives in
	cfg     *Config
	log     capture.Log
	table   *tableInfo
	ev      change.Event
	row     row
	scratch []byte
	partial []byte
	route   int
	rows    int64
	told    int64
}

func (w *copyWriter) begin(t *tableInfo) {
	w.table, w.rows, w.told, w.partial = t, 0, 0, w.partial[:0]
	w.ev.Schema = t.schema
	w.route = -1
	if t.Route.Kind != change.Reference {
		w.route = t.schema.Column(t.Route.Column)
	}
	w.report(false)
}

// Write implements io.Writer for COPY's data, however it is cut.
func (w *copyWriter) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			w.partial = append(w.partial, b...)
			break
		}
		line := b[:i]
		if len(w.partial) > 0 {
			w.partial = append(w.partial, line...)
			line = w.partial
		}
		if err := w.line(line); err != nil {
			return 0, err
		}
		w.partial, b = w.partial[:0], b[i+1:]
	}
	return n, nil
}

func (w *copyWriter) line(line []byte) error {
	if err := w.row.copyLine(line, w.table.schema, &w.scratch); err != nil {
		return err
	}
	w.ev.After = w.row.values
	w.ev.Position.Sequence++
	route := ""
	if w.route >= 0 {
		route = w.row.values[w.route].Text
	}
	if err := w.log.Append(w.ctx, route, &w.ev); err != nil {
		return logFailure{err}
	}
	if w.rows++; w.rows-w.told >= int64(w.cfg.ProgressEvery) {
		w.report(false)
	}
	return nil
}

func (w *copyWriter) report(done bool) {
	if h := w.cfg.Hooks.Rows; h != nil && w.rows > w.told {
		h(int(w.rows - w.told))
	}
	if h := w.cfg.Hooks.SnapshotTable; h != nil {
		h(w.table.Table.Table, w.rows, max(int64(w.table.rows), w.rows), done)
	}
	w.told = w.rows
}

// place says at which table an error came up.
func (w *copyWriter) place(err error) error {
	if errors.As(err, new(logFailure)) {
		return err
	}
	e := &capture.Error{Op: "snapshot", Source: w.cfg.Source, Table: w.table.Table.Table.Name, Err: bare(err), Hint: snapshotHint}
	e.Kind, _ = classify(err)
	var c *columnError
	if errors.As(err, &c) {
		e.Kind, e.Column, e.Err = capture.Unsupported, c.column, c.err
	} else if errors.Is(err, errTuple) {
		e.Kind = capture.Corrupt
	}
	return e
}
