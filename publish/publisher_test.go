package publish_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/publish"
)

// outbox is an outbox in memory.
type outbox struct {
	mu         sync.Mutex
	generation string
	entries    map[int32][]commit.Announcement
	marks      map[int32]uint64
	changed    chan struct{}
	failMark   error
}

func newOutbox(generation string) *outbox {
	return &outbox{generation: generation, entries: map[int32][]commit.Announcement{}, marks: map[int32]uint64{}, changed: make(chan struct{})}
}

func (o *outbox) add(partition int32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := uint64(len(o.entries[partition]) + 1)
	a := commit.Announcement{Generation: o.generation}
	a.Version.Type, a.Version.ID, a.Version.Number = "Claim", fmt.Sprint(n), 1
	a.Version.Body = []byte(fmt.Sprintf(`{"resourceType":"Claim","id":"%d"}`, n))
	a.Version.Partition, a.Version.Outbox = partition, n
	o.entries[partition] = append(o.entries[partition], a)
	close(o.changed)
	o.changed = make(chan struct{})
}

func (o *outbox) Announcements(partition int32, after uint64, fn func(uint64, commit.Announcement) bool) error {
	o.mu.Lock()
	mark, entries := o.marks[partition], o.entries[partition]
	o.mu.Unlock()
	if after < mark {
		return errors.New("asked for what was dropped")
	}
	for i, a := range entries {
		if n := uint64(i + 1); n > after && !fn(n, a) {
			return nil
		}
	}
	return nil
}

func (o *outbox) Published(_ context.Context, partition int32, number uint64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failMark != nil {
		return o.failMark
	}
	if number > uint64(len(o.entries[partition])) {
		return errors.New("published what is not there")
	}
	o.marks[partition] = max(o.marks[partition], number)
	return nil
}

func (o *outbox) Mark(partition int32) (uint64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.marks[partition], nil
}

func (o *outbox) Changed() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.changed
}

// topic is a topic in memory whose calls fail as fail says: before or after they
// took effect.
type topic struct {
	records map[int32][]publish.Record
	calls   int
	fail    func(call int) (before, after error)
}

func newTopic() *topic {
	return &topic{records: map[int32][]publish.Record{}, fail: func(int) (error, error) { return nil, nil }}
}

func header(r publish.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return h.Value
		}
	}
	return "no " + key
}

func (t *topic) last(partition int32) (publish.Record, bool) {
	rs := t.records[partition]
	if len(rs) == 0 {
		return publish.Record{}, false
	}
	return rs[len(rs)-1], true
}

func (t *topic) Last(_ context.Context, partition int32) (uint64, int64, error) {
	t.calls++
	if before, after := t.fail(t.calls); before != nil || after != nil {
		return 0, 0, errors.Join(before, after)
	}
	r, ok := t.last(partition)
	if !ok {
		return 0, 0, nil
	}
	n, err := strconv.ParseUint(header(r, publish.HeaderOutbox), 10, 64)
	return n, int64(len(t.records[partition])), err
}

func (t *topic) Generation(_ context.Context, partition int32) (string, error) {
	r, ok := t.last(partition)
	if !ok {
		return "", nil
	}
	return header(r, publish.HeaderGeneration), nil
}

func (t *topic) Append(_ context.Context, partition int32, records []publish.Record) error {
	t.calls++
	before, after := t.fail(t.calls)
	if before != nil {
		return before
	}
	t.records[partition] = append(t.records[partition], records...)
	return after
}

// check wants each number once, without a gap.
func (t *topic) check(tb testing.TB, o *outbox) {
	tb.Helper()
	for p, entries := range o.entries {
		if len(t.records[p]) != len(entries) {
			tb.Fatalf("partition %d holds %d records of %d", p, len(t.records[p]), len(entries))
		}
		for i, r := range t.records[p] {
			if got := header(r, publish.HeaderOutbox); got != strconv.Itoa(i+1) {
				tb.Fatalf("partition %d: record %d has number %s", p, i, got)
			}
			if string(r.Value) != string(entries[i].Version.Body) {
				tb.Fatalf("partition %d: number %d has value %s", p, i+1, r.Value)
			}
		}
	}
}

func publisher(o *outbox, t *topic) *publish.Publisher {
	return publish.New(publish.Config{Outbox: o, Topic: t, Generation: o.generation, Partitions: 2, Records: 3})
}

// drain steps until nothing is left. Errors in between are the test's making.
func drain(tb testing.TB, p *publish.Publisher) {
	tb.Helper()
	for range 1000 {
		if n, err := p.Step(context.Background()); n == 0 && err == nil {
			return
		}
	}
	tb.Fatal("never done")
}

var errAway = errors.New("broker is away")

// TestEveryCallFails fails each call in turn, before and after it took effect.
func TestEveryCallFails(t *testing.T) {
	for call := 1; call < 14; call++ {
		for _, late := range []bool{false, true} {
			o, tp := newOutbox("g"), newTopic()
			for range 10 {
				o.add(0)
				o.add(1)
			}
			tp.fail = func(n int) (before, after error) {
				switch {
				case n != call:
					return nil, nil
				case late:
					return nil, errAway
				}
				return errAway, nil
			}
			drain(t, publisher(o, tp))
			tp.check(t, o)
		}
	}
}

// TestStoppedAnywhere gives the publisher up at every call, as a kill does, and
// starts another; marks may be lost too.
func TestStoppedAnywhere(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		o, tp := newOutbox("g"), newTopic()
		tp.fail = func(int) (before, after error) {
			switch r.IntN(6) {
			case 0:
				return errAway, nil
			case 1:
				return nil, errAway
			}
			return nil, nil
		}
		for range 30 {
			p := publisher(o, tp)
			for range r.IntN(5) {
				o.add(r.Int32N(2))
			}
			o.failMark = nil
			if r.IntN(3) == 0 {
				o.failMark = errors.New("stopped before the mark")
			}
			for range r.IntN(4) {
				_, _ = p.Step(context.Background())
			}
		}
		o.failMark = nil
		tp.fail = func(int) (before, after error) { return nil, nil }
		drain(t, publisher(o, tp))
		tp.check(t, o)
		for p := range o.entries {
			if o.marks[p] != uint64(len(o.entries[p])) {
				t.Fatalf("seed %d: partition %d is marked up to %d of %d", seed, p, o.marks[p], len(o.entries[p]))
			}
		}
	}
}

// TestRefusals wants a stop that names the partition and both numbers.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(o *outbox, tp *topic)
		want  error
		names []string
	}{
		{"topic emptied", func(_ *outbox, tp *topic) { tp.records[1] = nil }, publish.ErrWentBack, []string{"partition 1", "number is 0", "held 5"}},
		{"topic cut", func(_ *outbox, tp *topic) { tp.records[1] = tp.records[1][:3] }, publish.ErrWentBack, []string{"partition 1", "number is 3", "held 5"}},
		{"store restored", func(o *outbox, _ *topic) {
			o.entries[1], o.marks[1] = o.entries[1][:2], 2
		}, publish.ErrAhead, []string{"partition 1", "number is 5", "up to 2"}},
		{"store rebuilt", func(o *outbox, _ *topic) {
			o.generation = "h"
			o.marks[1] = 0
		}, publish.ErrGeneration, []string{"partition", `"g"`, `"h"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, tp := newOutbox("g"), newTopic()
			for range 5 {
				o.add(0)
				o.add(1)
			}
			drain(t, publisher(o, tp))
			c.spoil(o, tp)
			before := len(tp.records[1])
			err := publisher(o, tp).Run(context.Background())
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v", err)
			}
			for _, name := range c.names {
				if !strings.Contains(err.Error(), name) {
					t.Errorf("%q does not say %q", err, name)
				}
			}
			if len(tp.records[1]) != before {
				t.Error("wrote on")
			}
		})
	}
}

// TestWentBackWhileRunning cuts the topic under a publisher that asks again
// after a failure.
func TestWentBackWhileRunning(t *testing.T) {
	o, tp := newOutbox("g"), newTopic()
	o.add(0)
	o.add(0)
	p := publisher(o, tp)
	drain(t, p)
	o.marks[0] = 0 // the mark is lost too: only the publisher remembers
	tp.records[0] = tp.records[0][:1]
	fails := 0
	tp.fail = func(int) (before, after error) {
		if fails++; fails == 1 {
			return errAway, nil
		}
		return nil, nil
	}
	o.add(0)
	if _, err := p.Step(context.Background()); !errors.Is(err, errAway) {
		t.Fatal(err)
	}
	if _, err := p.Step(context.Background()); !errors.Is(err, publish.ErrWentBack) {
		t.Fatal(err)
	}
}

// TestRun wakes by Changed, waits while the topic is away, and ends with ctx.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, tp := newOutbox("g"), newTopic()
		var delays []time.Duration
		away := true
		tp.fail = func(int) (before, after error) {
			if away {
				return errAway, nil
			}
			return nil, nil
		}
		p := publish.New(publish.Config{Outbox: o, Topic: tp, Generation: "g", Partitions: 1, Hooks: publish.Hooks{
			Retry: func(err error, d time.Duration) {
				if !errors.Is(err, errAway) {
					t.Error(err)
				}
				delays = append(delays, d)
				away = len(delays) < 9
			},
		}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		o.add(0)
		synctest.Wait()
		time.Sleep(time.Minute) // of the bubble's clock
		synctest.Wait()
		tp.check(t, o)
		if len(delays) != 9 || delays[0] != 100*time.Millisecond || delays[8] != 10*time.Second {
			t.Errorf("delays %v", delays)
		}
		for range 3 {
			o.add(0)
			synctest.Wait()
			tp.check(t, o)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestRecord(t *testing.T) {
	a := commit.Announcement{Generation: "abc"}
	v := &a.Version
	v.Type, v.ID, v.Number, v.Member, v.Op, v.Sequence = "Claim", "c1", 3, "m1", commit.Update, 2
	v.Body = []byte(`{"resourceType":"Claim"}`)
	a.Info = commit.Info{Number: 17, Source: "emr", Count: 5, Position: change.Position{Generation: 1, Ordinal: 9}}
	a.Info.Committed = time.Date(2026, 1, 2, 3, 4, 5, 1000, time.UTC)
	a.Info.Sources = []change.Freshness{{Source: "pharmacy", Position: change.Position{Generation: 1, Ordinal: 4}}, {Source: "emr", Position: change.Position{Generation: 1, Ordinal: 9}}}
	r := publish.NewRecord(41, &a)
	want := []publish.Header{
		{Key: "tributary-operation", Value: "update"}, {Key: "tributary-resource", Value: "Claim/c1"}, {Key: "tributary-version", Value: "3"},
		{Key: "tributary-generation", Value: "abc"}, {Key: "tributary-outbox", Value: "41"}, {Key: "tributary-commit", Value: "17"},
		{Key: "tributary-index", Value: "2"}, {Key: "tributary-count", Value: "5"}, {Key: "tributary-source", Value: "emr"},
		{Key: "tributary-position", Value: "1.9.0"}, {Key: "tributary-positions", Value: "emr=1.9.0,pharmacy=1.4.0"},
		{Key: "tributary-committed", Value: "2026-01-02T03:04:05.000001Z"}, {Key: "tributary-synthetic", Value: "false"},
	}
	if fmt.Sprint(r.Headers) != fmt.Sprint(want) || string(r.Key) != "m1" || string(r.Value) != string(v.Body) {
		t.Fatalf("got %s %s %v", r.Key, r.Value, r.Headers)
	}
	v.Member, v.Deleted, v.Body = "", true, nil
	if r := publish.NewRecord(42, &a); string(r.Key) != "Claim/c1" || r.Value != nil {
		t.Fatalf("got %s %s", r.Key, r.Value)
	}
}

// untouched is a topic that must not be asked where it ends.
type untouched struct {
	*topic
	tb testing.TB
}

func (u untouched) Last(context.Context, int32) (uint64, int64, error) {
	u.tb.Error("the topic of another store was asked for its last record, which may shut out who writes it")
	return 0, 0, nil
}

func (u untouched) Generation(context.Context, int32) (string, error) { return "another", nil }

// A topic of another store is left alone.
func TestForeignTopicIsLeftAlone(t *testing.T) {
	o := newOutbox("own")
	o.add(0)
	p := publish.New(publish.Config{Outbox: o, Topic: untouched{newTopic(), t}, Partitions: 2, Generation: "own"})
	if _, err := p.Step(t.Context()); !errors.Is(err, publish.ErrGeneration) {
		t.Errorf("error %v, want ErrGeneration", err)
	}
}
