package kafka

import (
	"context"
	"fmt"
	"io"

	"github.com/twmb/franz-go/pkg/kgo"
)

// PartitionReader gives the records of one partition of a topic, from its first
// to the last that it held when it was opened. It holds little in memory, so that
// several can be read side by side.
type PartitionReader struct {
	client  *kgo.Client
	from    TopicPartition
	feed    *feed
	end     int64
	fetched []*kgo.Record
	done    bool
}

// OpenPartition starts reading. A partition whose first records are gone is an
// error. Close ends what it starts.
func OpenPartition(ctx context.Context, conn Connection, tp TopicPartition) (*PartitionReader, error) {
	ranges, err := Ranges(ctx, conn, tp.Topic)
	if err != nil {
		return nil, err
	}
	holds, ok := ranges[tp]
	if !ok {
		return nil, failTopic("read the topic", tp.Topic, tp.Partition, fmt.Errorf("no such partition"))
	}
	if holds.Start > 0 {
		return nil, failTopic("read the topic", tp.Topic, tp.Partition, fmt.Errorf("it begins at offset %d: what was before is gone", holds.Start))
	}
	r := &PartitionReader{from: tp, end: holds.End, done: holds.End == 0}
	// The last record may be a control record, which must be seen to know the end.
	due := map[TopicPartition]int64{tp: 0}
	r.client, err = conn.consumer(due, kgo.KeepControlRecords(), kgo.FetchMaxBytes(1<<20), kgo.MaxConcurrentFetches(1))
	r.feed = newFeed(r.client, due)
	return r, err
}

// Close ends the connection.
func (r *PartitionReader) Close() { r.client.Close() }

// Next returns the next record, or io.EOF. What it returns is the caller's.
func (r *PartitionReader) Next(ctx context.Context) (*TailRecord, error) {
	for {
		if len(r.fetched) == 0 {
			if r.done {
				return nil, io.EOF
			}
			fetches := r.client.PollRecords(ctx, 500)
			if err := r.feed.failure(ctx, fetches); err != nil {
				return nil, err
			}
			r.fetched = fetches.Records()
			if n := len(r.fetched); n > 0 {
				r.feed.due[r.from] = r.fetched[n-1].Offset + 1
			}
			continue
		}
		rec := r.fetched[0]
		r.fetched = r.fetched[1:]
		if rec.Offset+1 >= r.end {
			r.done, r.fetched = true, nil
		}
		if rec.Attrs.IsControl() || rec.Offset >= r.end {
			continue
		}
		out := &TailRecord{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Timestamp: rec.Timestamp, Key: rec.Key, Value: rec.Value}
		for _, h := range rec.Headers {
			out.Headers = append(out.Headers, Header{h.Key, string(h.Value)})
		}
		return out, nil
	}
}
