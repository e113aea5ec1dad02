package postgres_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/change"
)

// memLog is a capture.Log in memory that loses what was not acknowledged when it
// is crashed, as a broker may. It checks the contract on the way.
type memLog struct {
	mu      sync.Mutex
	changed *sync.Cond
	entries []entry
	acked   int  // the first entries that are durable
	hold    bool // acknowledge nothing by itself
	block   bool // Append waits
	marks   []reached
	durable change.Mark
	open    int64
	inc     change.Incarnation
	last    change.Position
	stop    func() // called after `after` entries
	after   int
}

type entry struct {
	ev    *change.Event
	route string
	tx    *change.TxRecord
	table []change.Table
}

type reached struct {
	entries int
	mark    change.Mark
}

func newLog() *memLog {
	l := &memLog{}
	l.changed = sync.NewCond(&l.mu)
	return l
}

// settle moves durable over the acknowledged prefix.
func (l *memLog) settle() {
	for len(l.marks) > 0 && l.marks[0].entries <= l.acked {
		if l.marks[0].mark.Position.Compare(l.durable.Position) > 0 {
			l.durable = l.marks[0].mark
		}
		l.marks = l.marks[1:]
	}
	l.changed.Broadcast()
}

func (l *memLog) write(e entry) {
	l.entries = append(l.entries, e)
	if !l.hold {
		l.acked = len(l.entries)
	}
	if l.after--; l.after == 0 && l.stop != nil {
		l.stop()
	}
}

// ack acknowledges all but the last n entries.
func (l *memLog) ack(left int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked = max(l.acked, len(l.entries)-left)
	l.settle()
}

func (l *memLog) setHold(hold bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hold = hold; !hold {
		l.acked = len(l.entries)
		l.settle()
	}
}

// crash reopens the log with keep of the entries that were not acknowledged.
func (l *memLog) crash(keep int) *memLog {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := newLog()
	n.entries = slices.Clone(l.entries[:min(len(l.entries), l.acked+keep)])
	n.acked = len(n.entries)
	return n
}

// Resume implements capture.Log from the records alone.
func (l *memLog) Resume() capture.Resume {
	l.mu.Lock()
	defer l.mu.Unlock()
	var r capture.Resume
	for _, e := range l.entries {
		if e.tx == nil {
			continue
		}
		r.Incarnation = max(r.Incarnation, e.tx.Incarnation)
		if e.tx.Durable.Position.Compare(r.Durable.Position) > 0 {
			r.Durable = e.tx.Durable
		}
		if e.tx.Status == change.Started {
			r.History = e.tx.History
		}
	}
	return r
}

func (l *memLog) Start(_ context.Context, rec change.TxRecord) error {
	r := l.Resume()
	l.mu.Lock()
	defer l.mu.Unlock()
	if rec.Incarnation != r.Incarnation+1 {
		return fmt.Errorf("incarnation %d after %d", rec.Incarnation, r.Incarnation)
	}
	l.inc, l.durable, l.last, l.open = rec.Incarnation, rec.Mark, rec.Mark.Position, 0
	rec.Durable = rec.Mark
	l.entries = append(l.entries, entry{tx: &rec})
	l.acked = len(l.entries)
	return nil
}

func (l *memLog) Append(ctx context.Context, route string, ev *change.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { l.mu.Lock(); defer l.mu.Unlock(); l.changed.Broadcast() })
	defer stop()
	for l.block && ctx.Err() == nil {
		l.changed.Wait()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if l.open++; ev.Position.Sequence != uint64(l.open) || ev.Incarnation != l.inc {
		return fmt.Errorf("sequence %d, incarnation %d; want %d, %d", ev.Position.Sequence, ev.Incarnation, l.open, l.inc)
	}
	kept := *ev
	kept.Before, kept.After = slices.Clone(ev.Before), slices.Clone(ev.After)
	l.write(entry{ev: &kept, route: route})
	return nil
}

func (l *memLog) End(_ context.Context, rec change.TxRecord) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if rec.Mark.Position.Compare(l.last) <= 0 {
		return fmt.Errorf("transaction at %s after %s", rec.Mark.Position, l.last)
	}
	rec.Durable, rec.EventCount = l.durable, l.open
	if l.open > 0 {
		l.write(entry{tx: &rec})
	}
	l.last = rec.Mark.Position
	l.reach(rec.Mark)
	return nil
}

func (l *memLog) SnapshotEnd(ctx context.Context, rec change.TxRecord, tables []change.Table) error {
	l.mu.Lock()
	rec.EventCount = l.open
	l.write(entry{tx: &rec, table: tables})
	l.last = rec.Mark.Position
	l.reach(rec.Mark)
	stop := context.AfterFunc(ctx, func() { l.mu.Lock(); defer l.mu.Unlock(); l.changed.Broadcast() })
	defer stop()
	for l.acked < len(l.entries) && ctx.Err() == nil {
		l.changed.Wait()
	}
	l.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return l.Watermark(ctx, rec.Mark, rec.Committed)
}

func (l *memLog) reach(mark change.Mark) {
	l.open = 0
	l.marks = append(l.marks, reached{len(l.entries), mark})
	l.settle()
}

func (l *memLog) Watermark(_ context.Context, mark change.Mark, at time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open > 0 {
		return errors.New("watermark within a transaction")
	}
	if mark.Position.Compare(l.last) < 0 || at.IsZero() {
		return fmt.Errorf("watermark at %s after %s", mark.Position, l.last)
	}
	l.last = mark.Position
	l.write(entry{tx: &change.TxRecord{Status: change.Watermark, Incarnation: l.inc, Mark: mark, Durable: l.durable, Committed: at}})
	l.reach(mark)
	return nil
}

func (l *memLog) Durable() change.Mark {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.durable
}

func (l *memLog) Err() error { return nil }

// await waits until done says so of the log, or ctx is.
func (l *memLog) await(ctx context.Context, done func(l *memLog) bool) error {
	stop := context.AfterFunc(ctx, func() { l.mu.Lock(); defer l.mu.Unlock(); l.changed.Broadcast() })
	defer stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for !done(l) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		l.changed.Wait()
	}
	return nil
}

// state is what a composer makes of the log: complete transactions of their own
// incarnation, above the frontier, in order.
type state struct {
	tables   map[string]map[string]string // table, key, row as text
	frontier change.Position
	applied  int // row events applied
	ops      strings.Builder
}

// apply plays the log. It fails for what must not be in one.
func (l *memLog) apply() (*state, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := &state{tables: map[string]map[string]string{}}
	var open []entry
	for _, e := range l.entries {
		if e.ev != nil {
			open = append(open, e)
			continue
		}
		switch e.tx.Status {
		case change.Started:
			open = nil
		case change.SnapshotEnded:
			if len(open) != int(e.tx.EventCount) {
				return nil, fmt.Errorf("snapshot of %d rows, %d in the log", e.tx.EventCount, len(open))
			}
			for _, t := range e.table {
				st.tables[t.Name] = nil
			}
			fallthrough
		case change.Ended:
			if len(open) != int(e.tx.EventCount) {
				return nil, fmt.Errorf("transaction of %d rows, %d in the log", e.tx.EventCount, len(open))
			}
			if e.tx.Mark.Position.Compare(st.frontier) > 0 {
				for _, row := range open {
					if err := st.row(row.ev); err != nil {
						return nil, err
					}
				}
				st.frontier = e.tx.Mark.Position
			}
			open = nil
		}
	}
	return st, nil
}

func (st *state) row(ev *change.Event) error {
	s := ev.Schema
	t := st.tables[s.Table.Name]
	if t == nil {
		t = map[string]string{}
		st.tables[s.Table.Name] = t
	}
	key, ok := s.Key(ev.Row())
	if !ok {
		return fmt.Errorf("table %s: a row without key", s.Table)
	}
	old, there := t[key]
	if (ev.Op == change.Read || ev.Op == change.Create) == there {
		return fmt.Errorf("table %s: %c of a row that is there: %v", s.Table, ev.Op, there)
	}
	st.applied++
	fmt.Fprintf(&st.ops, "%c", ev.Op)
	if ev.Op == change.Delete {
		delete(t, key)
		return nil
	}
	var had []string
	if there {
		had = strings.Split(old, "\x1f")
	}
	t[key] = rowText(ev.After, had)
	return nil
}

// rowText joins the values; one that was not sent is taken from the old row.
func rowText(row []change.Value, had []string) string {
	texts := make([]string, len(row))
	for i, v := range row {
		switch {
		case v.State == change.Null:
			texts[i] = "NULL"
		case v.State == change.Unchanged && i < len(had):
			texts[i] = had[i]
		case v.State == change.Unchanged:
			texts[i] = "UNKNOWN"
		default:
			texts[i] = v.Text
		}
	}
	return strings.Join(texts, "\x1f")
}

// dump prints a table's rows in order of their keys, columns joined by bars.
func (st *state) dump(table string) string {
	t := st.tables[table]
	keys := slices.SortedFunc(maps.Keys(t), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
	lines := make([]string, len(keys))
	for i, k := range keys {
		lines[i] = strings.ReplaceAll(t[k], "\x1f", "|")
	}
	return strings.Join(lines, "\n")
}
