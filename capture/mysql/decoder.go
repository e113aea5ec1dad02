package mysql

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	proto "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/change"
)

// decoder turns the events of one connection into a Log's calls. It knows where
// in the log it is and which transaction is open.
type decoder struct {
	*run
	parser   *replication.BinlogParser
	inner    *replication.BinlogParser // for events within compressed transactions
	checksum bool                      // events end with four bytes of checksum

	file     uint64
	fileName string
	end      uint64 // where the last event ended in the file, beyond 32 bits too

	maps   map[uint64]*tableInfo // by the transaction's table ids; nil: not captured
	tables map[string]*tableInfo // by the TABLE_MAP event's body

	tx      transaction
	set     proto.GTIDSet // MySQL's, up to the last transaction
	last    time.Time     // when the last watermark was written
	rows    rowDecoder
	images  [2][]change.Value
	payload bool // within a compressed transaction
}

// transaction is the open event group.
type transaction struct {
	open       bool
	begun      bool // BEGIN was seen, or is implied: it ends with a commit
	gtid       string
	token      string // the GTID set after it
	ordinal    uint64
	committed  time.Time
	sequence   uint64
	standalone bool // MariaDB: one statement, which ends it
}

func newDecoder(r *run, set proto.GTIDSet) *decoder {
	return &decoder{run: r, set: set, parser: newParser(r.srv.flavor), inner: newParser(r.srv.flavor),
		last: time.Now(), maps: map[uint64]*tableInfo{}, tables: map[string]*tableInfo{}}
}

func newParser(flavor string) *replication.BinlogParser {
	p := replication.NewBinlogParser()
	p.SetFlavor(flavor)
	p.SetTimestampStringLocation(time.UTC)
	p.SetRenderJSONAsMySQLText(true)
	return p
}

// event takes the next event.
func (d *decoder) event(ctx context.Context, e arrived) error {
	h := e.Header
	if h.LogPos != 0 && h.Flags&replication.LOG_EVENT_ARTIFICIAL_F == 0 && h.EventType != replication.HEARTBEAT_EVENT {
		d.end += uint64(h.LogPos - uint32(d.end))
	}
	if op, version, compressed, ok := rowsKind(h.EventType); ok {
		return d.rowsEvent(ctx, e, op, version, compressed)
	}
	switch h.EventType {
	case replication.TABLE_MAP_EVENT:
		return d.tableMap(ctx, e)
	case replication.XID_EVENT:
		return d.commit(ctx)
	case replication.HEARTBEAT_EVENT:
		return d.heartbeat(ctx, e)
	case replication.ROTATE_EVENT:
		rotate, ok := e.Event.(*replication.RotateEvent)
		if !ok {
			return d.fault(capture.Corrupt, errors.New("a rotate event could not be read"))
		}
		return d.rotate(string(rotate.NextLogName), rotate.Position)
	case replication.TRANSACTION_PAYLOAD_EVENT:
		return d.compressed(ctx, e)
	}
	return d.control(ctx, e)
}

// control takes the events that are decoded by the library.
func (d *decoder) control(ctx context.Context, e arrived) error {
	switch e.Header.EventType {
	case replication.FORMAT_DESCRIPTION_EVENT, replication.QUERY_EVENT, replication.MARIADB_QUERY_COMPRESSED_EVENT,
		replication.MARIADB_GTID_EVENT, replication.GTID_EVENT, replication.GTID_TAGGED_LOG_EVENT:
	default:
		return d.other(e.Header)
	}
	parsed, err := d.parse(e.RawData)
	if err != nil {
		return d.fault(capture.Corrupt, err)
	}
	switch ev := parsed.Event.(type) {
	case *replication.FormatDescriptionEvent:
		d.checksum = ev.ChecksumAlgorithm == replication.BINLOG_CHECKSUM_ALG_CRC32
		return d.formatInner(e.RawData)
	case *replication.QueryEvent:
		return d.statement(ctx, ev)
	case *replication.MariadbGTIDEvent:
		return d.beginMariaDB(ctx, e.Header, ev)
	case *replication.GtidTaggedLogEvent:
		return d.beginMySQL(ctx, e.Header, &ev.GTIDEvent)
	case *replication.GTIDEvent:
		return d.beginMySQL(ctx, e.Header, ev)
	}
	return d.fault(capture.Corrupt, fmt.Errorf("a %s could not be read", e.Header.EventType))
}

// formatInner tells the parser of compressed transactions the format: the
// stream's, but its events never have checksums.
func (d *decoder) formatInner(format []byte) error {
	plain := bytes.Clone(format)
	plain[len(plain)-replication.BinlogChecksumLength-1] = byte(replication.BINLOG_CHECKSUM_ALG_OFF)
	if _, err := d.inner.Parse(plain); err != nil {
		return d.fault(capture.Corrupt, errors.New("the log's format could not be read"))
	}
	return nil
}

// parse lets the library decode an event. The library's errors and panics hold
// the event's bytes, so neither goes further.
func (d *decoder) parse(raw []byte) (e *replication.BinlogEvent, err error) {
	defer func() {
		if recover() != nil {
			e, err = nil, errors.New("an event could not be decoded")
		}
	}()
	if e, err = d.parser.Parse(raw); err != nil {
		return nil, errors.New("an event could not be decoded")
	}
	return e, nil
}

// other passes over the events that say nothing of rows, and refuses the rest.
func (d *decoder) other(h *replication.EventHeader) error {
	switch h.EventType {
	case replication.STOP_EVENT, replication.INTVAR_EVENT, replication.RAND_EVENT, replication.USER_VAR_EVENT,
		replication.IGNORABLE_EVENT, replication.ROWS_QUERY_EVENT, replication.PREVIOUS_GTIDS_EVENT,
		replication.TRANSACTION_CONTEXT_EVENT, replication.VIEW_CHANGE_EVENT, replication.HEARTBEAT_LOG_EVENT_V2,
		replication.MARIADB_ANNOTATE_ROWS_EVENT, replication.MARIADB_BINLOG_CHECKPOINT_EVENT,
		replication.MARIADB_GTID_LIST_EVENT, replication.MARIADB_START_ENCRYPTION_EVENT:
		return nil
	case replication.INCIDENT_EVENT:
		return d.gone(fmt.Errorf("at %s the server wrote that it lost events", d.here()))
	case replication.XA_PREPARE_LOG_EVENT:
		return d.xa()
	case replication.ANONYMOUS_GTID_EVENT:
		e := d.refuse(errors.New("a transaction without GTID"))
		e.Hint = "SET GLOBAL gtid_mode=ON"
		return e
	case replication.PARTIAL_UPDATE_ROWS_EVENT:
		e := d.refuse(errors.New("a row with a part of a JSON value"))
		e.Hint = "SET GLOBAL binlog_row_value_options=''"
		return e
	case replication.BEGIN_LOAD_QUERY_EVENT, replication.EXECUTE_LOAD_QUERY_EVENT:
		return d.byStatement()
	}
	if h.Flags&replication.LOG_EVENT_IGNORABLE_F != 0 {
		return nil
	}
	return d.refuse(fmt.Errorf("an event of type %d, which is not handled", h.EventType))
}

func (d *decoder) rotate(file string, offset uint64) error {
	n, err := fileNumber(file)
	if err != nil {
		return d.fault(capture.Unsupported, err)
	}
	if n < d.file {
		return d.historyError(fmt.Errorf("%w: its log went back to file %s", errHistory, file))
	}
	d.file, d.fileName, d.end = n, file, offset
	return nil
}

func (d *decoder) beginMariaDB(ctx context.Context, h *replication.EventHeader, ev *replication.MariadbGTIDEvent) error {
	if ev.GTID.DomainID != d.domain {
		if d.mark.Token != "" {
			e := d.refuse(fmt.Errorf("a second GTID domain: %d beside %d, whose transactions have no order between them",
				ev.GTID.DomainID, d.domain))
			e.Hint = "let all writers of the source use one gtid_domain_id, then: " + d.resnapshot()
			return e
		}
		d.domain = ev.GTID.DomainID
	}
	gtid := ev.GTID.String()
	const preparedXA, completedXA = 64, 128
	if ev.Flags&(preparedXA|completedXA) != 0 {
		d.tx = transaction{open: true, gtid: gtid}
		return d.xa()
	}
	return d.begin(ctx, transaction{
		open: true, begun: !ev.IsStandalone(), standalone: ev.IsStandalone(), gtid: gtid, token: gtid,
		committed: time.Unix(int64(h.Timestamp), 0).UTC(),
	})
}

func (d *decoder) beginMySQL(ctx context.Context, h *replication.EventHeader, ev *replication.GTIDEvent) error {
	id, err := uuid.FromBytes(ev.SID)
	set, ok := d.set.(*proto.MysqlGTIDSet)
	if err != nil || !ok {
		return d.fault(capture.Corrupt, errors.New("a GTID could not be read"))
	}
	gtid := fmt.Sprintf("%s:%d", id, ev.GNO)
	if tag := ev.Tag.String(); tag != "" {
		gtid = fmt.Sprintf("%s:%s:%d", id, tag, ev.GNO)
	}
	set.AddGTIDWithTag(id, ev.Tag, ev.GNO)
	committed := time.Unix(int64(h.Timestamp), 0).UTC()
	if ev.ImmediateCommitTimestamp != 0 {
		committed = time.UnixMicro(int64(ev.ImmediateCommitTimestamp)).UTC()
	}
	return d.begin(ctx, transaction{open: true, gtid: gtid, token: set.String(), committed: committed})
}

// begin opens a transaction. Its place is that of its GTID event (M1).
func (d *decoder) begin(ctx context.Context, tx transaction) error {
	if d.tx.open {
		if d.tx.sequence > 0 {
			return d.fault(capture.Corrupt, errors.New("a transaction begins within another"))
		}
		if err := d.commit(ctx); err != nil {
			return err
		}
	}
	if d.end>>32 != 0 {
		return d.refuse(fmt.Errorf("binlog file %s: a transaction that begins beyond 4 GiB", d.fileName))
	}
	tx.ordinal = ordinal(d.file, d.end)
	if tx.ordinal <= d.mark.Position.Ordinal {
		return d.historyError(fmt.Errorf("%w: transaction %s at %s comes after a later place",
			errHistory, tx.gtid, place(tx.ordinal)))
	}
	d.tx = tx
	clear(d.maps)
	return nil
}

// commit ends the open transaction.
func (d *decoder) commit(ctx context.Context) error {
	if !d.tx.open {
		return d.fault(capture.Corrupt, errors.New("a transaction ends that did not begin"))
	}
	d.mark = change.Mark{Position: d.position(d.tx.ordinal), Token: d.tx.token}
	rec := d.record(change.Ended, d.mark, d.tx.gtid)
	rec.Committed = d.tx.committed
	d.tx.open = false
	if err := d.log.End(ctx, rec); err != nil {
		return err
	}
	if hook := d.cfg.Hooks.Transaction; hook != nil {
		hook(d.mark, rec.Committed)
	}
	if !d.payload && time.Since(d.last) >= d.cfg.heartbeat() {
		return d.watermark(ctx, ordinal(d.file, d.end), rec.Committed)
	}
	return nil
}

// heartbeat comes when the server has sent all it has.
func (d *decoder) heartbeat(ctx context.Context, e arrived) error {
	name := string(eventBody(e.RawData, d.checksum))
	if d.tx.open || e.Header.LogPos == 0 || name != d.fileName || uint64(e.Header.LogPos) < d.end&(1<<32-1) {
		return nil
	}
	at := d.srv.clock(e.at)
	place := ordinal(d.file, d.end&^(1<<32-1)|uint64(e.Header.LogPos))
	if hook := d.cfg.Hooks.Head; hook != nil {
		hook(change.Mark{Position: d.position(place), Token: d.mark.Token}, at)
	}
	return d.watermark(ctx, place, at)
}

// watermark says that all up to the place is in the Log.
func (d *decoder) watermark(ctx context.Context, place uint64, at time.Time) error {
	if place < d.mark.Position.Ordinal {
		return nil // the server is still passing over what was read before
	}
	d.last = time.Now()
	d.mark.Position = d.position(place)
	return d.log.Watermark(ctx, d.mark, at)
}

// here is where the decoder is in the log, for messages.
func (d *decoder) here() string {
	s := fmt.Sprintf("%s, offset %d", d.fileName, d.end)
	if d.tx.open {
		s += ", GTID " + d.tx.gtid
	}
	return s
}

func (d *decoder) fault(kind capture.Kind, err error) *capture.Error {
	return &capture.Error{Op: "read the log", Kind: kind, Source: d.cfg.Source, Position: d.here(), Err: err}
}

func (d *decoder) refuse(err error) *capture.Error { return d.fault(capture.Unsupported, err) }

func (d *decoder) xa() error {
	e := d.refuse(errors.New("an XA transaction, whose rows and commit lie apart in the log"))
	e.Hint = "commit with XA COMMIT ... ONE PHASE or without XA; then take a new snapshot: " + d.resnapshot()
	return e
}

func (d *decoder) byStatement() error {
	e := d.refuse(errors.New("rows changed by a statement, of which the log has no rows"))
	e.Hint = "no session may set binlog_format to anything but ROW; then take a new snapshot: " + d.resnapshot()
	return e
}
