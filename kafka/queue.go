package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

// queue hands records to the client, bounds what it holds, and follows what was
// acknowledged. One goroutine appends.
type queue struct {
	client   *kgo.Client
	progress *progress
	limit    int64

	record int64  // the largest record
	least  string // the topic that allows no larger one; empty if the request does

	buffered atomic.Int64
	waiting  atomic.Bool
	room     chan struct{} // wakes the waiting appender; capacity 1

	span    *span // the span that promise is for
	promise func(*kgo.Record, error)

	failing sync.Once
	failed  chan struct{}
	err     error // set before failed is closed
}

// recordCost is what a buffered record costs beside its bytes.
const recordCost = 512

// init bounds what is held by limit, and a batch by batch, which the topic least
// allows.
func (q *queue) init(client *kgo.Client, p *progress, limit int64, batch int32, least string) {
	if limit <= 0 {
		limit = 64 << 20
	}
	*q = queue{client: client, progress: p, limit: limit, record: int64(batch) - batchOverhead, least: least,
		room: make(chan struct{}, 1), failed: make(chan struct{})}
}

// append takes the record, which becomes the queue's. It waits while the limit
// is exceeded. When it fails the record was not taken.
func (q *queue) append(ctx context.Context, rec *kgo.Record) error {
	size := int64(len(rec.Key) + len(rec.Value))
	if size > q.record {
		err := &Error{Op: "append", Topic: rec.Topic, Partition: rec.Partition,
			Err: fmt.Errorf("a record of %d bytes, allowed are %d", size, q.record)}
		if q.least != "" {
			err.Hint = enlarge(q.least, size)
		}
		freeRecord(rec)
		return err
	}
	if q.buffered.Load() >= q.limit {
		if err := q.wait(ctx); err != nil {
			freeRecord(rec)
			return err
		}
	}
	if err := q.failure(); err != nil {
		freeRecord(rec)
		return err
	}
	if s := q.progress.sent(); s != q.span || q.promise == nil {
		q.span, q.promise = s, q.promiseFor(s)
	}
	q.buffered.Add(size + recordCost)
	// Not the caller's context: what was appended is not taken back.
	q.client.Produce(context.Background(), rec, q.promise)
	return nil
}

// promiseFor makes the callback of a span's records; making one per record
// would cost an allocation each.
func (q *queue) promiseFor(s *span) func(*kgo.Record, error) {
	return func(rec *kgo.Record, err error) {
		size := int64(len(rec.Key)+len(rec.Value)) + recordCost
		if err != nil {
			q.fail(failTopic("write", rec.Topic, rec.Partition, err))
		} else {
			q.progress.acked(s)
		}
		freeRecord(rec)
		if q.buffered.Add(-size) < q.low() && q.waiting.Load() {
			q.wake()
		}
	}
}

// low is what the buffer empties to before a waiting appender goes on, so that
// it does not wake for every record.
func (q *queue) low() int64 { return q.limit - q.limit/4 }

func (q *queue) wake() {
	select {
	case q.room <- struct{}{}:
	default:
	}
}

func (q *queue) wait(ctx context.Context) error {
	q.waiting.Store(true)
	defer q.waiting.Store(false)
	for q.buffered.Load() >= q.low() {
		select {
		case <-q.room:
		case <-q.failed:
			return q.err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// flush returns nil when everything appended was acknowledged.
func (q *queue) flush(ctx context.Context) error {
	if err := q.client.Flush(ctx); err != nil {
		return errors.Join(q.failure(), fail("flush", err))
	}
	return q.failure()
}

func (q *queue) fail(err error) {
	q.failing.Do(func() {
		q.err = err
		close(q.failed)
	})
}

func (q *queue) failure() error {
	select {
	case <-q.failed:
		return q.err
	default:
		return nil
	}
}

// records keeps encoded records' buffers for the next ones.
var records = sync.Pool{New: func() any { return &kgo.Record{Key: make([]byte, 0, 64), Value: make([]byte, 0, 448)} }}

// maxPooled is the largest buffer that is kept.
const maxPooled = 64 << 10

func newRecord() *kgo.Record { return records.Get().(*kgo.Record) }

func freeRecord(rec *kgo.Record) {
	if cap(rec.Value) > maxPooled || cap(rec.Key) > maxPooled {
		return
	}
	*rec = kgo.Record{Key: rec.Key[:0], Value: rec.Value[:0], Headers: rec.Headers[:0]}
	records.Put(rec)
}
