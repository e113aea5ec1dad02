package compose_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/compose"
	"github.com/tributary-health/tributary/compose/mapping"
)

const partitions = 3

// columns of the small world's tables; the first is the key.
var worldColumns = map[string][]string{
	"a.people": {"id", "name", "born:date"},
	"a.makers": {"id", "name"},
	"a.drugs":  {"id", "name", "maker"},
	"a.orders": {"id", "who", "drug", "note", "at:timestamp"},
	"b.fills":  {"id", "who", "order_id", "code", "text", "at:instant"},
	"b.claims": {"id", "who", "day:date"},
	"b.lines":  {"id", "claim", "text"},
	"b.notes":  {"id", "line", "text"},
}

var columnTypes = map[string]change.Type{"date": change.Date, "timestamp": change.Timestamp, "instant": change.Instant}

func schemaOf(name string) *change.Schema {
	t, _ := change.ParseTable(name)
	s := &change.Schema{Table: t}
	for i, c := range worldColumns[name] {
		column := change.Column{Name: c, Type: change.String, Key: i == 0, Nullable: i > 0, Native: "text"}
		for suffix, typ := range columnTypes {
			if n := len(c) - len(suffix) - 1; n > 0 && c[n:] == ":"+suffix {
				column.Name, column.Type = c[:n], typ
			}
		}
		s.Columns = append(s.Columns, column)
	}
	return s
}

// loadMappings compiles the small world's mappings, with texts replaced.
func loadMappings(t testing.TB, edits ...string) *mapping.Set {
	t.Helper()
	text, err := os.ReadFile("testdata/mappings/all.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text = []byte(strings.NewReplacer(edits...).Replace(string(text)))
	set, problems := mapping.Load(fstest.MapFS{"all.yaml": {Data: text}}, mapping.Options{IDKey: []byte("test")})
	schemas := map[change.Table]*change.Schema{}
	for name := range worldColumns {
		s := schemaOf(name)
		schemas[s.Table] = s
	}
	if len(problems) == 0 {
		problems = set.Check(schemas)
	}
	for _, p := range problems {
		t.Errorf("testdata/mappings: %v", p)
	}
	if len(problems) > 0 || len(set.Resources()) == 0 {
		t.Fatal("no mappings to test with")
	}
	return set
}

// row is a row of the world, by column; a missing column is null.
type row []change.Value

func vals(texts ...string) row {
	r := make(row, len(texts))
	for i, t := range texts {
		if t != "NULL" {
			r[i] = change.Of(t)
		}
	}
	return r
}

// op is one row change as the source does it: from nil inserts, to nil deletes.
type op struct {
	table    string
	from, to row
}

// system is a source: its rows now, and its log of transactions.
type system struct {
	name    string
	set     *mapping.Set
	schemas map[string]*change.Schema
	rows    map[string]map[string]row // table, key
	txs     []simTx
	ordinal uint64
	clock   *time.Time
	minimal bool // updates resend only what has changed
}

type simTx struct {
	at        uint64
	committed time.Time
	events    []change.Event
}

func newSystem(set *mapping.Set, name string, clock *time.Time) *system {
	s := &system{name: name, set: set, rows: map[string]map[string]row{}, schemas: map[string]*change.Schema{}, clock: clock, ordinal: 100}
	for table := range worldColumns {
		if table[:1] == name {
			s.rows[table], s.schemas[table] = map[string]row{}, schemaOf(table)
		}
	}
	return s
}

// do commits one transaction.
func (s *system) do(ops ...op) {
	next := 0
	s.doEach(len(ops), func() op { next++; return ops[next-1] })
}

// doEach commits one transaction of n changes, each made when those before it
// are done.
func (s *system) doEach(n int, next func() op) {
	*s.clock = s.clock.Add(time.Second)
	s.ordinal += 10
	tx := simTx{at: s.ordinal, committed: *s.clock}
	for range n {
		tx.events = append(tx.events, s.events(next())...)
	}
	if len(tx.events) > 0 {
		s.txs = append(s.txs, tx)
	}
}

// events changes the rows and says so as capture does: a row whose key or route
// changes leaves and comes.
func (s *system) events(o op) []change.Event {
	schema := s.schemas[o.table]
	if o.from != nil {
		delete(s.rows[o.table], o.from[0].Text)
	}
	if o.to != nil {
		s.rows[o.table][o.to[0].Text] = o.to
	}
	ev := change.Event{Schema: schema, Committed: *s.clock}
	switch {
	case o.from == nil:
		ev.Op, ev.After = change.Create, o.to
	case o.to == nil:
		ev.Op, ev.Before = change.Delete, o.from
	case o.from[0] != o.to[0] || s.route(schema, o.from) != s.route(schema, o.to):
		out, in := ev, ev
		out.Op, out.Before = change.Delete, o.from
		in.Op, in.After = change.Create, o.to
		return []change.Event{out, in}
	default:
		ev.Op, ev.Before, ev.After = change.Update, o.from, slices.Clone(o.to)
		if s.minimal {
			for i := range ev.After {
				if i > 0 && ev.After[i] == o.from[i] {
					ev.After[i] = change.Value{State: change.Unchanged}
				}
			}
		}
	}
	return []change.Event{ev}
}

func (s *system) route(schema *change.Schema, r row) string {
	decl, _ := s.set.Table(schema.Table)
	if decl.Route.Kind == change.Reference {
		return ""
	}
	return r[max(schema.Column(decl.Route.Column), 0)].Text
}

// update changes one column of a row.
func (s *system) update(table, key, column, text string) op {
	from := s.rows[table][key]
	if from == nil {
		panic("no row " + key + " in " + table)
	}
	to := slices.Clone(from)
	to[s.schemas[table].Column(column)] = vals(text)[0]
	return op{table, from, to}
}

func (s *system) remove(table, key string) op { return op{table, s.rows[table][key], nil} }

// simLog is what lies in the landing and tx topics.
type simLog struct {
	parts map[commit.TopicPartition][]compose.Record
}

func newSimLog() *simLog { return &simLog{map[commit.TopicPartition][]compose.Record{}} }

func (l *simLog) append(tp commit.TopicPartition, ev *change.Event, tx *change.TxRecord) {
	l.parts[tp] = append(l.parts[tp], compose.Record{From: tp, Next: int64(len(l.parts[tp])) + 1, Event: ev, Tx: tx, Bytes: 100})
}

// writer is one source's capture: it writes transactions after its durable mark
// and may die at any record.
type writer struct {
	s           *system
	log         *simLog
	rnd         *rand.Rand
	incarnation change.Incarnation
	durable     uint64 // all at or below is wholly in the log
	previous    uint64
	cut         bool // this incarnation has died
	left        int  // records until it dies, if cut is to come; -1 for never
}

func pos(ordinal, seq uint64) change.Position {
	if ordinal == 0 {
		return change.Position{}
	}
	return change.Position{Generation: 1, Ordinal: ordinal, Sequence: seq}
}

func (w *writer) mark(ordinal uint64) change.Mark {
	return change.Mark{Position: pos(ordinal, 0), Token: "t" + strconv.FormatUint(ordinal, 10)}
}

// entry is a record on its way to a partition.
type entry struct {
	tp commit.TopicPartition
	ev *change.Event
	tx *change.TxRecord
}

// put writes the entries. When the writer dies among them, each partition has
// got a beginning of its own of them.
func (w *writer) put(entries []entry) {
	if w.cut {
		return
	}
	if w.left < 0 || len(entries) <= w.left {
		if w.left >= 0 {
			w.left -= len(entries)
		}
		for _, e := range entries {
			w.log.append(e.tp, e.ev, e.tx)
		}
		return
	}
	w.cut = true
	kept := map[commit.TopicPartition]int{}
	for _, e := range entries {
		kept[e.tp]++
	}
	for _, tp := range sortedParts(kept) {
		kept[tp] = w.rnd.IntN(kept[tp] + 1)
	}
	for _, e := range entries {
		if kept[e.tp] > 0 {
			kept[e.tp]--
			w.log.append(e.tp, e.ev, e.tx)
		}
	}
}

func sortedParts[V any](m map[commit.TopicPartition]V) []commit.TopicPartition {
	return slices.SortedFunc(maps.Keys(m), func(a, b commit.TopicPartition) int {
		if a.Topic != b.Topic {
			if a.Topic < b.Topic {
				return -1
			}
			return 1
		}
		return int(a.Partition - b.Partition)
	})
}

func (w *writer) txPart(p int32) commit.TopicPartition {
	return commit.TopicPartition{Topic: "cdc." + w.s.name + ".tx", Partition: p}
}

// everywhere makes a tx record for every partition.
func (w *writer) everywhere(rec change.TxRecord) (all []entry) {
	rec.Source, rec.Incarnation, rec.Durable = w.s.name, w.incarnation, w.mark(w.durable)
	for p := range int32(partitions) {
		r := rec
		r.Partition = p
		all = append(all, entry{w.txPart(p), nil, &r})
	}
	return all
}

// start begins the next incarnation; die says after how many records it ends.
func (w *writer) start(die int) {
	w.incarnation++
	w.cut, w.left = false, -1
	w.previous = w.durable
	rec := change.TxRecord{Status: change.Started, Snapshot: w.durable == 0}
	if w.durable > 0 {
		rec.Mark = w.mark(w.durable)
	}
	w.put(w.everywhere(rec))
	w.left = die
}

// resnapshot has the next start begin with a snapshot.
func (w *writer) resnapshot() { w.durable = 0 }

func (w *writer) rowEntry(ev *change.Event) entry {
	ev.Incarnation = w.incarnation
	p := change.Partition(w.s.route(ev.Schema, ev.Row()), partitions)
	return entry{commit.TopicPartition{Topic: "cdc." + ev.Schema.Table.String(), Partition: p}, ev, nil}
}

// snapshot writes every row as it is now.
func (w *writer) snapshot() {
	counts := make([]map[string]int64, partitions)
	for p := range counts {
		counts[p] = map[string]int64{}
		for table := range w.s.rows {
			counts[p][table[2:]] = 0
		}
	}
	seq := uint64(0)
	var all []entry
	for _, table := range slices.Sorted(maps.Keys(w.s.rows)) {
		for _, key := range slices.Sorted(maps.Keys(w.s.rows[table])) {
			seq++
			e := w.rowEntry(&change.Event{Position: pos(w.s.ordinal, seq), Op: change.Read, Schema: w.s.schemas[table],
				After: w.s.rows[table][key], Committed: *w.s.clock})
			counts[e.tp.Partition][table[2:]]++
			all = append(all, e)
		}
	}
	ends := w.everywhere(change.TxRecord{Status: change.SnapshotEnded, Mark: w.mark(w.s.ordinal), Committed: *w.s.clock})
	for p := range ends {
		ends[p].tx.Counts = counts[p]
	}
	w.put(append(all, ends...))
	if !w.cut {
		w.durable, w.previous = w.s.ordinal, w.s.ordinal
	}
}

// stream writes the transactions after the durable mark, and watermarks.
func (w *writer) stream() {
	var flying []entry // of several transactions, lost together
	for i := range w.s.txs {
		tx := &w.s.txs[i]
		if tx.at <= w.previous { // written by this incarnation, or before where it resumed
			continue
		}
		flying = append(flying, w.transaction(tx)...)
		w.previous = tx.at
		if w.rnd.IntN(3) == 0 && i < len(w.s.txs)-1 {
			continue
		}
		w.put(flying)
		if flying = nil; w.cut {
			return
		}
		if w.rnd.IntN(3) == 0 {
			w.watermark(tx.at, tx.committed)
		}
		if w.rnd.IntN(2) == 0 && !w.cut {
			w.durable = tx.at
		}
	}
}

func (w *writer) watermark(at uint64, committed time.Time) {
	w.put(w.everywhere(change.TxRecord{Status: change.Watermark, Mark: w.mark(at + 3), Previous: pos(w.previous, 0), Committed: committed}))
}

func (w *writer) transaction(tx *simTx) (all []entry) {
	counts := map[int32]map[string]int64{}
	for i := range tx.events {
		ev := tx.events[i]
		ev.Position = pos(tx.at, uint64(i+1))
		e := w.rowEntry(&ev)
		if counts[e.tp.Partition] == nil {
			counts[e.tp.Partition] = map[string]int64{}
		}
		counts[e.tp.Partition][ev.Schema.Table.Name]++
		all = append(all, e)
	}
	touched := slices.Sorted(maps.Keys(counts))
	for _, p := range touched {
		all = append(all, entry{w.txPart(p), nil, &change.TxRecord{Status: change.Ended, Source: w.s.name, Incarnation: w.incarnation,
			Mark: w.mark(tx.at), Previous: pos(w.previous, 0), Durable: w.mark(w.durable), Committed: tx.committed,
			Partition: p, Partitions: touched, Counts: counts[p], EventCount: int64(len(tx.events))}})
	}
	return all
}

// simFeed gives a log's records, each partition in order, partitions in any.
type simFeed struct {
	log   *simLog
	next  map[commit.TopicPartition]int64
	rnd   *rand.Rand
	batch int
}

func (f *simFeed) Poll(context.Context) ([]compose.Record, error) {
	var recs []compose.Record
	parts := sortedParts(f.log.parts)
	for range 1 + f.rnd.IntN(f.batch) {
		left := slices.DeleteFunc(slices.Clone(parts), func(tp commit.TopicPartition) bool { return f.next[tp] >= int64(len(f.log.parts[tp])) })
		if len(left) == 0 {
			break
		}
		tp := left[f.rnd.IntN(len(left))]
		for range 1 + f.rnd.IntN(4) {
			if f.next[tp] < int64(len(f.log.parts[tp])) {
				recs = append(recs, f.log.parts[tp][f.next[tp]])
				f.next[tp]++
			}
		}
	}
	if len(recs) == 0 {
		return nil, io.EOF
	}
	return recs, nil
}

// current gives the systems' rows as Read events.
func current(systems ...*system) iter.Seq2[*change.Event, error] {
	return func(yield func(*change.Event, error) bool) {
		for _, s := range systems {
			for table, rows := range s.rows {
				for _, r := range rows {
					if !yield(&change.Event{Op: change.Read, Incarnation: 1, Schema: s.schemas[table], After: r, Position: pos(1, 1)}, nil) {
						return
					}
				}
			}
		}
	}
}

// expected is what every current resource has to be.
func expected(t testing.TB, set *mapping.Set, systems ...*system) (map[string]string, map[string]string) {
	t.Helper()
	want, parked := map[string]string{}, map[string]string{}
	err := compose.ComposeAll(set, current(systems...), func(x compose.Expected) error {
		if x.Reason != "" {
			parked[x.Root] = x.Reason
			return nil
		}
		want[x.ID.String()] = x.Member + " " + string(x.Content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return want, parked
}

// storedRows lists the store's rows of sources, as "table route key".
func storedRows(s *memStore) map[string]bool {
	m := map[string]bool{}
	for p := range s.committed.rows {
		if !slices.Contains([]byte(p.table.Name), '#') {
			m[fmt.Sprintf("%s %s %s", p.table, p.route, p.key)] = true
		}
	}
	return m
}

func sourceRows(systems ...*system) map[string]bool {
	m := map[string]bool{}
	for _, s := range systems {
		for table, rows := range s.rows {
			for key, r := range rows {
				m[fmt.Sprintf("%s %s %s", table, s.route(s.schemas[table], r), key)] = true
			}
		}
	}
	return m
}
