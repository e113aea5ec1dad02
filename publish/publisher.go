package publish

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tributary-health/tributary/commit"
)

// The errors after which no publisher may go on by itself. Each names the
// partition and both numbers.
var (
	// ErrWentBack: the topic's partition ends before what it once held durably.
	ErrWentBack = errors.New("change topic went back")

	// ErrAhead: the topic's partition holds numbers that the store never gave.
	ErrAhead = errors.New("change topic is ahead of the store")

	// ErrGeneration: the topic's last record is of another store.
	ErrGeneration = errors.New("change topic is of another store generation")

	// ErrFenced: another publisher of the same store writes the topic.
	ErrFenced = errors.New("another publisher writes the change topic")
)

// Generations is a Topic that also says which store wrote a partition's last
// record: the value of its HeaderGeneration, empty for an empty partition. A
// Topic SHOULD be one: without it, another store's topic is found out only by
// its numbers.
type Generations interface {
	Generation(ctx context.Context, partition int32) (string, error)
}

// Hooks tell an observer what happens; any may be nil. They MUST return quickly
// and carry no state that the publisher depends on.
type Hooks struct {
	// Published: the partition holds every number up to number; records were
	// added.
	Published func(partition int32, number uint64, records int)
	// Retry: the topic gave err, and is asked again after the delay.
	Retry func(err error, delay time.Duration)
}

// Config says what is published where. Zero numbers mean the defaults.
type Config struct {
	Outbox Outbox
	Topic  Topic

	Generation string        // the store's, for a Topic that is Generations
	Partitions int32         // of the change topic; 4
	Records    int           // most records of one Append; 500
	Bytes      int           // about the most bytes of one Append; 1 MiB
	Units      int           // most source transactions of one Transact, when there is more than one to publish; 1,000
	MinDelay   time.Duration // before the first retry; 100 ms
	MaxDelay   time.Duration // between later ones; 10 s

	// Disclose, if set, is told of the records that are about to be sent, and
	// returns when that is on the record, durably. After an error none of them is
	// sent; it is called again, as when the topic failed. Records that were
	// disclosed and not sent are disclosed again: at least once, always before. In
	// a Transact it is called from within; it MUST NOT keep or change the records.
	Disclose func(ctx context.Context, partition int32, records []Record) error

	Hooks Hooks
}

func (c Config) withDefaults() Config {
	setDefault(&c.Partitions, 4)
	setDefault(&c.Records, 500)
	setDefault(&c.Bytes, 1<<20)
	setDefault(&c.Units, 1000)
	setDefault(&c.MinDelay, 100*time.Millisecond)
	setDefault(&c.MaxDelay, 10*time.Second)
	return c
}

func setDefault[T int | int32 | time.Duration](v *T, to T) {
	if *v <= 0 {
		*v = to
	}
}

// Publisher carries the outbox to the topic: each number once, in order, without
// a gap, whatever is killed. It holds that there is one publisher. It is used by
// one goroutine.
type Publisher struct {
	cfg   Config
	parts []place
	heads []head // of a Transactional topic
}

// place is where one partition stands, as the topic last said.
type place struct {
	known bool
	last  uint64 // the last number that the topic durably holds
	end   int64  // its end offset when it was asked
}

// New returns a publisher. It does nothing until Step or Run.
func New(cfg Config) *Publisher {
	cfg = cfg.withDefaults()
	return &Publisher{cfg: cfg, parts: make([]place, cfg.Partitions), heads: make([]head, cfg.Partitions)}
}

// topicError is a failure of the topic, which is worth another try.
type topicError struct{ err error }

func (e topicError) Error() string { return e.err.Error() }
func (e topicError) Unwrap() error { return e.err }

// Run publishes until ctx ends, which is no error, or until it cannot go on:
// ErrWentBack, ErrAhead, ErrGeneration, ErrFenced, or an error of the outbox. While the
// topic is away it tries again, with growing delay.
func (p *Publisher) Run(ctx context.Context) error {
	delay := p.cfg.MinDelay
	for {
		changed := p.cfg.Outbox.Changed() // before the look, so that no change falls between
		n, err := p.Step(ctx)
		if ctx.Err() != nil {
			return nil
		}
		var away topicError
		switch {
		case err == nil && n > 0:
			delay = p.cfg.MinDelay
		case err == nil:
			delay = p.cfg.MinDelay
			select {
			case <-changed:
			case <-ctx.Done():
				return nil
			}
		case errors.As(err, &away):
			if p.cfg.Hooks.Retry != nil {
				p.cfg.Hooks.Retry(err, delay)
			}
			if !sleep(ctx, delay) {
				return nil
			}
			delay = min(2*delay, p.cfg.MaxDelay)
		default:
			return err
		}
	}
}

// sleep reports whether the time passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Step publishes at most one batch of each partition, or of a Transactional
// topic one transaction, and returns the number of records that the topic has
// taken. After an error it may be called again: it asks the topic where it
// stands. A partition whose topic fails does not keep the others, unless they
// are written together.
func (p *Publisher) Step(ctx context.Context) (int, error) {
	if topic, ok := p.cfg.Topic.(Transactional); ok {
		return p.stepWhole(ctx, topic)
	}
	records := 0
	var away error
	for partition := range p.cfg.Partitions {
		n, err := p.step(ctx, partition)
		records += n
		if err == nil {
			continue
		}
		p.parts[partition].known = false
		err = fmt.Errorf("publish partition %d of the change topic: %w", partition, err)
		if !errors.As(err, new(topicError)) {
			return records, err
		}
		away = errors.Join(away, err)
	}
	return records, away
}

func (p *Publisher) step(ctx context.Context, partition int32) (int, error) {
	at := &p.parts[partition]
	if !at.known {
		if err := p.resume(ctx, partition, at); err != nil {
			return 0, err
		}
	}
	batch, last, err := p.gather(partition, at.last)
	if err != nil || len(batch) == 0 {
		return 0, err
	}
	if err := p.disclose(ctx, partition, batch); err != nil {
		return 0, err
	}
	if err := p.cfg.Topic.Append(ctx, partition, batch); err != nil {
		return 0, topicError{fmt.Errorf("append %d records after number %d: %w", len(batch), at.last, err)}
	}
	at.last = last
	if err := p.cfg.Outbox.Published(ctx, partition, last); err != nil {
		return len(batch), fmt.Errorf("mark number %d as published: %w", last, err)
	}
	if p.cfg.Hooks.Published != nil {
		p.cfg.Hooks.Published(partition, last, len(batch))
	}
	return len(batch), nil
}

// disclose says what is about to be sent. Its failure is worth another try.
func (p *Publisher) disclose(ctx context.Context, partition int32, records []Record) error {
	if p.cfg.Disclose == nil || len(records) == 0 {
		return nil
	}
	if err := p.cfg.Disclose(ctx, partition, records); err != nil {
		return topicError{fmt.Errorf("put %d records on the record before they are sent: %w", len(records), err)}
	}
	return nil
}

// resume asks the topic for its last number, which decides, and checks it
// against what the store knows. A topic of another store is left alone, for Last
// may shut out who writes it.
func (p *Publisher) resume(ctx context.Context, partition int32, at *place) error {
	if err := p.ours(ctx, partition); err != nil {
		return err
	}
	number, end, err := p.cfg.Topic.Last(ctx, partition)
	if errors.Is(err, ErrGeneration) {
		return err
	}
	if err != nil {
		return topicError{fmt.Errorf("find its last record: %w", err)}
	}
	mark, err := p.cfg.Outbox.Mark(partition)
	if err != nil {
		return err
	}
	if held := max(mark, at.last); number < held {
		return fmt.Errorf("%w: its last outbox number is %d, but it held %d: restore the topic's data, or rebuild the store to begin a new generation", ErrWentBack, number, held)
	}
	if end < at.end {
		return fmt.Errorf("%w: its end offset is %d, but it was %d: restore the topic's data", ErrWentBack, end, at.end)
	}
	if err := p.sameStore(ctx, partition, number, mark); err != nil {
		return err
	}
	if number > mark { // it stopped between the topic's acknowledgement and the mark
		if err := p.cfg.Outbox.Published(ctx, partition, number); err != nil {
			return fmt.Errorf("mark number %d as published: %w", number, err)
		}
	}
	*at = place{known: true, last: number, end: end}
	return nil
}

// sameStore finds out a topic that another store, or a later state of this one,
// has written to: then a number above the mark is not in the outbox.
func (p *Publisher) sameStore(ctx context.Context, partition int32, number, mark uint64) error {
	if err := p.ours(ctx, partition); err != nil {
		return err
	}
	if number <= mark {
		return nil
	}
	found := false
	err := p.cfg.Outbox.Announcements(partition, number-1, func(n uint64, _ commit.Announcement) bool {
		found = n == number
		return false
	})
	if err == nil && !found {
		err = fmt.Errorf("%w: its last outbox number is %d, which is not in the store, which has published up to %d: was the store restored from a backup?", ErrAhead, number, mark)
	}
	return err
}

// ours wants that the partition's last record is of this store.
func (p *Publisher) ours(ctx context.Context, partition int32) error {
	g, ok := p.cfg.Topic.(Generations)
	if !ok || p.cfg.Generation == "" {
		return nil
	}
	generation, err := g.Generation(ctx, partition)
	if err != nil {
		return topicError{fmt.Errorf("read the generation of its last record: %w", err)}
	}
	if generation != "" && generation != p.cfg.Generation {
		return fmt.Errorf("%w: its last record is of generation %q, the store is %q: each store needs its own topic", ErrGeneration, generation, p.cfg.Generation)
	}
	return nil
}

// gather takes the next records from the outbox, and the number of the last.
func (p *Publisher) gather(partition int32, after uint64) (batch []Record, last uint64, err error) {
	size := 0
	last = after
	gap := uint64(0)
	err = p.cfg.Outbox.Announcements(partition, after, func(number uint64, a commit.Announcement) bool {
		if number != last+1 {
			gap = number
			return false
		}
		last = number
		batch = append(batch, NewRecord(number, &a))
		size += len(a.Version.Body)
		return len(batch) < p.cfg.Records && size < p.cfg.Bytes
	})
	if err == nil && gap != 0 {
		err = fmt.Errorf("outbox goes on with number %d after %d: it is not dense", gap, last)
	}
	return batch, last, err
}
