package audit_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tributary-health/tributary/audit"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// event is the i-th of a series, a second apart, each of another member.
func event(i int) audit.Event {
	return audit.Event{
		Time: noon.Add(time.Duration(i) * time.Second), Kind: "read", Client: "care-team", Policy: "0a1b", Outcome: audit.OK,
		Request: "GET Observation/[id]", Commit: uint64(i), Generation: "9f3c",
		Subjects: []audit.Subject{{Patient: fmt.Sprintf("p%d", i), Resources: []string{fmt.Sprintf("Observation/o%d/_history/2", i)}}},
	}
}

func open(t testing.TB, dir string, o audit.Options) *audit.Log {
	t.Helper()
	l, err := audit.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func add(t testing.TB, l *audit.Log, events ...audit.Event) {
	t.Helper()
	for _, e := range events {
		if err := l.Append(context.Background(), e); err != nil {
			t.Fatal(err)
		}
	}
}

func closeLog(t testing.TB, l *audit.Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func verified(t testing.TB, dir string, o audit.VerifyOptions) audit.Report {
	t.Helper()
	r, err := audit.Verify(dir, o.Alone())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// sound fails the test if anything is found.
func sound(t testing.TB, dir string) audit.Report {
	t.Helper()
	r := verified(t, dir, audit.VerifyOptions{})
	for _, f := range r.Findings {
		t.Error(f)
	}
	return r
}

// all reads every entry.
func all(t testing.TB, dir string) []audit.Entry {
	t.Helper()
	var entries []audit.Entry
	_, err := audit.Read(dir, time.Time{}, time.Time{}, audit.VerifyOptions{}, func(e audit.Entry) error {
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func TestEntriesComeBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "audit")
	l := open(t, dir, audit.Options{SegmentBytes: 2000})
	for i := range 20 {
		if i%7 == 0 { // several starts, several segments
			closeLog(t, l)
			l = open(t, dir, audit.Options{SegmentBytes: 2000})
			if r := l.Recovered(); r.Entries != 0 || r.Cut != 0 || r.Slot {
				t.Errorf("recovered %+v from a log that was closed", r)
			}
		}
		add(t, l, event(i))
	}
	entries := all(t, dir) // beside the open log
	if len(entries) != 20 {
		t.Fatalf("%d entries", len(entries))
	}
	for i, e := range entries {
		if e.Number != uint64(i+1) || !reflect.DeepEqual(e.Event, event(i)) {
			t.Errorf("entry %d: %+v", i+1, e)
		}
	}
	r := sound(t, dir)
	if r.Head != l.Head() || r.Entries != 20 || r.First != 1 || r.Segments < 3 || r.Unacknowledged != 0 {
		t.Errorf("report %+v", r)
	}
	if info, err := os.Stat(filepath.Join(dir, "audit.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v, %v", info.Mode(), err)
	}
}

func TestOneWriter(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, audit.Options{})
	if _, err := audit.Open(dir, audit.Options{}); !errors.Is(err, audit.ErrInUse) {
		t.Errorf("a second writer: %v", err)
	}
	closeLog(t, l)
	open(t, dir, audit.Options{})
}

func TestClosed(t *testing.T) {
	l := open(t, t.TempDir(), audit.Options{})
	closeLog(t, l)
	if err := l.Append(context.Background(), event(1)); !errors.Is(err, audit.ErrStopped) {
		t.Errorf("got %v", err)
	}
	select {
	case <-l.Stopped():
	default:
		t.Error("not stopped")
	}
}

// Many callers share the syncs, and each is told of its own entry.
func TestManyCallers(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, audit.Options{SegmentBytes: 20_000})
	var wg sync.WaitGroup
	for c := range 32 {
		wg.Go(func() {
			for i := range 20 {
				if err := l.Append(context.Background(), event(c*20+i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	seen := map[string]int{}
	for _, e := range all(t, dir) {
		seen[e.Subjects[0].Patient]++
	}
	if len(seen) != 640 {
		t.Errorf("%d of 640", len(seen))
	}
	sound(t, dir)
}

// A caller that goes away gets ctx's error; others are not held up by it.
func TestCallerGoesAway(t *testing.T) {
	dir := t.TempDir()
	held, free := make(chan bool, 1), make(chan bool)
	l := open(t, dir, audit.Options{}.WithFiles(func(path string, create bool) (audit.File, error) {
		f, err := audit.OpenFile(path, create)
		return &gate{File: f, held: held, free: free, on: strings.HasSuffix(path, ".log")}, err
	}))
	defer close(free)
	arm.Store(true)
	first := make(chan error)
	go func() { first <- l.Append(context.Background(), event(1)) }()
	<-held // the disk takes its time
	ctx, cancel := context.WithCancel(context.Background())
	second := make(chan error)
	go func() { second <- l.Append(ctx, event(2)) }()
	cancel()
	if err := <-second; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	arm.Store(false)
	free <- true
	if err := <-first; err != nil {
		t.Error(err)
	}
	add(t, l, event(3))
	sound(t, dir)
}

func TestSince(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, audit.Options{SegmentBytes: 1500})
	times := []int{0, 10, 20, 30, 5, 6, 40, 41, 7, 50, 60, 8, 70, 71, 72, 9, 80} // the clock goes back, too
	for _, s := range times {
		add(t, l, event(s))
	}
	for from := -1; from < 90; from++ {
		var got, want []uint64
		for _, s := range times {
			if s >= from {
				want = append(want, uint64(s))
			}
		}
		err := l.Since(noon.Add(time.Duration(from)*time.Second), func(e audit.Event) bool {
			got = append(got, e.Commit)
			return true
		})
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("since %d: %v, %v, want %v", from, got, err, want)
		}
	}
	n := 0
	if err := l.Since(noon, func(audit.Event) bool { n++; return n < 3 }); err != nil || n != 3 {
		t.Errorf("stopped after %d, %v", n, err)
	}
}

// A quota is restored without reading years: segments that cannot hold an entry
// of the time are not even opened to the end.
func TestSinceReadsOnlyTheEnd(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, audit.Options{SegmentBytes: 1500})
	for i := range 40 {
		add(t, l, event(i))
	}
	name := filepath.Join(dir, "000002.log")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-100] ^= 1 // whoever reads this segment notices
	if err := os.WriteFile(name, b, 0o640); err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := l.Since(noon.Add(35*time.Second), func(audit.Event) bool { n++; return true }); err != nil || n != 5 {
		t.Errorf("%d entries, %v", n, err)
	}
	if err := l.Since(noon, func(audit.Event) bool { return true }); !errors.Is(err, audit.ErrDamaged) {
		t.Errorf("over a damaged segment: %v", err)
	}
}

func TestAccount(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, audit.Options{SegmentBytes: 4000})
	for i := range 30 {
		e := event(i)
		e.Subjects = []audit.Subject{{Resources: []string{"Organization/org/_history/1"}}, {Patient: fmt.Sprintf("p%d", i%3), Resources: []string{"Claim/c1/_history/1"}}, {Patient: "p", Resources: []string{"Claim/c2/_history/1"}}}
		if i%5 == 0 {
			e.Kind, e.Request = audit.Delivery, ""
		}
		add(t, l, e)
	}
	var seen []uint64
	r, err := audit.Account(dir, "p1", noon.Add(5*time.Second), noon.Add(20*time.Second), audit.VerifyOptions{}, func(e audit.Entry) error {
		seen = append(seen, e.Commit)
		if len(e.Subjects) != 1 || e.Subjects[0].Patient != "p1" {
			t.Errorf("another member stands in the account: %v", e.Subjects)
		}
		return nil
	})
	if err != nil || !reflect.DeepEqual(seen, []uint64{7, 10, 13, 16, 19}) || len(r.Findings) > 0 || r.Entries != 30 || r.Head != l.Head() {
		t.Errorf("%v %+v %v", seen, r, err)
	}
	if _, err := audit.Account(dir, `p1"`, time.Time{}, time.Time{}, audit.VerifyOptions{}, nil); !errors.Is(err, audit.ErrRefused) {
		t.Errorf("no id: %v", err)
	}
}

// A page of many members, and one member's whole record, go into as many entries
// as they need, all durable before Append returns.
func TestLongEventsAreSplit(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, audit.Options{})
	long := event(1)
	long.Subjects = nil
	want := map[string]bool{}
	for m := range 300 {
		s := audit.Subject{Patient: fmt.Sprintf("member-%d", m)}
		for i := range 100 * (1 + m%2) {
			s.Resources = append(s.Resources, fmt.Sprintf("ExplanationOfBenefit/abcdefghijklmnopqrstuvwxyz-%d-%d/_history/1", m, i))
			want[s.Patient+" "+s.Resources[i]] = true
		}
		long.Subjects = append(long.Subjects, s)
	}
	one := event(2)
	one.Subjects[0].Resources = nil
	for i := range 40_000 {
		one.Subjects[0].Resources = append(one.Subjects[0].Resources, fmt.Sprintf("Observation/abcdefghijklmnopqrstuvwxyz-%d/_history/1", i))
	}
	alone := event(3)
	alone.Subjects = nil
	for m := range 60_000 {
		alone.Subjects = append(alone.Subjects, audit.Subject{Patient: fmt.Sprintf("alone-%d", m)})
	}
	add(t, l, long, one, alone)
	counts := map[uint64]int{}
	for _, e := range all(t, dir) {
		if e.Parts < 2 || e.Part < 1 {
			t.Errorf("entry %d is part %d of %d", e.Number, e.Part, e.Parts)
		}
		for _, s := range e.Subjects {
			counts[e.Commit] += len(s.Resources)
			if e.Commit == 3 {
				counts[3]++
			}
			for _, r := range s.Resources {
				delete(want, s.Patient+" "+r)
			}
		}
	}
	if len(want) != 0 || counts[2] != 40_000 || counts[3] != 60_000 {
		t.Errorf("%d not found, %v", len(want), counts)
	}
	sound(t, dir)
}

func TestFolderOfAnother(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "notes"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Open(dir, audit.Options{}); err == nil {
		t.Error("a log was begun among other files")
	}
	if _, err := audit.Verify(t.TempDir(), audit.VerifyOptions{}); err == nil {
		t.Error("an empty folder was verified")
	}
}

// A segment that is being made holds nothing acknowledged: who reads beside the
// writer goes without it.
func TestSinceBesideANewSegment(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, audit.Options{})
	for i := range 3 {
		if err := l.Append(context.Background(), event(i)); err != nil {
			t.Fatal(err)
		}
	}
	for _, header := range []string{"", "half of"} {
		if err := os.WriteFile(filepath.Join(dir, "000002.log"), []byte(header), 0o600); err != nil {
			t.Fatal(err)
		}
		n := 0
		if err := l.Since(time.Time{}, func(audit.Event) bool { n++; return true }); err != nil || n != 3 {
			t.Errorf("header %q: %d of 3 events, %v", header, n, err)
		}
	}
}

// A verifier beside a process that writes sees a sound log, up to the head that
// it read.
func TestVerifyBesideAWriter(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, audit.Options{SegmentBytes: 8000})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for c := range 8 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if err := l.Append(context.Background(), event(c*1000+i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	last := uint64(0)
	for range 5000 {
		if last > 300 {
			break
		}
		least := l.Head()
		r, err := audit.Verify(dir, audit.VerifyOptions{Expect: []audit.Mark{least}})
		if err != nil || len(r.Findings) > 0 || r.Entries != r.Head.Number || r.Head.Number < max(last, least.Number) {
			t.Errorf("%+v, %v", r, err)
		}
		last = r.Head.Number
		n := uint64(0)
		if err := l.Since(time.Time{}, func(audit.Event) bool { n++; return true }); err != nil || n < least.Number {
			t.Errorf("since: %d of %d, %v", n, least.Number, err)
		}
	}
	cancel()
	wg.Wait()
	if last <= 300 {
		t.Errorf("only %d entries were written meanwhile", last)
	}
}
