package kafka_test

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/kafka"
)

// A topic that exists with settings that would lose records is refused by name,
// with the command that mends it; all of them at once.
func TestTopicSettings(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	made := map[string]map[string]string{
		"fine":        {"retention.ms": "-1", "cleanup.policy": "delete"},
		"by.default":  {}, // whose retention is a week
		"finite":      {"retention.ms": "1000"},
		"small":       {"retention.ms": "-1", "retention.bytes": "1000000"},
		"compacted":   {"retention.ms": "-1", "cleanup.policy": "compact"},
		"insync":      {"retention.ms": "-1", "min.insync.replicas": "1"},
		"partitioned": {"retention.ms": "-1"},
	}
	for name, settings := range made {
		configs := map[string]*string{}
		for k, v := range settings {
			configs[k] = kadm.StringPtr(v)
		}
		if _, err := admin.CreateTopic(timeout(t), 2, 1, configs, name); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	conn := kafka.Connection{Brokers: cluster.ListenAddrs()}
	for name, want := range map[string]string{
		"fine":        "",
		"by.default":  "--entity-name by.default --add-config retention.ms=-1",
		"finite":      "topic finite: its retention.ms is 1000",
		"small":       "--add-config retention.bytes=-1",
		"compacted":   "--add-config cleanup.policy=delete",
		"insync":      "--add-config min.insync.replicas=2",
		"partitioned": "has 2 partitions, configured are 3",
		"new":         "",
	} {
		spec := kafka.TopicSpec{Name: name, Partitions: 2}
		switch name {
		case "insync":
			spec.MinInSync = 2
		case "partitioned":
			spec.Partitions = 3
		}
		err := kafka.EnsureTopics(timeout(t), conn, []kafka.TopicSpec{spec})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	err = kafka.EnsureTopics(timeout(t), conn, []kafka.TopicSpec{{Name: "finite", Partitions: 2}, {Name: "compacted", Partitions: 2}})
	if err == nil || !strings.Contains(err.Error(), "topic finite") || !strings.Contains(err.Error(), "topic compacted") {
		t.Errorf("not both at once: %v", err)
	}
}

// A row that is larger than the topic takes stops the writer with table, place
// and the setting; batches of smaller rows keep to the topic's limit.
func TestTopicTakesLess(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	conn := kafka.Connection{Brokers: cluster.ListenAddrs()}
	ctx := timeout(t)
	registry, err := kafka.OpenLocalRegistry(ctx, conn)
	if err != nil {
		t.Fatal(err)
	}
	defer registry.Close()
	specs := zooTopics(4)
	if err := kafka.EnsureTopics(ctx, conn, specs); err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(conn.Brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	limit := kadm.AlterConfig{Op: kadm.SetConfig, Name: "max.message.bytes", Value: kadm.StringPtr("65536")}
	if _, err := kadm.NewClient(client).AlterTopicConfigs(ctx, []kadm.AlterConfig{limit}, "cdc.zoo.pets"); err != nil {
		t.Fatal(err)
	}
	w, err := kafka.OpenWriter(ctx, kafka.WriterConfig{Connection: conn, Registry: registry, Source: "zoo",
		Tables: zooTables, Partitions: 4, Compression: "none"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Start(ctx, change.TxRecord{Incarnation: 1, Mark: change.Mark{Position: change.Position{Generation: 1, Ordinal: 1}}}); err != nil {
		t.Fatal(err)
	}
	row := func(sequence uint64, size int) error {
		return w.Append(ctx, "m1", pet(7, sequence, strings.Repeat("x", size)))
	}
	for n := range uint64(50) {
		if err := row(n+1, 20_000); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(ctx); err != nil {
		t.Fatalf("rows that fit, together more than the topic takes in one: %v", err)
	}
	err = row(51, 100_000)
	for _, want := range []string{"table zoo.pets", "1.7.51", "topic cdc.zoo.pets", "--add-config max.message.bytes="} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
}
