package compose

import (
	"errors"
	"slices"
	"time"

	"github.com/tributary-health/tributary/change"
)

// sourceLog is what is pending of one source.
type sourceLog struct {
	name       string
	partitions int32
	known      func(table string) bool
	fresh      change.Freshness // applied
	snap       snapshot

	txs      map[txKey]*transaction
	all      byPosition // txs, to drop those that applied passes
	complete byPosition
	marks    []*mark // watermarks above applied, ascending
	starts   map[change.Incarnation]*start
	last     map[int32]lastMark
	check    bool // a watermark has come through every partition
}

// mark is a watermark: everything at or below it is in the log, and the last
// transaction there is previous.
type mark struct {
	change.Mark
	previous  change.Position
	committed time.Time
	seen      map[int32]bool
	hold      hold
}

// start is a START that resumed: everything at or below its mark is in the log,
// complete.
type start struct {
	mark      change.Mark
	committed time.Time
	seen      map[int32]bool
	hold      hold
}

// lastMark is the last watermark of one partition.
type lastMark struct {
	incarnation change.Incarnation
	at          change.Position
}

func newSourceLog(name string, fresh change.Freshness, partitions int32) *sourceLog {
	fresh.Source = name
	return &sourceLog{
		name: name, partitions: partitions, fresh: fresh,
		txs:    make(map[txKey]*transaction),
		starts: make(map[change.Incarnation]*start),
		last:   make(map[int32]lastMark),
	}
}

// transaction returns the incarnation's attempt at the transaction.
func (s *sourceLog) transaction(at change.Position, incarnation change.Incarnation) *transaction {
	k := txKey{at, incarnation}
	t := s.txs[k]
	if t == nil {
		t = &transaction{txKey: k, source: s.name,
			ends: make(map[int32]*change.TxRecord), streams: make(map[streamKey]*stream)}
		s.txs[k] = t
		heapPush(&s.all, t)
	}
	return t
}

// settle moves a transaction that has become complete to the complete ones.
func (s *sourceLog) settle(t *transaction) error {
	if t.ready {
		return nil
	}
	ok, err := t.complete(s.known)
	if ok {
		t.ready = true
		heapPush(&s.complete, t)
	}
	return err
}

// addTx takes a record of the tx topic and returns what holds it.
func (s *sourceLog) addTx(rec *change.TxRecord) (*hold, error) {
	switch rec.Status {
	case change.Started:
		return s.addStart(rec)
	case change.SnapshotEnded:
		return s.snap.end(rec)
	case change.Watermark:
		return s.addMark(rec)
	case change.Ended:
		at := rec.Mark.Position
		if at.Compare(s.fresh.Position) <= 0 {
			return nil, nil
		}
		t := s.transaction(at, rec.Incarnation)
		if err := t.addEnd(rec); err != nil {
			return nil, err
		}
		return &t.hold, s.settle(t)
	}
	return nil, contradiction(s.name, rec.Mark.Position, "a transaction record of unknown status %q", rec.Status)
}

func (s *sourceLog) addStart(rec *change.TxRecord) (*hold, error) {
	if rec.Snapshot {
		if rec.Incarnation > s.snap.Incarnation {
			s.snap.begin(rec.Incarnation)
		}
		return nil, nil
	}
	if s.snap.Incarnation == 0 {
		return nil, &Error{Op: "assemble", Source: s.name, Position: rec.Mark.Position,
			Err:  errors.New("the log begins after its snapshot: it has no base"),
			Hint: "take a new snapshot of the source"}
	}
	if rec.Mark.Position.Compare(s.fresh.Position) <= 0 {
		return nil, nil
	}
	b := s.starts[rec.Incarnation]
	if b == nil {
		b = &start{mark: rec.Mark, committed: rec.Committed, seen: make(map[int32]bool)}
		s.starts[rec.Incarnation] = b
	}
	b.seen[rec.Partition] = true
	return &b.hold, nil
}

func (s *sourceLog) addMark(rec *change.TxRecord) (*hold, error) {
	at := rec.Mark.Position
	if l := s.last[rec.Partition]; l.incarnation == rec.Incarnation && at.Compare(l.at) < 0 {
		return nil, contradiction(s.name, at, "the watermark of partition %d went back from %s", rec.Partition, l.at)
	}
	if rec.Previous.Compare(at) > 0 {
		return nil, contradiction(s.name, at, "the watermark's last transaction %s lies after it", rec.Previous)
	}
	s.last[rec.Partition] = lastMark{rec.Incarnation, at}
	if at.Compare(s.fresh.Position) < 0 {
		return nil, nil
	}
	if at == s.fresh.Position { // idle: only the time moves
		s.move(rec.Mark, rec.Committed)
		return nil, nil
	}
	i, found := slices.BinarySearchFunc(s.marks, at, func(m *mark, at change.Position) int { return m.Position.Compare(at) })
	if !found {
		s.marks = slices.Insert(s.marks, i, &mark{Mark: rec.Mark, previous: rec.Previous, seen: make(map[int32]bool)})
	}
	m := s.marks[i]
	m.previous = minPosition(m.previous, rec.Previous)
	if rec.Committed.After(m.committed) {
		m.committed = rec.Committed
	}
	m.seen[rec.Partition] = true
	s.check = s.check || int32(len(m.seen)) == s.partitions
	return &m.hold, nil
}

func minPosition(a, b change.Position) change.Position {
	if b.Compare(a) < 0 {
		return b
	}
	return a
}

// move says that everything at or below the mark is applied.
func (s *sourceLog) move(to change.Mark, committed time.Time) {
	if to.Position.Compare(s.fresh.Position) >= 0 && to.Token != "" {
		s.fresh.Token = to.Token
	}
	if to.Position.Compare(s.fresh.Position) > 0 {
		s.fresh.Position = to.Position
	}
	if committed.After(s.fresh.Committed) {
		s.fresh.Committed = committed
	}
}

// advance moves applied over watermarks and STARTs as far as the chain allows
// and returns the transactions that applied has passed. While a snapshot is
// open nothing moves.
func (s *sourceLog) advance() (gone []*transaction, err error) {
	if s.snap.Open || !s.snap.Finished {
		return nil, nil
	}
	for {
		gone = append(gone, s.passed()...)
		if !s.overMark() && !s.overStart() {
			break
		}
	}
	if s.check {
		s.check = false
		err = s.checkChain()
	}
	return gone, err
}

// passed removes what lies at or below applied.
func (s *sourceLog) passed() (gone []*transaction) {
	for len(s.all) > 0 && s.all[0].at.Compare(s.fresh.Position) <= 0 {
		t := heapPop(&s.all)
		if s.txs[t.txKey] == t {
			delete(s.txs, t.txKey)
			gone = append(gone, t)
		}
	}
	for len(s.complete) > 0 && s.complete[0].at.Compare(s.fresh.Position) <= 0 {
		heapPop(&s.complete)
	}
	for len(s.marks) > 0 && s.marks[0].Position.Compare(s.fresh.Position) <= 0 {
		s.move(s.marks[0].Mark, s.marks[0].committed)
		s.marks[0].hold.done = true
		s.marks = s.marks[1:]
	}
	for i, b := range s.starts {
		if b.mark.Position.Compare(s.fresh.Position) <= 0 {
			b.hold.done = true
			delete(s.starts, i)
		}
	}
	return gone
}

// overMark applies the watermarks that the chain has reached.
func (s *sourceLog) overMark() bool {
	if len(s.marks) == 0 || s.marks[0].previous.Compare(s.fresh.Position) > 0 {
		return false
	}
	s.move(s.marks[0].Mark, s.marks[0].committed)
	return true
}

// overStart moves applied to a START's mark when all that lies before it was
// read and applied. A START stands behind every END of older incarnations in its
// partition; so once it has come through all of them, what has no END by then
// and lies below the mark is no transaction of this log. (The mark itself may
// have no record: a transaction without captured rows leaves none.)
func (s *sourceLog) overStart() bool {
	for _, b := range s.starts {
		if int32(len(b.seen)) < s.partitions {
			continue
		}
		open := slices.ContainsFunc(s.all, func(t *transaction) bool {
			return t.any != nil && t.at.Compare(b.mark.Position) <= 0
		})
		if !open {
			s.move(b.mark, b.committed)
			return true
		}
	}
	return false
}

// top returns the complete transaction that the chain has reached, if any.
func (s *sourceLog) top() *transaction {
	if s.snap.Open || !s.snap.Finished || len(s.complete) == 0 {
		return nil
	}
	if t := s.complete[0]; t.any.Previous.Compare(s.fresh.Position) <= 0 {
		return t
	}
	return nil
}

// take gives the top transaction out: it counts as applied.
func (s *sourceLog) take(t *transaction) {
	heapPop(&s.complete)
	delete(s.txs, t.txKey)
	s.move(t.any.Mark, t.any.Committed)
}

// checkChain looks for a link that can no longer come. Once a watermark has come
// through every partition, so has at least one END of each transaction before
// it; if none of those continues from applied, one is missing.
func (s *sourceLog) checkChain() error {
	var m *mark
	for _, w := range s.marks {
		if int32(len(w.seen)) == s.partitions {
			m = w
		}
	}
	if m == nil || len(s.starts) > 0 {
		return nil
	}
	for _, t := range s.all {
		if t.any != nil && t.any.Previous.Compare(s.fresh.Position) <= 0 {
			return nil
		}
	}
	return contradiction(s.name, m.previous, "no transaction continues the chain from %s", s.fresh.Position)
}
