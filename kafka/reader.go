package kafka

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tributary-health/tributary/change"
)

// ReaderConfig sets up a Reader.
type ReaderConfig struct {
	Connection Connection
	Registry   Registry

	// Topics are the landing and tx topics to read, all partitions of each. They
	// must exist.
	Topics []string

	// Offsets are where to begin, per partition: the first offset not yet
	// applied. A partition that it does not name begins at offset 0.
	Offsets map[TopicPartition]int64

	// FetchBytes bounds one fetch as it is on the wire, default 16 MiB. Several
	// are held at a time: one being decoded, one waiting, one under way.
	FetchBytes int32

	// Records bounds what one Poll returns, default 20,000.
	Records int

	// Workers decode in parallel, default one per processor.
	Workers int
}

const fetchBytes = 16 << 20

// Record is one record of a landing or tx topic: exactly one of Event and Tx is
// set. Next is the offset after it; Bytes its size on the wire.
type Record struct {
	Topic     string
	Partition int32
	Next      int64
	Event     *change.Event
	Tx        *change.TxRecord
	Bytes     int
}

// Reader delivers the records of all partitions of its topics, each partition's
// in order. One goroutine polls it.
type Reader struct {
	client  *kgo.Client
	feed    *feed
	conn    Connection
	decoder *decoder
	records int
	workers int
	next    map[TopicPartition]int64
	err     error // what the Reader stopped with
}

// OpenReader checks that every partition holds the offset that is due and starts
// fetching. Close ends what it starts.
func OpenReader(ctx context.Context, cfg ReaderConfig) (*Reader, error) {
	if cfg.Registry == nil || len(cfg.Topics) == 0 {
		return nil, fail("open the reader", errors.New("topics and a registry are needed"))
	}
	r := &Reader{conn: cfg.Connection, decoder: newDecoder(cfg.Registry), records: cfg.Records, workers: cfg.Workers}
	if r.records <= 0 {
		r.records = 20_000
	}
	if r.workers <= 0 {
		r.workers = runtime.GOMAXPROCS(0)
	}
	if cfg.FetchBytes <= 0 {
		cfg.FetchBytes = fetchBytes
	}
	ranges, err := Ranges(ctx, cfg.Connection, cfg.Topics...)
	if err != nil {
		return nil, err
	}
	if r.next, err = startOffsets(ranges, cfg.Offsets); err != nil {
		return nil, err
	}
	r.client, err = cfg.Connection.consumer(r.next,
		kgo.FetchMaxBytes(cfg.FetchBytes),
		kgo.FetchMaxPartitionBytes(cfg.FetchBytes/4),
		kgo.MaxConcurrentFetches(2))
	if err != nil {
		return nil, err
	}
	r.feed = newFeed(r.client, r.next)
	return r, nil
}

// startOffsets is where each partition begins. All offsets that the log does not
// hold are reported at once.
func startOffsets(ranges map[TopicPartition]Range, due map[TopicPartition]int64) (map[TopicPartition]int64, error) {
	start := make(map[TopicPartition]int64, len(ranges))
	var problems []error
	for tp, holds := range ranges {
		offset := due[tp]
		start[tp] = offset
		if offset < holds.Start || offset > holds.End {
			problems = append(problems, outOfRange(tp, offset, holds))
		}
	}
	for tp := range due {
		if _, ok := ranges[tp]; !ok {
			problems = append(problems, &Error{Op: "open the reader", Topic: tp.Topic, Partition: tp.Partition,
				Err:  errors.New("an offset is kept for a partition that is not among those to read"),
				Hint: "its table must stay in the mappings, and the topic and its partition count as they were"})
		}
	}
	return start, errors.Join(problems...)
}

func outOfRange(tp TopicPartition, due int64, holds Range) error {
	hint := "the log lost records that are still due"
	if due > holds.End {
		hint = "the log went back: records that were applied are gone from it"
	}
	return &Error{Op: "read", Topic: tp.Topic, Partition: tp.Partition,
		Err:  fmt.Errorf("offset %d is due, the log holds %d to %d", due, holds.Start, holds.End),
		Hint: hint + "; nothing is skipped: restore the topic or rebuild the store"}
}

// Close ends the connection. Poll must not be running.
func (r *Reader) Close() { r.client.Close() }

// Poll waits for at least one record or the end of ctx. The records belong to
// the caller. An error other than ctx's is final: what was due was not read.
func (r *Reader) Poll(ctx context.Context) ([]Record, error) {
	if r.err != nil {
		return nil, r.err
	}
	for {
		fetches := r.client.PollRecords(ctx, r.records)
		if err := r.feed.failure(ctx, fetches); err != nil {
			if ctx.Err() == nil {
				r.err = err
			}
			return nil, err
		}
		fetched := fetches.Records()
		if len(fetched) == 0 {
			continue
		}
		out, err := r.decode(ctx, fetched)
		if err != nil {
			r.err = err // what was fetched will not be delivered again
			return nil, err
		}
		return out, nil
	}
}

// pieceSize is how many records a worker decodes before it takes more.
const pieceSize = 128

// decode decodes the records in parallel; the result keeps their order.
func (r *Reader) decode(ctx context.Context, fetched []*kgo.Record) ([]Record, error) {
	out := make([]Record, len(fetched))
	pieces := (len(fetched) + pieceSize - 1) / pieceSize
	var taken atomic.Int64
	var failed atomic.Pointer[error]
	work := func() {
		for failed.Load() == nil {
			piece := int(taken.Add(1)) - 1
			if piece >= pieces {
				return
			}
			from, to := piece*pieceSize, min((piece+1)*pieceSize, len(fetched))
			if err := r.decodePiece(ctx, fetched[from:to], out[from:to]); err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		}
	}
	var wg sync.WaitGroup
	for range min(r.workers, pieces) - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
	if err := failed.Load(); err != nil {
		return nil, *err
	}
	for _, rec := range out {
		r.next[TopicPartition{rec.Topic, rec.Partition}] = rec.Next
	}
	return out, nil
}

func (r *Reader) decodePiece(ctx context.Context, fetched []*kgo.Record, out []Record) error {
	var events []change.Event
	for i, rec := range fetched {
		out[i] = Record{Topic: rec.Topic, Partition: rec.Partition, Next: rec.Offset + 1,
			Bytes: len(rec.Key) + len(rec.Value)}
		var err error
		if IsTxTopic(rec.Topic) {
			out[i].Tx = new(change.TxRecord)
			if err = decodeTx(rec, out[i].Tx); err == nil && TxTopic(out[i].Tx.Source) != rec.Topic {
				err = fmt.Errorf("it is of source %q: something else wrote to the topic", out[i].Tx.Source)
			}
		} else {
			if len(events) == 0 { // few at a time: one that is kept keeps its neighbours
				events = make([]change.Event, min(16, len(fetched)-i))
			}
			out[i].Event, events = &events[0], events[1:]
			err = r.decoder.event(ctx, rec, out[i].Event)
		}
		if err != nil {
			return failTopic("decode", rec.Topic, rec.Partition, fmt.Errorf("offset %d: %w", rec.Offset, err))
		}
	}
	return nil
}
