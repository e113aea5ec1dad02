package demo_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tributary-health/tributary/demo"
)

// childWork, when set, makes this test binary the process that gets killed: it starts the servers of that folder, loads, and
// says on its standard output how far it is.
const childWork = "TRIBUTARY_DEMO_CHILD"

func TestMain(m *testing.M) {
	if work := os.Getenv(childWork); work != "" {
		child(work)
		return
	}
	goleak.VerifyTestMain(m)
}

func child(work string) {
	ctx := context.Background()
	s, err := demo.Start(ctx, demo.Options{Work: work})
	if err == nil {
		fmt.Println("started")
		err = demo.Load(ctx, s, demo.LoadOptions{Data: os.DirFS(sample), Progress: func(table string, done, total int64) {
			if done > 0 {
				fmt.Println("loading", table, done, total)
			}
		}})
	}
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	fmt.Println("loaded")
	select {} // until killed
}

const sample = "../testdata/synthea"

// start starts servers in a folder of their own and removes them at the test's end.
func start(t *testing.T, opts demo.Options) (*demo.Servers, string) {
	t.Helper()
	if opts.Work == "" {
		opts.Work = workFolder(t)
	}
	t.Cleanup(func() {
		if t.Failed() {
			logs(t, opts.Work)
		}
		remove(t, opts.Work)
	})
	s, err := demo.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return s, opts.Work
}

func remove(t *testing.T, work string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(work, ".tributary-demo")); os.IsNotExist(err) {
		return // removed by the test itself
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := demo.Remove(ctx, work); err != nil {
		t.Error(err)
	}
}

// logs shows what the servers of a failed test said last.
func logs(t *testing.T, work string) {
	for _, name := range []string{"postgres", "mariadb"} {
		text, err := os.ReadFile(filepath.Join(work, name, "server.log"))
		if err != nil {
			continue // the servers never started, or lie elsewhere
		}
		t.Logf("the end of %s's log:\n%s", name, text[max(0, len(text)-9000):])
	}
}

// workFolder is a fresh folder that the servers' users can enter.
func workFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tributary-demo-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "work")
}

// pid is the process id of a server of a folder.
func pid(t *testing.T, servers, name string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(servers, name, "server.pid"))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// running tells whether a process lives; one that ended and was not waited for does not.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ") && !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}
