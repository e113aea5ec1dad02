package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/compose"
	"github.com/tributary-health/tributary/kafka"
)

// pastFeed gives what a source's topics hold now, and then io.EOF.
type pastFeed struct {
	reader *kafka.Reader
	left   map[commit.TopicPartition]int64 // the ends that are not reached
	skip   func(*compose.Record) bool
}

// feeds opens one for each source. A log without its base is refused, by topic.
func (r *replay) feeds(ctx context.Context, offsets map[commit.TopicPartition]int64) (map[string]compose.Feed, error) {
	all := map[string]compose.Feed{}
	for _, s := range r.sources {
		f, err := r.feed(ctx, s, offsets, nil)
		if err != nil {
			return nil, err
		}
		all[s.name] = f
	}
	return all, nil
}

// feed opens the source's topics at the offsets; until, if not nil, is where they
// end instead of where they do.
func (r *replay) feed(ctx context.Context, s *source, offsets, until map[commit.TopicPartition]int64) (*pastFeed, error) {
	ranges, err := r.base(ctx, s)
	if err != nil {
		return nil, err
	}
	f := &pastFeed{left: map[commit.TopicPartition]int64{}}
	begin := map[kafka.TopicPartition]int64{}
	var topics []string
	for tp, holds := range ranges {
		at := commit.TopicPartition(tp)
		begin[tp] = offsets[at]
		end := holds.End
		if until != nil {
			end = until[at]
		}
		if end > holds.End {
			return nil, fmt.Errorf("topic %s, partition %d ends at offset %d, but %d is applied: it went back (restore the topic)", tp.Topic, tp.Partition, holds.End, end)
		}
		if begin[tp] < end {
			f.left[at] = end
		}
		if !slices.Contains(topics, tp.Topic) {
			topics = append(topics, tp.Topic)
		}
	}
	f.reader, err = kafka.OpenReader(ctx, kafka.ReaderConfig{Connection: r.conn, Registry: r.registry, Topics: topics, Offsets: begin})
	if err != nil {
		return nil, err
	}
	r.readers = append(r.readers, f.reader)
	return f, nil
}

// base is what the source's topics hold. They must hold their first records.
func (r *replay) base(ctx context.Context, s *source) (map[kafka.TopicPartition]kafka.Range, error) {
	topics := []string{kafka.TxTopic(s.name)}
	for _, t := range s.tableNames() {
		topics = append(topics, kafka.LandingTopic(t))
	}
	var faults []string
	all := map[kafka.TopicPartition]kafka.Range{}
	for _, topic := range topics {
		ranges, err := kafka.Ranges(ctx, r.conn, topic)
		if err != nil {
			faults = append(faults, fmt.Sprintf("topic %s: %v", topic, err))
			continue
		}
		for tp, holds := range ranges {
			all[tp] = holds
			if holds.Start > 0 {
				faults = append(faults, fmt.Sprintf("topic %s, partition %d: begins at offset %d, what was before is gone", topic, tp.Partition, holds.Start))
			}
		}
	}
	if len(faults) > 0 {
		slices.Sort(faults)
		return nil, fmt.Errorf("source %s: the log lacks its base, and cannot be replayed:\n  %s\n(restore the topics from a copy; a table that the mappings declare anew has no log before its source's next snapshot)",
			s.name, strings.Join(faults, "\n  "))
	}
	return all, nil
}

// Poll implements compose.Feed.
func (f *pastFeed) Poll(ctx context.Context) ([]compose.Record, error) {
	for len(f.left) > 0 {
		recs, err := feed{f.reader}.Poll(ctx)
		if err != nil {
			return nil, err
		}
		kept := recs[:0]
		for _, rec := range recs {
			end, ok := f.left[rec.From]
			if !ok || rec.Next > end {
				continue
			}
			if rec.Next == end {
				delete(f.left, rec.From)
			}
			if f.skip == nil || !f.skip(&rec) {
				kept = append(kept, rec)
			}
		}
		if len(kept) > 0 {
			return kept, nil
		}
	}
	return nil, io.EOF
}

// inTurn gives one feed's records after the other's.
type inTurn []*pastFeed

func (f *inTurn) Poll(ctx context.Context) ([]compose.Record, error) {
	for len(*f) > 0 {
		recs, err := (*f)[0].Poll(ctx)
		if !errors.Is(err, io.EOF) {
			return recs, err
		}
		*f = (*f)[1:]
	}
	return nil, io.EOF
}

// parseFrom reads --from: nothing for the start, else positions by source.
func parseFrom(text string, sources []string) (map[string]change.Position, error) {
	if text == "start" {
		return nil, nil
	}
	from := map[string]change.Position{}
	for _, part := range strings.Split(text, ",") {
		name, at, ok := strings.Cut(part, "=")
		p, err := change.ParsePosition(at)
		if !ok || err != nil || !slices.Contains(sources, name) {
			return nil, usageError{fmt.Sprintf("replay: --from %s: want start, or SOURCE=POSITION as `tributary status` prints it; the sources are %s",
				part, strings.Join(sources, ", "))}
		}
		from[name] = p
	}
	return from, nil
}
