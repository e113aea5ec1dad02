package publish

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tributary-health/tributary/commit"
)

// A unit of commit is one source transaction, whole, over all partitions. The
// outbox has a line per partition, each in commit order, and the frontier may
// move between a look at one and at the next. So the first look settles on a
// commit number that some entry has: that unit is visible, and all before it
// are. The second look at the partitions that had nothing finds whether there is
// an earlier one. What is written then is read up to that number everywhere.

// head is what was read ahead of a partition, at most the limits of Config.
type head struct {
	entries []entry
	full    bool // there may be more
}

type entry struct {
	record Record
	number uint64 // the outbox number
	unit   commit.Number
	source string
}

// stepWhole publishes the next whole units of commit in one transaction. A unit
// that is of no source's transaction (the first composition, a retry) may be of
// any size and is cut where the limits say.
func (p *Publisher) stepWhole(ctx context.Context, topic Transactional) (int, error) {
	n, err := p.transact(ctx, topic)
	if err == nil {
		return n, nil
	}
	for i := range p.parts {
		p.parts[i].known, p.heads[i] = false, head{}
	}
	return n, fmt.Errorf("publish to the change topic: %w", err)
}

func (p *Publisher) transact(ctx context.Context, topic Transactional) (int, error) {
	for partition := range p.cfg.Partitions {
		if at := &p.parts[partition]; !at.known {
			if err := p.resume(ctx, partition, at); err != nil {
				return 0, fmt.Errorf("partition %d: %w", partition, err)
			}
		}
	}
	last, cut, err := p.choose()
	if err != nil || last == 0 {
		return 0, err
	}
	reached := make([]uint64, len(p.heads))
	var broken error // the outbox's, which is final
	total := 0
	err = topic.Transact(ctx, func(write func(int32, Record) error) error {
		for partition := range p.cfg.Partitions {
			reached[partition] = p.parts[partition].last
			n, err := p.writeThrough(ctx, partition, last, cut, &reached[partition], write)
			total += n
			if errors.As(err, new(topicError)) {
				return err
			}
			if err != nil {
				broken = fmt.Errorf("partition %d: %w", partition, err)
				return broken
			}
		}
		return nil
	})
	switch {
	case broken != nil:
		return 0, broken
	case errors.Is(err, ErrFenced):
		return 0, err
	case err != nil:
		return 0, topicError{fmt.Errorf("write commit %d: %w", last, err)}
	}
	return total, p.marked(ctx, reached)
}

// choose says through which unit is written next; 0 for nothing. cut says that
// this one unit may end where what was read ahead ends.
func (p *Publisher) choose() (last commit.Number, cut bool, err error) {
	for range 2 {
		if err := p.readAhead(); err != nil {
			return 0, false, err
		}
	}
	last, cut = through(p.heads, p.cfg.Units)
	return last, cut, nil
}

// readAhead reads the first entries of every partition that has none.
func (p *Publisher) readAhead() error {
	for partition := range p.heads {
		h := &p.heads[partition]
		if len(h.entries) > 0 {
			continue
		}
		*h = head{}
		size, next := 0, p.parts[partition].last+1
		err := p.cfg.Outbox.Announcements(int32(partition), next-1, func(number uint64, a commit.Announcement) bool {
			if number != next {
				return false // found out when it is written
			}
			next++
			h.entries = append(h.entries, entry{NewRecord(number, &a), number, a.Info.Number, a.Info.Source})
			size += len(a.Version.Body)
			h.full = len(h.entries) >= p.cfg.Records || size >= p.cfg.Bytes
			return !h.full
		})
		if err != nil {
			return fmt.Errorf("partition %d: %w", partition, err)
		}
	}
	return nil
}

// through chooses the last unit to be written together with those before it, at
// most so many. A unit of no source goes alone.
func through(heads []head, units int) (last commit.Number, cut bool) {
	sources := map[commit.Number]string{}
	bound := ^commit.Number(0) // no partition is known beyond
	for _, h := range heads {
		for _, e := range h.entries {
			sources[e.unit] = e.source
		}
		if h.full {
			bound = min(bound, h.entries[len(h.entries)-1].unit)
		}
	}
	seen := slices.Sorted(maps.Keys(sources))
	if len(seen) == 0 {
		return 0, false
	}
	last = seen[0]
	if sources[last] == "" {
		return last, true
	}
	for _, n := range seen[1:min(len(seen), units)] {
		if n > bound || sources[n] == "" {
			break
		}
		last = n
	}
	return last, false
}

// chunk is what is disclosed and then written of one partition at a time.
type chunk struct {
	p         *Publisher
	partition int32
	write     func(partition int32, r Record) error
	records   []Record
	size      int
	reached   uint64 // the number of the last record taken
	written   int
}

// put takes the next record, and writes what there is when that is enough.
func (c *chunk) put(ctx context.Context, number uint64, r Record) error {
	c.records = append(c.records, r)
	c.size += len(r.Value)
	c.reached = number
	if len(c.records) < c.p.cfg.Records && c.size < c.p.cfg.Bytes {
		return nil
	}
	return c.flush(ctx)
}

// flush writes what was taken, once it is disclosed.
func (c *chunk) flush(ctx context.Context) error {
	if err := c.p.disclose(ctx, c.partition, c.records); err != nil {
		return err
	}
	for _, r := range c.records {
		if err := c.write(c.partition, r); err != nil {
			return topicError{err}
		}
		c.written++
	}
	c.records, c.size = nil, 0
	return nil
}

// writeThrough writes the partition's entries up to the unit: those that were read
// ahead, and, unless the unit is cut, all others.
func (p *Publisher) writeThrough(ctx context.Context, partition int32, last commit.Number, cut bool, reached *uint64, write func(int32, Record) error) (int, error) {
	c := chunk{p: p, partition: partition, write: write, reached: *reached}
	whole := false
	for _, e := range p.heads[partition].entries {
		if whole = e.unit > last; whole {
			break
		}
		if err := c.put(ctx, e.number, e.record); err != nil {
			return c.written, err
		}
	}
	if !whole && !cut {
		if err := p.writeRest(ctx, last, &c); err != nil {
			return c.written, err
		}
	}
	err := c.flush(ctx)
	*reached = c.reached
	return c.written, err
}

// writeRest writes the entries up to the unit that were not read ahead.
func (p *Publisher) writeRest(ctx context.Context, last commit.Number, c *chunk) error {
	var gap uint64
	var failed error
	err := p.cfg.Outbox.Announcements(c.partition, c.reached, func(number uint64, a commit.Announcement) bool {
		switch {
		case number != c.reached+1:
			gap = number
		case a.Info.Number > last:
		default:
			failed = c.put(ctx, number, NewRecord(number, &a))
			return failed == nil
		}
		return false
	})
	if failed != nil {
		return failed
	}
	if err == nil && gap != 0 {
		err = fmt.Errorf("outbox goes on with number %d after %d: it is not dense", gap, c.reached)
	}
	return err
}

// marked notes what was committed.
func (p *Publisher) marked(ctx context.Context, reached []uint64) error {
	for partition := range p.cfg.Partitions {
		at, number := &p.parts[partition], reached[partition]
		n := int(number - at.last)
		if n == 0 {
			continue
		}
		at.last = number
		p.heads[partition].drop(number)
		if err := p.cfg.Outbox.Published(ctx, partition, number); err != nil {
			return fmt.Errorf("mark number %d of partition %d as published: %w", number, partition, err)
		}
		if p.cfg.Hooks.Published != nil {
			p.cfg.Hooks.Published(partition, number, n)
		}
	}
	return nil
}

// drop forgets the entries up to the number.
func (h *head) drop(number uint64) {
	n := 0
	for n < len(h.entries) && h.entries[n].number <= number {
		n++
	}
	h.entries = slices.Delete(h.entries, 0, n)
}
