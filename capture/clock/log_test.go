package clock_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/change"
)

// memLog is a capture.Log in memory. The last lag records are not acknowledged,
// and may be gone when it is opened again.
type memLog struct {
	mu        sync.Mutex
	resume    capture.Resume
	entries   []entry
	shown     int
	lag       int
	failAfter int // entries; then the log has failed
	started   bool
	inc       change.Incarnation
	open      bool // within a transaction
	position  change.Position
	taken     int // entries of earlier incarnations
}

type entry struct {
	ev *change.Event
	tx *change.TxRecord
}

func newLog() *memLog { return &memLog{} }

var errLog = errors.New("the log has failed")

// reopen is the log after a crash that lost some of what was not acknowledged.
func (l *memLog) reopen(lose int) *memLog {
	l.mu.Lock()
	defer l.mu.Unlock()
	kept := l.entries[:max(len(l.entries)-min(lose, l.lag), 0)]
	n := &memLog{entries: append([]entry{}, kept...), shown: len(kept), taken: len(kept)}
	for _, e := range kept {
		if e.tx != nil {
			if e.tx.Durable.Position.Compare(n.resume.Durable.Position) > 0 {
				n.resume.Durable = e.tx.Durable
			}
			n.resume.Incarnation, n.resume.History = e.tx.Incarnation, e.tx.History
		}
	}
	return n
}

func (l *memLog) Resume() capture.Resume { return l.resume }

func (l *memLog) Durable() change.Mark {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.durable()
}

func (l *memLog) durable() change.Mark {
	for i := len(l.entries) - l.lag - 1; i >= 0; i-- {
		switch tx := l.entries[i].tx; {
		case tx == nil:
		case tx.Status != change.Started:
			return tx.Mark
		case tx.Snapshot:
			return change.Mark{}
		}
	}
	return l.resume.Durable
}

func (l *memLog) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err()
}

func (l *memLog) err() error {
	if l.failAfter > 0 && len(l.entries)-l.taken >= l.failAfter {
		return errLog
	}
	return nil
}

func (l *memLog) write(e entry) error {
	if err := l.err(); err != nil {
		return err
	}
	if e.tx != nil {
		e.tx.Durable = l.durable()
	}
	l.entries = append(l.entries, e)
	return nil
}

func (l *memLog) Start(_ context.Context, rec change.TxRecord) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if rec.Incarnation != l.resume.Incarnation+1 || l.started || rec.Snapshot != rec.Mark.Position.IsZero() {
		return fmt.Errorf("start of incarnation %d after %d at %v", rec.Incarnation, l.resume.Incarnation, rec.Mark)
	}
	l.started, l.inc = true, rec.Incarnation
	return l.write(entry{tx: &rec})
}

func (l *memLog) Append(_ context.Context, route string, ev *change.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.started || route != "" || ev.Incarnation != l.inc && l.inc != 0 || l.open || ev.Committed.IsZero() {
		return fmt.Errorf("a row %v of incarnation %d, route %q", ev.Position, ev.Incarnation, route)
	}
	l.open, l.position = true, ev.Position
	copied := *ev
	return l.write(entry{ev: &copied})
}

func (l *memLog) End(_ context.Context, rec change.TxRecord) error { return l.closing(rec) }

func (l *memLog) SnapshotEnd(_ context.Context, rec change.TxRecord, tables []change.Table) error {
	rec.Counts = map[string]int64{}
	for _, t := range tables {
		rec.Counts[t.Name] = 1
	}
	if err := l.closing(rec); err != nil {
		return err
	}
	l.lag = 0 // it returns when all is durable
	return l.Watermark(context.Background(), rec.Mark, rec.Committed)
}

func (l *memLog) closing(rec change.TxRecord) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.open || rec.Mark.Position != l.position.Transaction() {
		return fmt.Errorf("an end at %v of %v", rec.Mark, l.position)
	}
	l.open = false
	return l.write(entry{tx: &rec})
}

func (l *memLog) Watermark(_ context.Context, mark change.Mark, at time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open {
		return errors.New("a watermark within a transaction")
	}
	return l.write(entry{tx: &change.TxRecord{Status: change.Watermark, Incarnation: l.inc, Mark: mark, Committed: at, History: "clock"}})
}

// news lists what was written since it was last asked, without watermarks.
func (l *memLog) news() (lines []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries[l.shown:] {
		if e.tx == nil || e.tx.Status != change.Watermark {
			lines = append(lines, e.String())
		}
	}
	l.shown = len(l.entries)
	return lines
}

func (e entry) String() string {
	if e.tx == nil {
		s := fmt.Sprintf("%c %s %s at %s", e.ev.Op, e.ev.Position, e.ev.After[1].Text, e.ev.Committed.Format(time.RFC3339))
		if e.ev.Op == change.Update {
			s = fmt.Sprintf("u %s %s to %s at %s", e.ev.Position, e.ev.Before[1].Text, e.ev.After[1].Text, e.ev.Committed.Format(time.RFC3339))
		}
		return s
	}
	s := string(e.tx.Status)
	if e.tx.Snapshot && e.tx.Status == change.Started {
		return s + " snapshot"
	}
	s += " " + e.tx.Mark.Position.String()
	if e.tx.Status != change.Started {
		s += " at " + e.tx.Committed.Format(time.RFC3339)
	}
	for table, n := range e.tx.Counts {
		s += fmt.Sprintf(" %s=%d", table, n)
	}
	return s
}

func (l *memLog) String() string {
	var b strings.Builder
	for _, e := range l.entries {
		b.WriteString(e.String() + "\n")
	}
	return b.String()
}

func (l *memLog) want(t *testing.T, want ...string) {
	t.Helper()
	if got := l.news(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func (l *memLog) count(status change.Status) (n int) {
	for _, e := range l.entries {
		if e.tx != nil && e.tx.Status == status {
			n++
		}
	}
	return n
}

// checkTimes wants the times of watermarks never to go back.
func (l *memLog) checkTimes(t *testing.T) {
	t.Helper()
	last := map[change.Incarnation]time.Time{}
	for _, e := range l.entries {
		if e.tx == nil || e.tx.Status != change.Watermark {
			continue
		}
		if e.tx.Committed.Before(last[e.tx.Incarnation]) {
			t.Errorf("a watermark at %v after one at %v", e.tx.Committed, last[e.tx.Incarnation])
		}
		last[e.tx.Incarnation] = e.tx.Committed
	}
}

// days follows the log as a composer does: from the last snapshot that ended, by
// the transactions that are whole in one incarnation. It returns the last day.
func (l *memLog) days() (last string, err error) {
	day := ""
	whole := map[uint64]string{}
	var rows map[change.Position]string
	for _, e := range l.entries {
		switch {
		case e.ev != nil:
			rows[e.ev.Position.Transaction()] = e.String()
		case e.tx.Status == change.Started:
			rows = map[change.Position]string{}
		case e.tx.Status == change.SnapshotEnded:
			day, whole = e.tx.Mark.Token, map[uint64]string{}
		case e.tx.Status == change.Ended:
			at := e.tx.Mark.Position
			row := rows[at]
			if old, ok := whole[at.Ordinal]; ok && old != row {
				return "", fmt.Errorf("two transactions at %v: %s and %s", at, old, row)
			}
			if whole[at.Ordinal] = row; row == "" {
				return "", fmt.Errorf("the transaction at %v has no row", at)
			}
			if e.tx.Mark.Token <= day {
				continue // it came before
			}
			if next, _ := time.Parse(time.DateOnly, day); next.AddDate(0, 0, 1).Format(time.DateOnly) != e.tx.Mark.Token {
				return "", fmt.Errorf("after %s comes %s", day, e.tx.Mark.Token)
			}
			day = e.tx.Mark.Token
		}
	}
	return day, nil
}

var _ capture.Log = (*memLog)(nil)
