package kafka_test

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tributary-health/tributary/kafka"
)

// threeBrokers is a cluster that can be made to misbehave.
func threeBrokers(t *testing.T) (*kfake.Cluster, kafka.Connection) {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(3))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster, kafka.Connection{Brokers: cluster.ListenAddrs()}
}

// What brokers answer while leaders and coordinators move, copies are missing, or
// one of them lags behind, ends no transaction for good: in the end each number is
// there once.
func TestTransactionsThroughFaults(t *testing.T) {
	for _, c := range []struct {
		name  string
		key   kmsg.Key
		err   *kerr.Error
		count int
		fails bool // Transact says so, and may be called again
	}{
		{"too few copies", kmsg.Produce, kerr.NotEnoughReplicas, 4, false},
		{"too few copies, appended", kmsg.Produce, kerr.NotEnoughReplicasAfterAppend, 2, false},
		{"leader moved", kmsg.Produce, kerr.NotLeaderForPartition, 4, false},
		{"topic not known yet", kmsg.Produce, kerr.UnknownTopicOrPartition, 8, false},
		{"coordinator moved", kmsg.EndTxn, kerr.NotCoordinator, 3, false},
		{"coordinator loads", kmsg.EndTxn, kerr.CoordinatorLoadInProgress, 3, false},
		{"markers under way", kmsg.EndTxn, kerr.ConcurrentTransactions, 3, false},
		{"coordinator moved at the claim", kmsg.InitProducerID, kerr.NotCoordinator, 3, false},
		{"markers under way at the claim", kmsg.InitProducerID, kerr.ConcurrentTransactions, 3, false},
		{"fenced once", kmsg.EndTxn, kerr.ProducerFenced, 1, true},
		{"epoch bumped", kmsg.Produce, kerr.InvalidProducerEpoch, 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cluster, conn := threeBrokers(t)
			spec := kafka.TopicSpec{Name: "fhir.changes", Partitions: 2}
			if err := kafka.EnsureTopics(timeout(t), conn, []kafka.TopicSpec{spec}); err != nil {
				t.Fatal(err)
			}
			topic := openTransactional(t, conn, spec)
			atClaim := c.key == kmsg.InitProducerID
			var fault *kfake.FaultHandle
			if atClaim {
				fault = cluster.Fault(kfake.Fault{Keys: []kmsg.Key{c.key}, Err: c.err, Count: c.count})
			}
			lastIs(t, topic, 0)
			if !atClaim {
				fault = cluster.Fault(kfake.Fault{Keys: []kmsg.Key{c.key}, Err: c.err, Count: c.count})
			}
			err := put(topic, timeout(t), nil, 1, 2)
			if (err != nil) != c.fails || errors.Is(err, kafka.ErrFenced) {
				t.Fatalf("the first transaction: %v", err)
			}
			if fault.Hits() != c.count {
				t.Fatalf("%d answers were %v, want %d", fault.Hits(), c.err, c.count)
			}
			if c.fails {
				lastIs(t, topic, 0)
				if err := put(topic, timeout(t), nil, 1, 2); err != nil {
					t.Fatal(err)
				}
			}
			if err := put(topic, timeout(t), nil, 3); err != nil {
				t.Fatal(err)
			}
			lastIs(t, topic, 3)
		})
	}
}

// A topic is made though at first fewer brokers are up than it is to have copies.
func TestTopicsBeforeAllBrokers(t *testing.T) {
	cluster, conn := threeBrokers(t)
	fault := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Err: kerr.InvalidReplicationFactor, Count: 3})
	if err := kafka.EnsureTopics(timeout(t), conn, []kafka.TopicSpec{{Name: "a", Replication: 3}}); err != nil || fault.Hits() != 3 {
		t.Errorf("after %d refusals: %v", fault.Hits(), err)
	}
}

// Topics are not called made before the brokers that lead them know it, and one
// that does not know a topic for a while does not make it a missing one.
func TestLeaderLagsBehind(t *testing.T) {
	cluster, conn := threeBrokers(t)
	lag := func(answers int) *kfake.FaultHandle {
		return cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Err: kerr.UnknownTopicOrPartition, Count: answers})
	}
	fault := lag(4)
	if err := kafka.EnsureTopics(timeout(t), conn, []kafka.TopicSpec{{Name: "a"}}); err != nil || fault.Hits() != 4 {
		t.Fatalf("after %d such answers: %v", fault.Hits(), err)
	}
	fault = lag(2)
	if ranges, err := kafka.Ranges(timeout(t), conn, "a"); err != nil || len(ranges) != kafka.DefaultPartitions || fault.Hits() != 2 {
		t.Errorf("after %d such answers: %d partitions, %v", fault.Hits(), len(ranges), err)
	}
	if _, err := kafka.Ranges(timeout(t), conn, "b"); !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Errorf("a topic that nobody made: %v", err)
	}
}

// A leader that the brokers no longer name is waited for. The library's error for
// that is known by its text alone: it must still have it.
func TestUnnamedBrokerPasses(t *testing.T) {
	_, conn := threeBrokers(t)
	client, err := kgo.NewClient(kgo.SeedBrokers(conn.Brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_, err = client.Broker(99).Request(timeout(t), kmsg.NewPtrListOffsetsRequest())
	if err == nil || !kafka.PassesForTest(err) {
		t.Errorf("not waited for: %v", err)
	}
}
