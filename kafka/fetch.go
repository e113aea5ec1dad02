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
	due := newFeed(client, from)
	for len(from) > 0 {
		fetches, ok := pollSoon(ctx, client)
		if !ok {
			continue
		}
		if err := due.failure(ctx, fetches); err != nil {
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
			if from[tp] = rec.Offset + 1; from[tp] >= end {
				delete(from, tp)
			}
		}
	}
	return nil
}

// pollSoon polls a client for records that are there. When it gets none, one that
// leads no longer may be asked: the client looks for another.
func pollSoon(ctx context.Context, client *kgo.Client) (fetches kgo.Fetches, ok bool) {
	soon, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	fetches = client.PollFetches(soon)
	if errors.Is(fetches.Err0(), context.DeadlineExceeded) && ctx.Err() == nil {
		client.ForceMetadataRefresh()
		return nil, false
	}
	return fetches, true
}

// feed is what a client fetches: the next offset of each partition.
type feed struct {
	client  *kgo.Client
	due     map[TopicPartition]int64
	strayed map[TopicPartition]stray
}

// stray is an offset that a broker finds out of range and the leader's log holds,
// and since when.
type stray struct {
	offset int64
	since  time.Time
}

// strayTime is how long that may last: a client that looks for the leader finds it
// sooner.
const strayTime = 10 * time.Second

func newFeed(client *kgo.Client, due map[TopicPartition]int64) *feed {
	return &feed{client: client, due: due, strayed: make(map[TopicPartition]stray)}
}

// failure returns the first error among the fetches that waiting does not mend. A
// broker that another took the place of finds an offset out of range that the new
// leader's log holds; after a pause the fetches go on, to the new one as soon as
// the client has heard of it.
func (f *feed) failure(ctx context.Context, fetches kgo.Fetches) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	failed := fetches.Errors()
	for _, e := range failed {
		tp := TopicPartition{e.Topic, e.Partition}
		err := failTopic("read", e.Topic, e.Partition, fetchCause(e.Err))
		if e.Topic == "" { // not a partition's
			return err
		}
		offset, wanted := f.due[tp]
		if !wanted { // everything of it was read
			continue
		}
		ranges, listErr := listRanges(ctx, f.client, opening, e.Topic)
		if listErr != nil {
			return errors.Join(err, listErr)
		}
		if holds := ranges[tp]; offset < holds.Start || offset > holds.End {
			return outOfRange(tp, offset, holds)
		}
		if !errors.Is(e.Err, kerr.OffsetOutOfRange) || f.strays(tp) > strayTime {
			return err
		}
	}
	if len(failed) > 0 {
		f.client.ForceMetadataRefresh()
		pause(ctx, backoff(0))
	}
	return nil
}

// strays says how long the offset that is due has been found out of range.
func (f *feed) strays(tp TopicPartition) time.Duration {
	s, ok := f.strayed[tp]
	if !ok || s.offset != f.due[tp] {
		s = stray{f.due[tp], time.Now()}
		f.strayed[tp] = s
	}
	return time.Since(s.since)
}

func fetchCause(err error) error {
	if loss := (*kgo.ErrDataLoss)(nil); errors.As(err, &loss) {
		return fmt.Errorf("the log lost records: %w", err)
	}
	return err
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
