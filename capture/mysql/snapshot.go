package mysql

import (
	"context"
	"database/sql"
	"strconv"
	"strings"
	"time"

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/change"
)

// sessionSettings make a connection answer in the forms that appendSelected
// reads, and let a slow Log keep it open.
var sessionSettings = []string{
	"SET NAMES utf8mb4",
	"SET SESSION time_zone='+00:00', sql_mode='', net_write_timeout=86400, wait_timeout=86400",
	"SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
}

// snapshot writes all rows of all tables as of one commit boundary, and leaves
// the run's mark there.
func (r *run) snapshot(ctx context.Context) error {
	conn, err := r.db.Conn(ctx)
	if err != nil {
		return r.cfg.sqlError("snapshot", err)
	}
	defer conn.Close()
	statements := sessionSettings
	if r.srv.flavor == MariaDB {
		statements = append(statements[:len(statements):len(statements)], "SET SESSION max_statement_time=0")
	}
	for _, s := range statements {
		if _, err := conn.ExecContext(ctx, s); err != nil {
			return r.cfg.sqlError("snapshot", err)
		}
	}
	at, err := r.openSnapshot(ctx, conn)
	if err != nil {
		return err
	}
	start := r.record(change.Started, change.Mark{}, "")
	start.Snapshot = true
	if err := r.log.Start(ctx, start); err != nil {
		return err
	}
	s := &snapshot{run: r, conn: conn, at: at, taken: r.srv.now()}
	tables := make([]change.Table, 0, len(r.cfg.Tables))
	for _, t := range r.cfg.Tables {
		if err := s.table(ctx, r.targets[nameOf(t.Table, r.dsn.DBName)]); err != nil {
			return err
		}
		tables = append(tables, t.Table)
	}
	if _, err := conn.ExecContext(ctx, "COMMIT"); err != nil {
		return r.cfg.sqlError("snapshot", err)
	}
	end := r.record(change.SnapshotEnded, at, at.Token)
	end.Committed, end.Snapshot = s.taken, true
	if err := r.log.SnapshotEnd(ctx, end, tables); err != nil {
		return err
	}
	r.mark = at
	return nil
}

// openSnapshot begins the transaction that all tables are read in, and finds
// where in the log it stands.
func (r *run) openSnapshot(ctx context.Context, conn *sql.Conn) (change.Mark, error) {
	open := r.openSnapshotLocked
	if r.srv.flavor == MariaDB {
		open = r.openSnapshotFree
	}
	file, offset, token, err := open(ctx, conn)
	if err != nil {
		return change.Mark{}, r.cfg.sqlError("snapshot", err)
	}
	number, err := fileNumber(file)
	if err != nil {
		return change.Mark{}, r.cfg.errorf("snapshot", capture.Unsupported, "%w", err)
	}
	if domain, _, ok := parseGTID(token); ok && r.srv.flavor == MariaDB {
		r.domain = domain
		r.history = r.srv.history(domain)
	}
	at := ordinal(number, offset)
	durable := r.resume.Durable.Position
	if !durable.IsZero() && (r.resume.History != r.history || at < durable.Ordinal) {
		r.generation = durable.Generation + 1
	}
	return change.Mark{Position: r.position(at), Token: token}, nil
}

// openSnapshotFree is MariaDB's way: the server itself knows where in the log a
// snapshot stands, and nobody waits.
func (r *run) openSnapshotFree(ctx context.Context, conn *sql.Conn) (file string, offset uint64, token string, err error) {
	if _, err = conn.ExecContext(ctx, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"); err != nil {
		return "", 0, "", err
	}
	status, err := queryMaps(ctx, conn, "SHOW STATUS LIKE 'binlog_snapshot_%'")
	if err != nil {
		return "", 0, "", err
	}
	for _, row := range status {
		switch strings.ToLower(row["Variable_name"]) {
		case "binlog_snapshot_file":
			file = row["Value"]
		case "binlog_snapshot_position":
			if offset, err = strconv.ParseUint(row["Value"], 10, 64); err != nil {
				return "", 0, "", err
			}
		}
	}
	var gtid sql.NullString
	if err = conn.QueryRowContext(ctx, "SELECT BINLOG_GTID_POS(?, ?)", file, offset).Scan(&gtid); err != nil {
		return "", 0, "", err
	}
	if file == "" || !gtid.Valid {
		return "", 0, "", r.cfg.errorf("snapshot", capture.Transient,
			"the server does not say where in its log the snapshot stands (file %q, offset %d)", file, offset)
	}
	return file, offset, gtid.String, nil
}

// openSnapshotLocked is for MySQL, which cannot say: commits wait for the few
// milliseconds between the lock and its release.
func (r *run) openSnapshotLocked(ctx context.Context, conn *sql.Conn) (file string, offset uint64, token string, err error) {
	locker, err := r.db.Conn(ctx)
	if err != nil {
		return "", 0, "", err
	}
	defer locker.Close()
	if _, err = locker.ExecContext(ctx, "SET SESSION lock_wait_timeout=10"); err != nil {
		return "", 0, "", err
	}
	if _, err = locker.ExecContext(ctx, "FLUSH TABLES WITH READ LOCK"); err != nil {
		return "", 0, "", err
	}
	defer func() {
		if _, unlock := locker.ExecContext(ctx, "UNLOCK TABLES"); err == nil {
			err = unlock
		}
	}()
	if _, err = conn.ExecContext(ctx, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"); err != nil {
		return "", 0, "", err
	}
	return r.srv.logEnd(ctx, locker)
}

// snapshot is the reading of the tables.
type snapshot struct {
	run      *run
	conn     *sql.Conn
	at       change.Mark
	taken    time.Time
	sequence uint64
	text     []byte
	ends     []int
}

// every is after how many rows an observer hears of progress.
const every = 1000

func (s *snapshot) table(ctx context.Context, t *target) error {
	r := s.run
	described, err := readCatalogTable(ctx, s.conn, t.name)
	if err != nil {
		return r.cfg.sqlError("snapshot", err)
	}
	if err := r.refuseTable(t, described); err != nil {
		return err
	}
	schema := schemaOf(t.Table.Table, described.columns)
	rows, err := s.conn.QueryContext(ctx, "SELECT "+selectList(described.columns)+" FROM "+t.name.String())
	if err != nil {
		return r.tableError("snapshot", t, r.cfg.sqlError("snapshot", err))
	}
	defer rows.Close()
	raw := make([]sql.RawBytes, len(described.columns))
	into := make([]any, len(raw))
	for i := range raw {
		into[i] = &raw[i]
	}
	ev := change.Event{Incarnation: r.incarnation, Op: change.Read, Schema: schema,
		Committed: s.taken, Position: s.at.Position, After: make([]change.Value, len(raw))}
	count := int64(0)
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return r.cfg.sqlError("snapshot", err)
		}
		if err := s.values(ev.After, raw, described.columns); err != nil {
			return r.tableError("snapshot", t, err)
		}
		s.sequence++
		ev.Position.Sequence = s.sequence
		if err := r.append(ctx, t, &ev); err != nil {
			return err
		}
		if count++; count%every == 0 {
			r.progress(t, count, described.rows, false)
			r.counted(every)
		}
	}
	if err := rows.Err(); err != nil {
		return r.tableError("snapshot", t, r.cfg.sqlError("snapshot", err))
	}
	r.progress(t, count, max(count, described.rows), true)
	r.counted(int(count % every))
	return nil
}

// counted tells an observer of row events appended.
func (r *run) counted(n int) {
	if hook := r.cfg.Hooks.Rows; hook != nil && n > 0 {
		hook(n)
	}
}

// values makes the row's values, all texts slices of one string.
func (s *snapshot) values(row []change.Value, raw []sql.RawBytes, columns []column) error {
	s.text, s.ends = s.text[:0], s.ends[:0]
	for i := range columns {
		row[i] = change.Value{}
		if raw[i] != nil {
			var err error
			row[i].State = change.Set
			if s.text, err = appendSelected(s.text, raw[i], &columns[i]); err != nil {
				return &columnError{columns[i].name, err}
			}
		}
		s.ends = append(s.ends, len(s.text))
	}
	all, from := string(s.text), 0
	for i, end := range s.ends {
		row[i].Text = all[from:end]
		from = end
	}
	return nil
}

func (r *run) progress(t *target, rows, estimate int64, done bool) {
	if hook := r.cfg.Hooks.SnapshotTable; hook != nil {
		hook(t.Table.Table, rows, estimate, done)
	}
}

// append hands one event to the Log.
func (r *run) append(ctx context.Context, t *target, ev *change.Event) error {
	route, err := capture.RouteText(t.Route, ev.Schema, ev)
	if err != nil {
		return err
	}
	return r.log.Append(ctx, route, ev)
}
