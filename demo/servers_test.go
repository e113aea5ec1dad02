package demo_test

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"

	"github.com/tributary-health/tributary/demo"
)

// A process that is killed in the middle of its first load leaves servers that the next start adopts, and a load that starts
// over; servers that are killed themselves are started again with all they had; a port that is taken is left; a stop ends
// them; a removal leaves nothing.
func TestServersOutliveTheirProcess(t *testing.T) {
	t.Parallel()
	work := workFolder(t)
	t.Cleanup(func() { remove(t, work) })
	killChildWhile(t, work, "loading procedures")
	postgres, mariadb := pid(t, work, "postgres"), pid(t, work, "mariadb")

	var told []string
	log := func(line string) { told = append(told, line) }
	s, err := demo.Start(t.Context(), demo.Options{Work: work, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	if len(told) != 2 || !strings.HasSuffix(told[0], "adopted") || !strings.HasSuffix(told[1], "adopted") {
		t.Errorf("a second start said %q; want two adopted servers", told)
	}
	if p, m := pid(t, work, "postgres"), pid(t, work, "mariadb"); p != postgres || m != mariadb {
		t.Errorf("processes %d and %d became %d and %d", postgres, mariadb, p, m)
	}
	before := load(t, s)
	for _, p := range []int{postgres, mariadb} {
		if err := syscall.Kill(p, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	address := s.PostgresDSN()
	if s, err = demo.Start(t.Context(), demo.Options{Work: work}); err != nil {
		t.Fatal(err)
	}
	if s.PostgresDSN() != address {
		t.Log("PostgreSQL moved: somebody took its port while it was down")
	}
	if err := demo.Load(t.Context(), s, demo.LoadOptions{Data: os.DirFS(sample), Progress: func(string, int64, int64) {
		t.Error("a finished load was repeated")
	}}); err != nil {
		t.Fatal(err)
	}
	if after := counts(t, s); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("rows after a crash %v, before %v", after, before)
	}
	replicates(t, s)
	stopAndMove(t, s, work)
}

// stopAndMove stops the servers, takes one's port, starts them again, and removes them.
func stopAndMove(t *testing.T, s *demo.Servers, work string) {
	t.Helper()
	pids := []int{pid(t, work, "postgres"), pid(t, work, "mariadb")}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, p := range pids {
		if running(p) {
			t.Errorf("process %d runs after Stop", p)
		}
	}
	u, err := url.Parse(s.PostgresDSN())
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	again, err := demo.Start(t.Context(), demo.Options{Work: work})
	if err != nil {
		t.Fatal(err)
	}
	if again.PostgresDSN() == s.PostgresDSN() {
		t.Error("PostgreSQL got a port that is taken")
	}
	pids = []int{pid(t, work, "postgres"), pid(t, work, "mariadb")}
	remove(t, work)
	for _, p := range pids {
		if running(p) {
			t.Errorf("process %d runs after Remove", p)
		}
	}
	if _, err := os.Stat(work); !os.IsNotExist(err) {
		t.Errorf("the work folder is still there: %v", err)
	}
}

// killChildWhile runs this test binary as a process of its own and kills it when it prints line.
func killChildWhile(t *testing.T, work, line string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childWork+"="+work)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	seen := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), line) {
			seen = true
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		if strings.HasPrefix(lines.Text(), "failed") || lines.Text() == "loaded" {
			t.Errorf("the child says %q; it should have been killed before", lines.Text())
			_ = cmd.Process.Kill()
		}
	}
	_ = cmd.Wait() // killed, as it should be
	if !seen {
		t.Fatalf("the child never said %q", line)
	}
}

// replicates checks what capture needs of the servers.
func replicates(t *testing.T, s *demo.Servers) {
	t.Helper()
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, s.PostgresDSN()+"&replication=database")
	if err != nil {
		t.Fatalf("replication connection: %v", err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.PgConn().Exec(ctx, "CREATE_REPLICATION_SLOT probe TEMPORARY LOGICAL pgoutput").ReadAll(); err != nil {
		t.Errorf("replication slot: %v", err)
	}
	db, err := sql.Open("mysql", s.MariaDBDSN())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var format, image, metadata string
	var expire float64
	var durable, redo int
	err = db.QueryRow("SELECT @@binlog_format, @@binlog_row_image, @@binlog_row_metadata, @@expire_logs_days, @@sync_binlog, @@innodb_flush_log_at_trx_commit").
		Scan(&format, &image, &metadata, &expire, &durable, &redo)
	if err != nil {
		t.Fatal(err)
	}
	if format != "ROW" || image != "FULL" || metadata != "FULL" || expire != 0 || durable != 1 || redo != 1 {
		t.Errorf("binlog settings %s %s %s %v %d %d", format, image, metadata, expire, durable, redo)
	}
	if _, err := db.Exec("SHOW MASTER STATUS"); err != nil {
		t.Errorf("binlog position: %v", err)
	}
}

// Root's servers run as other users. A work folder those cannot enter sends their data elsewhere; when they can enter
// neither, the error names the folder that bars the way.
func TestUnreachableFolder(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root runs servers as other users")
	}
	barred := filepath.Dir(workFolder(t))
	if err := os.Chmod(barred, 0o700); err != nil {
		t.Fatal(err)
	}
	work := filepath.Join(barred, "work")
	_, err := demo.Start(t.Context(), demo.Options{Work: work, Elsewhere: filepath.Join(barred, "elsewhere")})
	if err == nil || !strings.Contains(err.Error(), "cannot enter "+barred+",") || !strings.Contains(err.Error(), "hint") {
		t.Errorf("error %v; want one that names %s and a hint", err, barred)
	}
	elsewhere := workFolder(t)
	var told []string
	_, _ = start(t, demo.Options{Work: work, Elsewhere: elsewhere, Log: func(l string) { told = append(told, l) }})
	if !slices.ContainsFunc(told, func(l string) bool { return strings.Contains(l, "their data goes to "+elsewhere) }) {
		t.Errorf("the log does not say where the data went: %q", told)
	}
	remove(t, work)
	if _, err := os.Stat(elsewhere); !os.IsNotExist(err) {
		t.Errorf("data left behind elsewhere: %v", err)
	}
}

// What the demo did not make it neither uses nor deletes.
func TestForeignFolder(t *testing.T) {
	work := workFolder(t)
	theirs := filepath.Join(work, "postgres", "PG_VERSION")
	if err := os.MkdirAll(filepath.Dir(theirs), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(theirs, []byte("15\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := demo.Start(t.Context(), demo.Options{Work: work}); err == nil || !strings.Contains(err.Error(), "the demo did not make it") {
		t.Errorf("start in a foreign folder: %v", err)
	}
	if err := demo.Remove(t.Context(), work); err == nil || !strings.Contains(err.Error(), "nothing deleted") {
		t.Errorf("removal of a foreign folder: %v", err)
	}
	if _, err := os.Stat(theirs); err != nil {
		t.Error(err)
	}
	if err := demo.Remove(t.Context(), filepath.Join(work, "none")); err != nil {
		t.Errorf("removal of no folder: %v", err)
	}
}

// Files of others in the work folder survive a removal.
func TestRemoveKeepsOthersFiles(t *testing.T) {
	t.Parallel()
	_, work := start(t, demo.Options{})
	other := filepath.Join(work, "store")
	if err := os.WriteFile(other, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	remove(t, work)
	left, err := os.ReadDir(work)
	if err != nil || len(left) != 1 || left[0].Name() != "store" {
		t.Errorf("left %v, %v; want the file store only", left, err)
	}
}
