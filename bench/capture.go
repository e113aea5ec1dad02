package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/kafka"
)

// countLog takes everything at once and keeps nothing: what a reader costs
// without a place to put its rows.
type countLog struct {
	resume  capture.Resume
	want    int
	stop    context.CancelFunc
	rows    int
	mark    change.Mark
	history string
}

func (l *countLog) Resume() capture.Resume { return l.resume }
func (l *countLog) Durable() change.Mark   { return l.resume.Durable }
func (l *countLog) Err() error             { return nil }
func (l *countLog) Start(_ context.Context, rec change.TxRecord) error {
	l.history = rec.History
	return nil
}

func (l *countLog) Append(context.Context, string, *change.Event) error { l.rows++; return nil }

func (l *countLog) End(context.Context, change.TxRecord) error {
	if l.rows >= l.want {
		l.stop()
	}
	return nil
}

func (l *countLog) SnapshotEnd(_ context.Context, rec change.TxRecord, _ []change.Table) error {
	if l.mark = rec.Mark; l.want == 0 {
		l.stop()
	}
	return nil
}

func (l *countLog) Watermark(context.Context, change.Mark, time.Time) error { return nil }

// topicLog is the log that a running Tributary has, resuming where it is told
// to. Its last End waits until the broker has acknowledged everything.
type topicLog struct {
	*kafka.Writer
	resume capture.Resume
	want   int
	stop   context.CancelFunc
	rows   int
}

func (l *topicLog) Resume() capture.Resume {
	r := l.resume
	r.Incarnation = l.Writer.Resume().Incarnation
	return r
}

func (l *topicLog) Durable() change.Mark { return l.Recorded() }

func (l *topicLog) Append(ctx context.Context, route string, ev *change.Event) error {
	l.rows++
	return l.Writer.Append(ctx, route, ev)
}

func (l *topicLog) End(ctx context.Context, rec change.TxRecord) error {
	if err := l.Writer.End(ctx, rec); err != nil || l.rows < l.want {
		return err
	}
	err := l.Flush(ctx)
	l.stop()
	return err
}

// broker is the embedded broker with its registry.
type broker struct {
	*kafka.Broker
	registry *kafka.LocalRegistry
}

func (l *lab) startBroker(ctx context.Context, name string) (*broker, error) {
	b, err := kafka.StartBroker(kafka.BrokerConfig{Dir: filepath.Join(l.work, name), Addr: "127.0.0.1:0"})
	if err != nil {
		return nil, err
	}
	registry, err := kafka.OpenLocalRegistry(ctx, b.Connection())
	if err != nil {
		b.Close()
		return nil, err
	}
	return &broker{b, registry}, nil
}

func (b *broker) close() {
	b.registry.Close()
	b.Close()
}

// writer makes the source's topics and opens their writer.
func (b *broker) writer(ctx context.Context, source string, tables []change.Table) (*kafka.Writer, error) {
	if err := kafka.EnsureTopics(ctx, b.Connection(), kafka.SourceTopics(source, tables, kafka.DefaultPartitions)); err != nil {
		return nil, err
	}
	return kafka.OpenWriter(ctx, kafka.WriterConfig{Connection: b.Connection(), Registry: b.registry, Source: source, Tables: tables})
}

// reader starts one technology's reader for a source of that name on a log.
type reader func(source string, log capture.Log) func(context.Context) error

// counted reads so many rows into nothing, and says how long it took.
func counted(ctx context.Context, read reader, source string, resume capture.Resume, rows int) (time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	log := &countLog{resume: resume, want: rows, stop: cancel}
	start := time.Now()
	err := read(source, log)(ctx)
	return since(start, log.rows, rows, err)
}

// landed reads so many rows into the source's topics.
func landed(ctx context.Context, b *broker, read reader, source string, table string, resume capture.Resume, rows int) (time.Duration, error) {
	w, err := b.writer(ctx, source, []change.Table{{Source: source, Name: table}})
	if err != nil {
		return 0, err
	}
	defer w.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	log := &topicLog{Writer: w, resume: resume, want: rows, stop: cancel}
	start := time.Now()
	err = read(source, log)(ctx)
	return since(start, log.rows, rows, err)
}

func since(start time.Time, got, want int, err error) (time.Duration, error) {
	took := time.Since(start)
	if !errors.Is(err, context.Canceled) {
		return 0, fmt.Errorf("the reader ended early: %w", err)
	}
	if got != want {
		return 0, fmt.Errorf("read %d rows, want %d", got, want)
	}
	return took, nil
}

// compare runs the turns of one source: the peer, the reader alone, the reader
// and the writer.
func (l *lab) compare(ctx context.Context, b *broker, pair pair) error {
	alone := l.report.add(pair.alone)
	whole := l.report.add(pair.whole)
	for turn := range l.turns {
		source := fmt.Sprintf("%s%d", pair.name, turn)
		peer, err := pair.peer(ctx)
		if err != nil {
			return err
		}
		var bare, topic time.Duration
		if err := pair.each(ctx, func() error {
			return l.profiled(pair.name+"-alone", turn, func() error {
				bare, err = counted(ctx, pair.read, source, pair.resume, l.rows)
				return err
			})
		}); err != nil {
			return err
		}
		if err := pair.each(ctx, func() error {
			return l.profiled(pair.name, turn, func() error {
				topic, err = landed(ctx, b, pair.read, source, pair.table, pair.resume, l.rows)
				return err
			})
		}); err != nil {
			return err
		}
		alone.turn(rate(l.rows, peer), rate(l.rows, bare))
		whole.turn(rate(l.rows, peer), rate(l.rows, topic))
	}
	return nil
}

// pair is a source's reader and its peer. each wraps one run of the reader.
type pair struct {
	name, table  string
	resume       capture.Resume
	read         reader
	peer         func(context.Context) (time.Duration, error)
	each         func(ctx context.Context, run func() error) error
	alone, whole Benchmark
}

func rate(n int, took time.Duration) float64 { return float64(n) / took.Seconds() }
