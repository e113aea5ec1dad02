package mysql_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/change"
)

// entry is one thing in a fakeLog: a row event, or a TxRecord.
type entry struct {
	route string
	event *change.Event
	tx    *change.TxRecord
	at    time.Time
}

// fakeLog is a Log in memory. It checks what a Log may rely on.
type fakeLog struct {
	mu      sync.Mutex
	cond    *sync.Cond
	entries []entry
	resume  capture.Resume

	// hold says how many of the last marks are not yet durable.
	hold  int
	marks []change.Mark
	tx    []*change.Event // rows since the last END
	last  change.Position
	end   error
	over  bool
	fault error
	// onAppend is called without the lock; it may block.
	onAppend func(n int)
	rows     int
}

func newLog() *fakeLog {
	l := &fakeLog{}
	l.cond = sync.NewCond(&l.mu)
	return l
}

// reopened is the Log as the next incarnation finds it.
func (l *fakeLog) reopened() *fakeLog {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := newLog()
	next.entries = slices.Clone(l.entries)
	next.resume = l.resume
	for _, e := range l.entries {
		if e.tx != nil && e.tx.Incarnation > next.resume.Incarnation {
			next.resume.Incarnation, next.resume.History = e.tx.Incarnation, e.tx.History
		}
	}
	if m := l.durable(); !m.Position.IsZero() {
		next.resume.Durable = m
	}
	return next
}

func (l *fakeLog) durable() change.Mark {
	if n := len(l.marks) - l.hold; n > 0 {
		return l.marks[n-1]
	}
	return l.resume.Durable
}

func (l *fakeLog) Resume() capture.Resume { return l.resume }
func (l *fakeLog) Err() error             { return nil }

func (l *fakeLog) Durable() change.Mark {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.durable()
}

func (l *fakeLog) wrong(format string, args ...any) {
	if l.fault == nil {
		l.fault = fmt.Errorf(format, args...)
	}
}

func (l *fakeLog) add(e entry) { l.entries = append(l.entries, e); l.cond.Broadcast() }

func (l *fakeLog) Start(_ context.Context, rec change.TxRecord) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if rec.Incarnation != l.resume.Incarnation+1 || rec.History == "" || rec.Source != "src" {
		l.wrong("Start %+v after incarnation %d", rec, l.resume.Incarnation)
	}
	l.last = rec.Mark.Position
	l.add(entry{tx: &rec})
	return nil
}

func (l *fakeLog) Append(ctx context.Context, route string, ev *change.Event) error {
	if l.onAppend != nil {
		l.onAppend(l.rows)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows++
	kept := *ev
	kept.Before, kept.After = slices.Clone(ev.Before), slices.Clone(ev.After)
	if ev.Op == change.Read {
		if ev.Position.Sequence != uint64(len(l.tx))+1 {
			l.wrong("Read sequence %d after %d rows", ev.Position.Sequence, len(l.tx))
		}
	} else {
		if ev.Position.Transaction().Compare(l.last) <= 0 {
			l.wrong("a row at %v after %v", ev.Position, l.last)
		}
		if ev.Position.Sequence != uint64(len(l.tx))+1 {
			l.wrong("sequence %d after %d rows", ev.Position.Sequence, len(l.tx))
		}
	}
	l.tx = append(l.tx, &kept)
	l.add(entry{route: route, event: &kept})
	return ctx.Err()
}

func (l *fakeLog) End(_ context.Context, rec change.TxRecord) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if rec.Mark.Position.Compare(l.last) <= 0 || rec.Mark.Token == "" || rec.ID == "" || rec.Committed.IsZero() {
		l.wrong("END %+v after %v", rec, l.last)
	}
	for _, ev := range l.tx {
		if ev.Position.Transaction() != rec.Mark.Position || !ev.Committed.Equal(rec.Committed) {
			l.wrong("END %+v closes a row at %v", rec.Mark, ev.Position)
		}
	}
	if len(l.tx) > 0 {
		rec.EventCount = int64(len(l.tx))
		l.add(entry{tx: &rec})
	}
	l.moved(rec.Mark)
	return nil
}

func (l *fakeLog) moved(m change.Mark) {
	l.tx, l.last = nil, m.Position
	l.marks = append(l.marks, m)
	l.cond.Broadcast()
}

func (l *fakeLog) SnapshotEnd(_ context.Context, rec change.TxRecord, _ []change.Table) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(entry{tx: &rec})
	l.moved(rec.Mark)
	return nil
}

func (l *fakeLog) Watermark(_ context.Context, m change.Mark, at time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.tx) > 0 || m.Position.Compare(l.last) < 0 {
		l.wrong("watermark %v after %v with %d rows open", m, l.last, len(l.tx))
	}
	l.moved(m)
	l.add(entry{tx: &change.TxRecord{Status: change.Watermark, Mark: m}, at: at})
	return nil
}

func (l *fakeLog) ended(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end, l.over = err, true
	l.cond.Broadcast()
}

// await waits until done, which is called with the lock held, says so.
func (l *fakeLog) await(t testing.TB, done func() bool) {
	t.Helper()
	timeout := time.AfterFunc(60*time.Second, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.wrong("waited for 60 s")
		l.cond.Broadcast()
	})
	defer timeout.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for !done() {
		if l.fault != nil {
			t.Fatal(l.fault)
		}
		if l.over {
			t.Fatalf("the reader ended: %v", l.end)
		}
		l.cond.Wait()
	}
	if l.fault != nil {
		t.Fatal(l.fault)
	}
}

func (l *fakeLog) sawToken(token string) bool {
	return len(l.marks) > 0 && l.marks[len(l.marks)-1].Token == token
}

// state is what a consumer makes of the log: rows by table and key.
type state map[string]map[string]string

// replay applies the log as composition does: whole transactions of one
// incarnation, each position once.
func (l *fakeLog) replay(t testing.TB) state {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fault != nil {
		t.Fatal(l.fault)
	}
	s := state{}
	pending := map[change.Incarnation][]*change.Event{}
	var frontier change.Position
	for _, e := range l.entries {
		if e.event != nil {
			pending[e.event.Incarnation] = append(pending[e.event.Incarnation], e.event)
			continue
		}
		switch e.tx.Status {
		case change.SnapshotEnded:
			s = state{}
			for _, ev := range pending[e.tx.Incarnation] {
				s.apply(t, ev)
			}
			delete(pending, e.tx.Incarnation)
			frontier = e.tx.Mark.Position
		case change.Ended:
			rows := pending[e.tx.Incarnation]
			delete(pending, e.tx.Incarnation)
			if e.tx.Mark.Position.Compare(frontier) <= 0 {
				continue
			}
			frontier = e.tx.Mark.Position
			for _, ev := range rows {
				s.apply(t, ev)
			}
		}
	}
	return s
}

func (s state) apply(t testing.TB, ev *change.Event) {
	t.Helper()
	rows := s[ev.Schema.Table.Name]
	if rows == nil {
		rows = map[string]string{}
		s[ev.Schema.Table.Name] = rows
	}
	key, ok := ev.Schema.Key(ev.Row())
	if !ok {
		t.Fatalf("%s: an event without a key: %+v", ev.Schema.Table, ev)
	}
	_, there := rows[key]
	switch ev.Op {
	case change.Delete:
		if !there {
			t.Errorf("%s: delete of %q, which is not there", ev.Schema.Table, key)
		}
		delete(rows, key)
		return
	case change.Create, change.Read:
		if there {
			t.Errorf("%s: %c of %q, which is there", ev.Schema.Table, ev.Op, key)
		}
	case change.Update:
		if !there {
			t.Errorf("%s: update of %q, which is not there", ev.Schema.Table, key)
		}
	}
	rows[key] = printRow(ev.Schema, ev.After)
}

func printRow(s *change.Schema, row []change.Value) string {
	var b strings.Builder
	for i, v := range row {
		fmt.Fprintf(&b, "%s=", s.Columns[i].Name)
		switch v.State {
		case change.Null:
			b.WriteString("NULL ")
		case change.Unchanged:
			b.WriteString("UNCHANGED ")
		default:
			fmt.Fprintf(&b, "%q ", v.Text)
		}
	}
	return b.String()
}

// events are the row events of one table, in order.
func (l *fakeLog) events(table string) []*change.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	var events []*change.Event
	for _, e := range l.entries {
		if e.event != nil && e.event.Schema.Table.Name == table {
			events = append(events, e.event)
		}
	}
	return events
}
