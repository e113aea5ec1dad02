package kafka

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TailRecord is one record of a followed topic.
type TailRecord struct {
	Topic     string
	Partition int32
	Offset    int64
	Timestamp time.Time
	Key       []byte
	Value     []byte
	Headers   []Header
}

// Header returns the value of the named header, or "".
func (r *TailRecord) Header(key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return h.Value
		}
	}
	return ""
}

// From is where Tail begins.
type From int

// The places to begin: at the first record the topic holds, or after the last.
const (
	FromStart From = iota
	FromEnd
)

// Tail calls fn for the records of all partitions of the topic, each partition's
// in order, as they come, until ctx ends or fn fails; it returns that error. Of
// a real Kafka it sees what is committed. What fn gets is its own.
func Tail(ctx context.Context, conn Connection, topic string, from From, fn func(TailRecord) error) error {
	ranges, err := Ranges(ctx, conn, topic)
	if err != nil {
		return err
	}
	begin := make(map[TopicPartition]int64, len(ranges))
	for tp, r := range ranges {
		begin[tp] = r.Start
		if from == FromEnd {
			begin[tp] = r.End
		}
	}
	client, err := conn.consumer(begin, kgo.FetchMaxBytes(fetchBytes))
	if err != nil {
		return err
	}
	defer client.Close()
	due := newFeed(client, begin)
	for {
		fetches := client.PollFetches(ctx)
		if err := due.failure(ctx, fetches); err != nil {
			return err
		}
		for it := fetches.RecordIter(); !it.Done(); {
			rec := it.Next()
			begin[TopicPartition{rec.Topic, rec.Partition}] = rec.Offset + 1
			out := TailRecord{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset,
				Timestamp: rec.Timestamp, Key: rec.Key, Value: rec.Value}
			for _, h := range rec.Headers {
				out.Headers = append(out.Headers, Header{h.Key, string(h.Value)})
			}
			if err := fn(out); err != nil {
				return err
			}
		}
	}
}
