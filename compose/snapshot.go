package compose

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tributary-health/tributary/change"
)

// count is how many rows a snapshot has given for one stream, and the last
// sequence of them.
type count struct {
	N    int64  `json:"n"`
	Last uint64 `json:"last"`
}

// snapshot is what is known of a source's newest snapshot. It is kept in the
// source's Progress with the offsets, so its counts survive a restart between
// any two rows.
type snapshot struct {
	Incarnation change.Incarnation `json:"incarnation,omitempty"` // the newest one's
	Open        bool               `json:"open,omitempty"`
	Finished    bool               `json:"finished,omitempty"` // one has been, ever
	Again       bool               `json:"again,omitempty"`    // an older one may have left rows
	Last        uint64             `json:"last,omitempty"`     // the last sequence of the newest, once it has ended
	Counts      map[string]*count  `json:"counts,omitempty"`   // by "partition/table"
	Tables      []string           `json:"tables,omitempty"`   // that the last finished one covered, and that were captured ever since

	ends map[int32]*change.TxRecord // SnapshotEnded, held until all are there
	hold *hold
}

func streamName(k streamKey) string {
	return strconv.Itoa(int(k.partition)) + "/" + k.table
}

// begin opens the incarnation's snapshot; what an older one counted is void.
func (s *snapshot) begin(incarnation change.Incarnation) {
	if s.hold != nil {
		s.hold.done = true
	}
	s.Again = s.Incarnation != 0
	s.Incarnation, s.Open, s.Last = incarnation, true, 0
	s.Counts = make(map[string]*count)
	s.ends, s.hold = make(map[int32]*change.TxRecord), &hold{}
}

// read takes a row. It reports false for one that is not to be applied: of an
// older snapshot, or a repeat.
func (s *snapshot) read(k streamKey, ev *change.Event) (bool, error) {
	if ev.Incarnation > s.Incarnation {
		s.begin(ev.Incarnation)
	}
	if ev.Incarnation < s.Incarnation || ev.Position.Sequence <= s.Last {
		return false, nil
	}
	if !s.Open {
		return false, contradiction(ev.Schema.Table.Source, ev.Position, "a snapshot row of table %s after the snapshot's end", k.table)
	}
	if s.Counts == nil {
		s.Counts = make(map[string]*count)
	}
	c := s.Counts[streamName(k)]
	if c == nil {
		c = &count{}
		s.Counts[streamName(k)] = c
	}
	if ev.Position.Sequence <= c.Last {
		return false, nil
	}
	c.N, c.Last = c.N+1, ev.Position.Sequence
	if end := s.ends[k.partition]; end != nil && c.N > end.Counts[k.table] {
		return false, contradiction(ev.Schema.Table.Source, ev.Position,
			"table %s has more snapshot rows in partition %d than the %d that were counted", k.table, k.partition, end.Counts[k.table])
	}
	return true, nil
}

// end takes one partition's SnapshotEnded and returns what holds its record.
func (s *snapshot) end(rec *change.TxRecord) (*hold, error) {
	if rec.Incarnation > s.Incarnation {
		s.begin(rec.Incarnation)
	}
	if rec.Incarnation < s.Incarnation || !s.Open {
		return nil, nil
	}
	if s.ends == nil { // read again after a restart
		s.ends, s.hold = make(map[int32]*change.TxRecord), &hold{}
	}
	if old := s.ends[rec.Partition]; old != nil && !maps.Equal(old.Counts, rec.Counts) {
		return nil, contradiction(rec.Source, rec.Mark.Position, "two snapshot ends in partition %d with different counts", rec.Partition)
	}
	s.ends[rec.Partition] = rec
	for name, c := range s.Counts {
		partition, table, _ := strings.Cut(name, "/")
		if partition == strconv.Itoa(int(rec.Partition)) && c.N > rec.Counts[table] {
			return nil, contradiction(rec.Source, rec.Mark.Position,
				"table %s has %d snapshot rows in partition %d, more than the %d that were counted", table, c.N, rec.Partition, rec.Counts[table])
		}
	}
	return s.hold, nil
}

// finished returns a SnapshotEnded record when every partition's is in and the
// rows are as many as they say.
func (s *snapshot) finished(partitions int32, known func(string) bool) (*change.TxRecord, bool) {
	if !s.Open || len(s.ends) == 0 {
		return nil, false
	}
	if int32(len(s.ends)) < partitions {
		return nil, false
	}
	var last *change.TxRecord
	for _, end := range s.ends {
		if last == nil || end.Committed.After(last.Committed) {
			last = end
		}
	}
	for p, end := range s.ends {
		for table, n := range end.Counts {
			if c := s.Counts[streamName(streamKey{p, table})]; known(table) && n > 0 && (c == nil || c.N < n) {
				return nil, false
			}
		}
	}
	return last, true
}

// tables lists the tables that the snapshot covered.
func (s *snapshot) tables(source string) []change.Table {
	var names []change.Table
	for _, end := range s.ends {
		for name := range end.Counts {
			if t := (change.Table{Source: source, Name: name}); !slices.Contains(names, t) {
				names = append(names, t)
			}
		}
	}
	slices.SortFunc(names, compareTables)
	return names
}

// close ends the snapshot.
func (s *snapshot) close() {
	for _, c := range s.Counts {
		s.Last = max(s.Last, c.Last)
	}
	s.Tables = s.Tables[:0]
	for _, t := range s.tables("") {
		s.Tables = append(s.Tables, t.Name)
	}
	s.Open, s.Finished, s.Counts = false, true, nil
	s.hold.done = true
	s.ends, s.hold = nil, nil
}

func compareTables(a, b change.Table) int { return strings.Compare(a.String(), b.String()) }

// progress is composition's own state of one source, in Progress.Extra.
type progress struct {
	// Applied is how far the source's rows are in row state. What Progress itself
	// says is how far resources show them: while a snapshot is open, or everything
	// is to be composed again, that stands still.
	Applied  *change.Freshness `json:"applied,omitempty"`
	Snapshot snapshot          `json:"snapshot"`
	Rows     map[string]int64  `json:"rows,omitempty"`    // in row state, by table
	Missing  int64             `json:"missing,omitempty"` // deletes of rows that were not there
}
