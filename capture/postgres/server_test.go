package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
)

// server is the throw-away PostgreSQL of this package's tests; nil when the
// machine has no binaries, and then every test that needs it is skipped.
var server *pgServer

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if server, err = startServer(); err != nil && !errors.Is(err, errNoBinaries) {
			fmt.Fprintln(os.Stderr, "start PostgreSQL:", err)
			return 1
		}
		if server != nil {
			defer server.remove()
		}
		code := m.Run()
		if code == 0 {
			if err := goleak.Find(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
		}
		return code
	}())
}

var errNoBinaries = errors.New("no PostgreSQL binaries in PATH or /usr/lib/postgresql")

type pgServer struct {
	dir, bin string
	port     int
	cmd      *exec.Cmd
	dbs      int
}

func findBinaries() string {
	if p, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(p)
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return ""
	}
	return filepath.Dir(found[len(found)-1])
}

// command runs a server binary as a user that PostgreSQL accepts.
func command(bin string, args ...string) *exec.Cmd {
	cmd := exec.Command(bin, args...)
	if os.Getuid() == 0 {
		cmd = exec.Command("setpriv", append([]string{"--reuid=postgres", "--regid=postgres", "--clear-groups", bin}, args...)...)
	}
	cmd.Dir = "/"
	return cmd
}

func startServer(settings ...string) (*pgServer, error) {
	bin := findBinaries()
	if bin == "" {
		return nil, errNoBinaries
	}
	dir, err := os.MkdirTemp("", "tributary-postgres-")
	if err != nil {
		return nil, err
	}
	s := &pgServer{dir: dir, bin: bin}
	if os.Getuid() == 0 {
		if out, err := exec.Command("chown", "postgres:postgres", dir).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%w: %s", err, out)
		}
	}
	out, err := command(bin+"/initdb", "-D", dir+"/data", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	l.Close()
	return s, s.start(settings...)
}

// start starts the server and returns once it answers.
func (s *pgServer) start(settings ...string) error {
	args := []string{"-D", s.dir + "/data", "-p", fmt.Sprint(s.port)}
	for _, set := range append([]string{"listen_addresses=127.0.0.1", "unix_socket_directories=", "wal_level=logical", "fsync=off",
		"max_replication_slots=60", "max_wal_senders=60", "max_connections=100", "logging_collector=off", "autovacuum=off"}, settings...) {
		args = append(args, "-c", set)
	}
	log, err := os.OpenFile(s.dir+"/log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = command(s.bin+"/postgres", args...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		c, err := pgx.Connect(ctx, s.dsn("postgres"))
		if err == nil {
			return c.Close(ctx)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (s *pgServer) dsn(db string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", s.port, db)
}

// shutdown asks for a fast shutdown and waits for the server's end.
func (s *pgServer) shutdown(patience time.Duration) error {
	_ = s.cmd.Process.Signal(syscall.SIGINT)
	done := make(chan error, 1)
	go func() { done <- s.cmd.Wait() }()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		_ = s.cmd.Process.Signal(syscall.SIGQUIT)
		<-done
		return fmt.Errorf("no shutdown within %s", patience)
	}
}

func (s *pgServer) remove() {
	_ = s.shutdown(10 * time.Second)
	_ = os.RemoveAll(s.dir)
}

// db is one test's database with a connection to it.
type db struct {
	t    testing.TB
	name string
	dsn  string
	conn *pgx.Conn
}

// database makes a database for the test, with the statements run in it. Its
// slots go with it at the test's end.
func database(t testing.TB, statements ...string) *db {
	t.Helper()
	if server == nil {
		t.Skip("SKIPPED: ", errNoBinaries)
	}
	return server.database(t, statements...)
}

func (s *pgServer) database(t testing.TB, statements ...string) *db {
	t.Helper()
	s.dbs++
	d := &db{t: t, name: fmt.Sprintf("t%d", s.dbs)}
	d.dsn = s.dsn(d.name)
	ctx := context.Background()
	admin, err := pgx.Connect(ctx, s.dsn("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(ctx)
	if _, err := admin.Exec(ctx, "CREATE DATABASE "+d.name); err != nil {
		t.Fatal(err)
	}
	if d.conn, err = pgx.Connect(ctx, d.dsn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.conn.Close(ctx) })
	d.exec(statements...)
	return d
}

func (d *db) exec(statements ...string) {
	d.t.Helper()
	for _, sql := range statements {
		if _, err := d.conn.Exec(context.Background(), sql); err != nil {
			d.t.Fatalf("%s: %v", sql, err)
		}
	}
}

// text queries one value as text.
func (d *db) text(sql string, args ...any) string {
	d.t.Helper()
	var s *string
	if err := d.conn.QueryRow(context.Background(), sql, args...).Scan(&s); err != nil {
		d.t.Fatalf("%s: %v", sql, err)
	}
	if s == nil {
		return "NULL"
	}
	return *s
}

// rows queries one text column.
func (d *db) rows(sql string) string {
	d.t.Helper()
	rows, err := d.conn.Query(context.Background(), sql)
	if err != nil {
		d.t.Fatalf("%s: %v", sql, err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		d.t.Fatalf("%s: %v", sql, err)
	}
	return strings.Join(all, "\n")
}
