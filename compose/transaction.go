package compose

import (
	"cmp"
	"container/heap"
	"maps"
	"slices"

	"github.com/tributary-health/tributary/change"
)

// txKey tells apart the attempts of several incarnations at one transaction.
type txKey struct {
	at          change.Position
	incarnation change.Incarnation
}

// streamKey is one table's rows in one partition.
type streamKey struct {
	partition int32
	table     string
}

// stream is what came of one table's rows of a transaction in one partition.
// Rows of a partition come in order, so a sequence that does not grow is a
// repeat: n counts distinct sequences, never records.
type stream struct {
	last uint64
	n    int64
	mem  []*change.Event
	segs []segment
}

// transaction is one incarnation's rows and ENDs of one source transaction.
type transaction struct {
	txKey
	source  string
	hold    hold
	ends    map[int32]*change.TxRecord
	any     *change.TxRecord // one of ends
	streams map[streamKey]*stream
	got     int64 // distinct rows
	want    int64 // known when complete is being decided
	bytes   int   // in memory
	ready   bool
}

// addRow takes a row. It reports false for a repeat.
func (t *transaction) addRow(partition int32, ev *change.Event, bytes int) (bool, error) {
	k := streamKey{partition, ev.Schema.Table.Name}
	s := t.streams[k]
	if s == nil {
		s = &stream{}
		t.streams[k] = s
	}
	if ev.Position.Sequence <= s.last {
		return false, nil
	}
	if t.any != nil {
		if err := t.fits(k, s.n+1); err != nil {
			return false, err
		}
	}
	s.last = ev.Position.Sequence
	s.n++
	t.got++
	t.bytes += bytes
	s.mem = append(s.mem, ev)
	return true, nil
}

// fits checks n rows of a stream against what the ENDs say, as far as they are
// there.
func (t *transaction) fits(k streamKey, n int64) error {
	if !slices.Contains(t.any.Partitions, k.partition) {
		return contradiction(t.source, t.at, "rows of table %s in partition %d, which the END does not name", k.table, k.partition)
	}
	end := t.ends[k.partition]
	if end != nil && n > end.Counts[k.table] {
		return contradiction(t.source, t.at, "table %s has more rows in partition %d than the END's %d", k.table, k.partition, end.Counts[k.table])
	}
	return nil
}

// addEnd takes one partition's END.
func (t *transaction) addEnd(end *change.TxRecord) error {
	if old := t.ends[end.Partition]; old != nil {
		if !maps.Equal(old.Counts, end.Counts) {
			return contradiction(t.source, t.at, "two ENDs in partition %d with different counts", end.Partition)
		}
		return nil
	}
	if !slices.Contains(end.Partitions, end.Partition) {
		return contradiction(t.source, t.at, "an END in partition %d does not name its own partition", end.Partition)
	}
	if t.any != nil && (!slices.Equal(t.any.Partitions, end.Partitions) || t.any.Previous != end.Previous ||
		t.any.EventCount != end.EventCount) {
		return contradiction(t.source, t.at, "ENDs of one incarnation differ in partitions, previous or event count")
	}
	if end.Previous.Compare(t.at) >= 0 {
		return contradiction(t.source, t.at, "the END's previous transaction %s does not lie before it", end.Previous)
	}
	t.ends[end.Partition], t.any = end, end
	for k, s := range t.streams {
		if err := t.fits(k, s.n); err != nil {
			return err
		}
	}
	return nil
}

// complete reports whether every partition's END is in and the rows of every
// stream are as many as it says. known tells which tables are expected.
func (t *transaction) complete(known func(table string) bool) (bool, error) {
	if t.any == nil || len(t.ends) < len(t.any.Partitions) {
		return false, nil
	}
	if t.want == 0 {
		var all int64
		for _, end := range t.ends {
			for table, n := range end.Counts {
				all += n
				if known(table) {
					t.want += n
				}
			}
		}
		if all != t.any.EventCount {
			return false, contradiction(t.source, t.at, "the ENDs count %d rows, the transaction has %d", all, t.any.EventCount)
		}
	}
	// No stream has more rows than its count, so equal sums mean equal counts.
	return t.got == t.want, nil
}

// spill moves the rows in memory to the spool.
func (t *transaction) spill(sp *spool) error {
	for _, s := range t.streams {
		if len(s.mem) == 0 {
			continue
		}
		seg, err := sp.write(s.mem)
		if err != nil {
			return err
		}
		s.segs, s.mem = append(s.segs, seg), nil
	}
	t.bytes = 0
	return nil
}

// release gives the rows' memory and file space back.
func (t *transaction) release(sp *spool) error {
	n := 0
	for _, s := range t.streams {
		n += len(s.segs)
	}
	t.streams, t.bytes = nil, 0
	return sp.release(n)
}

// rows calls fn for every row in the order of sequence. What it holds in memory
// does not depend on how many there are.
func (t *transaction) rows(sp *spool, fn func(*change.Event) error) error {
	var m merge
	for _, k := range slices.SortedFunc(maps.Keys(t.streams), compareStreams) {
		s := t.streams[k]
		h := &head{spool: spoolReader{s: sp, segs: s.segs}, mem: s.mem}
		if err := h.advance(); err != nil {
			return err
		}
		if h.ev != nil {
			m = append(m, h)
		}
	}
	heap.Init(&m)
	for len(m) > 0 {
		h := m[0]
		if err := fn(h.ev); err != nil {
			return err
		}
		if err := h.advance(); err != nil {
			return err
		}
		if h.ev == nil {
			heap.Pop(&m)
		} else {
			heap.Fix(&m, 0)
		}
	}
	return nil
}

func compareStreams(a, b streamKey) int {
	return cmp.Or(cmp.Compare(a.partition, b.partition), cmp.Compare(a.table, b.table))
}

// head is the next row of a stream.
type head struct {
	spool spoolReader
	mem   []*change.Event
	ev    *change.Event
}

func (h *head) advance() error {
	ev, err := h.spool.next()
	if err != nil {
		return err
	}
	if ev == nil && len(h.mem) > 0 {
		ev, h.mem = h.mem[0], h.mem[1:]
	}
	h.ev = ev
	return nil
}

// merge is a heap of streams by their next row's sequence.
type merge []*head

func (m merge) Len() int { return len(m) }
func (m merge) Less(i, j int) bool {
	return m[i].ev.Position.Sequence < m[j].ev.Position.Sequence
}
func (m merge) Swap(i, j int) { m[i], m[j] = m[j], m[i] }
func (m *merge) Push(x any)   { *m = append(*m, x.(*head)) }
func (m *merge) Pop() any {
	old := *m
	h := old[len(old)-1]
	*m = old[:len(old)-1]
	return h
}

// byPosition is a heap of transactions, the earliest on top.
type byPosition []*transaction

func (h byPosition) Len() int { return len(h) }
func (h byPosition) Less(i, j int) bool {
	return cmp.Or(h[i].at.Compare(h[j].at), cmp.Compare(h[i].incarnation, h[j].incarnation)) < 0
}
func (h byPosition) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *byPosition) Push(x any)   { *h = append(*h, x.(*transaction)) }
func (h *byPosition) Pop() any {
	old := *h
	t := old[len(old)-1]
	*h = old[:len(old)-1]
	return t
}
