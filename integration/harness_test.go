package integration

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
)

// binary is the product under test, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "tributary-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "tributary")
	build := exec.Command("go", "build", "-o", binary, "../cmd/tributary")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	preparedFolder = filepath.Join(dir, "prepared")
	// The servers' own users must be able to enter.
	if err := errors.Join(os.Mkdir(preparedFolder, 0o755), os.Chmod(dir, 0o755)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// demoRun is one demo: its work folder, its addresses, and the process that
// runs it now.
type demoRun struct {
	t      *testing.T
	work   string
	api    string
	broker string
	env    map[string]string
	cmd    *exec.Cmd
	output *safeBuffer
	exited chan struct{} // closed when cmd has ended
	err    error         // how

	pg, maria *sql.DB
}

// safeBuffer keeps what a process prints.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// newDemo makes a demo in a folder of its own, with servers that hold the sample;
// they do not run yet, and are removed when the test ends.
func newDemo(t *testing.T) *demoRun {
	t.Helper()
	return demoFrom(t, loaded)
}

// emptyDemo is newDemo in an empty folder: the first start makes servers and loads.
func emptyDemo(t *testing.T) *demoRun {
	t.Helper()
	work := workFolder(t)
	d := &demoRun{t: t, work: work, api: freeAddr(t), broker: freeAddr(t)}
	t.Cleanup(func() {
		d.kill()
		if t.Failed() {
			logged, _ := os.ReadFile(filepath.Join(work, "tributary.log"))
			t.Logf("output:\n%s\nlog:\n%s", tail(d.printed(), 4000), tail(string(logged), 8000))
		}
		out, err := exec.Command(binary, "demo", "--work", work, "--clean").CombinedOutput()
		if err != nil {
			t.Errorf("demo --clean: %v\n%s", err, out)
		}
		_ = os.RemoveAll(work)
	})
	return d
}

// workFolder makes a folder that the servers' own users can enter.
func workFolder(t *testing.T) string {
	t.Helper()
	work, err := os.MkdirTemp("", "tributary-it-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(work, 0o755); err != nil {
		t.Fatal(err)
	}
	return work
}

func tail(s string, n int) string {
	if len(s) > n {
		return "..." + s[len(s)-n:]
	}
	return s
}

func freeAddr(t *testing.T) string {
	t.Helper()
	addr, err := unusedAddr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

func unusedAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func (d *demoRun) printed() string {
	if d.output == nil {
		return ""
	}
	return d.output.String()
}

// start runs the demo process; it does not wait for it.
func (d *demoRun) start(args ...string) {
	d.t.Helper()
	_ = os.Remove(filepath.Join(d.work, "demo.env"))
	d.launch(append(d.demoArgs(), args...)...)
}

func (d *demoRun) demoArgs() []string {
	return []string{"demo", "--work", d.work, "--api", d.api, "--broker", d.broker, "--workload=off", "--today=2026-11-21"}
}

// launch runs the binary in the background.
func (d *demoRun) launch(args ...string) {
	d.t.Helper()
	cmd := exec.Command(binary, args...)
	d.output = &safeBuffer{}
	cmd.Stdout, cmd.Stderr = d.output, d.output
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	exited := make(chan struct{})
	d.cmd, d.exited = cmd, exited
	go func() {
		d.err = cmd.Wait()
		close(exited)
	}()
}

// kill ends the process as a power cut would, and waits for it.
func (d *demoRun) kill() {
	if d.cmd == nil {
		return
	}
	_ = d.cmd.Process.Kill()
	<-d.exited
	d.cmd = nil
}

// stop ends the process as its user would; the servers end with it.
func (d *demoRun) stop() error {
	_ = d.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-d.exited:
	case <-time.After(60 * time.Second):
		return fmt.Errorf("the demo does not stop")
	}
	d.cmd = nil
	return d.err
}

// ready waits until the process says that everything committed so far is
// applied, and connects to its databases.
func (d *demoRun) ready() {
	d.t.Helper()
	d.await("the demo to be ready", 3*time.Minute, func() bool {
		select {
		case <-d.exited:
			d.t.Fatalf("the demo ended: %v\n%s", d.err, d.printed())
		default:
		}
		if env, err := readEnv(filepath.Join(d.work, "demo.env")); err == nil {
			d.env = env
		} else {
			return false
		}
		return d.answersReady()
	})
	d.connect()
}

func (d *demoRun) answersReady() bool {
	resp, err := http.Get("http://" + d.api + "/readyz")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func (d *demoRun) connect() {
	d.t.Helper()
	if d.pg != nil {
		return
	}
	var err error
	if d.pg, err = sql.Open("pgx", d.env["POSTGRES_DSN"]); err != nil {
		d.t.Fatal(err)
	}
	if d.maria, err = sql.Open("mysql", d.env["MARIADB_DSN"]); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		d.pg.Close()
		d.maria.Close()
	})
}

func (d *demoRun) await(what string, limit time.Duration, ok func() bool) {
	d.t.Helper()
	await(d.t, what, limit, ok)
}

// await polls a condition of another process, which has no other signal.
func await(t *testing.T, what string, limit time.Duration, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	late := time.After(limit)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited %v for %s", limit, what)
		}
	}
}

func readEnv(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	env := map[string]string{}
	s := bufio.NewScanner(f)
	for s.Scan() {
		if k, v, ok := strings.Cut(s.Text(), "="); ok {
			env[k] = strings.Trim(v, "'")
		}
	}
	return env, s.Err()
}

// get asks the API as the provider and returns status, headers and body.
func (d *demoRun) get(path string) (int, http.Header, []byte) {
	d.t.Helper()
	code, header, body, err := d.tryGet(path)
	if err != nil {
		d.t.Fatalf("GET %s: %v", path, err)
	}
	return code, header, body
}

func (d *demoRun) tryGet(path string, header ...string) (int, http.Header, []byte, error) {
	if !strings.HasPrefix(path, "http") {
		path = d.env["FHIR"] + path
	}
	req, err := http.NewRequest(http.MethodGet, path, nil)
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+d.env["PROVIDER_KEY"])
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, body, err
}

type bundle struct {
	Type  string `json:"type"`
	Total *int   `json:"total"`
	Link  []struct {
		Relation string `json:"relation"`
		URL      string `json:"url"`
	} `json:"link"`
	Entry []struct {
		FullURL  string          `json:"fullUrl"`
		Resource json.RawMessage `json:"resource"`
	} `json:"entry"`
}

// all reads every page of a search.
func (d *demoRun) all(query string) []json.RawMessage {
	d.t.Helper()
	var found []json.RawMessage
	for next := query; next != ""; {
		code, _, body := d.get(next)
		var b bundle
		if err := json.Unmarshal(body, &b); err != nil || code != http.StatusOK {
			d.t.Fatalf("GET %s: %d %v %.300s", next, code, err, body)
		}
		for _, e := range b.Entry {
			found = append(found, e.Resource)
		}
		next = ""
		for _, l := range b.Link {
			if l.Relation == "next" {
				next = l.URL
			}
		}
	}
	return found
}

// verify runs `tributary verify` beside the demo.
func (d *demoRun) verify(args ...string) (exit int, output string) {
	d.t.Helper()
	cmd := exec.Command(binary, append([]string{"verify", "--work", d.work}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		d.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// exec runs a statement and fails the test on an error.
func exec1(t *testing.T, db *sql.DB, statement string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(context.Background(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// column returns one text column of a query; null is "".
func column(t *testing.T, db *sql.DB, query string, args ...any) []string {
	t.Helper()
	rows, err := db.Query(query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var s sql.NullString
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		all = append(all, s.String)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// fromEnv is a number that a longer run of a test sets.
func fromEnv(name string, normal int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return normal
}
