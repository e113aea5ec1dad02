package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"

	driver "github.com/go-sql-driver/mysql"

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/change"
)

// Reader reads one source into one Log. It is for one Run.
type Reader struct {
	cfg Config
	log capture.Log
}

// New makes a Reader. It connects to nothing.
func New(cfg Config, log capture.Log) *Reader { return &Reader{cfg, log} }

// Run takes the next incarnation, a snapshot if the Log has none, and then reads
// the source's log until ctx ends or something stops it. It returns when all it
// started has ended: with ctx's error, with the Log's, or with a *capture.Error.
// After one of kind Transient the caller opens the Log again and runs a new
// Reader, which resumes after what is durable.
func (r *Reader) Run(ctx context.Context) error {
	run := &run{cfg: &r.cfg, log: r.log, resume: r.log.Resume()}
	err := run.all(ctx)
	if run.db != nil {
		_ = run.db.Close()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// run is one Run's state. It belongs to one goroutine.
type run struct {
	cfg    *Config
	log    capture.Log
	resume capture.Resume

	db      *sql.DB
	dsn     *driver.Config
	srv     *server
	targets map[name]*target

	incarnation change.Incarnation
	generation  uint32
	domain      uint32 // MariaDB's GTID domain
	history     string
	mark        change.Mark // what was last ended, or a later watermark
}

// target is a captured table.
type target struct {
	capture.Table
	name name
}

// connect opens the server and names the captured tables as it does.
func (r *run) connect(ctx context.Context) (err error) {
	if r.db, r.dsn, r.srv, err = r.cfg.open(ctx); err != nil {
		return err
	}
	r.targets = map[name]*target{}
	for _, t := range r.cfg.Tables {
		n := nameOf(t.Table, r.dsn.DBName)
		r.targets[n] = &target{t, n}
	}
	return nil
}

func (r *run) all(ctx context.Context) (err error) {
	if err := r.connect(ctx); err != nil {
		return err
	}
	if err := r.refuseSettings(ctx); err != nil {
		return err
	}
	if err := r.identify(ctx); err != nil {
		return err
	}
	r.incarnation = r.resume.Incarnation + 1
	r.generation = max(r.resume.Durable.Position.Generation, 1)
	if r.cfg.Resnapshot || r.resume.Durable.Position.IsZero() {
		err = r.snapshot(ctx)
	} else {
		err = r.goOn(ctx)
	}
	if err != nil {
		return err
	}
	return r.stream(ctx)
}

// refuseSettings stops at the first of the server's settings that is wrong.
func (r *run) refuseSettings(ctx context.Context) error {
	problems, err := r.cfg.checkServer(ctx, r.db, r.srv)
	if err != nil {
		return r.cfg.sqlError("read settings", err)
	}
	if len(problems) > 0 {
		e := r.cfg.errorf("read settings", capture.Configuration, "%s", problems[0].What)
		e.Hint = problems[0].Hint
		return e
	}
	return nil
}

// identify finds the GTID domain and the history's name.
func (r *run) identify(ctx context.Context) error {
	if r.srv.flavor == MariaDB {
		var position string
		err := r.db.QueryRowContext(ctx, "SELECT @@GLOBAL.gtid_domain_id, @@GLOBAL.gtid_binlog_pos").Scan(&r.domain, &position)
		if err != nil {
			return r.cfg.sqlError("read the GTID position", err)
		}
		if domain, _, ok := parseGTID(position); ok {
			r.domain = domain
		}
	}
	r.history = r.srv.history(r.domain)
	return nil
}

// parseGTID reads MariaDB's domain-server-sequence.
func parseGTID(gtid string) (domain uint32, sequence uint64, ok bool) {
	parts := strings.Split(gtid, "-")
	if len(parts) != 3 {
		return 0, 0, false
	}
	d, err1 := strconv.ParseUint(parts[0], 10, 32)
	s, err2 := strconv.ParseUint(parts[2], 10, 64)
	return uint32(d), s, err1 == nil && err2 == nil
}

// goOn resumes after what is durable, if the source still has the history that
// the Log came from.
func (r *run) goOn(ctx context.Context) error {
	r.mark = r.resume.Durable
	if err := r.sameHistory(ctx); err != nil {
		return err
	}
	return r.log.Start(ctx, r.record(change.Started, r.mark, r.resume.Durable.Token))
}

// record is a TxRecord with what all of this run's have in common.
func (r *run) record(status change.Status, mark change.Mark, id string) change.TxRecord {
	return change.TxRecord{
		Status: status, Source: r.cfg.Source, Incarnation: r.incarnation, Mark: mark, ID: id,
		Committed: r.srv.now(), History: r.history,
	}
}

// position is a place in this run's history.
func (r *run) position(ordinal uint64) change.Position {
	return change.Position{Generation: r.generation, Ordinal: ordinal}
}

var errHistory = errors.New("the source is not the one the log came from")

func (r *run) sameHistory(ctx context.Context) error {
	if r.resume.History != "" && r.resume.History != r.history {
		return r.historyError(fmt.Errorf("%w: it is %s, the log came from %s", errHistory, r.history, r.resume.History))
	}
	if r.mark.Token == "" {
		return nil
	}
	if r.srv.flavor == MySQL {
		return r.executed(ctx)
	}
	return r.samePlace(ctx)
}

// executed asks MySQL whether it has executed all that the mark has.
func (r *run) executed(ctx context.Context) error {
	var all bool
	var now string
	err := r.db.QueryRowContext(ctx,
		"SELECT GTID_SUBSET(?, @@GLOBAL.gtid_executed), @@GLOBAL.gtid_executed", r.mark.Token).Scan(&all, &now)
	if err != nil {
		return r.cfg.sqlError("compare the GTID position", err)
	}
	if !all {
		return r.historyError(fmt.Errorf("%w: it has executed %s, the log has %s", errHistory, now, r.mark.Token))
	}
	return nil
}

// samePlace asks MariaDB for the GTID at the mark's place in its log (M2). When
// the file is gone the server cannot tell, and what follows decides.
func (r *run) samePlace(ctx context.Context) error {
	file, offset, _, err := r.srv.logEnd(ctx, r.db)
	if err != nil {
		return r.cfg.sqlError("read the log's end", err)
	}
	number, err := fileNumber(file)
	if err != nil {
		return r.cfg.errorf("read the log's end", capture.Unsupported, "%w", err)
	}
	at := r.mark.Position.Ordinal
	if at > ordinal(number, offset) {
		return r.historyError(fmt.Errorf("%w: its log ends in %s, the log has read to %s",
			errHistory, place(ordinal(number, offset)), place(at)))
	}
	base, _, _ := cutLast(file, '.')
	var gtid sql.NullString
	err = r.db.QueryRowContext(ctx, "SELECT BINLOG_GTID_POS(?, ?)",
		fmt.Sprintf("%s.%06d", base, at>>32), at&(1<<32-1)+1).Scan(&gtid)
	if err != nil {
		return r.cfg.sqlError("compare the GTID position", err)
	}
	if gtid.Valid && gtid.String != r.mark.Token {
		return r.historyError(fmt.Errorf("%w: at %s it has GTID %q, the log has %q",
			errHistory, place(at), gtid.String, r.mark.Token))
	}
	return nil
}

func (r *run) historyError(err error) error {
	return &capture.Error{
		Op: "resume", Kind: capture.History, Source: r.cfg.Source, Position: place(r.mark.Position.Ordinal), Err: err,
		Hint: "if the source was replaced or restored on purpose: " + r.resnapshot(),
	}
}

func (r *run) resnapshot() string { return "tributary run --resnapshot " + r.cfg.Source }
