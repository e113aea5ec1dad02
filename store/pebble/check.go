package pebble

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/store"
)

// maxProblems is how many of them Check names before it gives up.
const maxProblems = 20

// Check reads the whole store and reports what contradicts itself: versions
// missing or out of order, heads without their content and content without its
// head, member entries and resources that do not agree,
// match tokens that do not agree with their resource's set, outbox entries or
// commits missing. It names at most 20 problems. It may run
// beside everything; what changes meanwhile is compared at the frontier of its
// start. It does not judge bodies: verify recomputes those.
func (db *DB) Check(ctx context.Context) error {
	c := checker{ctx: ctx, db: db, state: db.state.Load()}
	for _, part := range []func() error{c.log, c.resources, c.contents, c.entries, c.tokens, c.outbox} {
		if err := part(); err != nil {
			return fmt.Errorf("check store %s: %w", db.dir, err)
		}
	}
	if len(c.problems) > 0 {
		return fmt.Errorf("check store %s: %w:\n%w", db.dir, store.ErrCorrupt, errors.Join(c.problems...))
	}
	return nil
}

type checker struct {
	ctx      context.Context
	db       *DB
	state    *state
	problems []error
}

var errEnough = errors.New("too many problems")

func (c *checker) report(format string, args ...any) error {
	c.problems = append(c.problems, fmt.Errorf(format, args...))
	if len(c.problems) >= maxProblems {
		return errEnough
	}
	return nil
}

// walk calls fn for every key of a space.
func (c *checker) walk(space byte, fn func(key, value []byte) error) error {
	if len(c.problems) >= maxProblems {
		return nil
	}
	n := 0
	err := c.db.each([]byte{space}, []byte{space + 1}, func(key, value []byte) (bool, error) {
		if n++; n&1023 == 0 && c.ctx.Err() != nil {
			return false, c.ctx.Err()
		}
		return true, fn(key[1:], value)
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// log wants every commit up to the frontier.
func (c *checker) log() error {
	next := uint64(1)
	last := c.state.number()
	err := c.walk(spaceLog, func(key, value []byte) error {
		if len(key) != 8 {
			return c.report("a key of the commit log is malformed")
		}
		number := beUint64(key)
		if _, err := decodeInfo(commit.Number(number), value); err != nil {
			return c.report("commit %d: %w", number, err)
		}
		if number > last {
			return nil // newer than the check
		}
		if number != next {
			next = number + 1
			return c.report("commits before %d are missing from the log", number)
		}
		next++
		return nil
	})
	if err == nil && next <= last {
		_ = c.report("commits from %d to %d are missing from the log", next, last)
	}
	return err
}

// resources wants of each resource all versions from the first, in commit order,
// and the content of the newest.
func (c *checker) resources() error {
	types := c.db.names.Load()
	return c.walk(spaceCurrent, func(key, value []byte) error {
		if len(key) < 2 {
			return c.report("a key of a current version is malformed")
		}
		kind := uint16(key[0])<<8 | uint16(key[1])
		id := fhir.ResourceID{Type: types.textOf(nameType, kind), ID: string(key[2:])}
		current, err := decodeHead(bytes.Clone(value))
		if err != nil {
			return c.report("%s: %w", id, err)
		}
		next, newer := current.number-1, current.commit
		prefix := historyPrefix(nil, kind, id.ID)
		err = c.db.each(prefix, after(prefix), func(_, value []byte) (bool, error) {
			old, err := decodeVersion(value)
			if err != nil {
				return false, c.report("%s version %d: %w", id, next, err)
			}
			if old.number >= current.number {
				return true, c.replaced(id, kind, old.number)
			}
			if old.number != next || old.commit > newer {
				return false, c.report("%s: version %d of commit %d stands before version %d of commit %d", id, old.number, old.commit, next+1, newer)
			}
			next, newer = old.number-1, old.commit
			return true, nil
		})
		if err == nil && next != c.db.first-1 {
			err = c.report("%s: version %d is missing", id, next)
		}
		if err == nil {
			err = c.newest(id, kind, &current)
		}
		return err
	})
}

// replaced wants that a version of the history is not the newest any more.
func (c *checker) replaced(id fhir.ResourceID, kind uint16, number uint64) error {
	now, ok, err := c.db.head(kind, id.ID)
	if err == nil && ok && now.number <= number {
		err = c.report("%s: version %d is in the history, and version %d is the newest", id, number, now.number)
	}
	return err
}

// newest wants the content of a head, and that the member's lists agree with it.
func (c *checker) newest(id fhir.ResourceID, kind uint16, h *head) error {
	v := version{head: *h}
	if !h.deleted() {
		value, err := c.db.get(bodyKey(nil, h.member, kind, id.ID))
		if err == nil && value != nil {
			v, err = decodeVersion(value)
		}
		if err != nil && !errors.Is(err, store.ErrCorrupt) {
			return err
		}
		if err != nil || value == nil || !v.head.equal(h) {
			now, ok, err2 := c.db.head(kind, id.ID)
			if err2 != nil || ok && now.number > h.number {
				return err2 // it has changed since
			}
			return c.report("%s: the content of version %d is missing, or another's", id, h.number)
		}
	}
	if h.commit > c.state.number() {
		return nil
	}
	return c.listed(id, kind, &v)
}

// contents wants of each content that its resource's newest version is there and
// is it.
func (c *checker) contents() error {
	types := c.db.names.Load()
	return c.walk(spaceBody, func(key, value []byte) error {
		member, rest, err := cutText(key)
		if err != nil || len(rest) < 2 {
			return c.report("a key of a content is malformed")
		}
		kind := uint16(rest[0])<<8 | uint16(rest[1])
		id := fhir.ResourceID{Type: types.textOf(nameType, kind), ID: string(rest[2:])}
		v, err := decodeVersion(value)
		if err != nil {
			return c.report("%s: content: %w", id, err)
		}
		now, ok, err := c.db.head(kind, id.ID)
		if err != nil {
			return err
		}
		if ok && now.number == v.number && !now.deleted() && bytes.Equal(now.member, member) {
			return nil // resources has compared them
		}
		// A write may have come between: then the head is newer, and this gone.
		again, err := c.db.get(bodyKey(nil, member, kind, id.ID))
		if err != nil || ok && now.number > v.number && !bytes.Equal(again, value) {
			return err
		}
		return c.report("%s: content of version %d is left over", id, v.number)
	})
}

// listed wants a living resource in its member's list and among its entries.
func (c *checker) listed(id fhir.ResourceID, kind uint16, v *version) error {
	if now, ok, err := c.db.head(kind, id.ID); err != nil || !ok || now.number != v.number {
		return err // it has changed since
	}
	value, err := c.db.get(memberKey(nil, kind, string(v.member), id.ID))
	if err != nil {
		return err
	}
	if value == nil {
		return c.report("%s: its member has no entry of it", id)
	}
	e, err := decodeEntry(value)
	if err != nil {
		return c.report("%s: %w", id, err)
	}
	if e.number >= v.number && (e.gone() != v.deleted() || !v.deleted() && !bytes.Equal(e.index, v.index)) && e.number == v.number {
		return c.report("%s: its member's entry differs from version %d", id, v.number)
	}
	if e.number < v.number {
		return c.report("%s: its member's entry is of version %d, not %d", id, e.number, v.number)
	}
	list, err := c.db.get(ofKey(nil, string(v.member), kind, id.ID))
	if err == nil && e.number == v.number && (list != nil) == v.deleted() {
		err = c.report("%s: its member's list of resources does not agree with version %d", id, v.number)
	}
	return err
}

// entries wants a resource for each member entry, and that version of it for each
// that lives.
func (c *checker) entries() error {
	types := c.db.names.Load()
	return c.walk(spaceMember, func(key, value []byte) error {
		if len(key) < 2 {
			return c.report("a key of a member entry is malformed")
		}
		kind := uint16(key[0])<<8 | uint16(key[1])
		member, id, err := cutText(key[2:])
		if err != nil {
			return c.report("member entry: %w", err)
		}
		e, err := decodeEntry(value)
		if err != nil {
			return c.report("member entry: %w", err)
		}
		if e.commit > c.state.number() {
			return nil
		}
		h, ok, err := c.db.headAt(kind, string(id), e.commit)
		if err == nil && (!ok || h.number < e.number || !e.gone() && (h.number != e.number || !bytes.Equal(h.member, member))) {
			err = c.report("%s/%s: a member entry names version %d, which is not that member's", types.textOf(nameType, kind), id, e.number)
		}
		return err
	})
}

// outbox wants every number after the published mark, and its version.
func (c *checker) outbox() error {
	for partition := range int32(len(c.state.frontier.Outbox)) {
		mark, err := c.db.Mark(partition)
		if err != nil {
			return err
		}
		err = c.db.Announcements(partition, mark, func(uint64, commit.Announcement) bool { return c.ctx.Err() == nil })
		if errors.Is(err, store.ErrCorrupt) && len(c.problems) < maxProblems {
			c.problems = append(c.problems, err)
			err = nil
		}
		if err = errors.Join(err, c.ctx.Err()); err != nil {
			return err
		}
	}
	return nil
}
