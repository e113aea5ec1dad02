package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tributary-health/tributary/change"
)

// Start begins the next incarnation: it returns when the Started record is
// durable in every partition. A reader that lost its source starts again on the
// same Writer; the rows of its open transaction are forgotten. A start that
// begins with a snapshot takes back the durable mark: until that snapshot has
// ended, a restart begins it again.
func (w *Writer) Start(ctx context.Context, rec change.TxRecord) error {
	const op = "start an incarnation"
	if rec.Incarnation != max(w.incarnation, w.resume.Incarnation)+1 {
		return fail(op, fmt.Errorf("incarnation %d, the log holds %d", rec.Incarnation, w.resume.Incarnation))
	}
	if err := w.queue.flush(ctx); err != nil {
		return err
	}
	id, err := w.registry.ID(ctx, w.txTopic+"-value", change.TxAvroSchema())
	if err != nil {
		return err
	}
	w.txStamp = newStamp(w.format, id)
	w.forget()
	if err := w.readEarlier(ctx); err != nil {
		return err
	}
	if rec.Snapshot {
		w.progress.reset(change.Mark{})
	}
	w.incarnation, w.history = rec.Incarnation, rec.History
	rec.Status = change.Started
	rec.Previous = w.previous(rec.Mark.Position, true)
	if err := w.everywhere(ctx, rec, nil); err != nil {
		return err
	}
	if err := w.queue.flush(ctx); err != nil {
		return err
	}
	w.started = true
	return nil
}

// End closes the transaction whose rows were appended since the last one. One
// without rows writes nothing, but the durable mark moves over it in its turn.
func (w *Writer) End(ctx context.Context, rec change.TxRecord) error {
	if err := w.ready("end a transaction"); err != nil {
		return err
	}
	if w.rows == 0 {
		w.progress.reach(rec.Mark)
		return nil
	}
	rec.Status = change.Ended
	rec.Previous = w.previous(rec.Mark.Position, false)
	rec.EventCount = w.rows
	rec.Partitions = w.touchedPartitions()
	counts := make(map[string]int64, len(w.touched))
	for _, p := range rec.Partitions {
		clear(counts)
		for _, t := range w.touched {
			if t.counts[p] > 0 {
				counts[t.name] = t.counts[p]
			}
		}
		rec.Partition, rec.Counts = p, counts
		if err := w.write(ctx, &rec); err != nil {
			return err
		}
	}
	w.closed(rec.Mark)
	return nil
}

// SnapshotEnd writes SnapshotEnded to every partition, and after it, when all
// that is durable, a watermark that says so: a restart goes on from there.
func (w *Writer) SnapshotEnd(ctx context.Context, rec change.TxRecord, tables []change.Table) error {
	if err := w.ready("end a snapshot"); err != nil {
		return err
	}
	rec.Status = change.SnapshotEnded
	rec.Previous = w.previous(rec.Mark.Position, false)
	rec.EventCount = w.rows
	if err := w.everywhere(ctx, rec, tables); err != nil {
		return err
	}
	w.closed(rec.Mark)
	if err := w.queue.flush(ctx); err != nil {
		return err
	}
	if err := w.Watermark(ctx, rec.Mark, rec.Committed); err != nil {
		return err
	}
	return w.queue.flush(ctx)
}

// Watermark says that the source's log holds nothing unseen at or below the
// mark. It follows all rows in the queue. Within a transaction it is refused.
func (w *Writer) Watermark(ctx context.Context, mark change.Mark, at time.Time) error {
	if err := w.ready("write a watermark"); err != nil {
		return err
	}
	if w.rows > 0 {
		return fail("write a watermark", errors.New("within a transaction"))
	}
	rec := change.TxRecord{Status: change.Watermark, Mark: mark, Committed: at,
		Previous: w.previous(mark.Position, true)}
	if err := w.everywhere(ctx, rec, nil); err != nil {
		return err
	}
	w.progress.reach(mark)
	return nil
}

func (w *Writer) ready(op string) error {
	if !w.started {
		return fail(op, errors.New("the writer was not started"))
	}
	return w.queue.failure()
}

// closed ends the open transaction: its mark is reached when its records are
// acknowledged, and the next one follows it.
func (w *Writer) closed(mark change.Mark) {
	w.progress.reach(mark)
	w.forget()
	w.last = mark.Position.Transaction()
}

// forget drops what is known of the open transaction and of those before it.
func (w *Writer) forget() {
	w.last, w.earlier = change.Position{}, nil
	for _, t := range w.touched {
		t.rows = 0
		clear(t.counts)
	}
	w.touched, w.rows = w.touched[:0], 0
}

// previous is the position that the log holds before the given one: of this
// incarnation, or, before its first transaction, the greatest that earlier ones
// left. Those below the first transaction that the source sends again are all
// complete; those at or above it are sent again.
func (w *Writer) previous(at change.Position, inclusive bool) change.Position {
	best := w.last
	for _, p := range w.earlier {
		c := p.Compare(at.Transaction())
		if (c < 0 || c == 0 && inclusive) && p.Compare(best) > 0 {
			best = p
		}
	}
	return best
}

func (w *Writer) touchedPartitions() []int32 {
	var parts []int32
	for p := range w.partitions {
		if slices.ContainsFunc(w.touched, func(t *landing) bool { return t.counts[p] > 0 }) {
			parts = append(parts, p)
		}
	}
	return parts
}

// everywhere writes the record to every partition, with the counts of the given
// tables.
func (w *Writer) everywhere(ctx context.Context, rec change.TxRecord, tables []change.Table) error {
	rec.Partitions = make([]int32, w.partitions)
	for p := range rec.Partitions {
		rec.Partitions[p] = int32(p)
	}
	for p := range w.partitions {
		rec.Partition = p
		if len(tables) > 0 {
			rec.Counts = make(map[string]int64, len(tables))
		}
		for _, t := range tables {
			l := w.tables[t.Name]
			if l == nil || t.Source != w.source {
				return fail("write a tx record", fmt.Errorf("table %s is not one the writer was opened with", t))
			}
			rec.Counts[t.Name] = l.counts[p]
		}
		if err := w.write(ctx, &rec); err != nil {
			return err
		}
	}
	return nil
}

// write appends one tx record with what the Writer fills in.
func (w *Writer) write(ctx context.Context, tx *change.TxRecord) error {
	tx.Source, tx.Incarnation = w.source, w.incarnation
	if tx.History == "" {
		tx.History = w.history
	}
	tx.Durable = w.Durable()
	w.progress.state(tx.Durable)
	rec := newRecord()
	w.txStamp.tx(rec, tx)
	rec.Key = nil
	rec.Topic, rec.Partition = w.txTopic, tx.Partition
	return w.queue.append(ctx, rec)
}
