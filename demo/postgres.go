package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
)

// user is the one user of both servers: it may replicate, define and change everything, for these servers are thrown away.
const userName = "tributary"

// postgresSettings are what the demo's source needs of a server, beside the defaults. No statement and no row value gets
// into its log, and it has no Unix socket, whose path could be too long or already there.
var postgresSettings = []string{
	"listen_addresses=127.0.0.1",
	"unix_socket_directories=",
	"wal_level=logical",
	"max_wal_senders=20",
	"max_replication_slots=20",
	"wal_sender_timeout=60s",
	"max_slot_wal_keep_size=-1",
	"max_connections=100",
	"shared_buffers=128MB",
	"fsync=on",
	"synchronous_commit=on",
	"timezone=UTC",
	"log_timezone=UTC",
	"logging_collector=off",
	"log_destination=stderr",
	"log_error_verbosity=terse",
	"log_min_error_statement=panic",
	"cluster_name=tributary-demo",
}

// newPostgres describes the server below dir; bin is the folder of its programs.
func newPostgres(dir, bin string, a account, port int, key string) *server {
	s := &server{name: "PostgreSQL", dir: dir, account: a, port: port, stop: syscall.SIGINT}
	s.command = func(port int) (string, []string) {
		args := []string{"-D", s.data(), "-p", strconv.Itoa(port)}
		for _, set := range postgresSettings {
			args = append(args, "-c", set)
		}
		return filepath.Join(bin, "postgres"), args
	}
	s.clear = func(ctx context.Context) error { return clearLock(ctx, s.data()) }
	s.ping = func(ctx context.Context, port int) error {
		conn, err := pgx.Connect(ctx, postgresDSN(port, key, "postgres"))
		if err != nil {
			return err
		}
		defer conn.Close(context.WithoutCancel(ctx))
		var data string
		if err := conn.QueryRow(ctx, "SHOW data_directory").Scan(&data); err != nil {
			return err
		}
		if !sameFile(data, s.data()) {
			return fmt.Errorf("another server answers on port %d", port)
		}
		return nil
	}
	return s
}

// clearLock removes the lock file of a postmaster that was killed. PostgreSQL does so itself, unless the process id in it is
// taken: by a stranger, or, in a container without an init, by the killed postmaster that nobody waits for. The orphans of a
// killed postmaster may still write, so they are waited for: each has the data folder as its working folder.
func clearLock(ctx context.Context, data string) error {
	lock := filepath.Join(data, "postmaster.pid")
	if _, err := os.Stat(lock); os.IsNotExist(err) {
		return nil
	}
	if err := poll(ctx, func() bool { return !inUse(data) }); err != nil {
		return fmt.Errorf("demo: PostgreSQL: processes of a killed server still use %s: %w", data, err)
	}
	if err := os.Remove(lock); err != nil {
		return fmt.Errorf("demo: PostgreSQL: %w", err)
	}
	return nil
}

// inUse tells whether a process works in the folder.
func inUse(dir string) bool {
	cwds, _ := filepath.Glob("/proc/[0-9]*/cwd") // a fixed, valid pattern
	for _, cwd := range cwds {
		if to, err := os.Readlink(cwd); err == nil && to == dir {
			return true
		}
	}
	return false
}

// initPostgres makes the data folder with initdb and the password.
func initPostgres(ctx context.Context, s *server, bin, key string) error {
	file := filepath.Join(s.dir, "password")
	if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
		return fmt.Errorf("demo: PostgreSQL: %w", err)
	}
	defer os.Remove(file)
	if err := s.account.own(file); err != nil {
		return fmt.Errorf("demo: PostgreSQL: %w", err)
	}
	return s.initialise(ctx, func(data string) (string, []string) {
		return filepath.Join(bin, "initdb"), []string{"-D", data, "-U", userName, "--pwfile", file, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C"}
	})
}

// makeDatabase makes the EMR's database when it is missing.
func makeDatabase(ctx context.Context, port int, key string) error {
	conn, err := pgx.Connect(ctx, postgresDSN(port, key, "postgres"))
	if err != nil {
		return dbError("connect to PostgreSQL", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var have bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = 'emr')").Scan(&have); err != nil {
		return dbError("look for database emr", err)
	}
	if have {
		return nil
	}
	if _, err := conn.Exec(ctx, "CREATE DATABASE emr"); err != nil {
		return dbError("make database emr", err)
	}
	return nil
}

func postgresDSN(port int, key, database string) string {
	return fmt.Sprintf("postgres://%s:%s@127.0.0.1:%d/%s?sslmode=disable", userName, key, port, database)
}

// sameFile tells whether two paths name one folder. Without the right to look into it, the names decide.
func sameFile(a, b string) bool {
	if a == b {
		return true
	}
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errors.Join(errX, errY) == nil && os.SameFile(x, y)
}

// postgresVersion is the major version that made the data folder, or "" before there is one.
func postgresVersion(data string) string {
	text, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
