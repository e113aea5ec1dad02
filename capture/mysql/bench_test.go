package mysql_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/capture/mysql"
	"github.com/tributary-health/tributary/change"
)

// nullLog takes everything and ends when it has seen the last GTID.
type nullLog struct {
	resume capture.Resume
	until  string
	rows   int
	done   context.CancelFunc
	mark   change.Mark
}

func (l *nullLog) Resume() capture.Resume                              { return l.resume }
func (l *nullLog) Start(context.Context, change.TxRecord) error        { return nil }
func (l *nullLog) Append(context.Context, string, *change.Event) error { l.rows++; return nil }
func (l *nullLog) Durable() change.Mark                                { return l.mark }
func (l *nullLog) Err() error                                          { return nil }
func (l *nullLog) Watermark(context.Context, change.Mark, time.Time) error {
	return nil
}
func (l *nullLog) End(_ context.Context, rec change.TxRecord) error {
	l.mark = rec.Mark
	if rec.ID == l.until {
		l.done()
	}
	return nil
}
func (l *nullLog) SnapshotEnd(_ context.Context, rec change.TxRecord, _ []change.Table) error {
	l.mark = rec.Mark
	l.done()
	return nil
}

// logged is a table of which so many rows were inserted, a thousand per
// transaction, and where its log begins and ends.
func logged(b *testing.B) (f *fixture, from change.Mark, until string, rows int) {
	rows = 1_000_000
	if n, err := strconv.Atoi(os.Getenv("ROWS")); err == nil {
		rows = n
	}
	f = newFixture(b, "t", `CREATE TABLE t (id INT UNSIGNED PRIMARY KEY, member CHAR(36) CHARACTER SET ascii NOT NULL,
		code VARCHAR(20), description VARCHAR(400), quantity DECIMAL(8,2), dispensed DATETIME, days SMALLINT UNSIGNED, kind ENUM('CHARGE', 'PAYMENT'))`)
	ctx, cancel := context.WithCancel(b.Context())
	first := &nullLog{done: cancel}
	if err := mysql.New(f.cfg, first).Run(ctx); err != context.Canceled {
		b.Fatal(err)
	}
	for i := 0; i < rows; i += 1000 {
		f.exec(fmt.Sprintf(`INSERT INTO t SELECT %d+seq, UUID(), seq MOD 100000, 'Some medication 20 MG Oral Tablet', seq/100,
			'2024-05-06 07:08:09', seq MOD 90, 1+seq MOD 2 FROM seq_0_to_%d`, i, min(999, rows-i-1)))
	}
	if err := f.db.QueryRow("SELECT @@GLOBAL.gtid_binlog_pos").Scan(&until); err != nil {
		b.Fatal(err)
	}
	return f, first.mark, until, rows
}

// BenchmarkStream reads the same log with the Reader and with a bare
// BinlogSyncer that decodes it, in turns.
func BenchmarkStream(b *testing.B) {
	f, from, until, rows := logged(b)
	report := func(b *testing.B) {
		b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		b.ReportMetric(0, "ns/op")
	}
	b.Run("reader", func(b *testing.B) {
		for b.Loop() {
			ctx, cancel := context.WithCancel(b.Context())
			log := &nullLog{until: until, done: cancel, resume: capture.Resume{Durable: from, Incarnation: 1, History: "1/0"}}
			if err := mysql.New(f.cfg, log).Run(ctx); err != context.Canceled || log.rows != rows {
				b.Fatal(log.rows, err)
			}
		}
		report(b)
	})
	b.Run("bare", func(b *testing.B) {
		for b.Loop() {
			if n := bare(b, from.Token, until); n != rows {
				b.Fatal(n)
			}
		}
		report(b)
	})
}

// bare reads and decodes the log with the library alone, and returns the rows.
func bare(b *testing.B, from, until string) (rows int) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		b.Fatal(err)
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		b.Fatal(err)
	}
	syncer := replication.NewBinlogSyncer(replication.BinlogSyncerConfig{
		ServerID: 4711, Flavor: "mariadb", Host: host, Port: uint16(p), User: "root",
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), DiscardGTIDSet: true,
	})
	defer syncer.Close()
	set, err := gomysql.ParseGTIDSet("mariadb", from)
	if err != nil {
		b.Fatal(err)
	}
	streamer, err := syncer.StartSyncGTID(set)
	if err != nil {
		b.Fatal(err)
	}
	last := false
	for {
		e, err := streamer.GetEvent(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		switch ev := e.Event.(type) {
		case *replication.MariadbGTIDEvent:
			last = ev.GTID.String() == until
		case *replication.RowsEvent:
			rows += len(ev.Rows)
		case *replication.XIDEvent:
			if last {
				return rows
			}
		}
	}
}
