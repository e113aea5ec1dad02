package kafka_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/kafka"
)

func TestRowsAndTransactionsComeBack(t *testing.T) {
	for _, format := range []kafka.Format{kafka.Avro, kafka.JSON} {
		for _, compression := range []string{"none", "snappy", "lz4", "zstd"} {
			t.Run(string(format)+"/"+compression, func(t *testing.T) {
				z := newZoo(t)
				w := z.begin(func(c *kafka.WriterConfig) { c.Format, c.Compression = format, compression })
				want := map[uint64]*change.Event{}
				for i := range uint64(300) {
					ev := pet(2, i+1, fmt.Sprintf("owner %d", i))
					if err := w.Append(timeout(t), ev.After[1].Text, ev); err != nil {
						t.Fatal(err)
					}
					want[i+1] = ev
				}
				toy := &change.Event{Position: change.Position{Generation: 1, Ordinal: 2, Sequence: 301}, Op: change.Delete,
					Schema: toys, Before: []change.Value{change.Of("7"), {State: change.Unchanged}}, Committed: time.UnixMicro(5).UTC()}
				if err := w.Append(timeout(t), "", toy); err != nil {
					t.Fatal(err)
				}
				want[301] = toy
				if err := w.End(timeout(t), ended(2)); err != nil {
					t.Fatal(err)
				}
				z.flush(w)
				all := z.all()
				for _, r := range all {
					if r.Event == nil {
						continue
					}
					w := want[r.Event.Position.Sequence]
					if w == nil {
						t.Fatalf("unexpected or repeated event %v", r.Event.Position)
					}
					delete(want, r.Event.Position.Sequence)
					got := *r.Event
					if !reflect.DeepEqual(got.Schema, w.Schema) {
						t.Fatalf("schema %+v, want %+v", got.Schema, w.Schema)
					}
					got.Schema = w.Schema
					if !reflect.DeepEqual(&got, w) {
						t.Fatalf("got  %+v\nwant %+v", &got, w)
					}
				}
				if len(want) > 0 {
					t.Fatalf("%d events are missing", len(want))
				}
				checkEnd(t, txs(all, change.Ended))
			})
		}
	}
}

// checkEnd checks the ENDs of the one transaction of 300 pets and a toy.
func checkEnd(t *testing.T, ends []*change.TxRecord) {
	t.Helper()
	if len(ends) != 4 {
		t.Fatalf("%d ENDs, want 4", len(ends))
	}
	var pets, toys int64
	for _, e := range ends {
		pets += e.Counts["pets"]
		toys += e.Counts["toys"]
		if e.EventCount != 301 || !slices.Equal(e.Partitions, []int32{0, 1, 2, 3}) || e.Source != "zoo" ||
			e.Incarnation != 1 || e.History != "sys-1/1" || e.Mark != mark(2) {
			t.Errorf("END %+v", e)
		}
		if e.Previous != mark(1).Position || e.Durable != mark(1) {
			t.Errorf("END follows %v with %v durable, want the snapshot's position", e.Previous, e.Durable)
		}
	}
	if pets != 300 || toys != 1 {
		t.Errorf("counts %d and %d, want 300 and 1", pets, toys)
	}
}

func TestChainAndDurable(t *testing.T) {
	z := newZoo(t)
	w := z.open()
	if r := w.Resume(); r != (kafka.Resume{}) || !w.LandingEmpty() {
		t.Fatalf("a new log resumes at %+v, landing empty %v", r, w.LandingEmpty())
	}
	if err := w.Append(timeout(t), "", pet(2, 1, "")); err == nil {
		t.Error("a row before Start was taken")
	}
	z.start(w, true)
	if err := w.Append(timeout(t), "ann", pet(1, 1, "ann")); err != nil {
		t.Fatal(err)
	}
	if err := w.Watermark(timeout(t), mark(1), time.Now()); err == nil {
		t.Error("a watermark within the snapshot was taken")
	}
	if err := w.SnapshotEnd(timeout(t), ended(1), zooTables); err != nil {
		t.Fatal(err)
	}
	if w.Durable() != mark(1) {
		t.Fatalf("durable %v after the snapshot", w.Durable())
	}
	z.transaction(w, 2, "ann", "bob")
	z.transaction(w, 3) // no rows: no record, but it counts as durable
	waitDurable(t, w, 3)
	z.transaction(w, 4, "ann")
	if err := w.Watermark(timeout(t), mark(5), time.UnixMicro(77).UTC()); err != nil {
		t.Fatal(err)
	}
	z.flush(w)
	waitDurable(t, w, 5)
	all := z.all()
	snap := txs(all, change.SnapshotEnded)
	if len(snap) != 4 {
		t.Fatalf("%d SNAPSHOT_ENDs", len(snap))
	}
	for _, s := range snap {
		if len(s.Counts) != 2 || s.Counts["toys"] != 0 || s.EventCount != 1 {
			t.Errorf("SNAPSHOT_END counts %v", s.Counts)
		}
	}
	previous := map[uint64]uint64{}
	for _, e := range append(txs(all, change.Ended), txs(all, change.Watermark)...) {
		previous[e.Mark.Position.Ordinal] = e.Previous.Ordinal
	}
	if want := map[uint64]uint64{1: 1, 2: 1, 4: 2, 5: 4}; !reflect.DeepEqual(previous, want) {
		t.Errorf("chain %v, want %v", previous, want)
	}
}

// A reader that goes on after the durable mark finds its place in the chain,
// whether the source sends again what was written beyond the mark or not.
func TestNextIncarnation(t *testing.T) {
	for name, c := range map[string]struct{ first, previous uint64 }{
		"sent again":     {3, 2},
		"not sent again": {9, 4},
	} {
		t.Run(name, func(t *testing.T) {
			z := newZoo(t)
			w := z.begin()
			z.transaction(w, 2, "ann")
			if err := w.Watermark(timeout(t), mark(2), time.Now()); err != nil {
				t.Fatal(err)
			}
			z.flush(w)
			if err := w.Watermark(timeout(t), mark(2), time.Now()); err != nil { // carries durable 2
				t.Fatal(err)
			}
			z.transaction(w, 3, "bob", "ann", "carl", "dora", "eve")
			z.transaction(w, 4, "bob")
			z.flush(w)
			w.Close()

			w = z.open()
			r := w.Resume()
			if r.Incarnation != 1 || r.History != "sys-1/1" || r.Durable.Position.Ordinal < 2 || w.LandingEmpty() {
				t.Fatalf("resume %+v", r)
			}
			z.start(w, false)
			z.transaction(w, c.first, "ann")
			z.flush(w)
			for _, e := range txs(z.all(), change.Ended) {
				if e.Incarnation == 2 && e.Previous.Ordinal != c.previous {
					t.Errorf("END %d follows %v, want %d", c.first, e.Previous, c.previous)
				}
			}
		})
	}
}

// A reader that lost its source starts again on the same writer.
func TestStartAgain(t *testing.T) {
	z := newZoo(t)
	w := z.begin()
	z.transaction(w, 2, "ann")
	if err := w.Append(timeout(t), "bob", pet(3, 1, "bob")); err != nil {
		t.Fatal(err)
	}
	z.start(w, false)
	z.transaction(w, 3, "bob", "ann")
	z.flush(w)
	waitDurable(t, w, 3)
	if r := w.Resume(); r.Incarnation != 2 || r.Durable != mark(3) {
		t.Fatalf("resume %+v", r)
	}
	for _, e := range txs(z.all(), change.Ended) {
		if e.Mark == mark(3) && (e.Incarnation != 2 || e.EventCount != 2 || e.Previous != mark(2).Position) {
			t.Errorf("END %+v", e)
		}
	}
}

// Durable is a prefix: what other partitions have acknowledged beyond a record
// that is outstanding does not count.
func TestDurableIsContiguous(t *testing.T) {
	z := newZoo(t)
	w := z.begin()
	topic := kafka.LandingTopic(pets.Table)
	slow := change.Partition("ann", 4)
	other := ownerOf(func(p int32) bool { return p != slow })
	fault := z.broker.ClusterForTest().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic,
		Partitions: []int32{slow}, Err: kerr.NotEnoughReplicas, Count: -1})
	z.transaction(w, 2, "ann")
	for i := range uint64(50) {
		z.transaction(w, 3+i, other)
	}
	z.transaction(w, 60)
	if err := fault.Wait(timeout(t), 2); err != nil {
		t.Fatal(err)
	}
	awaitEnd(t, z.conn, kafka.TopicPartition{Topic: topic, Partition: change.Partition(other, 4)}, 50)
	if got := w.Durable(); got != mark(1) {
		t.Errorf("durable %v while transaction 2 is outstanding", got)
	}
	fault.Remove()
	z.flush(w)
	waitDurable(t, w, 60)
}

func ownerOf(ok func(partition int32) bool) string {
	for i := 0; ; i++ {
		if owner := fmt.Sprintf("owner-%d", i); ok(change.Partition(owner, 4)) {
			return owner
		}
	}
}

// awaitEnd waits until the partition holds at least n records.
func awaitEnd(t *testing.T, conn kafka.Connection, tp kafka.TopicPartition, n int64) {
	t.Helper()
	ctx := timeout(t)
	for {
		ranges, err := kafka.Ranges(ctx, conn, tp.Topic)
		if err != nil {
			t.Fatal(err)
		}
		if ranges[tp].End >= n {
			return
		}
	}
}

// A record that can never be written stops the writer, and nothing at or after
// it is called durable.
func TestFailedRecordStops(t *testing.T) {
	z := newZoo(t)
	w := z.begin()
	z.broker.ClusterForTest().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: kafka.LandingTopic(pets.Table),
		Err: kerr.TopicAuthorizationFailed, Count: -1})
	if err := w.Append(timeout(t), "ann", pet(2, 1, "ann")); err != nil {
		t.Fatal(err)
	}
	// It fails only if the failure is known already.
	if err := w.End(timeout(t), ended(2)); err != nil && !strings.Contains(err.Error(), "cdc.zoo.pets") {
		t.Errorf("end: %v", err)
	}
	if err := w.Flush(timeout(t)); err == nil || !strings.Contains(err.Error(), "cdc.zoo.pets") {
		t.Errorf("flush: %v", err)
	}
	if w.Err() == nil || w.Durable() != mark(1) {
		t.Errorf("err %v, durable %v", w.Err(), w.Durable())
	}
	if err := w.Append(timeout(t), "bob", pet(3, 1, "bob")); err == nil {
		t.Error("a row was taken after the failure")
	}
}

func TestOversizedRowIsRefused(t *testing.T) {
	z := newZoo(t)
	w := z.begin()
	err := w.Append(timeout(t), "ann", pet(2, 1, strings.Repeat("secret", kafka.MaxRecordBytes/6+1)))
	if err == nil || !strings.Contains(err.Error(), "cdc.zoo.pets") || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %.200v", err)
	}
	if err := w.Append(timeout(t), "ann", pet(2, 1, strings.Repeat("x", kafka.MaxRecordBytes-200))); err != nil {
		t.Fatal(err)
	}
	z.flush(w)
}

// While the broker is away callers wait, memory is bounded, and what was
// appended arrives once, in order.
func TestBrokerAway(t *testing.T) {
	dir := t.TempDir()
	broker := startBroker(t, kafka.BrokerConfig{Dir: dir})
	addr := broker.Addr()
	z := &zoo{t: t, broker: broker, conn: broker.Connection()}
	if err := kafka.EnsureTopics(timeout(t), z.conn, zooTopics(4)); err != nil {
		t.Fatal(err)
	}
	var err error
	if z.registry, err = kafka.OpenLocalRegistry(timeout(t), z.conn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { z.registry.Close() })
	const limit = 1 << 20
	w := z.begin(func(c *kafka.WriterConfig) { c.BufferBytes = limit })
	z.transaction(w, 2, "ann")
	z.flush(w)
	broker.Close()

	const rows = 20_000
	done := make(chan error, 1)
	blocked := make(chan struct{})
	go func() {
		for i := range uint64(rows) {
			ctx := context.Background()
			if i == 5000 {
				close(blocked) // by now the limit would be passed several times over
			}
			owner := fmt.Sprint("owner-", i%100)
			if err := errors.Join(w.Append(ctx, owner, pet(3+i, 1, owner)), w.End(ctx, ended(3+i))); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	select {
	case <-blocked:
		t.Fatal("appending went on while the broker was away")
	case <-time.After(500 * time.Millisecond): // nothing signals that nothing happens
	}
	if n := w.Buffered(); n > limit+64<<10 || n < limit/2 {
		t.Errorf("%d bytes are buffered, the limit is %d", n, limit)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.Flush(ctx); err == nil {
		t.Error("flush succeeded without a broker")
	}
	z.broker = startBroker(t, kafka.BrokerConfig{Dir: dir, Addr: addr})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	z.flush(w)
	waitDurable(t, w, rows+2)
	checkOnceInOrder(t, z.all(), rows+1)
}

// checkOnceInOrder fails unless there are n events, none twice, each
// partition's in order of position.
func checkOnceInOrder(t *testing.T, all []kafka.Record, n int) {
	t.Helper()
	last := map[kafka.TopicPartition]change.Position{}
	count := 0
	for _, r := range all {
		if r.Event == nil {
			continue
		}
		count++
		tp := kafka.TopicPartition{Topic: r.Topic, Partition: r.Partition}
		if cmp.Compare(r.Event.Position.Compare(last[tp]), 0) <= 0 {
			t.Fatalf("%v: %v after %v", tp, r.Event.Position, last[tp])
		}
		last[tp] = r.Event.Position
	}
	if count != n {
		t.Errorf("%d events, want %d", count, n)
	}
}

// A partition of the tx topic that lost what another one remembers is named.
func TestLostTxTopic(t *testing.T) {
	z := newZoo(t)
	w := z.begin()
	z.transaction(w, 2, "ann")
	z.flush(w)
	w.Close()
	cfg := kafka.WriterConfig{Connection: z.conn, Registry: z.registry, Source: "zoo", Tables: zooTables, Partitions: 8}
	if _, err := kafka.OpenWriter(timeout(t), cfg); err == nil || !strings.Contains(err.Error(), "has 4 partitions, configured are 8") {
		t.Errorf("other partition count: %v", err)
	}
	recreate(t, z.conn, kafka.TxTopic("zoo"))
	w = z.open()
	if r := w.Resume(); !r.Durable.Position.IsZero() || w.LandingEmpty() {
		t.Errorf("resume %+v, landing empty %v: want no mark and rows", r, w.LandingEmpty())
	}
}
