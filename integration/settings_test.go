package integration

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tributary-health/tributary/demo"
)

// A setting of a source under which something would be lost is refused before
// anything is read or made there: by `check`, which lists all at once, and by the
// start of `run`. Each refusal names the source and the setting, and says how to
// mend it; what was mended is refused no more.
func TestSourceSettings(t *testing.T) {
	t.Parallel()
	s := newSources(t)
	s.restartPostgres(t, "wal_level=replica")
	exec1(t, s.pg, "ALTER TABLE immunizations REPLICA IDENTITY DEFAULT")
	exec1(t, s.maria, "SET GLOBAL binlog_format = 'STATEMENT'")
	exec1(t, s.maria, "SET GLOBAL binlog_row_image = 'MINIMAL'")
	exec1(t, s.maria, "SET GLOBAL binlog_row_metadata = 'MINIMAL'")
	refused := []string{
		"source emr: wal_level is replica, not logical\n    ALTER SYSTEM SET wal_level = 'logical'; then restart the server\n",
		"source emr, table immunizations: its replica identity hides patient: a row that leaves would not say whose it was\n" +
			"    ALTER TABLE \"public\".\"immunizations\" REPLICA IDENTITY FULL\n",
		"source pharmacy: binlog_format is STATEMENT: the log holds statements, not rows\n    SET GLOBAL binlog_format=ROW",
		"source pharmacy: binlog_row_metadata is MINIMAL", "    SET GLOBAL binlog_row_metadata=FULL",
		"source pharmacy, table fills: binlog_row_image is MINIMAL: the log lacks of a deleted row the column patient, which says whose it was\n" +
			"    SET GLOBAL binlog_row_image=FULL",
	}
	for _, command := range []string{"check", "run"} {
		exit, out := tool(t, nil, command, "--config", s.config)
		wants(t, exit, out, refused...)
		if strings.Contains(out, s.key) {
			t.Errorf("%s prints a password", command)
		}
	}
	if slots := column(t, s.pg, "SELECT slot_name FROM pg_replication_slots"); len(slots) > 0 {
		t.Errorf("slot %s was made on a server that is refused", slots[0])
	}

	s.restartPostgres(t, "wal_level=logical")
	exec1(t, s.pg, "ALTER TABLE immunizations REPLICA IDENTITY FULL")
	for _, v := range []string{"binlog_format = 'ROW'", "binlog_row_image = 'FULL'", "binlog_row_metadata = 'FULL'"} {
		exec1(t, s.maria, "SET GLOBAL "+v)
	}
	if exit, out := tool(t, nil, "check", "--config", s.config); exit != 0 {
		t.Errorf("after mending: exit %d\n%s", exit, out)
	}
}

// demoSources are the two databases of a demo, loaded, with no pipeline.
type demoSources struct {
	config    string
	key       string // PostgreSQL's password
	pg, maria *sql.DB
	restarted *exec.Cmd // PostgreSQL, once a test has restarted it
}

func newSources(t *testing.T) *demoSources {
	t.Helper()
	from, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	work := workFolder(t)
	if err := copyDemo(from, work); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	servers, err := demo.Start(ctx, demo.Options{Work: work})
	t.Cleanup(func() {
		if err := demo.Remove(ctx, work); err != nil {
			t.Error(err)
		}
		_ = os.RemoveAll(work)
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &demoSources{config: filepath.Join(work, "tributary.yaml")}
	if s.pg, err = sql.Open("pgx", servers.PostgresDSN()); err != nil {
		t.Fatal(err)
	}
	if s.maria, err = sql.Open("mysql", servers.MariaDBDSN()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.pg.Close()
		_ = s.maria.Close()
		s.stopPostgres(t)
	})
	_, after, _ := strings.Cut(servers.PostgresDSN(), "://")
	_, after, _ = strings.Cut(after, ":")
	s.key, _, _ = strings.Cut(after, "@")
	writeFile(t, s.config, fmt.Sprintf("data: %s\napi: %s\nkafka: {listen: %q}\nsources:\n"+
		"  emr: {kind: postgres, dsn: %q}\n  pharmacy: {kind: mariadb, dsn: %q}\n",
		filepath.Join(work, "data"), freeAddr(t), freeAddr(t), servers.PostgresDSN(), servers.MariaDBDSN()))
	return s
}

// restartPostgres ends the server and starts it as it ran, but for one setting.
func (s *demoSources) restartPostgres(t *testing.T, setting string) {
	t.Helper()
	data := column(t, s.pg, "SHOW data_directory")[0]
	lock, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(lock), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		t.Fatal(err)
	}
	args := strings.Split(string(bytes.TrimRight(line, "\x00")), "\x00")
	name, _, _ := strings.Cut(setting, "=")
	for i, a := range args {
		if strings.HasPrefix(a, name+"=") {
			args[i] = setting
		}
	}
	if s.restarted == nil {
		if err := syscall.Kill(pid, syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		await(t, "PostgreSQL to end", time.Minute, func() bool {
			_, err := os.Stat(filepath.Join(data, "postmaster.pid"))
			return os.IsNotExist(err)
		})
	} else {
		s.stopPostgres(t)
	}
	owner, err := os.Stat(data)
	if err != nil {
		t.Fatal(err)
	}
	s.restarted = exec.Command(args[0], args[1:]...)
	s.restarted.Dir = data
	if os.Geteuid() == 0 { // as whom it ran: it refuses root
		of := owner.Sys().(*syscall.Stat_t)
		s.restarted.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: of.Uid, Gid: of.Gid}}
	}
	if err := s.restarted.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, "PostgreSQL to answer", time.Minute, func() bool { return s.pg.Ping() == nil })
	if now := column(t, s.pg, "SHOW "+name)[0]; name+"="+now != setting {
		t.Fatalf("%s is %s after the restart", name, now)
	}
}

// stopPostgres ends the server that restartPostgres started.
func (s *demoSources) stopPostgres(t *testing.T) {
	t.Helper()
	if s.restarted == nil {
		return
	}
	if err := s.restarted.Process.Signal(syscall.SIGINT); err != nil {
		t.Error(err)
	}
	if err := s.restarted.Wait(); err != nil {
		t.Error(err)
	}
	s.restarted = nil
}
