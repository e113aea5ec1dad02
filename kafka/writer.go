package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tributary-health/tributary/change"
)

// WriterConfig sets up the Writer of one source.
type WriterConfig struct {
	Connection Connection
	Registry   Registry

	// Source is the source's configured name; Tables are all it captures. Their
	// topics must exist (EnsureTopics with SourceTopics).
	Source string
	Tables []change.Table

	// Partitions is the count of every topic of the source, 0 for
	// DefaultPartitions. It can never change.
	Partitions int32

	// Format is Avro unless stated.
	Format Format

	// Compression is "none", "snappy", "lz4" or "zstd"; default snappy.
	Compression string

	// Linger is how long a batch waits for more records, default 2 ms. A
	// negative one is none.
	Linger time.Duration

	// BufferBytes bounds what is encoded and not acknowledged, default 64 MiB.
	// Append waits beyond it.
	BufferBytes int64
}

// Resume is where a source's topics stand when they are opened. Durable is the
// mark to go on after; zero if no snapshot was ever finished. Incarnation is the
// largest that was started, zero for none.
type Resume struct {
	Durable     change.Mark
	Incarnation change.Incarnation
	History     string
}

// Writer lands one source's rows and transactions. It is what capture.Log
// describes. One goroutine uses it; Durable, Err and Buffered may be called from
// any.
type Writer struct {
	source     string
	txTopic    string
	partitions int32
	format     Format
	conn       Connection
	client     *kgo.Client
	registry   Registry
	queue      queue
	progress   *progress

	resume       Resume
	landingEmpty bool

	started     bool
	incarnation change.Incarnation
	history     string
	last        change.Position   // the transaction that the log holds before the next one
	earlier     []change.Position // what the log holds of earlier incarnations beyond Resume.Durable
	txStamp     stamp
	tables      map[string]*landing // by table name
	schemas     map[*change.Schema]*landingSchema
	recent      *landingSchema
	touched     []*landing // tables with rows in the open transaction
	rows        int64      // rows in the open transaction
}

// landing is one table's topic and its rows in the open transaction, by
// partition.
type landing struct {
	name   string
	topic  string
	counts []int64
	rows   int64
}

type landingSchema struct {
	schema *change.Schema
	table  *landing
	stamp  stamp
}

// OpenWriter connects and reads where the source's topics stand: the last
// record of each partition of the tx topic. Close ends what it starts.
func OpenWriter(ctx context.Context, cfg WriterConfig) (*Writer, error) {
	const op = "open the writer"
	w, err := newWriter(cfg)
	if err != nil {
		return nil, fail(op, err)
	}
	opts, err := cfg.producerOptions()
	if err != nil {
		return nil, fail(op, err)
	}
	specs := SourceTopics(cfg.Source, cfg.Tables, w.partitions)
	names := make([]string, len(specs))
	for i, s := range specs {
		names[i] = s.Name
	}
	batch, least, err := cfg.Connection.batchLimit(ctx, names)
	if err != nil {
		return nil, err
	}
	opts = append(opts, kgo.ProducerBatchMaxBytes(batch))
	if w.client, err = cfg.Connection.client(opts...); err != nil {
		return nil, err
	}
	if err := checkPartitions(ctx, kadm.NewClient(w.client), op, opening, specs); err != nil {
		w.client.Close()
		return nil, err
	}
	if err := w.readState(ctx); err != nil {
		w.client.Close()
		return nil, err
	}
	w.progress = newProgress(w.resume.Durable)
	w.queue.init(w.client, w.progress, cfg.BufferBytes, batch, least)
	return w, nil
}

func newWriter(cfg WriterConfig) (*Writer, error) {
	if cfg.Source == "" || cfg.Registry == nil {
		return nil, errors.New("a source's name and a registry are needed")
	}
	format, err := cfg.Format.check()
	if err != nil {
		return nil, err
	}
	w := &Writer{
		source: cfg.Source, txTopic: TxTopic(cfg.Source), partitions: cfg.Partitions, format: format,
		conn: cfg.Connection, registry: cfg.Registry,
		tables:  make(map[string]*landing),
		schemas: make(map[*change.Schema]*landingSchema),
	}
	if w.partitions == 0 {
		w.partitions = DefaultPartitions
	}
	for _, t := range cfg.Tables {
		if err := checkTable(cfg.Source, t); err != nil {
			return nil, err
		}
		w.tables[t.Name] = &landing{name: t.Name, topic: LandingTopic(t), counts: make([]int64, w.partitions)}
	}
	return w, nil
}

func (cfg WriterConfig) producerOptions() ([]kgo.Opt, error) {
	var codec kgo.CompressionCodec
	switch cfg.Compression {
	case "none":
		codec = kgo.NoCompression()
	case "", "snappy":
		codec = kgo.SnappyCompression()
	case "lz4":
		codec = kgo.Lz4Compression()
	case "zstd":
		codec = kgo.ZstdCompression()
	default:
		return nil, fmt.Errorf("compression %q: want none, snappy, lz4 or zstd", cfg.Compression)
	}
	linger := cfg.Linger
	if linger == 0 {
		linger = 2 * time.Millisecond
	}
	return []kgo.Opt{
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		// An acknowledged record that the broker lost ends the writer: what it
		// called durable was not, and the next one reads what is there.
		kgo.StopProducerOnDataLossDetected(),
		kgo.ProducerBatchCompression(codec),
		kgo.ProducerLinger(max(linger, 0)),
		kgo.MaxBufferedRecords(1 << 30), // the queue bounds what is buffered, by bytes
	}, nil
}

// Resume says where the log stands: when it was opened, or, once the Writer was
// started, now. The next Start goes on from what it returned.
func (w *Writer) Resume() Resume {
	if w.started {
		w.resume = Resume{Durable: w.Durable(), Incarnation: w.incarnation, History: w.history}
	}
	return w.resume
}

// LandingEmpty reports whether the source's landing topics held no record when
// they were opened. Rows without a durable mark mean that the tx topic was lost
// or a first snapshot was interrupted.
func (w *Writer) LandingEmpty() bool { return w.landingEmpty }

// Durable returns the largest mark at or below which everything appended was
// acknowledged on every partition.
func (w *Writer) Durable() change.Mark {
	mark, _ := w.progress.now()
	return mark
}

// Recorded returns the largest durable mark that an acknowledged record of the
// log states: a writer opened later resumes there or after it. It trails Durable
// by a record. Only this may be confirmed to a source that forgets what it was
// told to. Any goroutine may ask.
func (w *Writer) Recorded() change.Mark { return w.progress.stated() }

// Err returns the error that stopped the Writer for good, or nil.
func (w *Writer) Err() error { return w.queue.failure() }

// Buffered returns the bytes that are encoded and not acknowledged.
func (w *Writer) Buffered() int64 { return w.queue.buffered.Load() }

// Flush returns nil when everything appended is durable.
func (w *Writer) Flush(ctx context.Context) error { return w.queue.flush(ctx) }

// Close ends the connection. What is not acknowledged by then may or may not be
// in the log; Durable does not count it.
func (w *Writer) Close() {
	w.queue.fail(fail("write", errors.New("the writer is closed")))
	w.client.Close()
}

// Append takes one row event; route decides its partition. It waits while too
// much is unacknowledged. Nothing of ev is kept; an Incarnation of zero is
// filled in.
func (w *Writer) Append(ctx context.Context, route string, ev *change.Event) error {
	if !w.started {
		return fail("append a row", errors.New("the writer was not started"))
	}
	s := w.recent
	if s == nil || s.schema != ev.Schema {
		var err error
		if s, err = w.landingSchema(ctx, ev.Schema); err != nil {
			return err
		}
		w.recent = s
	}
	if ev.Incarnation == 0 {
		ev.Incarnation = w.incarnation
	}
	if ev.Incarnation != w.incarnation {
		return failTopic("append a row", s.table.topic, -1,
			fmt.Errorf("incarnation %d, started was %d", ev.Incarnation, w.incarnation))
	}
	partition := change.Partition(route, w.partitions)
	rec := newRecord()
	s.stamp.event(rec, ev)
	rec.Topic, rec.Partition = s.table.topic, partition
	if route != "" {
		rec.Key = append(rec.Key, route...)
	} else {
		rec.Key = nil
	}
	if err := w.queue.append(ctx, rec); err != nil {
		return fmt.Errorf("append a row of table %s at %s: %w", s.schema.Table, ev.Position, err)
	}
	if s.table.rows == 0 {
		w.touched = append(w.touched, s.table)
	}
	s.table.rows++
	s.table.counts[partition]++
	w.rows++
	return nil
}

// landingSchema registers a table's schema, once for each.
func (w *Writer) landingSchema(ctx context.Context, schema *change.Schema) (*landingSchema, error) {
	if schema == nil {
		return nil, fail("append a row", errors.New("event without schema"))
	}
	if s := w.schemas[schema]; s != nil {
		return s, nil
	}
	table := w.tables[schema.Table.Name]
	if table == nil || schema.Table.Source != w.source {
		return nil, &Error{Op: "append a row", Partition: -1,
			Err: fmt.Errorf("table %s is not one the writer was opened with", schema.Table)}
	}
	id, err := w.registry.ID(ctx, table.topic+"-value", schema.AvroSchema())
	if err != nil {
		return nil, err
	}
	if len(w.schemas) > 10_000 { // a source that sends a new Schema each time
		clear(w.schemas)
	}
	s := &landingSchema{schema, table, newStamp(w.format, id)}
	w.schemas[schema] = s
	return s, nil
}
