package projection

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
)

// outboxTopic is the name under which the frontier's Offsets keep the place in
// the base store's outbox: per partition the next number.
const outboxTopic = "outbox"

// reading is the place in the base store's outbox.
type reading struct {
	begun bool     // the client's store has a place
	at    []uint64 // the last number looked at
	whole []uint64 // that of the last whole commit; written with the data
	unit  commit.Info
	seen  uint32 // of unit's versions
}

func places(offsets map[commit.TopicPartition]int64) []uint64 {
	var at []uint64
	for tp, next := range offsets {
		if tp.Topic == outboxTopic && tp.Partition >= 0 && tp.Partition < maxPartitions {
			at = longer(at, tp.Partition)
			at[tp.Partition] = uint64(next - 1)
		}
	}
	return at
}

func offsets(at []uint64) map[commit.TopicPartition]int64 {
	all := make(map[commit.TopicPartition]int64, len(at))
	for p, n := range at {
		all[commit.TopicPartition{Topic: outboxTopic, Partition: int32(p)}] = int64(n) + 1
	}
	return all
}

func longer(numbers []uint64, partition int32) []uint64 {
	for int(partition) >= len(numbers) {
		numbers = append(numbers, 0)
	}
	return numbers
}

// Step takes the next commits of the base store, at most as many as are written
// at once. caughtUp says that none is left. After an error nothing may be done
// but look at Status, unless it is only that ctx ended: then what was taken and
// not committed is lost, and another projection is to be made.
func (p *Projection) Step(ctx context.Context) (caughtUp bool, err error) {
	if err := p.Status().Err; err != nil {
		return false, err
	}
	if caughtUp, err = p.step(ctx); err != nil {
		return false, p.fail(ctx, err)
	}
	return caughtUp, nil
}

func (p *Projection) step(ctx context.Context) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	base := p.cfg.Base.Frontier()
	if n := len(base.Outbox); n > maxPartitions {
		return false, fmt.Errorf("the base store has %d partitions, the most is %d", n, maxPartitions)
	}
	if !p.from.begun {
		if err := p.begin(ctx, &base); err != nil {
			return false, err
		}
	}
	more, err := p.read(ctx, base.Number)
	if err != nil {
		return false, err
	}
	if more {
		return false, p.relieve(ctx)
	}
	return true, p.reach(ctx, &base)
}

// begin finds out where an empty store begins: at the base store's first commit,
// or, when that is no longer in its outbox, with everything that is current.
func (p *Projection) begin(ctx context.Context, base *commit.Frontier) error {
	whole := true
	for partition := range base.Outbox {
		dropped, err := p.cfg.Base.Dropped(int32(partition))
		if err != nil {
			return err
		}
		whole = whole && dropped == 0
	}
	p.from.begun = true
	p.from.at = make([]uint64, len(base.Outbox))
	p.from.whole = slices.Clone(p.from.at)
	if whole {
		return nil
	}
	return p.everything(ctx, base)
}

// everything takes what is current at the base store's frontier as one commit.
// The time of it is a time that freshness tells, and not that of the base
// store's commit, which may be hidden.
func (p *Projection) everything(ctx context.Context, base *commit.Frontier) error {
	for name, s := range base.Sources {
		p.write.told.tell(name, s.Committed, p.cfg.Now())
	}
	p.from.unit = commit.Info{Number: base.Number, Committed: p.write.told.newest()}
	var failed error
	err := p.cfg.Base.Current(base.Number, func(v fhir.Version) bool {
		if failed = p.project(&commit.Version{Version: v}); failed == nil && p.write.bytes >= p.cfg.GroupBytes {
			failed = p.write.stage(ctx)
		}
		return failed == nil
	})
	if err := errors.Join(err, failed); err != nil {
		return err
	}
	copy(p.from.at, base.Outbox)
	p.end()
	return p.commit(ctx)
}

// read takes entries up to the base store's commit. more says that it stopped
// before the end because there is enough to write.
func (p *Projection) read(ctx context.Context, last commit.Number) (more bool, err error) {
	var failed error
	err = p.cfg.Base.Changes(p.from.at, func(partition int32, number uint64, a commit.Announcement) bool {
		if a.Info.Number > last {
			return false
		}
		if failed = ctx.Err(); failed == nil {
			failed = p.entry(partition, number, &a)
		}
		more = p.full()
		return failed == nil && !more
	})
	if err := errors.Join(err, failed); err != nil {
		return false, err
	}
	if !more && p.from.open() {
		return false, fmt.Errorf("the base store's commit %d has %d versions, its outbox %d", p.from.unit.Number, p.from.unit.Count, p.from.seen)
	}
	return more, nil
}

// open reports whether a commit is read in part.
func (r *reading) open() bool { return r.seen > 0 }

// entry takes one entry of the outbox. What does not follow the one before
// would be a change that is lost or doubled.
func (p *Projection) entry(partition int32, number uint64, a *commit.Announcement) error {
	r := &p.from
	r.at = longer(r.at, partition)
	if number != r.at[partition]+1 {
		return fmt.Errorf("the base store's outbox of partition %d goes on with %d after %d", partition, number, r.at[partition])
	}
	if !r.open() {
		r.unit = a.Info
	}
	if a.Info.Number != r.unit.Number || a.Version.Sequence != r.seen || r.seen >= r.unit.Count {
		return fmt.Errorf("the base store's outbox goes on with commit %d, version %d, after commit %d, version %d of %d",
			a.Info.Number, a.Version.Sequence, r.unit.Number, r.seen, r.unit.Count)
	}
	r.at[partition] = number
	r.seen++
	p.write.looked++
	if err := p.project(&a.Version); err != nil {
		return err
	}
	if r.seen == r.unit.Count {
		p.end()
	}
	return nil
}

// end finishes the commit that is read.
func (p *Projection) end() {
	p.write.end(&p.from.unit, p.cfg.Now())
	p.from.seen = 0
	p.from.whole = slices.Clone(p.from.at)
}

// full reports whether it is time to write.
func (p *Projection) full() bool {
	w := &p.write
	if w.bytes >= p.cfg.GroupBytes {
		return true
	}
	return !p.from.open() && (w.staged || len(w.units) >= p.cfg.GroupUnits || w.looked >= p.cfg.SkipEntries)
}

// relieve writes what is there, before there is more.
func (p *Projection) relieve(ctx context.Context) error {
	if p.from.open() {
		return p.write.stage(ctx)
	}
	return p.commit(ctx)
}

// reach notes that everything up to the base store's frontier is taken, and
// commits if there is something to tell.
func (p *Projection) reach(ctx context.Context, base *commit.Frontier) error {
	w := &p.write
	now := p.cfg.Now()
	tell := len(w.units) > 0 || base.Composed && !w.composed
	for name, s := range base.Sources {
		tell = w.told.tell(name, s.Committed, now) || tell
	}
	w.composed = w.composed || base.Composed
	if tell {
		if err := p.commit(ctx); err != nil {
			return err
		}
	}
	p.report(func(s *Status) { s.Base, s.Ready = base.Number, true })
	return nil
}

// commit makes visible what is finished, with the place up to which it was read.
func (p *Projection) commit(ctx context.Context) error {
	versions := p.write.versions
	if err := p.write.commit(ctx, p.from.whole); err != nil {
		return err
	}
	p.rest = time.Now().Add(p.cfg.GroupTime)
	p.take(p.from.whole)
	reached := p.from.unit.Number
	p.report(func(s *Status) { s.Base, s.Number = max(s.Base, reached), p.write.number })
	if p.cfg.Hooks.Applied != nil {
		p.cfg.Hooks.Applied(reached, versions)
	}
	return nil
}
