package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/compose"
	"github.com/tributary-health/tributary/demo"
	"github.com/tributary-health/tributary/kafka"
	"github.com/tributary-health/tributary/store/pebble"
)

// unmoved lets a worker read the present store as if it had read nothing of the
// log, and refuses whatever would change it.
type unmoved struct {
	*pebble.DB
}

// errWouldChange says that a replayed record would have changed the store.
var errWouldChange = errors.New("the replay would change the store")

func (s unmoved) Frontier() commit.Frontier {
	f := s.DB.Frontier()
	f.Offsets = nil
	return f
}

func (s unmoved) Stage(_ context.Context, b commit.Batch) error { return refuseUnits(b) }

// Commit takes a frontier alone, which says only what is known already.
func (s unmoved) Commit(_ context.Context, b commit.Batch, _ commit.Frontier) error {
	return refuseUnits(b)
}

func refuseUnits(b commit.Batch) error {
	for _, u := range b.Units {
		return fmt.Errorf("%w: commit %d, source %q at %s, with %d rows and %d versions", errWouldChange, u.Number, u.Source, u.Position, len(u.Rows), len(u.Versions))
	}
	return nil
}

// same replays into the present store all that it has applied: every record must
// be known to it.
func (r *replay) same(ctx context.Context) error {
	from, err := parseFrom(r.options.from, names(r.sources))
	if err != nil {
		return err
	}
	if err := r.openPresent(); err != nil {
		return err
	}
	applied := r.store.Frontier().Offsets
	var feeds inTurn
	total, done := int64(0), int64(0)
	bars := demo.NewBars(os.Stderr)
	bars.Unit = "records"
	for _, s := range r.sources {
		f, err := r.feed(ctx, s, nil, applied)
		if err != nil {
			return err
		}
		for _, end := range f.left {
			total += end
		}
		f.skip = func(rec *compose.Record) bool {
			done++
			bars.Set("replay", done, total)
			at, limited := from[s.name]
			return limited && positionOf(rec).Compare(at) <= 0
		}
		feeds = append(feeds, f)
	}
	before, err := r.traces(ctx)
	if err != nil {
		return err
	}
	err = r.again(ctx, &feeds)
	bars.Finish()
	if err != nil && !errors.Is(err, errWouldChange) {
		return err
	}
	after, err2 := r.traces(ctx)
	if err2 != nil {
		return err2
	}
	fmt.Printf("replayed %d records of %d sources into the store, which stands at commit %d\n", done, len(r.sources), r.store.Frontier().Number)
	switch {
	case err != nil:
		fmt.Printf("DIFFERS: %v\n", err)
		return errReported
	case before != after:
		fmt.Printf("DIFFERS: before %s\n         after  %s\n", before, after)
		return errReported
	}
	fmt.Println("nothing changed, nothing was emitted:", after)
	return nil
}

// again runs a worker over the feed.
func (r *replay) again(ctx context.Context, feed compose.Feed) error {
	spill, err := os.MkdirTemp(r.cfg.Data, "spill-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(spill)
	c := compose.Config{
		Set: r.set, Feed: feed, Store: unmoved{r.store}, Sources: names(r.sources), SpillDir: spill,
		Partitions: r.cfg.Partitions, ChangePartitions: r.cfg.Partitions,
	}
	r.matching.configure(&c)
	w, err := compose.New(c)
	if err != nil {
		return err
	}
	if s := w.Status(); !s.Composed {
		return errors.Join(errors.New("a snapshot is open, or the mappings are not those that the store was composed with: let `tributary run` finish first (what other mappings change: tributary replay --mappings)"), w.Close())
	}
	if s := w.Status(); r.matching.id != "" && !s.Matching {
		return errors.Join(errors.New("the match tokens are of other keys or of another quarter: let `tributary run` make them again first"), w.Close())
	}
	if err := w.Run(ctx); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// traces is what a replay into the same store must leave as it is.
func (r *replay) traces(ctx context.Context) (string, error) {
	f := r.store.Frontier()
	ranges, err := kafka.Ranges(ctx, r.conn, changeTopicName)
	if err != nil {
		return "", err
	}
	ends := make([]int64, len(ranges))
	for tp, holds := range ranges {
		ends[tp.Partition] = holds.End
	}
	versions := 0
	if err := eachHistory(r.store, uint64(f.Number), func(h history) error { versions += len(h.versions); return ctx.Err() }); err != nil {
		return "", err
	}
	return fmt.Sprintf("commit %d, %d versions, outbox %v, %s ends at %v", f.Number, versions, f.Outbox, changeTopicName, ends), nil
}

// positionOf is where the record's transaction lies; zero for what begins a
// reader or a snapshot.
func positionOf(rec *compose.Record) change.Position {
	if rec.Event != nil {
		return rec.Event.Position.Transaction()
	}
	return rec.Tx.Mark.Position
}
