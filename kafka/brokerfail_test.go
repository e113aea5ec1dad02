package kafka_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tributary-health/tributary/kafka"
)

// A write that the storage failed is never called a success later: from then on
// the broker accepts nothing and says why.
func TestFailedWrite(t *testing.T) {
	dir := t.TempDir()
	warned := make(chan string, 8)
	b := startBroker(t, kafka.BrokerConfig{Dir: dir, Hooks: kafka.BrokerHooks{Warning: func(m string) { warned <- m }}})
	if err := kafka.EnsureTopics(timeout(t), b.Connection(), []kafka.TopicSpec{{Name: "a"}}); err != nil {
		t.Fatal(err)
	}
	partitions := filepath.Join(dir, "log", "partitions")
	if err := errors.Join(os.MkdirAll(partitions, 0o750), os.WriteFile(filepath.Join(partitions, "a-0"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.ProduceSync(timeout(t), &kgo.Record{Topic: "a"}).FirstErr(); !errors.Is(err, kerr.UnknownServerError) {
		t.Errorf("first record: %v", err)
	}
	if m := <-warned; !strings.Contains(m, "a-0") || b.Err() == nil || !strings.Contains(b.Err().Error(), "restarted") {
		t.Errorf("warning %q, error %v", m, b.Err())
	}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if err := client.ProduceSync(ctx, &kgo.Record{Topic: "a", Partition: 1}).FirstErr(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a record for another partition: %v", err)
	}
}

// Clients are told the advertised name.
func TestAdvertise(t *testing.T) {
	b := startBroker(t, kafka.BrokerConfig{Advertise: "broker.example:19092"})
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	brokers, err := kadm.NewClient(client).ListBrokers(timeout(t))
	if err != nil || len(brokers) != 1 || brokers[0].Host != "broker.example" || brokers[0].Port != 19092 {
		t.Errorf("clients are told %+v, %v", brokers, err)
	}
}

func TestLogin(t *testing.T) {
	for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser(mechanism, "u", "right"))
		if err != nil {
			t.Fatal(err)
		}
		defer cluster.Close()
		conn := kafka.Connection{Brokers: cluster.ListenAddrs(), SASL: &kafka.SASL{Mechanism: mechanism, User: "u", Password: "right"}}
		if err := conn.Ping(timeout(t)); err != nil {
			t.Errorf("%s: %v", mechanism, err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		conn.SASL = &kafka.SASL{Mechanism: mechanism, User: "u", Password: "wrong"}
		if err := conn.Ping(ctx); err == nil || strings.Contains(err.Error(), "wrong") {
			t.Errorf("%s with a wrong password: %v", mechanism, err)
		}
	}
}
