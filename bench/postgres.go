package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/capture/postgres"
	"github.com/tributary-health/tributary/change"
)

// A row is about 120 bytes of text, and every column is of another type.
const (
	postgresTable = `CREATE TABLE items (id bigint PRIMARY KEY, member text NOT NULL, n int, code text, at timestamptz, amount numeric(12,2), note text)`
	postgresRows  = `INSERT INTO items SELECT i, 'member-' || i % 5000, i % 100, md5(i::text), now(), i / 100.0, repeat('x', 24) FROM generate_series($1::bigint, $2) i`
	transaction   = 1000
)

func (l *lab) postgres(ctx context.Context) error {
	tool, err := pgTool("pg_recvlogical")
	if err != nil {
		return err
	}
	say(fmt.Sprintf("postgres: writing %d rows", l.rows))
	conn, dsn, err := l.postgresData(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var point, end string
	if err := conn.QueryRow(ctx, "SELECT confirmed_flush_lsn::text, pg_current_wal_lsn()::text FROM pg_replication_slots WHERE slot_name = 'base'").Scan(&point, &end); err != nil {
		return err
	}
	b, err := l.startBroker(ctx, "broker-postgres")
	if err != nil {
		return err
	}
	defer b.close()
	say("postgres: measuring")
	data := fmt.Sprintf("%d inserted rows of about 120 B in transactions of %d", l.rows, transaction)
	const base = "`pg_recvlogical` (pgoutput) to /dev/null"
	return l.compare(ctx, b, pair{
		name: "postgres", table: "items",
		resume: capture.Resume{Durable: change.Mark{Position: change.Position{Generation: 1, Ordinal: 1}, Token: point}},
		read: func(source string, log capture.Log) func(context.Context) error {
			return postgres.New(postgres.Config{Source: source, DSN: dsn, Slot: "turn", Publication: "bench", Tables: items(source)}, log).Run
		},
		peer: func(ctx context.Context) (took time.Duration, err error) {
			err = freshSlot(ctx, conn, func() error {
				took, err = receive(ctx, tool, dsn, end)
				return err
			})
			return took, err
		},
		each:  func(ctx context.Context, run func() error) error { return freshSlot(ctx, conn, run) },
		alone: Benchmark{Name: "postgres-alone", Title: "PostgreSQL reader, log that only counts", Data: data, Unit: "rows/s", Baseline: base},
		whole: Benchmark{Name: "postgres", Title: "PostgreSQL reader and writer, rows durable in the topics", Data: data, Unit: "rows/s", Baseline: base, Expected: 0.5, Aim: 0.9},
	})
}

func items(source string) []capture.Table {
	return []capture.Table{{Table: change.Table{Source: source, Name: "items"}, Route: change.Route{Kind: change.ByMember, Column: "member"}}}
}

// postgresData makes a database, a slot that stays where it is, and after it the
// rows.
func (l *lab) postgresData(ctx context.Context) (*pgx.Conn, string, error) {
	admin, err := pgx.Connect(ctx, l.servers.PostgresDSN())
	if err != nil {
		return nil, "", err
	}
	_, err = admin.Exec(ctx, "CREATE DATABASE bench")
	_ = admin.Close(ctx)
	if err != nil {
		return nil, "", err
	}
	u, err := url.Parse(l.servers.PostgresDSN())
	if err != nil {
		return nil, "", err
	}
	u.Path = "/bench"
	conn, err := pgx.Connect(ctx, u.String())
	if err != nil {
		return nil, "", err
	}
	for _, sql := range []string{
		postgresTable, "ALTER TABLE items REPLICA IDENTITY FULL", "CREATE PUBLICATION bench FOR TABLE ONLY items",
		"SELECT pg_create_logical_replication_slot('base', 'pgoutput')",
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return nil, "", err
		}
	}
	for i := 0; i < l.rows; i += transaction {
		if _, err := conn.Exec(ctx, postgresRows, i+1, min(i+transaction, l.rows)); err != nil {
			return nil, "", err
		}
	}
	_, err = conn.Exec(ctx, "CHECKPOINT") // now, and not within a turn
	return conn, u.String(), err
}

// freshSlot runs fn with a slot "turn" that stands where "base" does.
func freshSlot(ctx context.Context, conn *pgx.Conn, fn func() error) error {
	if _, err := conn.Exec(ctx, "SELECT pg_copy_logical_replication_slot('base', 'turn')"); err != nil {
		return err
	}
	if err := fn(); err != nil {
		return err
	}
	for { // the server notices a moment later that its client is gone
		var free bool
		if err := conn.QueryRow(ctx, "SELECT NOT active FROM pg_replication_slots WHERE slot_name = 'turn'").Scan(&free); err != nil {
			return err
		}
		if free {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	_, err := conn.Exec(ctx, "SELECT pg_drop_replication_slot('turn')")
	return err
}

// receive lets the server's own client read the slot up to the end.
func receive(ctx context.Context, tool, dsn, end string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, tool, "-d", dsn, "-S", "turn", "--start", "-f", "/dev/null", "--no-loop",
		"-o", "proto_version=1", "-o", "publication_names=bench", "--endpos", end)
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("pg_recvlogical: %w: %s", err, out)
	}
	return time.Since(start), nil
}

// pgTool finds a program of the server's package, which is often not in PATH.
func pgTool(name string) (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) > 0 {
		return found[len(found)-1], nil
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%w: run scripts/setup", err)
	}
	if _, err := os.Stat(path); err != nil {
		return "", err
	}
	return path, nil
}
