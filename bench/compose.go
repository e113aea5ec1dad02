package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/compose"
	"github.com/tributary-health/tributary/compose/mapping"
	"github.com/tributary-health/tributary/mappings"
	"github.com/tributary-health/tributary/store/pebble"
)

// composed is a store that holds every member's resources, its worker, and the
// Pebble beside it that was written the same keys and values.
type composed struct {
	db       *pebble.DB
	direct   *direct
	tee      *tee
	tape     *tape
	worker   *compose.Worker
	recorder *recorder
	broker   *broker
	members  []string // their Patient resources' ids
	versions int
}

func (c *composed) close() {
	c.forget()
	if c.db != nil {
		_ = c.db.Close()
	}
}

// forget ends everything but the store.
func (c *composed) forget() {
	if c.worker != nil {
		_ = c.worker.Close()
	}
	if c.direct != nil {
		_ = c.direct.db.Close()
	}
	if c.recorder != nil {
		c.recorder.close()
		c.broker.close()
	}
	*c = composed{db: c.db, members: c.members}
}

// compose makes the store and, if it is wanted, measures live changes in two
// shapes.
func (l *lab) compose(ctx context.Context) (*composed, error) {
	set, problems := mapping.Load(mappings.FS, mapping.Options{IDKey: bytes.Repeat([]byte{7}, 32)})
	if len(problems) > 0 {
		return nil, problems[0]
	}
	s, err := l.readSample(ctx, set)
	if err != nil {
		return nil, err
	}
	c := &composed{}
	if err := l.composeFirst(ctx, c, set, s); err != nil {
		c.close()
		return nil, err
	}
	if !l.wants("compose") {
		return c, nil
	}
	changes := newChanges(s, l.copies)
	for _, shape := range []struct {
		name, title string
		rows, txs   int
		expected    float64
	}{
		{"compose-live", "Row changes composed and stored, transactions of 2 rows", 2, 500, 0.2},
		{"compose-batch", "Row changes composed and stored, transactions of 500 rows", 500, 4, 0.2},
	} {
		b := l.report.add(Benchmark{
			Name: shape.name, Title: shape.title, Unit: "rows/s", Expected: shape.expected, Aim: 0.5,
			Baseline: "the same keys and values straight to Pebble, in the same batches, synced where ours are",
			Data: fmt.Sprintf("%d members (the sample's %d, each %d times under other keys), %d transactions a turn, half new fills and half orders stopped or resumed",
				len(c.members), len(c.members)/l.copies, l.copies, shape.txs),
		})
		for turn := range l.turns {
			if err := l.liveTurn(ctx, c, b, turn, func() (change.Position, int, error) {
				return changes.write(ctx, c.recorder, shape.rows, shape.txs)
			}); err != nil {
				return c, err
			}
		}
	}
	return c, nil
}

// composeFirst brings the store, and the Pebble beside it, to where live changes
// begin.
func (l *lab) composeFirst(ctx context.Context, c *composed, set *mapping.Set, s *sample) (err error) {
	if c.broker, err = l.startBroker(ctx, "broker-compose"); err != nil {
		return err
	}
	if c.recorder, err = newRecorder(ctx, c.broker, s); err != nil {
		return err
	}
	say(fmt.Sprintf("compose: %d copies of the sample", l.copies))
	if err := c.recorder.snapshot(ctx, s, l.copies); err != nil {
		return err
	}
	c.tee = &tee{FS: vfs.Default}
	if c.db, err = pebble.Open(filepath.Join(l.work, "store"), pebble.Options{FS: c.tee}); err != nil {
		return err
	}
	if c.direct, err = openDirect(filepath.Join(l.work, "direct")); err != nil {
		return err
	}
	c.tape = &tape{}
	if c.worker, err = compose.New(compose.Config{
		Set: set, Feed: c.tape, Store: c.db, Sources: slices.Sorted(maps.Keys(s.used)), SpillDir: l.work,
		Hooks: compose.Hooks{Applied: func(_ change.Freshness, _, versions int) { c.versions += versions }},
	}); err != nil {
		return err
	}
	if c.tape.records, err = c.recorder.tape(ctx); err != nil {
		return err
	}
	rows, start := len(c.tape.records), time.Now()
	for !c.db.Frontier().Composed {
		if err := c.worker.Step(ctx); err != nil {
			return err
		}
		if _, _, err := c.writeDirect(); err != nil {
			return err
		}
	}
	for n := range l.copies {
		for _, base := range s.of(set.Root().Table.Source, set.Root().Table.Name) {
			m, err := s.as(base, n)
			if err != nil {
				return err
			}
			c.members = append(c.members, set.ResourceID("Patient", set.Root().Table, "", m.route))
		}
	}
	say(fmt.Sprintf("compose: %d rows of %d members composed for the first time in %.1f s", rows, len(c.members), time.Since(start).Seconds()))
	return nil
}

// liveTurn records changes, applies them, and then writes what they wrote.
func (l *lab) liveTurn(ctx context.Context, c *composed, b *Benchmark, turn int, record func() (change.Position, int, error)) error {
	last, rows, err := record()
	if err != nil {
		return err
	}
	if c.tape.records, err = c.recorder.tape(ctx); err != nil {
		return err
	}
	settle()
	c.versions = 0
	var ours time.Duration
	if err := l.profiled(b.Name, turn, func() error {
		start := time.Now()
		for c.db.Frontier().Sources["pharmacy"].Position.Compare(last) < 0 {
			if err := c.worker.Step(ctx); err != nil {
				return err
			}
		}
		ours = time.Since(start)
		return nil
	}); err != nil {
		return err
	}
	if len(c.tape.records) > 0 {
		return errors.New("the worker left records on the tape")
	}
	keys, base, err := c.writeDirect()
	if err != nil {
		return err
	}
	b.turn(rate(rows, base.took), rate(rows, ours))
	if turn == l.turns-1 {
		b.note("A row change made %.2f resource versions, %.1f keys and %d B, in %d batches for %d rows.",
			float64(c.versions)/float64(rows), float64(keys)/float64(rows), base.bytes/rows, base.batches, rows)
	}
	return nil
}

// written is what one round of direct writes was.
type written struct {
	took           time.Duration
	bytes, batches int
}

func (c *composed) writeDirect() (keys int, w written, err error) {
	batches, err := c.tee.take()
	if err != nil {
		return 0, w, err
	}
	for _, b := range batches {
		w.bytes += len(b)
	}
	w.batches = len(batches)
	start := time.Now()
	keys, err = c.direct.write(batches)
	w.took = time.Since(start)
	return keys, w, err
}

// settle waits until nothing goes on in the background: compactions of what was
// written before, of either store, have no part in a turn.
func settle() {
	for range 300 {
		before := cpuTime()
		time.Sleep(200 * time.Millisecond)
		if cpuTime()-before < 10*time.Millisecond {
			return
		}
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
