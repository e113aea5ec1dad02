package compose

import (
	"container/heap"
	"fmt"
	"slices"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
)

// assembler makes whole source transactions from the records of all landing and
// tx partitions, however these interleave.
//
//	A1  A transaction comes out once, whole, in the order of its source's chain.
//	A2  The offsets are those of the first records not yet given out, so what is
//	    pending at a crash is read again.
//	A3  Rows above the memory budget lie in the spill file.
type assembler struct {
	sources    map[string]*sourceLog
	names      []string
	partitions int32
	known      func(change.Table) bool
	offsets    offsets
	spool      *spool
	bytes      int // rows in memory
	budget     int
}

// ready is what comes out next: exactly one of transaction and snapshot.
type ready struct {
	source      string
	transaction *transaction
	snapshot    *snapshotDone
}

// snapshotDone says that a source's snapshot is all applied.
type snapshotDone struct {
	mark        change.Freshness
	incarnation change.Incarnation
	tables      []change.Table
}

// newAssembler goes on from the frontier. snapshots is what was kept of each
// source's snapshot.
func newAssembler(cfg *Config, known func(change.Table) bool, f commit.Frontier, snapshots map[string]snapshot) *assembler {
	a := &assembler{
		sources:    make(map[string]*sourceLog),
		names:      slices.Sorted(slices.Values(cfg.Sources)),
		partitions: cfg.Partitions,
		known:      known,
		offsets:    newOffsets(f.Offsets),
		spool:      &spool{dir: cfg.SpillDir},
		budget:     cfg.MemoryBudget,
	}
	for _, name := range a.names {
		s := newSourceLog(name, f.Sources[name].Freshness, cfg.Partitions)
		s.snap = snapshots[name]
		s.known = func(table string) bool { return known(change.Table{Source: name, Name: table}) }
		a.sources[name] = s
	}
	return a
}

// Add takes a record. A snapshot's row that is to be applied comes back at once;
// everything else comes out of Next when its time has come.
func (a *assembler) Add(rec *Record) (*change.Event, error) {
	if (rec.Event == nil) == (rec.Tx == nil) {
		return nil, fmt.Errorf("compose: record of %s/%d before offset %d is neither a row nor a transaction record",
			rec.From.Topic, rec.From.Partition, rec.Next)
	}
	if rec.Tx != nil {
		return nil, a.addTx(rec)
	}
	return a.addRow(rec)
}

func (a *assembler) addTx(rec *Record) error {
	s := a.sources[rec.Tx.Source]
	if s == nil {
		return &Error{Op: "assemble", Source: rec.Tx.Source, Err: fmt.Errorf("topic %s has a record of an unknown source", rec.From.Topic)}
	}
	if rec.Tx.Partition != rec.From.Partition {
		return contradiction(s.name, rec.Tx.Mark.Position, "a record of partition %d lies in partition %d", rec.Tx.Partition, rec.From.Partition)
	}
	if rec.Tx.Partition >= a.partitions {
		return &Error{Op: "assemble", Source: s.name, Position: rec.Tx.Mark.Position,
			Err:  fmt.Errorf("topic %s has a partition %d, the configuration says there are %d", rec.From.Topic, rec.Tx.Partition, a.partitions),
			Hint: "set the landing partitions to what the topics have"}
	}
	h, err := s.addTx(rec.Tx)
	if err != nil {
		return err
	}
	return a.passed(rec, h)
}

// passed moves the partition's offset.
func (a *assembler) passed(rec *Record, h *hold) error {
	if !a.offsets.add(rec, h) {
		return fmt.Errorf("compose: %s/%d: the feed gave offset %d again", rec.From.Topic, rec.From.Partition, rec.Next-1)
	}
	return nil
}

func (a *assembler) addRow(rec *Record) (*change.Event, error) {
	ev := rec.Event
	s := a.sources[ev.Schema.Table.Source]
	if s == nil {
		return nil, &Error{Op: "assemble", Table: ev.Schema.Table, Err: fmt.Errorf("topic %s has a row of an unknown source", rec.From.Topic)}
	}
	if !a.known(ev.Schema.Table) {
		return nil, a.passed(rec, nil)
	}
	if ev.Op == change.Read {
		fresh, err := s.snap.read(streamKey{rec.From.Partition, ev.Schema.Table.Name}, ev)
		if err != nil || !fresh {
			ev = nil
		}
		if err != nil {
			return nil, err
		}
		return ev, a.passed(rec, nil)
	}
	if ev.Position.Sequence == 0 {
		return nil, contradiction(s.name, ev.Position, "a row of table %s has no sequence", ev.Schema.Table.Name)
	}
	if ev.Position.Transaction().Compare(s.fresh.Position) <= 0 {
		return nil, a.passed(rec, nil)
	}
	t := s.transaction(ev.Position.Transaction(), ev.Incarnation)
	size := max(rec.Bytes, 64)
	added, err := t.addRow(rec.From.Partition, ev, size)
	if err != nil {
		return nil, err
	}
	if err := a.passed(rec, &t.hold); err != nil || !added {
		return nil, err
	}
	if a.bytes += size; a.bytes > a.budget {
		if err := a.spill(); err != nil {
			return nil, err
		}
	}
	return nil, s.settle(t)
}

// spill frees half the budget, largest transactions first.
func (a *assembler) spill() error {
	var all []*transaction
	for _, s := range a.sources {
		for _, t := range s.txs {
			all = append(all, t)
		}
	}
	slices.SortFunc(all, func(x, y *transaction) int { return y.bytes - x.bytes })
	for _, t := range all {
		if a.bytes <= a.budget/2 {
			break
		}
		a.bytes -= t.bytes
		if err := t.spill(a.spool); err != nil {
			return err
		}
	}
	return nil
}

// drop forgets a transaction that is applied or will never be.
func (a *assembler) drop(t *transaction) error {
	t.hold.done = true
	a.bytes -= t.bytes
	return t.release(a.spool)
}

// first returns the earliest transaction of a source that is whole, or nil, and
// gives back those that were overtaken.
func (a *assembler) first(s *sourceLog) (*transaction, error) {
	gone, err := s.advance()
	for _, t := range gone {
		if err := a.drop(t); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, err
	}
	return s.top(), nil
}

// Next returns what is to be applied next, or nil. Of several sources the one
// whose transaction was committed first comes first. If fits is not nil, only a
// transaction that it says yes to is given out, and no snapshot. The caller MUST
// apply what it gets in that order, and all of it before it adds a record or asks
// for offsets, and give transactions back with drop.
func (a *assembler) Next(fits func(*transaction) bool) (*ready, error) {
	var best *transaction
	var from *sourceLog
	for _, name := range a.names {
		s := a.sources[name]
		if rec, ok := s.snap.finished(a.partitions, s.known); ok {
			if fits != nil {
				return nil, nil
			}
			return a.finish(s, rec)
		}
		t, err := a.first(s)
		if err != nil {
			return nil, err
		}
		if t != nil && (best == nil || t.any.Committed.Before(best.any.Committed)) {
			best, from = t, s
		}
	}
	if best == nil || fits != nil && !fits(best) {
		return nil, nil
	}
	from.take(best)
	return &ready{source: from.name, transaction: best}, nil
}

// finish closes a source's snapshot.
func (a *assembler) finish(s *sourceLog, rec *change.TxRecord) (*ready, error) {
	if rec.Mark.Position.Compare(s.fresh.Position) < 0 {
		return nil, contradiction(s.name, rec.Mark.Position, "a snapshot that lies before %s, which is applied", s.fresh.Position)
	}
	done := &snapshotDone{incarnation: s.snap.Incarnation, tables: s.snap.tables(s.name)}
	s.snap.close()
	s.move(rec.Mark, rec.Committed)
	done.mark = s.fresh
	return &ready{source: s.name, snapshot: done}, nil
}

// rows gives the transaction's rows in order.
func (a *assembler) rows(t *transaction, fn func(*change.Event) error) error {
	return t.rows(a.spool, fn)
}

// freshness is how far every source was applied, in the order of their names.
func (a *assembler) freshness() []change.Freshness {
	all := make([]change.Freshness, 0, len(a.names))
	for _, name := range a.names {
		all = append(all, a.sources[name].fresh)
	}
	return all
}

// snapshotting reports whether any source has a snapshot open or never had one.
func (a *assembler) snapshotting() bool {
	for _, s := range a.sources {
		if s.snap.Open || !s.snap.Finished {
			return true
		}
	}
	return false
}

func (a *assembler) close() error { return a.spool.close() }

// heapPush and heapPop keep container/heap's untyped values in one place.
func heapPush(h *byPosition, t *transaction) { heap.Push(h, t) }
func heapPop(h *byPosition) *transaction     { return heap.Pop(h).(*transaction) }
