package access

import (
	"math/rand/v2"
	"testing"
	"time"
)

var testTime = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

func after(d time.Duration) time.Time { return testTime.Add(d) }

// ask asks and records, and reports whether it was allowed.
func ask(q *Quota, now time.Time, hit bool) bool {
	ok, _ := q.Allow(now)
	if ok {
		q.Record(now, misses(hit))
	}
	return ok
}

func TestQuotaPerDay(t *testing.T) {
	q := NewQuota(QuotaTerms{PerDay: 3})
	for i := range 3 {
		if !ask(q, after(time.Duration(i)*time.Hour), true) {
			t.Fatalf("refused at %d", i)
		}
	}
	if ok, wait := q.Allow(after(3 * time.Hour)); ok || wait != 21*time.Hour {
		t.Errorf("the fourth: %t, wait %v", ok, wait)
	}
	if ok, wait := q.Allow(after(24*time.Hour - time.Second)); ok || wait != time.Second {
		t.Errorf("a second before the day is over: %t, wait %v", ok, wait)
	}
	if !ask(q, after(24*time.Hour), true) || ask(q, after(24*time.Hour), true) {
		t.Error("after a day one place is free, and one only")
	}
	if s := q.State(after(24 * time.Hour)); s.Used != 3 || s.PerDay != 3 || s.Hits != 3 || !s.LockedUntil.IsZero() {
		t.Errorf("state %+v", s)
	}
}

func TestQuotaLockOut(t *testing.T) {
	q := NewQuota(QuotaTerms{Misses: 5, MissesPerHit: 2, LockOut: time.Hour})
	for i := range 5 {
		if !ask(q, after(time.Duration(i)*time.Minute), false) {
			t.Fatalf("refused at miss %d", i)
		}
	}
	end := after(4*time.Minute + time.Hour)
	if ok, wait := q.Allow(after(5 * time.Minute)); ok || wait != 59*time.Minute {
		t.Errorf("locked out: %t, wait %v", ok, wait)
	}
	if s := q.State(after(5 * time.Minute)); s.LockedUntil != end {
		t.Errorf("operators see %+v", s)
	}
	if ok, _ := q.Allow(end.Add(-1)); ok {
		t.Error("allowed just before the end")
	}
	for i := range 4 {
		if !ask(q, end, false) {
			t.Errorf("miss %d after the end: the ones before it count again", i)
		}
	}
	if !ask(q, end, false) || ask(q, end, true) {
		t.Error("the fifth miss locks out again")
	}
}

// Enough hits keep a client in, however many misses it has.
func TestQuotaHits(t *testing.T) {
	q := NewQuota(QuotaTerms{Misses: 5, MissesPerHit: 2})
	for i := range 100 {
		if !ask(q, after(time.Duration(i)*time.Second), i%3 == 0) {
			t.Fatalf("refused at %d", i)
		}
	}
}

// TestQuotaSideBySide: what is asked before any outcome is known passes no bound.
func TestQuotaSideBySide(t *testing.T) {
	q := NewQuota(QuotaTerms{PerDay: 10, Misses: 5})
	n := 0
	for range 100 {
		if ok, wait := q.Allow(testTime); ok {
			n++
		} else if wait <= 0 {
			t.Fatal("no time to wait")
		}
	}
	if n > 5 {
		t.Errorf("%d questions under way, with a lock-out after 5 misses", n)
	}
	for range n {
		q.Cancel()
	}
	if ok, _ := q.Allow(testTime); !ok {
		t.Error("places that were given back are not free")
	}
	q = NewQuota(QuotaTerms{PerDay: 10, Misses: 1000})
	for n = 0; n < 100; n++ {
		if ok, _ := q.Allow(testTime); !ok {
			break
		}
	}
	if n != 10 {
		t.Errorf("%d questions under way, of 10 a day", n)
	}
}

func TestQuotaClockGoesBack(t *testing.T) {
	q := NewQuota(QuotaTerms{PerDay: 2})
	ask(q, testTime, true)
	ask(q, testTime, true)
	if ask(q, after(-48*time.Hour), true) {
		t.Error("a clock that goes back frees a place")
	}
	q = NewQuota(QuotaTerms{Misses: 1})
	ask(q, testTime, false)
	if ask(q, after(-48*time.Hour), false) || ask(q, after(time.Hour), false) {
		t.Error("a clock that goes back ends a lock-out")
	}
}

// TestQuotaRestore: at any moment, a quota restored from what was answered within
// its reach goes on as the one that lived through it.
func TestQuotaRestore(t *testing.T) {
	terms := QuotaTerms{PerDay: 40, Misses: 6, MissesPerHit: 2, LockOut: 5 * time.Hour}
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 7))
		lived := NewQuota(terms)
		var past []Attempt
		now := testTime
		for range 400 {
			now = now.Add(time.Duration(random.IntN(90)) * time.Minute / 2)
			restored := NewQuota(terms)
			var reach []Attempt
			for _, a := range past {
				if a.Time.After(now.Add(-terms.Reach())) {
					reach = append(reach, a)
				}
			}
			random.Shuffle(len(reach), func(i, j int) { reach[i], reach[j] = reach[j], reach[i] })
			restored.Restore(reach)
			if a, b := lived.State(now), restored.State(now); a != b {
				t.Fatalf("seed %d: lived %+v, restored %+v", seed, a, b)
			}
			ok1, wait1 := lived.Allow(now)
			ok2, wait2 := restored.Allow(now)
			if ok1 != ok2 || wait1 != wait2 {
				t.Fatalf("seed %d: lived %t %v, restored %t %v", seed, ok1, wait1, ok2, wait2)
			}
			if ok1 {
				hit := random.IntN(4) == 0
				past = append(past, Attempt{now, misses(hit), lived.Record(now, misses(hit))})
			}
		}
	}
}

func misses(hit bool) int {
	if hit {
		return 0
	}
	return 1
}

// One question may be worth several.
func TestSeveralMissesAtOnce(t *testing.T) {
	q := NewQuota(QuotaTerms{Misses: 5, MissesPerHit: 1})
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i, want := range []bool{false, true} {
		if ok, _ := q.Allow(now); !ok {
			t.Fatal("not allowed")
		}
		if got := q.Record(now, 4); got != want {
			t.Errorf("question %d: locked out %v", i+1, got)
		}
	}
	again := NewQuota(QuotaTerms{Misses: 5, MissesPerHit: 1})
	again.Restore([]Attempt{{now, 4, false}, {now, 4, true}})
	if a, b := q.State(now), again.State(now); a != b {
		t.Errorf("%+v, restored %+v", a, b)
	}
}
