package compose

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
)

var rowSchema = &change.Schema{Table: change.Table{Source: "s", Name: "t"},
	Columns: []change.Column{{Name: "id", Type: change.String, Key: true}}}

var otherSchema = &change.Schema{Table: change.Table{Source: "s", Name: "u"}, Columns: rowSchema.Columns}

func at(ordinal uint64) change.Position { return change.Position{Generation: 1, Ordinal: ordinal} }

// rowRec is a row of transaction ordinal, by an incarnation.
func rowRec(schema *change.Schema, partition int32, inc change.Incarnation, ordinal, seq uint64) Record {
	p := at(ordinal)
	p.Sequence = seq
	return Record{From: commit.TopicPartition{Topic: "cdc." + schema.Table.String(), Partition: partition}, Bytes: 100,
		Event: &change.Event{Op: change.Create, Schema: schema, Position: p, Incarnation: inc, Committed: time.Unix(int64(ordinal), 0).UTC(),
			After: []change.Value{change.Of(fmt.Sprintf("%d.%d", ordinal, seq))}}}
}

func txRec(partition int32, tx change.TxRecord) Record {
	tx.Partition, tx.Source = partition, "s"
	return Record{From: commit.TopicPartition{Topic: "cdc.s.tx", Partition: partition}, Tx: &tx}
}

// endRec is one partition's END; counts are by partition of the one table t.
func endRec(partition int32, inc change.Incarnation, ordinal, previous uint64, counts map[int32]int64) Record {
	tx := change.TxRecord{Status: change.Ended, Incarnation: inc, Mark: change.Mark{Position: at(ordinal)}, Previous: at(previous),
		Committed: time.Unix(int64(ordinal), 0).UTC(), Counts: map[string]int64{"t": counts[partition]}}
	for p, n := range counts {
		tx.Partitions = append(tx.Partitions, p)
		tx.EventCount += n
	}
	slices.Sort(tx.Partitions)
	return txRec(partition, tx)
}

func markRec(partition int32, inc change.Incarnation, at_, previous uint64) Record {
	return txRec(partition, change.TxRecord{Status: change.Watermark, Incarnation: inc, Mark: change.Mark{Position: at(at_)}, Previous: at(previous)})
}

func startRec(partition int32, inc change.Incarnation, mark uint64) Record {
	return txRec(partition, change.TxRecord{Status: change.Started, Incarnation: inc, Mark: change.Mark{Position: at(mark)}})
}

// testAssembler has a source whose snapshot ended at ordinal 1.
func testAssembler(t testing.TB, budget int, f commit.Frontier) *assembler {
	if f.Sources == nil {
		f.Sources = map[string]commit.Progress{"s": {Freshness: change.Freshness{Position: at(1)}}}
	}
	cfg := &Config{Sources: []string{"s"}, Partitions: 2, MemoryBudget: budget, SpillDir: t.TempDir()}
	a := newAssembler(cfg, func(change.Table) bool { return true }, f, map[string]snapshot{"s": {Incarnation: 1, Finished: true}})
	t.Cleanup(func() {
		if err := a.close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// drain lists what comes out: "ordinal:sequences".
func drain(a *assembler) (out []string, err error) {
	for {
		r, err := a.Next(nil)
		if err != nil || r == nil {
			return out, err
		}
		var seqs []string
		err = a.rows(r.transaction, func(ev *change.Event) error {
			if ev.Position.Transaction() != r.transaction.at || ev.Incarnation != r.transaction.incarnation {
				return errors.New("a row of another transaction")
			}
			seqs = append(seqs, fmt.Sprint(ev.Position.Sequence))
			return nil
		})
		if err != nil {
			return out, err
		}
		out = append(out, fmt.Sprintf("%d:%s", r.transaction.at.Ordinal, strings.Join(seqs, ",")))
		if err := a.drop(r.transaction); err != nil {
			return out, err
		}
	}
}

// log gives the records of each partition their offsets.
func logOf(recs ...Record) map[commit.TopicPartition][]Record {
	log := map[commit.TopicPartition][]Record{}
	for _, r := range recs {
		r.Next = int64(len(log[r.From])) + 1
		log[r.From] = append(log[r.From], r)
	}
	return log
}

// interleavings calls fn with every order of the log's records that keeps each
// partition's.
func interleavings(log map[commit.TopicPartition][]Record, fn func([]Record)) {
	var parts [][]Record
	total := 0
	for _, recs := range log {
		parts = append(parts, recs)
		total += len(recs)
	}
	var walk func(done []Record)
	walk = func(done []Record) {
		if len(done) == total {
			fn(done)
			return
		}
		for i := range parts {
			if len(parts[i]) == 0 {
				continue
			}
			r := parts[i][0]
			parts[i] = parts[i][1:]
			walk(append(done, r))
			parts[i] = append([]Record{r}, parts[i]...)
		}
	}
	walk(nil)
}

// Every interleaving of two incarnations that overlap gives each transaction
// once, whole and in order, and stopping after any record and reading again from
// the offsets gives the rest.
func TestEveryInterleaving(t *testing.T) {
	cases := map[string][]Record{
		"two partitions": {
			rowRec(rowSchema, 0, 1, 10, 1), rowRec(rowSchema, 1, 1, 10, 2), rowRec(rowSchema, 0, 1, 10, 3),
			endRec(0, 1, 10, 1, map[int32]int64{0: 2, 1: 1}), endRec(1, 1, 10, 1, map[int32]int64{0: 2, 1: 1}),
			rowRec(rowSchema, 1, 1, 20, 1), endRec(1, 1, 20, 10, map[int32]int64{1: 1}),
		},
		"first attempt died": {
			rowRec(rowSchema, 0, 1, 10, 1), rowRec(rowSchema, 0, 1, 10, 2),
			startRec(0, 2, 1), startRec(1, 2, 1),
			rowRec(rowSchema, 0, 2, 10, 1), rowRec(rowSchema, 0, 2, 10, 2), rowRec(rowSchema, 0, 2, 10, 3),
			endRec(0, 2, 10, 1, map[int32]int64{0: 3}),
		},
		"first attempt whole, not confirmed": {
			rowRec(rowSchema, 0, 1, 10, 1), endRec(0, 1, 10, 1, map[int32]int64{0: 1}), startRec(1, 2, 1),
			rowRec(rowSchema, 0, 2, 10, 1), endRec(0, 2, 10, 1, map[int32]int64{0: 1}),
		},
		"one END of the first attempt": {
			rowRec(rowSchema, 0, 1, 10, 1), rowRec(rowSchema, 1, 1, 10, 2), endRec(1, 1, 10, 1, map[int32]int64{0: 1, 1: 1}),
			rowRec(rowSchema, 0, 2, 10, 1), rowRec(rowSchema, 1, 2, 10, 2),
			endRec(0, 2, 10, 1, map[int32]int64{0: 1, 1: 1}), endRec(1, 2, 10, 1, map[int32]int64{0: 1, 1: 1}),
		},
		"resumed after a transaction without rows": {
			rowRec(rowSchema, 0, 1, 10, 1), endRec(0, 1, 10, 1, map[int32]int64{0: 1}),
			startRec(0, 2, 15), startRec(1, 2, 15),
			rowRec(rowSchema, 0, 2, 20, 1), endRec(0, 2, 20, 15, map[int32]int64{0: 1}),
		},
	}
	want := map[string]string{
		"two partitions": "10:1,2,3 20:1", "first attempt died": "10:1,2,3", "first attempt whole, not confirmed": "10:1",
		"one END of the first attempt": "10:1,2", "resumed after a transaction without rows": "10:1 20:1",
	}
	for name, recs := range cases {
		t.Run(name, func(t *testing.T) {
			log := logOf(recs...)
			n := 0
			interleavings(log, func(order []Record) {
				if n++; t.Failed() {
					return
				}
				got, a := feedAll(t, 1<<20, order)
				if strings.Join(got, " ") != want[name] {
					t.Fatalf("%v: got %v, want %s", describe(order), got, want[name])
				}
				for tp, recs := range log {
					if o := a.offsets.snapshot()[tp]; o != int64(len(recs)) {
						t.Fatalf("%v: offset %d of %v, want its end %d", describe(order), o, tp, len(recs))
					}
				}
				if n%7 == 0 {
					stopAnywhere(t, log, order, want[name])
				}
			})
			t.Logf("%d interleavings", n)
		})
	}
}

func feedAll(t testing.TB, budget int, order []Record) (got []string, a *assembler) {
	t.Helper()
	a = testAssembler(t, budget, commit.Frontier{})
	for i := range order {
		if _, err := a.Add(&order[i]); err != nil {
			t.Fatal(err)
		}
		out, err := drain(a)
		if err != nil {
			t.Fatalf("%v: %v", describe(order[:i+1]), err)
		}
		got = append(got, out...)
	}
	return got, a
}

// stopAnywhere stops after each record of the order and goes on with another
// assembler from the offsets, partition by partition.
func stopAnywhere(t *testing.T, log map[commit.TopicPartition][]Record, order []Record, want string) {
	for stop := range order {
		got, a := feedAll(t, 1<<20, order[:stop])
		f := commit.Frontier{Offsets: a.offsets.snapshot(), Sources: map[string]commit.Progress{"s": {Freshness: a.sources["s"].fresh}}}
		b := testAssembler(t, 1<<20, f)
		for tp, recs := range log {
			for i := f.Offsets[tp]; i < int64(len(recs)); i++ {
				if _, err := b.Add(&recs[i]); err != nil {
					t.Fatal(err)
				}
			}
		}
		out, err := drain(b)
		if err != nil {
			t.Fatal(err)
		}
		if s := strings.Join(append(got, out...), " "); s != want {
			t.Fatalf("stopped after %v: got %s, want %s", describe(order[:stop]), s, want)
		}
	}
}

func describe(recs []Record) (s []string) {
	for _, r := range recs {
		if r.Event != nil {
			s = append(s, fmt.Sprintf("row(p%d i%d %d.%d)", r.From.Partition, r.Event.Incarnation, r.Event.Position.Ordinal, r.Event.Position.Sequence))
		} else {
			s = append(s, fmt.Sprintf("%s(p%d i%d %d)", r.Tx.Status, r.From.Partition, r.Tx.Incarnation, r.Tx.Mark.Position.Ordinal))
		}
	}
	return s
}

// Two rows of a dead attempt and one of the next are not the three rows that the
// END counts.
func TestRawRecordsAreNotCounted(t *testing.T) {
	end := endRec(0, 2, 10, 1, map[int32]int64{0: 3})
	order := []Record{
		rowRec(rowSchema, 0, 1, 10, 1), rowRec(rowSchema, 0, 1, 10, 2), end, rowRec(rowSchema, 0, 2, 10, 1),
		rowRec(rowSchema, 0, 2, 10, 1), rowRec(rowSchema, 0, 2, 10, 2), // a repeat, too
	}
	a := testAssembler(t, 1<<20, commit.Frontier{})
	next := map[commit.TopicPartition]int64{}
	add := func(r Record) []string {
		next[r.From]++
		r.Next = next[r.From]
		if _, err := a.Add(&r); err != nil {
			t.Fatal(err)
		}
		out, err := drain(a)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for _, r := range order {
		if out := add(r); len(out) > 0 {
			t.Fatalf("out came %v before its third row", out)
		}
	}
	if out := add(rowRec(rowSchema, 0, 2, 10, 3)); len(out) != 1 || out[0] != "10:1,2,3" {
		t.Fatalf("got %v", out)
	}
}

func TestContradictions(t *testing.T) {
	one := map[int32]int64{0: 1}
	cases := map[string][]Record{
		"more rows than counted":       {endRec(0, 1, 10, 1, map[int32]int64{0: 1, 1: 1}), rowRec(rowSchema, 0, 1, 10, 1), rowRec(rowSchema, 0, 1, 10, 2)},
		"more rows, END last":          {rowRec(rowSchema, 0, 1, 10, 1), rowRec(rowSchema, 0, 1, 10, 2), endRec(0, 1, 10, 1, one)},
		"a table that END leaves out":  {endRec(0, 1, 10, 1, map[int32]int64{0: 1, 1: 1}), rowRec(otherSchema, 0, 1, 10, 1)},
		"a partition END leaves out":   {endRec(0, 1, 10, 1, map[int32]int64{0: 2}), rowRec(rowSchema, 1, 1, 10, 1)},
		"two ENDs with other counts":   {endRec(0, 1, 10, 1, map[int32]int64{0: 1, 1: 1}), endRec(0, 1, 10, 1, map[int32]int64{0: 2, 1: 1})},
		"two ENDs with other previous": {endRec(0, 1, 10, 1, map[int32]int64{0: 1, 1: 1}), endRec(1, 1, 10, 2, map[int32]int64{0: 1, 1: 1})},
		"previous not before":          {endRec(0, 1, 10, 10, one)},
		"a watermark that goes back":   {markRec(0, 1, 20, 1), markRec(0, 1, 19, 1)},
		"a link missing":               {rowRec(rowSchema, 0, 1, 30, 1), endRec(0, 1, 30, 20, one), markRec(0, 1, 31, 30), markRec(1, 1, 31, 30)},
		"a row without sequence":       {rowRec(rowSchema, 0, 1, 10, 0)},
		"unknown status":               {txRec(0, change.TxRecord{Status: "BEGIN"})},
	}
	for name, recs := range cases {
		t.Run(name, func(t *testing.T) {
			a := testAssembler(t, 1<<20, commit.Frontier{})
			next := map[commit.TopicPartition]int64{}
			var err error
			for i := 0; i < len(recs) && err == nil; i++ {
				next[recs[i].From]++
				recs[i].Next = next[recs[i].From]
				if _, err = a.Add(&recs[i]); err == nil {
					_, err = drain(a)
				}
			}
			if !errors.Is(err, ErrContradiction) {
				t.Fatalf("got %v", err)
			}
			t.Log(err)
		})
	}
}

// A watermark moves what is applied when the chain has reached it, and not
// before.
func TestWatermark(t *testing.T) {
	order := []Record{
		markRec(0, 1, 15, 10), rowRec(rowSchema, 0, 1, 10, 1), endRec(0, 1, 10, 1, map[int32]int64{0: 1}),
	}
	a := testAssembler(t, 1<<20, commit.Frontier{})
	next := map[commit.TopicPartition]int64{}
	for i := range order {
		next[order[i].From]++
		order[i].Next = next[order[i].From]
		if _, err := a.Add(&order[i]); err != nil {
			t.Fatal(err)
		}
		if i < 2 {
			if _, err := drain(a); err != nil {
				t.Fatal(err)
			}
			if got := a.sources["s"].fresh.Position; got != at(1) {
				t.Fatalf("applied is %s", got)
			}
		}
	}
	if _, err := drain(a); err != nil {
		t.Fatal(err)
	}
	if got := a.sources["s"].fresh.Position; got != at(15) {
		t.Fatalf("applied is %s, want 1.15.0", got)
	}
}

// Rows above the budget go to the file and come back in order, and the file is
// empty when nothing is pending.
func TestSpill(t *testing.T) {
	const n = 5000
	var order []Record
	for i := uint64(1); i <= n; i++ {
		schema, partition := rowSchema, int32(i%2)
		order = append(order, rowRec(schema, partition, 1, 10, i))
	}
	counts := map[int32]int64{0: n / 2, 1: n / 2}
	order = append(order, endRec(0, 1, 10, 1, counts), endRec(1, 1, 10, 1, counts))
	next := map[commit.TopicPartition]int64{}
	a := testAssembler(t, 10_000, commit.Frontier{})
	spilled := false
	for i := range order {
		next[order[i].From]++
		order[i].Next = next[order[i].From]
		if _, err := a.Add(&order[i]); err != nil {
			t.Fatal(err)
		}
		if a.bytes > 10_000 {
			t.Fatalf("%d bytes in memory", a.bytes)
		}
		spilled = spilled || a.spool.live > 0
	}
	r, err := a.Next(nil)
	if err != nil || r == nil {
		t.Fatal(err)
	}
	var last uint64
	err = a.rows(r.transaction, func(ev *change.Event) error {
		if last++; ev.Position.Sequence != last || ev.After[0].Text != fmt.Sprintf("10.%d", last) || ev.Schema != rowSchema || !ev.Committed.Equal(time.Unix(10, 0)) {
			return fmt.Errorf("row %d came back as %+v", last, ev)
		}
		return nil
	})
	if err != nil || last != n {
		t.Fatalf("%d rows, %v", last, err)
	}
	if err := a.drop(r.transaction); err != nil {
		t.Fatal(err)
	}
	if !spilled || a.spool.live != 0 || a.spool.end != 0 || a.bytes != 0 {
		t.Fatalf("spilled %v, %d segments, %d bytes in the file, %d in memory", spilled, a.spool.live, a.spool.end, a.bytes)
	}
}
