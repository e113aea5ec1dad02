package mysql

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/change"
)

// statement takes a Query event.
func (d *decoder) statement(ctx context.Context, q *replication.QueryEvent) error {
	s := classify(q.Query, string(q.Schema))
	switch s.kind {
	case begins:
		d.tx.begun = true
		return nil
	case commits:
		return d.commit(ctx)
	case rollsBack:
		if d.tx.sequence > 0 {
			return d.refuse(errors.New("rows of a transaction that was rolled back, which the log keeps for a non-transactional table's sake"))
		}
		return d.commit(ctx)
	case prepares:
		return d.xa()
	case modifies:
		return d.byStatement()
	case affects:
		if err := d.refuseEffect(s); err != nil {
			return err
		}
	}
	if d.tx.open && (d.tx.standalone || !d.tx.begun) {
		return d.commit(ctx)
	}
	return nil
}

// refuseEffect refuses a statement that changes a captured table's rows without
// saying so in rows.
func (d *decoder) refuseEffect(s statement) error {
	for _, n := range s.tables {
		if t, ok := d.targets[n]; ok {
			return d.effect(t, s.what)
		}
	}
	if s.whole != "" {
		for n, t := range d.targets {
			if n.database == s.whole {
				return d.effect(t, s.what)
			}
		}
	}
	return nil
}

func (d *decoder) effect(t *target, what string) error {
	e := d.refuse(fmt.Errorf("%s, which changes rows that the log does not show", what))
	e.Table = t.Table.Table.Name
	e.Hint = "take a new snapshot: " + d.resnapshot() + "; use DELETE to remove rows"
	return e
}

// rowsEvent takes a rows event. Those of tables that are not captured are not
// looked into.
func (d *decoder) rowsEvent(ctx context.Context, e arrived, op change.Op, version int, compressed bool) error {
	body := eventBody(e.RawData, d.checksum)
	id, ok := rowsTable(body)
	info, known := d.maps[id]
	switch {
	case !ok:
		return d.fault(capture.Corrupt, errRows)
	case !known:
		return d.fault(capture.Corrupt, fmt.Errorf("rows of table id %d, which was not described", id))
	case info == nil:
		return nil
	case !d.tx.open:
		return d.refuse(errors.New("rows outside a transaction with a GTID"))
	}
	head, err := readRowsHead(body, op, version, compressed)
	if err == nil && head.columns != len(info.columns) {
		err = fmt.Errorf("rows of %d columns in a table of %d", head.columns, len(info.columns))
	}
	if err != nil {
		return d.in(info, d.fault(capture.Corrupt, err))
	}
	json, err := d.json(info, e.RawData)
	if err != nil {
		return d.in(info, d.fault(capture.Corrupt, err))
	}
	n, err := d.eachRow(ctx, info, op, head, json)
	if hook := d.cfg.Hooks.Rows; hook != nil && n > 0 {
		hook(n)
	}
	return err
}

// eachRow appends the event's rows and returns how many events they were.
func (d *decoder) eachRow(ctx context.Context, info *tableInfo, op change.Op, head rowsHead, json [][]any) (n int, err error) {
	c := cursor{b: head.rows}
	image := func(which int, present []byte) ([]change.Value, error) {
		var decoded []any
		if len(json) > 0 {
			decoded, json = json[0], json[1:]
		}
		row, err := d.rows.image(d.images[which][:0], &c, info.columns, present, decoded)
		d.images[which] = row
		return row, err
	}
	for len(c.b) > 0 {
		ev := change.Event{Incarnation: d.incarnation, Op: op, Schema: info.schema, Committed: d.tx.committed}
		row, err := image(0, head.first)
		if err != nil {
			return n, d.badRow(info, err)
		}
		switch op {
		case change.Create:
			ev.After = row
			err = d.whole(info, row)
		case change.Delete:
			ev.Before = row
		case change.Update:
			ev.Before = row
			if ev.After, err = image(1, head.second); err != nil {
				return n, d.badRow(info, err)
			}
			fill(ev.After, ev.Before)
		}
		if err != nil {
			return n, err
		}
		made, err := d.emit(ctx, info.target, &ev)
		n += made
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// fill takes from before what after does not have.
func fill(after, before []change.Value) {
	for i := range after {
		if after[i].State == change.Unchanged {
			after[i] = before[i]
		}
	}
}

// whole refuses a new row that lacks columns: they took their defaults, which
// the log does not tell.
func (d *decoder) whole(info *tableInfo, row []change.Value) error {
	for i := range row {
		if row[i].State == change.Unchanged {
			e := d.refuse(errors.New("a new row without all its columns"))
			e.Table, e.Column = info.target.Table.Table.Name, info.columns[i].name
			e.Hint = "SET GLOBAL binlog_row_image=FULL, reconnect all sessions; then take a new snapshot: " + d.resnapshot()
			return e
		}
	}
	return nil
}

// emit appends what the event travels as and returns how many events that was.
func (d *decoder) emit(ctx context.Context, t *target, ev *change.Event) (int, error) {
	ev.Position = d.position(d.tx.ordinal)
	moved, err := capture.Moved(t.Route, ev)
	if err != nil {
		return 0, err
	}
	if !moved {
		d.tx.sequence++
		ev.Position.Sequence = d.tx.sequence
		return 1, d.append(ctx, t, ev)
	}
	events, err := capture.Split(t.Route, ev)
	if err != nil {
		return 0, err
	}
	for i := range events {
		d.tx.sequence++
		events[i].Position.Sequence = d.tx.sequence
		if err := d.append(ctx, t, &events[i]); err != nil {
			return i, err
		}
	}
	return len(events), nil
}

func (d *decoder) badRow(info *tableInfo, err error) error {
	e := d.in(info, d.fault(capture.Corrupt, err))
	var column *columnError
	if errors.As(err, &column) {
		e.Column, e.Err = column.column, column.err
	}
	return e
}

func (d *decoder) in(info *tableInfo, e *capture.Error) *capture.Error {
	e.Table = info.target.Table.Table.Name
	return e
}

// compressed takes a whole transaction that MySQL wrote compressed, event by
// event: it need not fit in memory unpacked.
func (d *decoder) compressed(ctx context.Context, e arrived) error {
	packed, err := payloadOf(eventBody(e.RawData, d.checksum))
	if err != nil {
		return d.fault(capture.Corrupt, err)
	}
	unpacked, err := zstd.NewReader(packed, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return d.fault(capture.Corrupt, err)
	}
	defer unpacked.Close()
	checksum := d.checksum
	d.checksum, d.payload = false, true
	d.parser, d.inner = d.inner, d.parser
	defer func() {
		d.checksum, d.payload = checksum, false
		d.parser, d.inner = d.inner, d.parser
	}()
	for {
		raw, err := readEvent(unpacked)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return d.fault(capture.Corrupt, fmt.Errorf("a compressed transaction: %w", err))
		}
		h := &replication.EventHeader{}
		if err := h.Decode(raw); err != nil {
			return d.fault(capture.Corrupt, err)
		}
		h.LogPos = 0 // the payload's own, which was counted
		inner := arrived{&replication.BinlogEvent{RawData: raw, Header: h}, e.at}
		if err := d.event(ctx, inner); err != nil {
			return err
		}
	}
}

// readEvent reads the next whole event.
func readEvent(r io.Reader) ([]byte, error) {
	var head [replication.EventHeaderSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint32(head[9:])
	if size < uint32(len(head)) || size > 1<<30+1<<20 {
		return nil, errors.New("an event of impossible size")
	}
	raw := make([]byte, size)
	copy(raw, head[:])
	if _, err := io.ReadFull(r, raw[len(head):]); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	return raw, nil
}
