package projection_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/store/pebble"
)

// TestNonInterference makes two base stores that differ in what the policy hides
// and in nothing else: hidden elements, types and members, further hidden writes
// in shown commits, and commits of which nothing is shown. Whatever the clients'
// stores show and announce is the same, byte for byte.
func TestNonInterference(t *testing.T) {
	differ := 0
	for seed := range seeds(t, 60) {
		one, other := newHalf(t, seed, 1), newHalf(t, seed, 2)
		r := rand.New(rand.NewPCG(seed, 6))
		for step := range 30 {
			end := one.at.Add(time.Duration(r.IntN(30_000)) * time.Millisecond)
			if r.IntN(2) == 0 { // just after a step of what is told, before a watermark
				end = end.Truncate(10 * time.Second).Add(10200 * time.Millisecond)
			}
			one.next(end)
			other.next(end)
			if step%5 > 0 {
				continue
			}
			if a, b := dump(t, one.c.db), dump(t, other.c.db); a != b {
				t.Fatalf("seed %d, step %d: %s", seed, step, difference(a, b))
			}
		}
		if one.b.number != other.b.number && dumpBase(t, one.b) != dumpBase(t, other.b) {
			differ++
		}
	}
	if differ == 0 {
		t.Fatal("the base stores never differed")
	}
}

// TestFreshnessIsCoarse follows a base store that lags by an hour. Then freshness
// is that of the source's log, where hidden commits are; it is told in steps, is
// never ahead of the source, and never goes back.
func TestFreshnessIsCoarse(t *testing.T) {
	h := newHalf(t, 1, 1)
	h.c.cfg.Now = func() time.Time { return h.at.Add(time.Hour) }
	h.c.start(nil)
	last := map[string]time.Time{}
	told := 0
	for range 60 {
		h.next(h.at.Add(time.Duration(h.r.IntN(9000)) * time.Millisecond))
		for name, s := range h.c.db.Frontier().Sources {
			if !s.Position.IsZero() || s.Token != "" || !s.Committed.Equal(s.Committed.Truncate(10*time.Second)) {
				t.Fatalf("%s is told to be at %v %q %v", name, s.Position, s.Token, s.Committed)
			}
			if s.Committed.After(h.b.sources[name].Committed) || s.Committed.Before(last[name]) {
				t.Fatalf("%s is told to be at %v after %v, and is at %v", name, s.Committed, last[name], h.b.sources[name].Committed)
			}
			if s.Committed.After(last[name]) {
				told++
			}
			last[name] = s.Committed
		}
	}
	if told < 20 {
		t.Fatalf("freshness moved %d times", told)
	}
}

// half is one of the two worlds.
type half struct {
	b         *base
	c         *client
	r, hidden *rand.Rand
	at        time.Time
}

func newHalf(t *testing.T, seed, which uint64) *half {
	h := &half{b: newBase(t), r: rand.New(rand.NewPCG(seed, 7)), hidden: rand.New(rand.NewPCG(seed, 100+which)), at: epoch}
	h.c = newClient(t, h.b)
	h.c.cfg.Now = func() time.Time { return h.at.Add(300 * time.Millisecond) }
	h.c.cfg.GroupBytes = 1 + h.hidden.IntN(2000)
	h.c.cfg.GroupUnits = 1 + h.hidden.IntN(3)
	h.c.start(nil)
	return h
}

// next makes a shown commit at that time, with hidden ones before it, some of
// them just before it.
func (h *half) next(end time.Time) {
	for h.hidden.IntN(2) == 0 {
		rest := end.Sub(h.at)
		h.at = h.at.Add(time.Duration(h.hidden.Int64N(int64(rest) + 1)))
		if h.hidden.IntN(2) == 0 {
			h.at = end.Add(-min(rest, 100*time.Millisecond))
		}
		h.b.unit(pick(h.hidden, []string{"emr", "pharmacy"}), h.at, []put{hiddenPut(h.hidden), hiddenPut(h.hidden)})
		if h.hidden.IntN(2) == 0 {
			h.b.commit()
		}
		if h.hidden.IntN(2) == 0 {
			must(h.c.t, h.c.catchUp())
		}
	}
	h.at = end
	h.b.unit(pick(h.r, []string{"emr", "pharmacy", ""}), end, randomPuts(h.r, h.hidden, 5))
	h.b.commit()
	must(h.c.t, h.c.catchUp())
}

// dump prints all that a store shows: at every commit number every history, scan
// and time, and every announcement. What names the store itself is left out, and
// the place in the base store, which nobody is told.
func dump(t testing.TB, db *pebble.DB) string {
	t.Helper()
	var s strings.Builder
	f := db.Frontier()
	fmt.Fprintf(&s, "frontier %d %v %v %v\n", f.Number, f.Composed, f.Sources, f.Outbox)
	for n := uint64(1); n <= uint64(f.Number); n++ {
		view, err := db.At(n)
		must(t, err)
		fmt.Fprintf(&s, "at %d: %v %v\n", n, view.Committed(), view.Freshness())
	}
	view, err := db.At(0)
	must(t, err)
	fmt.Fprintf(&s, "now: %v %v\n", view.Committed(), view.Freshness())
	for _, typ := range db.Types() {
		must(t, view.Histories(typ, func(id fhir.ResourceID, versions []fhir.Version) bool {
			fmt.Fprintf(&s, "%s: %+q\n", id, fmt.Sprint(versions))
			return true
		}))
		must(t, view.Scan(typ, "", true, "", "", func(v fhir.Version) bool {
			fmt.Fprintf(&s, "scan %+v\n", v)
			return true
		}))
	}
	for p := range f.Outbox {
		must(t, db.Announcements(int32(p), 0, func(n uint64, a commit.Announcement) bool {
			a.Generation = ""
			fmt.Fprintf(&s, "outbox %d %d %+v\n", p, n, a)
			return true
		}))
	}
	return s.String()
}

func dumpBase(t testing.TB, b *base) string { return dump(t, b.DB) }

// difference is the first line that differs.
func difference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return fmt.Sprintf("\n%s\n%s", x[i], y[i])
		}
	}
	return fmt.Sprintf("%d lines and %d", len(x), len(y))
}
