package mysql_test

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"
	"go.uber.org/goleak"

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/capture/mysql"
	"github.com/tributary-health/tributary/change"
)

// address is the throw-away server's, empty if there is none.
var address string

func TestMain(m *testing.M) {
	stop, err := startServer()
	if err != nil {
		fmt.Fprintln(os.Stderr, "no MariaDB server, tests that need one are skipped:", err)
	}
	code := m.Run()
	stop()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// startServer makes a server of its own: data, socket and port.
func startServer() (stop func(), err error) {
	stop = func() {}
	dir, err := os.MkdirTemp("", "tributary-mysql-")
	if err != nil {
		return stop, err
	}
	clean := func() { _ = os.RemoveAll(dir) }
	data := filepath.Join(dir, "data")
	install := exec.Command("mariadb-install-db", "--no-defaults", "--datadir="+data, "--user="+osUser(),
		// Servers that share a temporary folder take one another's files away.
		"--tmpdir="+dir, "--auth-root-authentication-method=normal", "--skip-test-db")
	if out, err := install.CombinedOutput(); err != nil {
		clean()
		return stop, fmt.Errorf("%w: %s", err, out)
	}
	port, err := freePort()
	if err != nil {
		clean()
		return stop, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		clean()
		return stop, err
	}
	cmd := exec.Command(serverPath(), "--no-defaults", "--user="+osUser(), "--datadir="+data, "--tmpdir="+dir,
		"--socket="+filepath.Join(dir, "s"), fmt.Sprintf("--port=%d", port), "--bind-address=127.0.0.1",
		"--pid-file="+filepath.Join(dir, "pid"), "--log-bin=binlog", "--binlog-format=ROW",
		"--binlog-row-metadata=FULL", "--binlog-row-image=FULL", "--gtid-strict-mode=ON", "--server-id=1",
		"--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M", "--innodb-log-file-size=64M")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		clean()
		return stop, err
	}
	died := make(chan error, 1)
	go func() { died <- cmd.Wait() }()
	stop = func() {
		_ = cmd.Process.Kill()
		<-died
		clean()
	}
	address = fmt.Sprintf("127.0.0.1:%d", port)
	if err := waitUp(died); err != nil {
		text, _ := os.ReadFile(log.Name())
		address = ""
		return clean, fmt.Errorf("%w: %s", err, text)
	}
	return stop, nil
}

func waitUp(died <-chan error) error {
	db := open("")
	defer db.Close()
	deadline := time.After(60 * time.Second)
	for {
		err := db.Ping()
		if err == nil {
			return nil
		}
		select {
		case err := <-died:
			return errors.Join(errors.New("the server ended"), err)
		case <-deadline:
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func osUser() string {
	if os.Getuid() == 0 {
		return "root"
	}
	return os.Getenv("USER")
}

func serverPath() string {
	for _, p := range []string{"mariadbd", "/usr/sbin/mariadbd"} {
		if found, err := exec.LookPath(p); err == nil {
			return found
		}
	}
	return "mariadbd"
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func dsn(database string) string { return dsnAt(address, database) }

func dsnAt(address, database string) string { return "root@tcp(" + address + ")/" + database }

func open(database string) *sql.DB { return openAt(address, database) }

func openAt(address, database string) *sql.DB {
	cfg, err := driver.ParseDSN(dsnAt(address, database))
	if err != nil {
		panic(err)
	}
	cfg.Logger = &driver.NopLogger{}
	c, err := driver.NewConnector(cfg)
	if err != nil {
		panic(err)
	}
	return sql.OpenDB(c)
}

// fixture is one test's database.
type fixture struct {
	testing.TB
	address string
	db      *sql.DB
	cfg     mysql.Config
}

// newFixture makes a database with these statements run in it. Tables are
// captured as named: "t" by its column member, "t:" as a reference table,
// "t:c" by column c.
func newFixture(t testing.TB, tables string, statements ...string) *fixture {
	t.Helper()
	if address == "" {
		t.Skip("NO MARIADB SERVER: not tested")
	}
	return newFixtureAt(t, address, tables, statements...)
}

func newFixtureAt(t testing.TB, address, tables string, statements ...string) *fixture {
	t.Helper()
	database := "t_" + strings.ToLower(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, t.Name()))
	root := openAt(address, "")
	defer root.Close()
	for _, s := range []string{"DROP DATABASE IF EXISTS " + database, "CREATE DATABASE " + database + " CHARACTER SET utf8mb4"} {
		if _, err := root.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
	f := &fixture{TB: t, address: address, db: openAt(address, database)}
	f.db.SetMaxIdleConns(8)
	t.Cleanup(func() { _ = f.db.Close() })
	f.cfg = mysql.Config{Source: "src", DSN: dsnAt(address, database), Heartbeat: 50 * time.Millisecond}
	for _, name := range strings.Fields(tables) {
		name, column, routed := strings.Cut(name, ":")
		route := change.Route{Kind: change.ByMember, Column: "member"}
		if routed && column == "" {
			route = change.Route{Kind: change.Reference}
		} else if routed {
			route.Column = column
		}
		f.cfg.Tables = append(f.cfg.Tables, capture.Table{Table: change.Table{Source: "src", Name: name}, Route: route})
	}
	f.exec(statements...)
	return f
}

// exec runs statements in one session.
func (f *fixture) exec(statements ...string) {
	f.Helper()
	ctx := context.Background()
	conn, err := f.db.Conn(ctx)
	if err != nil {
		f.Fatal(err)
	}
	defer func() {
		_ = conn.Raw(func(any) error { return sqldriver.ErrBadConn }) // forget the session's settings
		_ = conn.Close()
	}()
	for _, s := range statements {
		if _, err := conn.ExecContext(ctx, s); err != nil {
			f.Fatalf("%s: %v", s, err)
		}
	}
}

// global sets a global variable for the length of the test.
func (f *fixture) global(name, value string) {
	f.Helper()
	var was string
	if err := f.db.QueryRow("SELECT @@GLOBAL." + name).Scan(&was); err != nil {
		f.Fatal(err)
	}
	quoted := func(v string) string {
		if strings.Trim(v, "0123456789") == "" {
			return v
		}
		return "'" + v + "'"
	}
	f.exec("SET GLOBAL " + name + "=" + quoted(value))
	f.Cleanup(func() {
		root := openAt(f.address, "")
		defer root.Close()
		if _, err := root.Exec("SET GLOBAL " + name + "=" + quoted(was)); err != nil {
			f.Error(err)
		}
	})
}

// running is a Reader at work.
type running struct {
	*fixture
	log  *fakeLog
	stop func()
	done chan error
}

// run starts a Reader into log; the test's end stops it.
func (f *fixture) run(log *fakeLog) *running {
	f.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{fixture: f, log: log, done: make(chan error, 1)}
	r.stop = func() { cancel() }
	ended := make(chan struct{})
	go func() {
		err := mysql.New(f.cfg, log).Run(ctx)
		log.ended(err)
		r.done <- err
		close(ended)
	}()
	f.Cleanup(func() { cancel(); <-ended })
	return r
}

// halt stops the Reader and waits for it.
func (r *running) halt() {
	r.Helper()
	r.stop()
	if err := r.wait(); !errors.Is(err, context.Canceled) {
		r.Fatalf("stopped with %v", err)
	}
}

// wait waits for the Reader's own end.
func (r *running) wait() error {
	r.Helper()
	select {
	case err := <-r.done:
		return err
	case <-time.After(60 * time.Second):
		r.Fatal("the reader does not end")
		return nil
	}
}

// failure waits for the Reader's end and expects a capture.Error of that kind
// with these words in it.
func (r *running) failure(kind capture.Kind, words ...string) *capture.Error {
	r.Helper()
	err := r.wait()
	var e *capture.Error
	if !errors.As(err, &e) {
		r.Fatalf("ended with %v, want a capture.Error of kind %s", err, kind)
	}
	if e.Kind != kind {
		r.Fatalf("kind %s, want %s: %v", e.Kind, kind, err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			r.Errorf("the error lacks %q: %v", w, err)
		}
	}
	return e
}

// caughtUp waits until the log has all that is committed now.
func (r *running) caughtUp() {
	r.Helper()
	marker := r.commitMarker()
	r.log.await(r, func() bool { return r.log.sawToken(marker) })
}

// streaming waits until the reader has heard from the log.
func (r *running) streaming() {
	r.Helper()
	r.log.await(r, func() bool {
		last := len(r.log.entries) - 1
		return last >= 0 && r.log.entries[last].tx != nil && r.log.entries[last].tx.Status == change.Watermark
	})
}

// commitMarker returns the GTID position of the source's log.
func (r *running) commitMarker() string {
	r.Helper()
	variable := "gtid_binlog_pos"
	if r.address != address {
		variable = "gtid_executed"
	}
	var gtid string
	if err := r.db.QueryRow("SELECT @@GLOBAL." + variable).Scan(&gtid); err != nil {
		r.Fatal(err)
	}
	return strings.ReplaceAll(gtid, "\n", "")
}
