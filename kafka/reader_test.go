package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tributary-health/tributary/kafka"
)

// A reader that is opened with the offsets after what it got delivers exactly
// the rest, wherever it is cut.
func TestReaderResumes(t *testing.T) {
	z := newZoo(t)
	w := z.begin()
	for i := range uint64(400) {
		z.transaction(w, 2+i, fmt.Sprint("owner-", i%13), fmt.Sprint("owner-", i%7))
	}
	z.flush(w)
	const want = 400 * 2
	offsets := map[kafka.TopicPartition]int64{}
	var all []kafka.Record
	events := 0
	for events < want {
		r, err := kafka.OpenReader(timeout(t), kafka.ReaderConfig{Connection: z.conn, Registry: z.registry,
			Topics: topicNames(zooTopics(4)), Offsets: offsets, Records: 150})
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.Poll(timeout(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range got[:(len(got)+1)/2] { // the rest is read again
			offsets[kafka.TopicPartition{Topic: rec.Topic, Partition: rec.Partition}] = rec.Next
			all = append(all, rec)
			if rec.Event != nil {
				events++
			}
			if rec.Bytes == 0 || (rec.Event == nil) == (rec.Tx == nil) {
				t.Fatalf("record %+v", rec)
			}
		}
		r.Close()
	}
	checkOnceInOrder(t, all, want)
}

// An offset that the log does not hold is an error that names it.
func TestReaderOffsetOutOfRange(t *testing.T) {
	z := newZoo(t)
	w := z.begin()
	z.transaction(w, 2, "ann", "ann", "ann")
	z.flush(w)
	tp := kafka.TopicPartition{Topic: "cdc.zoo.tx", Partition: 2}
	for name, c := range map[string]struct {
		offsets map[kafka.TopicPartition]int64
		want    []string
	}{
		"beyond": {map[kafka.TopicPartition]int64{tp: 1000}, []string{"topic cdc.zoo.tx, partition 2", "offset 1000 is due", "went back"}},
		"gone":   {map[kafka.TopicPartition]int64{{Topic: "cdc.zoo.pets", Partition: 9}: 1}, []string{"topic cdc.zoo.pets, partition 9", "partition count"}},
	} {
		_, err := kafka.OpenReader(timeout(t), kafka.ReaderConfig{Connection: z.conn, Registry: z.registry,
			Topics: topicNames(zooTopics(4)), Offsets: c.offsets})
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
	}
	_, err := kafka.OpenReader(timeout(t), kafka.ReaderConfig{Connection: z.conn, Registry: z.registry, Topics: []string{"cdc.zoo.none"}})
	if err == nil || !strings.Contains(err.Error(), "cdc.zoo.none") {
		t.Errorf("missing topic: %v", err)
	}
}

// A log that goes back while it is read is an error, for good, though for a while
// it may be the answer of a broker that leads no longer.
func TestReaderLogGoesBack(t *testing.T) {
	t.Parallel()
	z := newZoo(t)
	w := z.begin()
	z.transaction(w, 2, "ann", "bob", "carl")
	z.flush(w)
	r, err := kafka.OpenReader(timeout(t), kafka.ReaderConfig{Connection: z.conn, Registry: z.registry, Topics: topicNames(zooTopics(4))})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for n := 0; n < 3; {
		got, err := r.Poll(timeout(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range got {
			if rec.Event != nil {
				n++
			}
		}
	}
	z.broker.ClusterForTest().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "cdc.zoo.pets", Err: kerr.OffsetOutOfRange, Count: -1})
	z.transaction(w, 3, "ann")
	for range 2 { // the first takes ten seconds
		for err = nil; err == nil; {
			_, err = r.Poll(timeout(t))
		}
		if !errors.Is(err, kerr.OffsetOutOfRange) || !strings.Contains(err.Error(), "cdc.zoo.pets") {
			t.Errorf("poll: %v", err)
		}
	}
}

// What cannot be decoded stops the reader at its place, without its content.
func TestReaderGarbage(t *testing.T) {
	z := newZoo(t)
	client, err := kgo.NewClient(kgo.SeedBrokers(z.conn.Brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.ProduceSync(timeout(t), &kgo.Record{Topic: "cdc.zoo.pets", Value: []byte("secret")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	r, err := kafka.OpenReader(timeout(t), kafka.ReaderConfig{Connection: z.conn, Registry: z.registry, Topics: topicNames(zooTopics(4))})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range 2 {
		_, err = r.Poll(timeout(t))
		if err == nil || !strings.Contains(err.Error(), "cdc.zoo.pets") || !strings.Contains(err.Error(), "offset 0") || strings.Contains(err.Error(), "secret") {
			t.Errorf("poll: %v", err)
		}
	}
}

func TestReaderStopsWithContext(t *testing.T) {
	z := newZoo(t)
	r, err := kafka.OpenReader(timeout(t), kafka.ReaderConfig{Connection: z.conn, Registry: z.registry, Topics: topicNames(zooTopics(4))})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.Poll(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("poll: %v", err)
	}
}

func changes(from, to int) (records []kafka.ChangeRecord) {
	for n := from; n <= to; n++ {
		records = append(records, kafka.ChangeRecord{Key: []byte("member"), Value: fmt.Appendf(nil, `{"n":%d}`, n),
			Headers: []kafka.Header{{Key: "tributary-operation", Value: "update"}, {Key: kafka.OutboxHeader, Value: fmt.Sprint(n)}}})
	}
	records[0].Value = nil
	return records
}

func TestChangeTopic(t *testing.T) {
	conn := startBroker(t, kafka.BrokerConfig{}).Connection()
	spec := kafka.TopicSpec{Name: "fhir.changes"}
	if _, err := kafka.OpenChangeTopic(timeout(t), conn, spec); err == nil {
		t.Error("a change topic that does not exist was opened")
	}
	if err := kafka.EnsureTopics(timeout(t), conn, []kafka.TopicSpec{spec}); err != nil {
		t.Fatal(err)
	}
	topic, err := kafka.OpenChangeTopic(timeout(t), conn, spec)
	if err != nil {
		t.Fatal(err)
	}
	defer topic.Close()
	last := func(partition int32, number uint64, end int64) {
		t.Helper()
		n, e, err := topic.Last(timeout(t), partition)
		if err != nil || n != number || e != end {
			t.Errorf("last of %d: %d, %d, %v; want %d, %d", partition, n, e, err, number, end)
		}
	}
	last(1, 0, 0)
	for _, records := range [][]kafka.ChangeRecord{changes(1, 2000), changes(2001, 2001)} {
		if err := topic.Append(timeout(t), 1, records); err != nil {
			t.Fatal(err)
		}
	}
	last(1, 2001, 2001)
	last(0, 0, 0)
	if _, _, err := topic.Last(timeout(t), 7); err == nil {
		t.Error("last of a partition that does not exist")
	}
	checkTail(t, conn)
}

func checkTail(t *testing.T, conn kafka.Connection) {
	t.Helper()
	stop := errors.New("enough")
	next := int64(0)
	err := kafka.Tail(timeout(t), conn, "fhir.changes", kafka.FromStart, func(r kafka.TailRecord) error {
		if r.Partition != 1 || r.Offset != next || r.Header(kafka.OutboxHeader) != fmt.Sprint(next+1) || r.Header("none") != "" {
			return fmt.Errorf("record %+v, want offset %d", r, next)
		}
		if (r.Value == nil) != (next == 0 || next == 2000) {
			return fmt.Errorf("value %q at offset %d", r.Value, next)
		}
		if next++; next == 2001 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	err = kafka.Tail(ctx, conn, "fhir.changes", kafka.FromEnd, func(kafka.TailRecord) error { return stop })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("from the end: %v", err)
	}
}

// An Append that gives up leaves records on their way; Last waits to learn what
// became of them, so that nobody writes them twice.
func TestChangeTopicAbandoned(t *testing.T) {
	b := startBroker(t, kafka.BrokerConfig{})
	conn := b.Connection()
	spec := kafka.TopicSpec{Name: "fhir.changes"}
	if err := kafka.EnsureTopics(timeout(t), conn, []kafka.TopicSpec{spec}); err != nil {
		t.Fatal(err)
	}
	topic, err := kafka.OpenChangeTopic(timeout(t), conn, spec)
	if err != nil {
		t.Fatal(err)
	}
	defer topic.Close()
	fault := b.ClusterForTest().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
	short := func() context.Context {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	if err := topic.Append(short(), 0, changes(1, 5)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("append: %v", err)
	}
	if _, _, err := topic.Last(short(), 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("last, while it is not known: %v", err)
	}
	fault.Remove()
	n, end, err := topic.Last(timeout(t), 0)
	if err != nil || n != 5 || end != 5 {
		t.Errorf("last: %d, %d, %v", n, end, err)
	}
	if err := topic.Append(timeout(t), 0, changes(6, 9)); err != nil {
		t.Fatal(err)
	}
	var numbers []string
	_ = kafka.Tail(timeout(t), conn, "fhir.changes", kafka.FromStart, func(r kafka.TailRecord) error {
		if numbers = append(numbers, r.Header(kafka.OutboxHeader)); len(numbers) == 9 {
			return errors.New("enough")
		}
		return nil
	})
	if !slices.Equal(numbers, []string{"1", "2", "3", "4", "5", "6", "7", "8", "9"}) {
		t.Errorf("numbers %v", numbers)
	}
}

func TestConnectionSettings(t *testing.T) {
	for name, c := range map[string]struct {
		conn kafka.Connection
		want string
	}{
		"none":       {kafka.Connection{}, "no broker address"},
		"mechanism":  {kafka.Connection{Brokers: []string{"x:1"}, SASL: &kafka.SASL{Mechanism: "GSSAPI"}}, "SCRAM-SHA-256, SCRAM-SHA-512 or PLAIN"},
		"no TLS":     {kafka.Connection{Brokers: []string{"x:1"}, SASL: &kafka.SASL{Mechanism: "PLAIN", User: "u", Password: "p"}}, "use TLS"},
		"no user":    {kafka.Connection{Brokers: []string{"x:1"}, SASL: &kafka.SASL{Mechanism: "SCRAM-SHA-512"}}, "a user and a password"},
		"no CA file": {kafka.Connection{Brokers: []string{"x:1"}, TLS: &kafka.TLS{CAFile: "none.pem"}}, "none.pem"},
		"fine": {kafka.Connection{Brokers: []string{"x:1"}, TLS: &kafka.TLS{},
			SASL: &kafka.SASL{Mechanism: "SCRAM-SHA-512", User: "u", Password: "p"}}, ""},
	} {
		err := c.conn.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// A record that is sound, but another table's or another source's, stops the
// reader: it would be counted where it does not belong.
func TestReaderForeignRecord(t *testing.T) {
	for _, move := range []struct{ from, to, want string }{
		{"cdc.zoo.pets", "cdc.zoo.owners", "is of table zoo.pets"},
		{"cdc.zoo.tx", "cdc.other.tx", `is of source "zoo"`},
	} {
		z := newZoo(t)
		w := z.begin()
		z.transaction(w, 2, "ann")
		z.flush(w)
		if err := kafka.EnsureTopics(timeout(t), z.conn, []kafka.TopicSpec{{Name: move.to}}); err != nil {
			t.Fatal(err)
		}
		var taken []byte
		stop := errors.New("enough")
		err := kafka.Tail(timeout(t), z.conn, move.from, kafka.FromStart, func(r kafka.TailRecord) error {
			taken = r.Value
			return stop
		})
		if !errors.Is(err, stop) {
			t.Fatal(err)
		}
		client, err := kgo.NewClient(kgo.SeedBrokers(z.conn.Brokers...))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if err := client.ProduceSync(timeout(t), &kgo.Record{Topic: move.to, Value: taken}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		r, err := kafka.OpenReader(timeout(t), kafka.ReaderConfig{Connection: z.conn, Registry: z.registry, Topics: []string{move.to}})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if _, err := r.Poll(timeout(t)); err == nil || !strings.Contains(err.Error(), move.want) || !strings.Contains(err.Error(), move.to) {
			t.Errorf("%s in %s: %v, want %q", move.from, move.to, err, move.want)
		}
	}
}
