package postgres_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/capture/postgres"
	"github.com/tributary-health/tributary/change"
)

// countLog takes everything at once and counts it.
type countLog struct {
	resume  capture.Resume
	durable change.Mark
	rows    int
	want    int
	stop    context.CancelFunc
}

func (l *countLog) Resume() capture.Resume                              { return l.resume }
func (l *countLog) Start(context.Context, change.TxRecord) error        { return nil }
func (l *countLog) Durable() change.Mark                                { return l.resume.Durable }
func (l *countLog) Err() error                                          { return nil }
func (l *countLog) End(context.Context, change.TxRecord) error          { return nil }
func (l *countLog) Append(context.Context, string, *change.Event) error { return l.row() }
func (l *countLog) SnapshotEnd(_ context.Context, rec change.TxRecord, _ []change.Table) error {
	l.durable = rec.Mark
	return nil
}
func (l *countLog) Watermark(context.Context, change.Mark, time.Time) error { return nil }

func (l *countLog) row() error {
	if l.rows++; l.rows == l.want {
		l.stop()
	}
	return nil
}

// drain runs a reader until it has delivered want rows.
func drain(b *testing.B, cfg postgres.Config, resume capture.Resume, want int) (*countLog, time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	l := &countLog{resume: resume, want: want, stop: cancel}
	start := time.Now()
	if err := postgres.New(cfg, l).Run(ctx); !errors.Is(err, context.Canceled) {
		b.Fatal(err)
	}
	return l, time.Since(start)
}

const benchRows = 1_000_000

const benchTable = `CREATE TABLE items (id bigint PRIMARY KEY, member text NOT NULL, n int, code text, at timestamptz, amount numeric(12,2), note text)`

const benchInsert = `INSERT INTO items SELECT i, 'm' || i % 1000, i % 100, md5(i::text), now(), i / 100.0, repeat('x', 40) FROM generate_series($1::bigint, $2) i`

// BenchmarkStream reads one log of a million inserted rows (of about 140 bytes,
// in transactions of 1,000) with pg_recvlogical, which only writes what it gets
// to nowhere, and with a Reader whose log only counts. An iteration is both.
func BenchmarkStream(b *testing.B) {
	d := database(b, benchTable)
	tool := server.bin + "/pg_recvlogical"
	if _, err := os.Stat(tool); err != nil {
		if tool, err = exec.LookPath("pg_recvlogical"); err != nil {
			b.Skip("SKIPPED: no pg_recvlogical")
		}
	}
	d.exec("CREATE PUBLICATION tributary_src FOR TABLE ONLY items")
	d.exec("SELECT pg_create_logical_replication_slot('peer', 'pgoutput')", "SELECT pg_create_logical_replication_slot('slot_"+d.name+"', 'pgoutput')")
	point := d.text("SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = $1", "slot_"+d.name)
	resume := capture.Resume{Durable: change.Mark{Position: change.Position{Generation: 1, Ordinal: 1}, Token: point}, Incarnation: 1}
	for i := 0; i < benchRows; i += 1000 {
		if _, err := d.conn.Exec(context.Background(), benchInsert, i+1, i+1000); err != nil {
			b.Fatal(err)
		}
	}
	end := d.text("SELECT pg_current_wal_lsn()::text")
	d.exec("CHECKPOINT")
	cfg := d.config(member("items", "id"))
	cfg.Heartbeat = 500 * time.Millisecond
	var peer, ours time.Duration
	for b.Loop() {
		// Neither is confirmed, so that each iteration reads the same log.
		cmd := exec.Command(tool, "-d", strings.Replace(d.dsn, "?", "?application_name=peer&", 1), "-S", "peer", "--start", "-f", "/dev/null", "--no-loop",
			"-o", "proto_version=1", "-o", "publication_names=tributary_src", "--endpos", end, "-F", "0", "-s", "0")
		start := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		peer += time.Since(start)
		d.exec("SELECT pg_drop_replication_slot('peer')", "SELECT pg_copy_logical_replication_slot('slot_"+d.name+"', 'peer')")
		_, took := drain(b, cfg, resume, benchRows)
		ours += took
		d.await("the slot's release", "SELECT active::text FROM pg_replication_slots WHERE slot_name = 'slot_"+d.name+"'", "false")
	}
	n := float64(b.N)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(n*benchRows/ours.Seconds(), "rows/s")
	b.ReportMetric(n*benchRows/peer.Seconds(), "peer-rows/s")
	b.ReportMetric(peer.Seconds()/ours.Seconds(), "of-peer")
}

// BenchmarkSnapshot reads the same rows as a snapshot.
func BenchmarkSnapshot(b *testing.B) {
	d := database(b, benchTable)
	if _, err := d.conn.Exec(context.Background(), benchInsert, 1, benchRows); err != nil {
		b.Fatal(err)
	}
	var ours time.Duration
	for b.Loop() {
		_, took := drain(b, d.config(member("items", "id")), capture.Resume{}, benchRows)
		ours += took
		d.await("the slot's release", "SELECT count(*)::text FROM pg_replication_slots WHERE slot_name = 'slot_"+d.name+"' AND active", "0")
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(b.N)*benchRows/ours.Seconds(), "rows/s")
}
