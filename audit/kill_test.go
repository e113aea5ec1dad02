package audit_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tributary-health/tributary/audit"
)

const killEnv = "AUDIT_KILL_DIR"

// TestMain is the writer too, when it is started as one.
func TestMain(m *testing.M) {
	if dir := os.Getenv(killEnv); dir != "" {
		appendForever(dir, os.Getenv("AUDIT_KILL_RUN"))
		return
	}
	os.Exit(m.Run())
}

// appendForever prints the name of every event that was acknowledged.
func appendForever(dir, run string) {
	l, err := audit.Open(dir, audit.Options{SegmentBytes: 64 << 10})
	if err != nil {
		fmt.Println("open:", err)
		os.Exit(1)
	}
	var wg sync.WaitGroup
	for c := range 24 {
		wg.Go(func() {
			for i := 0; ; i++ {
				e := event(i)
				e.Subjects[0].Patient = fmt.Sprintf("%s-%d-%d", run, c, i)
				if err := l.Append(context.Background(), e); err != nil {
					fmt.Println("append:", err)
					os.Exit(1)
				}
				fmt.Println("ok", e.Subjects[0].Patient) // one write: a pipe keeps it whole
			}
		})
	}
	wg.Wait()
}

// Killed twenty times, at any moment: whatever was acknowledged is in the log,
// once, and the log is sound. Every other time what a power failure would leave
// behind the head is cut at random, too.
func TestNothingAcknowledgedIsLostByKills(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "audit")
	acknowledged := map[string]bool{}
	taken, cut := uint64(0), int64(0)
	for run := range 20 {
		killed(t, exe, dir, run, acknowledged)
		if run%2 == 1 {
			cutBehindHead(t, dir)
		}
		if r := verified(t, dir, audit.VerifyOptions{}); len(r.Findings) > 1 {
			t.Errorf("run %d: before the start: %v", run, r.Findings)
		}
		l := open(t, dir, audit.Options{})
		taken += l.Recovered().Entries
		cut += l.Recovered().Cut
		closeLog(t, l)
	}
	sound(t, dir)
	found := map[string]int{}
	for _, e := range all(t, dir) {
		found[e.Subjects[0].Patient]++
	}
	for name := range acknowledged {
		if found[name] != 1 {
			t.Errorf("%s was acknowledged and is in the log %d times", name, found[name])
		}
	}
	if len(acknowledged) < 500 {
		t.Errorf("only %d entries were acknowledged", len(acknowledged))
	}
	t.Logf("%d acknowledged, %d in the log, %d taken over, %d bytes cut", len(acknowledged), len(found), taken, cut)
}

// killed runs a writer, kills it, and notes what it was told.
func killed(t *testing.T, exe, dir string, run int, acknowledged map[string]bool) {
	t.Helper()
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), killEnv+"="+dir, fmt.Sprintf("AUDIT_KILL_RUN=run%d", run))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	after := 20 + rand.IntN(400)
	s := bufio.NewScanner(out)
	for n := 0; s.Scan(); n++ {
		name, ok := strings.CutPrefix(s.Text(), "ok ")
		if !ok {
			t.Errorf("run %d: %s", run, s.Text())
		}
		acknowledged[name] = true
		if n == after {
			time.AfterFunc(time.Duration(rand.IntN(3000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
		}
	}
	_ = cmd.Wait() // it was killed
}

// cutBehindHead cuts the last segment at random, but never what the head covers.
func cutBehindHead(t *testing.T, dir string) {
	t.Helper()
	r := verified(t, dir, audit.VerifyOptions{})
	all := names(t, dir)
	for i := len(all) - 1; i >= 0; i-- {
		if !strings.HasSuffix(all[i], ".log") {
			continue
		}
		path := filepath.Join(dir, all[i])
		content := read(t, path)
		last := fmt.Sprintf(`{"n":%d,`, r.Head.Number)
		at := strings.Index(string(content), "\n"+last)
		if at < 0 {
			return // the head lies in the segment before
		}
		at += 1 + strings.IndexByte(string(content[at+1:]), '\n') + 1
		write(t, path, content[:at+rand.IntN(len(content)-at+1)])
		return
	}
}
