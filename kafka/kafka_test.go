package kafka_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/kafka"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimDir); dir != "" {
		victim(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

func timeout(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func startBroker(t testing.TB, cfg kafka.BrokerConfig) *kafka.Broker {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	if cfg.ReserveBytes == 0 {
		cfg.ReserveBytes = 1
	}
	b, err := kafka.StartBroker(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

var (
	pets = &change.Schema{Table: change.Table{Source: "zoo", Name: "pets"}, Columns: []change.Column{
		{Name: "id", Type: change.Int, Key: true, Native: "bigint"},
		{Name: "owner", Type: change.String, Native: "text"},
		{Name: "note", Type: change.String, Nullable: true, Native: "text"},
	}}
	toys = &change.Schema{Table: change.Table{Source: "zoo", Name: "toys"}, Columns: []change.Column{
		{Name: "id", Type: change.Int, Key: true, Native: "bigint"},
		{Name: "price", Type: change.Decimal, Native: "numeric(8,2)"},
	}}
	zooTables = []change.Table{pets.Table, toys.Table}
)

func zooTopics(partitions int32) []kafka.TopicSpec {
	return kafka.SourceTopics("zoo", zooTables, partitions)
}

func topicNames(specs []kafka.TopicSpec) (names []string) {
	for _, s := range specs {
		names = append(names, s.Name)
	}
	return names
}

func mark(ordinal uint64) change.Mark {
	return change.Mark{Position: change.Position{Generation: 1, Ordinal: ordinal}, Token: fmt.Sprintf("0/%X", ordinal)}
}

func pet(ordinal, seq uint64, owner string) *change.Event {
	return &change.Event{
		Position: change.Position{Generation: 1, Ordinal: ordinal, Sequence: seq},
		Op:       change.Create, Schema: pets, Committed: time.UnixMicro(int64(ordinal) * 1000).UTC(),
		After: []change.Value{change.Of(fmt.Sprint(ordinal*1000 + seq)), change.Of(owner), {}},
	}
}

// zoo is a broker with the zoo's topics and a registry.
type zoo struct {
	t        testing.TB
	broker   *kafka.Broker
	conn     kafka.Connection
	registry *kafka.LocalRegistry
}

func newZoo(t testing.TB) *zoo {
	t.Helper()
	ctx := timeout(t)
	z := &zoo{t: t, broker: startBroker(t, kafka.BrokerConfig{})}
	z.conn = z.broker.Connection()
	if err := kafka.EnsureTopics(ctx, z.conn, zooTopics(4)); err != nil {
		t.Fatal(err)
	}
	var err error
	if z.registry, err = kafka.OpenLocalRegistry(ctx, z.conn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(z.registry.Close)
	return z
}

func (z *zoo) open(change ...func(*kafka.WriterConfig)) *kafka.Writer {
	z.t.Helper()
	cfg := kafka.WriterConfig{Connection: z.conn, Registry: z.registry, Source: "zoo", Tables: zooTables, Linger: -1}
	for _, c := range change {
		c(&cfg)
	}
	w, err := kafka.OpenWriter(timeout(z.t), cfg)
	if err != nil {
		z.t.Fatal(err)
	}
	z.t.Cleanup(w.Close)
	return w
}

// begin opens a writer whose first snapshot, without rows, ended at mark 1.
func (z *zoo) begin(change ...func(*kafka.WriterConfig)) *kafka.Writer {
	z.t.Helper()
	w := z.open(change...)
	z.start(w, true)
	if err := w.SnapshotEnd(timeout(z.t), ended(1), zooTables); err != nil {
		z.t.Fatal(err)
	}
	return w
}

func (z *zoo) start(w *kafka.Writer, snapshot bool) {
	z.t.Helper()
	r := w.Resume()
	rec := change.TxRecord{Incarnation: r.Incarnation + 1, Mark: r.Durable, History: "sys-1/1", Snapshot: snapshot}
	if err := w.Start(timeout(z.t), rec); err != nil {
		z.t.Fatal(err)
	}
}

func ended(ordinal uint64) change.TxRecord {
	return change.TxRecord{Mark: mark(ordinal), ID: fmt.Sprint(ordinal), Committed: time.UnixMicro(int64(ordinal) * 1000).UTC()}
}

// transaction appends rows of the owners and ends it.
func (z *zoo) transaction(w *kafka.Writer, ordinal uint64, owners ...string) {
	z.t.Helper()
	for i, owner := range owners {
		if err := w.Append(timeout(z.t), owner, pet(ordinal, uint64(i+1), owner)); err != nil {
			z.t.Fatal(err)
		}
	}
	if err := w.End(timeout(z.t), ended(ordinal)); err != nil {
		z.t.Fatal(err)
	}
}

func (z *zoo) flush(w *kafka.Writer) {
	z.t.Helper()
	if err := w.Flush(timeout(z.t)); err != nil {
		z.t.Fatal(err)
	}
}

// all reads everything that the zoo's topics hold now.
func (z *zoo) all() []kafka.Record {
	z.t.Helper()
	return readAll(z.t, z.conn, z.registry, topicNames(zooTopics(4)))
}

func readAll(t testing.TB, conn kafka.Connection, registry kafka.Registry, topics []string) []kafka.Record {
	t.Helper()
	ctx := timeout(t)
	ranges, err := kafka.Ranges(ctx, conn, topics...)
	if err != nil {
		t.Fatal(err)
	}
	for tp, r := range ranges {
		if r.End == 0 {
			delete(ranges, tp)
		}
	}
	r, err := kafka.OpenReader(ctx, kafka.ReaderConfig{Connection: conn, Registry: registry, Topics: topics})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var all []kafka.Record
	for len(ranges) > 0 {
		got, err := r.Poll(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range got {
			tp := kafka.TopicPartition{Topic: rec.Topic, Partition: rec.Partition}
			if rec.Next >= ranges[tp].End {
				delete(ranges, tp)
			}
		}
		all = append(all, got...)
	}
	return all
}

// txs returns the tx records among all, by status.
func txs(all []kafka.Record, status change.Status) (found []*change.TxRecord) {
	for _, r := range all {
		if r.Tx != nil && r.Tx.Status == status {
			found = append(found, r.Tx)
		}
	}
	return found
}

func waitDurable(t testing.TB, w *kafka.Writer, ordinal uint64) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); w.Durable().Position.Ordinal < ordinal; {
		if err := w.Err(); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("durable %v, want %d", w.Durable(), ordinal)
		}
		<-w.MovedForTest(50 * time.Millisecond)
	}
}

// recreate deletes a topic with all its records and makes it anew.
func recreate(t testing.TB, conn kafka.Connection, topic string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(conn.Brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if resp, err := kadm.NewClient(client).DeleteTopics(timeout(t), topic); err != nil || resp.Error() != nil {
		t.Fatal(err, resp.Error())
	}
	if err := kafka.EnsureTopics(timeout(t), conn, []kafka.TopicSpec{{Name: topic}}); err != nil {
		t.Fatal(err)
	}
}
