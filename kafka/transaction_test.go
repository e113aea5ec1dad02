package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tributary-health/tributary/kafka"
)

// transactionalTopic opens a topic of a broker that knows transactions; several
// may be open at a time.
func transactionalCluster(t *testing.T) (kafka.Connection, kafka.TopicSpec) {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	conn := kafka.Connection{Brokers: cluster.ListenAddrs()}
	spec := kafka.TopicSpec{Name: "fhir.changes", Partitions: 2}
	if err := kafka.EnsureTopics(timeout(t), conn, []kafka.TopicSpec{spec}); err != nil {
		t.Fatal(err)
	}
	return conn, spec
}

func openTransactional(t *testing.T, conn kafka.Connection, spec kafka.TopicSpec) *kafka.TransactionalTopic {
	t.Helper()
	topic, err := kafka.OpenTransactionalTopic(timeout(t), conn, spec, kafka.TransactionConfig{ID: "store-1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(topic.Close)
	return topic
}

// put writes the numbers to both partitions and fails at the end with err.
func put(topic *kafka.TransactionalTopic, ctx context.Context, err error, numbers ...int) error {
	return topic.Transact(ctx, func(write func(int32, kafka.ChangeRecord) error) error {
		for partition := range int32(2) {
			for _, n := range numbers {
				r := kafka.ChangeRecord{Key: []byte("m"), Value: []byte("{}"), Headers: []kafka.Header{
					{Key: kafka.OutboxHeader, Value: strconv.Itoa(n)}, {Key: kafka.GenerationHeader, Value: "g1"}}}
				if err := write(partition, r); err != nil {
					return err
				}
			}
		}
		return err
	})
}

func lastIs(t *testing.T, topic *kafka.TransactionalTopic, want uint64) {
	t.Helper()
	for partition := range int32(2) {
		number, _, err := topic.Last(timeout(t), partition)
		if err != nil || number != want {
			t.Fatalf("partition %d: last number %d, %v; want %d", partition, number, err, want)
		}
	}
}

// A transaction that is not committed leaves nothing for who reads committed
// records, whether it was aborted or its writer died; the next one goes on after
// the last that was.
func TestTransactions(t *testing.T) {
	conn, spec := transactionalCluster(t)
	topic := openTransactional(t, conn, spec)
	lastIs(t, topic, 0)
	if err := put(topic, timeout(t), nil, 1, 2); err != nil {
		t.Fatal(err)
	}
	if err := put(topic, timeout(t), nil, 3); err != nil {
		t.Fatal(err)
	}
	lastIs(t, topic, 3)
	boom := errors.New("boom")
	if err := put(topic, timeout(t), boom, 4, 5); !errors.Is(err, boom) {
		t.Fatalf("error %v", err)
	}
	if err := put(topic, timeout(t), nil, 4); err == nil {
		t.Fatal("a transaction before Last was asked after an error")
	}
	lastIs(t, topic, 3)
	// The writer dies with a transaction open: its records are in the log.
	dead := openTransactional(t, conn, spec)
	lastIs(t, dead, 3)
	func() {
		defer func() { _ = recover() }()
		_ = dead.Transact(timeout(t), func(write func(int32, kafka.ChangeRecord) error) error {
			for n := 4; n < 50; n++ {
				_ = write(0, kafka.ChangeRecord{Value: []byte("{}"), Headers: []kafka.Header{{Key: kafka.OutboxHeader, Value: strconv.Itoa(n)}}})
			}
			panic("as if killed")
		})
	}()
	topic = openTransactional(t, conn, spec)
	lastIs(t, topic, 3)
	if err := put(topic, timeout(t), nil, 4); err != nil {
		t.Fatal(err)
	}
	if g, err := topic.Generation(timeout(t), 1); err != nil || g != "g1" {
		t.Errorf("generation %q, %v", g, err)
	}
	var seen []string
	_ = kafka.Tail(timeout(t), conn, spec.Name, kafka.FromStart, func(r kafka.TailRecord) error {
		if seen = append(seen, fmt.Sprint(r.Partition, ":", r.Header(kafka.OutboxHeader))); len(seen) == 8 {
			return errors.New("enough")
		}
		return nil
	})
	slices.Sort(seen)
	if want := []string{"0:1", "0:2", "0:3", "0:4", "1:1", "1:2", "1:3", "1:4"}; !slices.Equal(seen, want) {
		t.Errorf("committed are %v, want %v", seen, want)
	}
}

// Two writers of one store: the later one shuts the earlier out, and when they
// fight, one of them ends for good.
func TestTransactionsFence(t *testing.T) {
	conn, spec := transactionalCluster(t)
	a, b := openTransactional(t, conn, spec), openTransactional(t, conn, spec)
	lastIs(t, a, 0)
	if err := put(a, timeout(t), nil, 1); err != nil {
		t.Fatal(err)
	}
	lastIs(t, b, 1) // claims
	if err := put(a, timeout(t), nil, 2); err == nil || errors.Is(err, kafka.ErrFenced) {
		t.Fatalf("the first one that is shut out: %v, want an error that may be tried again", err)
	}
	if err := put(b, timeout(t), nil, 2); err != nil {
		t.Fatal(err)
	}
	lastIs(t, a, 2) // claims it back
	if err := put(b, timeout(t), nil, 3); err == nil {
		t.Fatal("the second was not shut out")
	}
	lastIs(t, b, 2)
	if err := put(a, timeout(t), nil, 3); !errors.Is(err, kafka.ErrFenced) {
		t.Fatalf("shut out twice: %v, want ErrFenced", err)
	}
	if err := put(b, timeout(t), nil, 3); err != nil {
		t.Fatal(err)
	}
	lastIs(t, b, 3)
}

// Nothing is committed to a topic that was made anew under its writer, and Last
// shows what is gone.
func TestTransactionsTopicMadeAnew(t *testing.T) {
	conn, spec := transactionalCluster(t)
	topic := openTransactional(t, conn, spec)
	lastIs(t, topic, 0)
	if err := put(topic, timeout(t), nil, 1, 2, 3); err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(conn.Brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).DeleteTopic(timeout(t), spec.Name); err != nil {
		t.Fatal(err)
	}
	if err := kafka.EnsureTopics(timeout(t), conn, []kafka.TopicSpec{spec}); err != nil {
		t.Fatal(err)
	}
	if err := put(topic, timeout(t), nil, 4); err == nil {
		t.Fatal("number 4 was committed to a topic that lost the ones before")
	}
	again := openTransactional(t, conn, spec)
	lastIs(t, again, 0)
}

// Who looks whose the topic is does not shut its writer out; and while somebody
// else's transaction is open, the topic's end is not known.
func TestTransactionsUndecided(t *testing.T) {
	conn, spec := transactionalCluster(t)
	topic, looker := openTransactional(t, conn, spec), openTransactional(t, conn, spec)
	lastIs(t, topic, 0)
	if err := put(topic, timeout(t), nil, 1); err != nil {
		t.Fatal(err)
	}
	if g, err := looker.Generation(timeout(t), 0); err != nil || g != "g1" {
		t.Fatalf("generation %q, %v", g, err)
	}
	if err := put(topic, timeout(t), nil, 2); err != nil {
		t.Fatalf("shut out by one that looked: %v", err)
	}
	other, err := kgo.NewClient(kgo.SeedBrokers(conn.Brokers...), kgo.TransactionalID("another"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := other.ProduceSync(timeout(t), &kgo.Record{Topic: spec.Name, Partition: 0, Value: []byte("{}")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if n, _, err := topic.Last(timeout(t), 0); !errors.Is(err, kafka.ErrUndecided) {
		t.Errorf("last number %d, %v; want ErrUndecided", n, err)
	}
	if err := other.EndTransaction(timeout(t), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	lastIs(t, topic, 2)
}
