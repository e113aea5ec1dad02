package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// consumer opens a client that reads the partitions from exactly the given
// offsets. It resets nothing: an offset out of range is an error.
func (c Connection) consumer(from map[TopicPartition]int64, more ...kgo.Opt) (*kgo.Client, error) {
	assigned := make(map[string]map[int32]kgo.Offset)
	for tp, offset := range from {
		if assigned[tp.Topic] == nil {
			assigned[tp.Topic] = make(map[int32]kgo.Offset)
		}
		assigned[tp.Topic][tp.Partition] = kgo.NewOffset().At(offset)
	}
	return c.client(append([]kgo.Opt{
		kgo.ConsumePartitions(assigned),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// A fetch that began without some partition holds up that partition for
		// as long as the broker may wait, so that must be short.
		kgo.FetchMaxWait(250 * time.Millisecond),
	}, more...)...)
}

// fetchRanges calls fn for the records of the ranges, each partition's in order.
// It returns when everything was read, or with fn's first error.
func (c Connection) fetchRanges(ctx context.Context, ranges map[TopicPartition]Range, fn func(*kgo.Record) error) error {
	from := make(map[TopicPartition]int64)
	for tp, r := range ranges {
		if r.Start < r.End {
			from[tp] = r.Start
		}
	}
	if len(from) == 0 {
		return nil
	}
	// Control records are wanted as well: one may be the last of a range.
	client, err := c.consumer(from, kgo.KeepControlRecords(), kgo.FetchMaxBytes(fetchBytes))
	if err != nil {
		return err
	}
	defer client.Close()
	for len(from) > 0 {
		fetches := client.PollFetches(ctx)
		if err := pollError(ctx, fetches); err != nil {
			return err
		}
		for it := fetches.RecordIter(); !it.Done(); {
			rec := it.Next()
			tp := TopicPartition{rec.Topic, rec.Partition}
			end := ranges[tp].End
			if rec.Offset < end && !rec.Attrs.IsControl() {
				if err := fn(rec); err != nil {
					return err
				}
			}
			if rec.Offset+1 >= end {
				delete(from, tp)
			}
		}
	}
	return nil
}

// pollError returns the first error among the fetches.
func pollError(ctx context.Context, fetches kgo.Fetches) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	failed := fetches.Errors()
	if len(failed) == 0 {
		return nil
	}
	e := failed[0]
	err := e.Err
	var loss *kgo.ErrDataLoss
	switch {
	case errors.Is(err, kerr.OffsetOutOfRange):
		err = fmt.Errorf("%w: the log does not hold the offset that is due", err)
	case errors.As(err, &loss):
		err = fmt.Errorf("the log lost records: %w", err)
	}
	return failTopic("read", e.Topic, e.Partition, err)
}

// lastRecords calls fn with records of the partition from its end backwards,
// until fn returns false or the partition's start is reached. It reads one
// record, then growing pieces.
func (c Connection) lastRecords(ctx context.Context, tp TopicPartition, r Range, fn func(*kgo.Record) (more bool, err error)) error {
	for piece, end := int64(1), r.End; end > r.Start; piece = min(piece*16, 4096) {
		start := max(r.Start, end-piece)
		var records []*kgo.Record
		err := c.fetchRanges(ctx, map[TopicPartition]Range{tp: {start, end}}, func(rec *kgo.Record) error {
			records = append(records, rec)
			return nil
		})
		if err != nil {
			return err
		}
		for i := len(records) - 1; i >= 0; i-- {
			if more, err := fn(records[i]); err != nil || !more {
				return err
			}
		}
		end = start
	}
	return nil
}
