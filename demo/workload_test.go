package demo_test

import (
	"context"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tributary-health/tributary/demo"
)

// Within five seconds at the usual rate every kind of change has happened, and what each leaves is there; a killed server
// is waited for; the same seed on the same content changes the same rows.
func TestWorkload(t *testing.T) {
	t.Parallel()
	s, work := start(t, demo.Options{})
	before := load(t, s)
	first := run(t, s, 7, 130, 20)
	if len(first.kinds) != len(demo.Kinds()) {
		t.Errorf("kinds that happened: %v; want all of %v", first.kinds, demo.Kinds())
	}
	after := counts(t, s)
	k := first.kinds
	for table, want := range map[string]int64{
		"patients":          int64(k[demo.NewMember]),
		"payer_transitions": int64(k[demo.NewMember]),
		"medications":       int64(k[demo.Replace]),
		"allergies":         int64(k[demo.NewAllergy] - k[demo.DeleteAllergy]),
		"immunizations":     int64(k[demo.NewImmunization] - k[demo.DeleteImmunized]),
		"encounters":        int64(k[demo.NewAllergy] + k[demo.NewImmunization] + k[demo.NewMember] + k[demo.NewVisit]),
		"conditions":        int64(k[demo.NewVisit]),
		"procedures":        int64(k[demo.NewVisit]),
		"observations":      int64(3*k[demo.NewVisit] - k[demo.HalvePressure]),
		"claims":            0,
	} {
		if got := after[table] - before[table]; got != want {
			t.Errorf("%s grew by %d rows; want %d after %v", table, got, want, k)
		}
	}
	if got, least := after["fills"]-before["fills"], int64(k[demo.NewFill]+k[demo.RefillAll]+k[demo.Replace]-k[demo.DeleteFill]); got < least {
		t.Errorf("fills grew by %d rows; want at least %d", got, least)
	}
	sameSeedSameChanges(t, s)
	outlivesServer(t, s, work)
}

// sameSeedSameChanges compares two runs, each on a fresh load.
func sameSeedSameChanges(t *testing.T, s *demo.Servers) {
	t.Helper()
	var sums, orders []string
	for range 2 {
		pg, my := open(t, s)
		if _, err := pg.Exec(t.Context(), "DELETE FROM demo_loader.finished"); err != nil {
			t.Fatal(err)
		}
		if _, err := my.Exec("DELETE FROM demo_loader.finished"); err != nil {
			t.Fatal(err)
		}
		load(t, s)
		orders = append(orders, run(t, s, 42, 100, -1).order)
		sums = append(sums, checksums(t, pg, my))
	}
	if orders[0] != orders[1] || sums[0] != sums[1] {
		t.Errorf("two runs of one seed differ:\n%s\n%s\n%s\n%s", orders[0], orders[1], sums[0], sums[1])
	}
}

// outlivesServer kills MariaDB under the workload and starts it again.
func outlivesServer(t *testing.T, s *demo.Servers, work string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var retried atomic.Bool
	away, back := make(chan struct{}), make(chan struct{})
	w := demo.Workload{Servers: s, Seed: 9, Rate: 100}
	w.Hooks.Changed = func(demo.Kind) {
		if retried.Load() {
			select {
			case back <- struct{}{}:
			default:
			}
		}
	}
	w.Hooks.Retry = func(err error, _ time.Duration) {
		if err == nil {
			t.Error("a retry without an error")
		}
		if retried.CompareAndSwap(false, true) {
			close(away)
		}
	}
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	if err := syscall.Kill(pid(t, work, "mariadb"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-away
	if _, err := demo.Start(ctx, demo.Options{Work: work}); err != nil {
		t.Error(err)
	}
	for range 5 {
		select {
		case <-back:
		case <-ctx.Done():
			t.Error("no change after the server came back")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("a cancelled workload returned %v", err)
	}
}

type ran struct {
	kinds map[demo.Kind]int
	order string
}

// run makes n changes.
func run(t *testing.T, s *demo.Servers, seed uint64, n int, rate float64) ran {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r := ran{kinds: map[demo.Kind]int{}}
	var order strings.Builder
	w := demo.Workload{Servers: s, Seed: seed, Rate: rate}
	w.Hooks.Changed = func(k demo.Kind) {
		r.kinds[k]++
		order.WriteString(string(k) + "; ")
		if n--; n == 0 {
			cancel()
		}
	}
	w.Hooks.Retry = func(err error, _ time.Duration) { t.Error(err) }
	if err := w.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if n > 0 {
		t.Fatalf("%d changes missing after 20 s", n)
	}
	r.order = order.String()
	return r
}

// A workload without tables says so at once, instead of waiting for them.
func TestWorkloadWithoutTables(t *testing.T) {
	t.Parallel()
	s, _ := start(t, demo.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := (demo.Workload{Servers: s}).Run(ctx); err == nil || !strings.Contains(err.Error(), "SQLSTATE 42P01") {
		t.Errorf("a workload on empty databases returned %v", err)
	}
}
