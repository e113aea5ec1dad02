package audit_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tributary-health/tributary/audit"
)

// refusal is the i-th of a series that disclosed nothing, a millisecond apart.
func refusal(reason string, i int) audit.Event {
	return audit.Event{
		Time: noon.Add(time.Duration(i) * time.Millisecond), Kind: "match", Client: "partner", Policy: "0a1b", Outcome: audit.Refused,
		Reason: reason, Request: "POST Patient/$hash-match", Folds: true,
	}
}

// times is how many events the entries stand for.
func times(entries []audit.Entry) (n uint64) {
	for _, e := range entries {
		n += max(e.Count, 1)
	}
	return n
}

// A client that is refused again and again does not fill the record, and none of
// its refusals is lost; what discloses, and other clients, are recorded as ever.
func TestRefusalsFold(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, audit.Options{Stretch: time.Hour, Refusals: 20})
	for i := range 5000 {
		add(t, l, refusal([]string{"quota", "malformed"}[i%2], i))
		if i%1000 == 0 {
			add(t, l, event(i))
			other := refusal("no-terms", i)
			other.Client = "other"
			add(t, l, other)
		}
	}
	if n := l.Head().Number; n != 20+5+5 {
		t.Errorf("%d entries before the stretch ended, want 20 of the partner and 5 and 5", n)
	}
	closeLog(t, l)
	entries := all(t, dir)
	if len(entries) != 20+5+5+2 || times(entries) != 5010 {
		t.Fatalf("%d entries for %d events, want 32 for 5010", len(entries), times(entries))
	}
	counts := map[string]uint64{}
	for _, e := range entries {
		if e.Count == 0 {
			continue
		}
		counts[e.Reason] = e.Count
		first, last := 20, 4998
		if e.Reason == "malformed" {
			first, last = 21, 4999
		}
		if want := refusal(e.Reason, first); !e.First.Equal(want.Time) || !e.Time.Equal(refusal("", last).Time) || e.Client != "partner" || e.Request != want.Request {
			t.Errorf("%+v", e)
		}
	}
	if counts["quota"] != 2490 || counts["malformed"] != 2490 {
		t.Errorf("counted %v", counts)
	}
	sound(t, dir)
}

// What a stretch has counted is written when it ends, whether or not anybody asks
// again; in the next one who goes on is counted from the first.
func TestStretchEnds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) { stretchEnds(t, dir) }) // its clock stands while the disk is written
}

func stretchEnds(t *testing.T, dir string) {
	l := open(t, dir, audit.Options{Stretch: time.Second, Refusals: 20})
	await := func(number uint64) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); l.Head().Number < number; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("entry %d of %d after 10 s", l.Head().Number, number)
			}
		}
	}
	for i := range 50 {
		add(t, l, refusal("quota", i))
	}
	await(21)
	other := refusal("quota", 50)
	other.Request = "POST Patient/$hash-match _format"
	add(t, l, refusal("quota", 51), other)
	if n := l.Head().Number; n != 21 {
		t.Errorf("%d entries: the first of the next stretch has one", n)
	}
	await(22)
	time.Sleep(2500 * time.Millisecond) // a quiet stretch
	add(t, l, refusal("quota", 52))
	if n := l.Head().Number; n != 23 {
		t.Errorf("%d entries: the first after a quiet stretch has none", n)
	}
	closeLog(t, l)
	entries := all(t, dir)
	if times(entries) != 53 || entries[20].Count != 30 || entries[21].Count != 2 || entries[21].Request != "" {
		t.Errorf("%d events, %+v, %+v", times(entries), entries[20], entries[21])
	}
}

// A process that is killed loses what its stretch has counted; the first refusals
// are there.
func TestKilledWhileCounting(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, audit.Options{Stretch: time.Hour, Refusals: 20})
	for i := range 100 {
		add(t, l, refusal("quota", i))
	}
	left := t.TempDir()
	copyLog(t, dir, left)
	if n := times(all(t, left)); n != 20 {
		t.Errorf("%d of 100 refusals are on disk, want the first 20", n)
	}
	if n := len(all(t, dir)); n != 20 {
		t.Error(n)
	}
}

// A log that takes no entry counts nothing either.
func TestNothingIsCountedWhenStopped(t *testing.T) {
	l := open(t, t.TempDir(), audit.Options{Stretch: time.Hour, Refusals: 20})
	for i := range 30 {
		add(t, l, refusal("quota", i))
	}
	closeLog(t, l)
	if err := l.Append(context.Background(), refusal("quota", 30)); !errors.Is(err, audit.ErrStopped) {
		t.Errorf("counted by a log that is closed: %v", err)
	}
}

// Clients side by side, stretches that end meanwhile: no refusal is lost.
func TestFoldsSideBySide(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, audit.Options{Stretch: 5 * time.Millisecond, Refusals: 20})
	done := make(chan error)
	for i := range 4 {
		go func() {
			for j := range 500 {
				e := refusal("quota", j)
				e.Client = fmt.Sprint("partner-", i%2)
				if err := l.Append(context.Background(), e); err != nil {
					done <- err
					return
				}
				if j%100 == 0 {
					time.Sleep(time.Millisecond)
				}
			}
			done <- nil
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	closeLog(t, l)
	entries := all(t, dir)
	if times(entries) != 2000 {
		t.Errorf("%d entries for %d refusals of 2000", len(entries), times(entries))
	}
	sound(t, dir)
}
