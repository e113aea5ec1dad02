package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tributary-health/tributary/change"
)

// readState reads where the source's topics stand: whether the landing topics
// hold anything, and the last record of each partition of the tx topic.
func (w *Writer) readState(ctx context.Context) error {
	topics := []string{w.txTopic}
	for _, t := range w.tables {
		topics = append(topics, t.topic)
	}
	ranges, err := listRanges(ctx, w.client, opening, topics...)
	if err != nil {
		return err
	}
	w.landingEmpty = true
	for tp, r := range ranges {
		if tp.Topic != topics[0] && r.End > 0 {
			w.landingEmpty = false
		}
	}
	var empty []TopicPartition
	for p := range w.partitions {
		at := TopicPartition{topics[0], p}
		found := false
		err := w.lastTx(ctx, at, ranges[at], func(tx *change.TxRecord) bool {
			found = true
			w.resumeFrom(tx)
			return false
		})
		if err != nil {
			return err
		}
		if !found {
			empty = append(empty, at)
		}
	}
	if len(empty) > 0 && !w.resume.Durable.Position.IsZero() {
		return &Error{Op: "open the writer", Topic: empty[0].Topic, Partition: empty[0].Partition,
			Err: fmt.Errorf("the partition holds no record, others say that everything up to %s is durable",
				w.resume.Durable.Position),
			Hint: "the topic lost records; take a new snapshot into new topics"}
	}
	return nil
}

func (w *Writer) resumeFrom(tx *change.TxRecord) {
	w.resume.Durable = later(w.resume.Durable, tx.Durable)
	if tx.Incarnation > w.resume.Incarnation {
		w.resume.Incarnation, w.resume.History = tx.Incarnation, tx.History
	}
}

// readEarlier collects the positions that earlier incarnations left beyond the
// durable mark, and in each partition the last one at or below it. There are as
// many as were in flight when the last incarnation ended.
func (w *Writer) readEarlier(ctx context.Context) error {
	durable := w.resume.Durable.Position
	if durable.IsZero() {
		return nil // a snapshot comes first: nothing is gone on from
	}
	ranges, err := listRanges(ctx, w.client, opening, w.txTopic)
	if err != nil {
		return err
	}
	for at, holds := range ranges {
		err := w.lastTx(ctx, at, holds, func(tx *change.TxRecord) bool {
			if tx.Status == change.Started {
				return true // the place where one began, not what the log holds
			}
			w.earlier = append(w.earlier, tx.Mark.Position.Transaction())
			return tx.Mark.Position.Compare(durable) > 0
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// lastTx calls fn with the partition's tx records from its end backwards, until
// fn returns false.
func (w *Writer) lastTx(ctx context.Context, at TopicPartition, holds Range, fn func(*change.TxRecord) (more bool)) error {
	return w.conn.lastRecords(ctx, at, holds, func(rec *kgo.Record) (bool, error) {
		var tx change.TxRecord
		if err := decodeTx(rec, &tx); err != nil {
			return false, failTopic("read the tx topic", rec.Topic, rec.Partition, fmt.Errorf("offset %d: %w", rec.Offset, err))
		}
		if tx.Source != w.source {
			return false, failTopic("read the tx topic", rec.Topic, rec.Partition, errors.New("a record of another source"))
		}
		return fn(&tx), nil
	})
}
