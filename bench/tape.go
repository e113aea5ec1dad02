package main

import (
	"context"
	"fmt"
	"time"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/compose"
	"github.com/tributary-health/tributary/kafka"
)

// pollRecords is what one Poll of the tape gives.
const pollRecords = 4000

// tape holds decoded records of the landing topics and is the worker's feed:
// composition is measured without broker and decoding.
type tape struct {
	records []compose.Record
}

// Poll gives the next records, and at the tape's end waits for ctx.
func (t *tape) Poll(ctx context.Context) ([]compose.Record, error) {
	if len(t.records) == 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	n := min(len(t.records), pollRecords)
	out := t.records[:n:n]
	t.records = t.records[n:]
	return out, nil
}

// recorder writes rows into real topics with the real writer and reads them back
// with the real reader, onto a tape.
type recorder struct {
	b       *broker
	writers map[string]*kafka.Writer
	reader  *kafka.Reader
	topics  []string
	read    int64
	ordinal uint64
}

func newRecorder(ctx context.Context, b *broker, s *sample) (*recorder, error) {
	r := &recorder{b: b, writers: map[string]*kafka.Writer{}, ordinal: 1000}
	for source := range s.used {
		w, err := b.writer(ctx, source, s.tables(source))
		if err != nil {
			return nil, err
		}
		r.writers[source] = w
		for _, spec := range kafka.SourceTopics(source, s.tables(source), kafka.DefaultPartitions) {
			r.topics = append(r.topics, spec.Name)
		}
	}
	var err error
	r.reader, err = kafka.OpenReader(ctx, kafka.ReaderConfig{Connection: b.Connection(), Registry: b.registry, Topics: r.topics})
	return r, err
}

func (r *recorder) close() {
	if r.reader != nil {
		r.reader.Close()
	}
	for _, w := range r.writers {
		w.Close()
	}
}

// snapshot writes all members of all copies, as both sources' first snapshot.
func (r *recorder) snapshot(ctx context.Context, s *sample, copies int) error {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for source, w := range r.writers {
		rec := change.TxRecord{Source: source, Incarnation: 1, Snapshot: true, History: "bench", Committed: at}
		if err := w.Start(ctx, rec); err != nil {
			return err
		}
		ev := change.Event{Op: change.Read, Committed: at, Position: change.Position{Generation: 1, Ordinal: r.ordinal}}
		for n := range copies {
			for _, base := range s.rows[source] {
				if base.route == "" && n > 0 {
					continue
				}
				row, err := s.as(base, n)
				if err != nil {
					return err
				}
				ev.Position.Sequence++
				ev.Schema, ev.After = row.schema, row.values
				if err := w.Append(ctx, row.route, &ev); err != nil {
					return err
				}
			}
		}
		rec.Mark = change.Mark{Position: change.Position{Generation: 1, Ordinal: r.ordinal}, Token: "0"}
		if err := w.SnapshotEnd(ctx, rec, s.tables(source)); err != nil {
			return err
		}
	}
	return nil
}

// transaction writes one transaction and returns its position.
func (r *recorder) transaction(ctx context.Context, source string, events []routed) (change.Position, error) {
	r.ordinal++
	w := r.writers[source]
	rec := change.TxRecord{
		Source: source, ID: fmt.Sprint(r.ordinal), Committed: time.Date(2026, 1, 1, 0, 0, 0, int(r.ordinal)*1000, time.UTC),
		Mark: change.Mark{Position: change.Position{Generation: 1, Ordinal: r.ordinal}, Token: fmt.Sprint(r.ordinal)},
	}
	for i := range events {
		ev := &events[i].Event
		ev.Committed, ev.Position = rec.Committed, rec.Mark.Position
		ev.Position.Sequence = uint64(i + 1)
		if err := w.Append(ctx, events[i].route, ev); err != nil {
			return change.Position{}, err
		}
	}
	return rec.Mark.Position, w.End(ctx, rec)
}

// routed is an event with the route that decides its partition.
type routed struct {
	change.Event
	route string
}

// tape reads everything that was written since it was last called.
func (r *recorder) tape(ctx context.Context) ([]compose.Record, error) {
	for _, w := range r.writers {
		if err := w.Flush(ctx); err != nil {
			return nil, err
		}
	}
	ranges, err := kafka.Ranges(ctx, r.b.Connection(), r.topics...)
	if err != nil {
		return nil, err
	}
	total := int64(0)
	for _, g := range ranges {
		total += g.End - g.Start
	}
	var all []compose.Record
	for r.read < total {
		polled, err := r.reader.Poll(ctx)
		if err != nil {
			return nil, err
		}
		r.read += int64(len(polled))
		for _, p := range polled {
			all = append(all, compose.Record{
				From: commit.TopicPartition{Topic: p.Topic, Partition: p.Partition}, Next: p.Next, Event: p.Event, Tx: p.Tx, Bytes: p.Bytes})
		}
	}
	return all, nil
}
