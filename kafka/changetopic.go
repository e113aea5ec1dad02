package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// OutboxHeader is the header of a change record that holds its number in its
// partition, in decimal, from 1.
const OutboxHeader = "tributary-outbox"

// GenerationHeader is the header of a change record that names the store that
// wrote it.
const GenerationHeader = "tributary-generation"

// Header is one record header.
type Header struct {
	Key   string
	Value string
}

// ChangeRecord is one record of a change topic; a nil Value is a deletion.
type ChangeRecord struct {
	Key     []byte
	Value   []byte
	Headers []Header
}

// ChangeTopic writes one change topic. Its methods may be called concurrently;
// those of one partition take turns.
type ChangeTopic struct {
	conn   Connection
	client *kgo.Client
	topic  string

	mu    sync.Mutex
	parts map[int32]*changePartition
}

// changePartition is held by the call that is using the partition. sent is open
// while an Append that gave up waiting may still have records on their way.
type changePartition struct {
	turn chan struct{}
	sent chan struct{}
}

// OpenChangeTopic connects to a topic that exists with the given number of
// partitions. Close ends what it starts.
func OpenChangeTopic(ctx context.Context, conn Connection, spec TopicSpec) (*ChangeTopic, error) {
	opts, err := changeProducer(ctx, conn, spec.Name)
	if err != nil {
		return nil, err
	}
	client, err := conn.client(append(opts, kgo.MaxBufferedRecords(1<<30))...) // callers wait for what they sent
	if err != nil {
		return nil, err
	}
	if err := checkPartitions(ctx, kadm.NewClient(client), "open the change topic", opening, []TopicSpec{spec}); err != nil {
		client.Close()
		return nil, err
	}
	return &ChangeTopic{conn: conn, client: client, topic: spec.Name, parts: make(map[int32]*changePartition)}, nil
}

// changeProducer is how records of a change topic are sent.
func changeProducer(ctx context.Context, conn Connection, topic string) ([]kgo.Opt, error) {
	limit, _, err := conn.batchLimit(ctx, []string{topic})
	return []kgo.Opt{
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchMaxBytes(limit),
		kgo.ProducerBatchCompression(kgo.SnappyCompression()),
		kgo.ProducerLinger(0),
	}, err
}

// Close ends the connection.
func (t *ChangeTopic) Close() { t.client.Close() }

// take waits for the partition's turn, and for what an earlier Append left on
// its way: until that is settled the topic's end is not known.
func (t *ChangeTopic) take(ctx context.Context, partition int32) (*changePartition, error) {
	t.mu.Lock()
	p := t.parts[partition]
	if p == nil {
		p = &changePartition{turn: make(chan struct{}, 1)}
		t.parts[partition] = p
	}
	t.mu.Unlock()
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if p.sent == nil {
		return p, nil
	}
	select {
	case <-p.sent:
		p.sent = nil
		return p, nil
	case <-ctx.Done():
		<-p.turn
		return nil, ctx.Err()
	}
}

// Last returns the outbox number in the header of the partition's last record,
// and the partition's end offset; zero and zero for one that never held any. Of
// records that are still on their way from an Append that failed, it waits to
// learn what became of them. While a transaction is open in the partition its end
// is not known, and Last fails with ErrUndecided.
func (t *ChangeTopic) Last(ctx context.Context, partition int32) (number uint64, end int64, err error) {
	text, end, err := t.lastHeader(ctx, partition, OutboxHeader)
	if err == nil {
		err = t.decided(ctx, partition, end)
	}
	if err != nil || text == "" {
		return 0, end, err
	}
	if number, err = strconv.ParseUint(text, 10, 64); err != nil {
		return 0, 0, failTopic("read the last change", t.topic, partition, err)
	}
	return number, end, nil
}

// Generation returns which store wrote the partition's last record: the header
// GenerationHeader, or "" for an empty partition.
func (t *ChangeTopic) Generation(ctx context.Context, partition int32) (string, error) {
	text, _, err := t.lastHeader(ctx, partition, GenerationHeader)
	return text, err
}

// lastHeader returns a header of the partition's last record, "" for an empty
// partition, and the partition's end offset.
func (t *ChangeTopic) lastHeader(ctx context.Context, partition int32, key string) (text string, end int64, err error) {
	const op = "read the last change"
	p, err := t.take(ctx, partition)
	if err != nil {
		return "", 0, failTopic(op, t.topic, partition, err)
	}
	defer func() { <-p.turn }()
	ranges, err := listRanges(ctx, t.client, opening, t.topic)
	if err != nil {
		return "", 0, err
	}
	tp := TopicPartition{t.topic, partition}
	holds, ok := ranges[tp]
	if !ok {
		return "", 0, failTopic(op, t.topic, partition, errors.New("no such partition"))
	}
	err = t.conn.lastRecords(ctx, tp, holds, func(rec *kgo.Record) (bool, error) {
		for _, h := range rec.Headers {
			if h.Key == key {
				text = string(h.Value)
				return false, nil
			}
		}
		return false, fmt.Errorf("offset %d has no header %s: something else wrote to the topic", rec.Offset, key)
	})
	if err != nil {
		return "", 0, failTopic(op, t.topic, partition, err)
	}
	return text, holds.End, nil
}

// ErrUndecided says that a transaction is open in a partition: what will be its
// last record is not known yet.
var ErrUndecided = errors.New("a transaction is open in it, so its last record is not known yet")

// decided wants that the partition holds nothing behind its last decided record.
func (t *ChangeTopic) decided(ctx context.Context, partition int32, end int64) error {
	const op = "read the last change"
	var written listed
	err := patiently(ctx, opening, func() error {
		led, err := leaderships(ctx, t.client, []string{t.topic})
		if err != nil {
			return err
		}
		ends, err := listOffsets(ctx, t.client, led, writtenEnd)
		if err != nil {
			return failTopic(op, t.topic, partition, err)
		}
		var ok bool
		if written, ok = ends[TopicPartition{t.topic, partition}]; !ok {
			written.err = kerr.UnknownTopicOrPartition
		}
		if written.err != nil {
			return failTopic(op, t.topic, partition, written.err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if written.offset > end {
		return failTopic(op, t.topic, partition, ErrUndecided)
	}
	return nil
}

// Append writes the records in order and returns when all are durable. When it
// fails any leading part of them may be in the topic, now or a little later:
// Last tells. The records' bytes must not be changed before it returned nil.
func (t *ChangeTopic) Append(ctx context.Context, partition int32, records []ChangeRecord) error {
	const op = "append changes"
	if len(records) == 0 {
		return nil
	}
	p, err := t.take(ctx, partition)
	if err != nil {
		return failTopic(op, t.topic, partition, err)
	}
	defer func() { <-p.turn }()
	sent := make(chan struct{})
	var first error // written by the client's one promise goroutine, read after sent
	left := len(records)
	promise := func(_ *kgo.Record, err error) {
		if first == nil {
			first = err
		}
		if left--; left == 0 {
			close(sent)
		}
	}
	for i := range records {
		rec := &kgo.Record{Topic: t.topic, Partition: partition, Key: records[i].Key, Value: records[i].Value}
		for _, h := range records[i].Headers {
			rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h.Key, Value: []byte(h.Value)})
		}
		// Not the caller's context: an abandoned record may be written or not.
		t.client.Produce(context.Background(), rec, promise)
	}
	select {
	case <-sent:
		if first != nil {
			return failTopic(op, t.topic, partition, first)
		}
		return nil
	case <-ctx.Done():
		p.sent = sent
		return failTopic(op, t.topic, partition, ctx.Err())
	}
}
