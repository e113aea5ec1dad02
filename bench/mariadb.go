package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"time"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
	driver "github.com/go-sql-driver/mysql"

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/capture/mysql"
)

const mariadbTable = `CREATE TABLE items (id INT UNSIGNED PRIMARY KEY, member VARCHAR(40) CHARACTER SET ascii NOT NULL,
	n SMALLINT UNSIGNED, code CHAR(32) CHARACTER SET ascii, at DATETIME, amount DECIMAL(12,2), note VARCHAR(400), kind ENUM('CHARGE', 'PAYMENT'))`

// mariadbRows inserts rows of about 120 bytes of text.
const mariadbRows = `INSERT INTO items SELECT %[1]d+seq, CONCAT('member-', (%[1]d+seq) MOD 5000), seq MOD 100, MD5(%[1]d+seq),
	'2024-05-06 07:08:09', (%[1]d+seq)/100, 'Some medication 20 MG Or', 1+seq MOD 2 FROM seq_1_to_%[2]d`

func (l *lab) mariadb(ctx context.Context) error {
	say(fmt.Sprintf("mariadb: writing %d rows", l.rows))
	cfg, err := driver.ParseDSN(l.servers.MariaDBDSN())
	if err != nil {
		return err
	}
	read := func(source string, log capture.Log) func(context.Context) error {
		return mysql.New(mysql.Config{Source: source, DSN: cfg.FormatDSN(), Flavor: mysql.MariaDB, Tables: items(source)}, log).Run
	}
	resume, until, err := l.mariadbData(ctx, cfg, read)
	if err != nil {
		return err
	}
	b, err := l.startBroker(ctx, "broker-mariadb")
	if err != nil {
		return err
	}
	defer b.close()
	say("mariadb: measuring")
	data := fmt.Sprintf("%d inserted rows of about 120 B in transactions of %d", l.rows, transaction)
	const base = "a bare go-mysql `BinlogSyncer` that decodes every row"
	return l.compare(ctx, b, pair{
		name: "mariadb", table: "items", resume: resume, read: read,
		peer: func(ctx context.Context) (time.Duration, error) {
			start := time.Now()
			rows, err := syncBare(ctx, cfg, resume.Durable.Token, until)
			if err == nil && rows != l.rows {
				err = fmt.Errorf("the bare syncer read %d rows, want %d", rows, l.rows)
			}
			return time.Since(start), err
		},
		each:  func(_ context.Context, run func() error) error { return run() },
		alone: Benchmark{Name: "mariadb-alone", Title: "MariaDB reader, log that only counts", Data: data, Unit: "rows/s", Baseline: base},
		whole: Benchmark{Name: "mariadb", Title: "MariaDB reader and writer, rows durable in the topics", Data: data, Unit: "rows/s", Baseline: base, Expected: 0.5, Aim: 0.9},
	})
}

// mariadbData makes a database and its rows; resume is before them and until
// the last one's transaction.
func (l *lab) mariadbData(ctx context.Context, cfg *driver.Config, read reader) (resume capture.Resume, until string, err error) {
	db, err := sql.Open("mysql", cfg.FormatDSN())
	if err != nil {
		return resume, "", err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for _, text := range []string{"CREATE DATABASE bench", "USE bench"} {
		if db.SetMaxOpenConns(1); err == nil {
			_, err = db.ExecContext(ctx, text)
		}
	}
	if err != nil {
		return resume, "", err
	}
	if _, err := db.ExecContext(ctx, mariadbTable); err != nil {
		return resume, "", err
	}
	cfg.DBName = "bench"
	first, cancel := context.WithCancel(ctx)
	defer cancel()
	log := &countLog{stop: cancel}
	if err := read("mariadb", log)(first); !errors.Is(err, context.Canceled) {
		return resume, "", err
	}
	resume = capture.Resume{Durable: log.mark, History: log.history}
	for i := 0; i < l.rows; i += transaction {
		if _, err := db.ExecContext(ctx, fmt.Sprintf(mariadbRows, i, min(transaction, l.rows-i))); err != nil {
			return resume, "", err
		}
	}
	return resume, until, db.QueryRowContext(ctx, "SELECT @@GLOBAL.gtid_binlog_pos").Scan(&until)
}

// syncBare reads and decodes the log with the library alone, and returns how
// many rows it held.
func syncBare(ctx context.Context, cfg *driver.Config, from, until string) (rows int, err error) {
	host, port, err := net.SplitHostPort(cfg.Addr)
	if err != nil {
		return 0, err
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return 0, err
	}
	syncer := replication.NewBinlogSyncer(replication.BinlogSyncerConfig{
		ServerID: 4711, Flavor: "mariadb", Host: host, Port: uint16(p), User: cfg.User, Password: cfg.Passwd,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), DiscardGTIDSet: true,
	})
	defer syncer.Close()
	set, err := gomysql.ParseGTIDSet("mariadb", from)
	if err != nil {
		return 0, err
	}
	streamer, err := syncer.StartSyncGTID(set)
	if err != nil {
		return 0, err
	}
	last := false
	for {
		e, err := streamer.GetEvent(ctx)
		if err != nil {
			return rows, err
		}
		switch ev := e.Event.(type) {
		case *replication.MariadbGTIDEvent:
			last = ev.GTID.String() == until
		case *replication.RowsEvent:
			rows += len(ev.Rows)
		case *replication.XIDEvent:
			if last {
				return rows, nil
			}
		}
	}
}
