package storetest

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/tributary-health/tributary/commit"
)

// crashEnv carries the directory to the child.
const crashEnv = "STORETEST_CRASH_DIR"

// crashSeed is the seed of the history that is cut off.
const crashSeed = 77

// Crash kills a process that writes to the store, at random moments, and
// compares what is left with the model's prefix each time; the next process goes
// on from there. The calling test is run again in the child, by its name; it
// MUST do nothing else before it calls Crash.
func Crash(t *testing.T, open Opener, kills int) {
	if dir := os.Getenv(crashEnv); dir != "" {
		crashChild(t, open, dir)
		return
	}
	dir := t.TempDir()
	if testing.Short() {
		kills = min(kills, 4)
	}
	r := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	var last uint64
	for range kills {
		said := killChild(t, dir, time.Duration(r.IntN(40_000))*time.Microsecond)
		s := open(t, dir)
		got := uint64(s.Frontier().Number)
		if got < said || got < last {
			t.Fatalf("frontier %d after a kill; commit %d had returned, and %d before", got, said, last)
		}
		last = got
		p := &player{t: t, seed: crashSeed, store: s, model: replay(got)}
		p.compare(1 + got/7)
		must(t, s.Close())
	}
	if last == 0 {
		t.Fatal("no child committed anything")
	}
	t.Logf("%d kills, %d commits", kills, last)
}

// killChild starts a child, waits for its first commit and a while, kills it,
// and returns the last commit that it said had returned.
func killChild(t *testing.T, dir string, after time.Duration) (said uint64) {
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), crashEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(out)
	var timer *time.Timer
	for lines.Scan() {
		n, ok := parseSaid(lines.Text())
		if !ok {
			continue
		}
		said = n
		if timer == nil {
			timer = time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		}
	}
	if err := cmd.Wait(); err == nil || timer == nil {
		t.Fatalf("the child ended by itself: %v", err)
	}
	timer.Stop()
	return said
}

const saidPrefix = "committed "

func parseSaid(line string) (uint64, bool) {
	if len(line) <= len(saidPrefix) || line[:len(saidPrefix)] != saidPrefix {
		return 0, false
	}
	n, err := strconv.ParseUint(line[len(saidPrefix):], 10, 64)
	return n, err == nil
}

// crashChild writes until it is killed.
func crashChild(t *testing.T, open Opener, dir string) {
	ctx := context.Background()
	s := open(t, dir)
	m := replay(uint64(s.Frontier().Number))
	for {
		step := next(crashSeed, m)
		for _, b := range step.staged {
			must(t, s.Stage(ctx, b))
		}
		must(t, s.Commit(ctx, step.last, step.frontier))
		fmt.Printf("%s%d\n", saidPrefix, step.frontier.Number)
		for p := range int32(partitions) {
			if n := step.frontier.Outbox[p]; n > 3 {
				must(t, s.Published(ctx, p, n-3))
			}
		}
	}
}

// replay makes the model of the crash history at a commit number.
func replay(number uint64) *model {
	m := newModel()
	for uint64(m.frontier.Number) < number {
		next(crashSeed, m)
	}
	if m.frontier.Number != commit.Number(number) {
		m.frontier.Number = 0 // a frontier that the history never had: nothing will compare equal
	}
	return m
}
