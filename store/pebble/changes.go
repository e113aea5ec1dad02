package pebble

import (
	"context"
	"errors"
	"fmt"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/store"
)

// Changes calls fn for the outbox entries of all partitions after the given
// numbers, in commit order and within a commit by sequence, up to the frontier
// as of the call, until fn returns false. after is by partition; one that is
// not named is read from its start. What fn gets is its own. A commit is whole
// when as many as Info.Count have come. An entry that was published and dropped
// is an error, not a gap. It may be called from any goroutine.
func (db *DB) Changes(after []uint64, fn func(partition int32, number uint64, a commit.Announcement) bool) (err error) {
	f := &db.state.Load().frontier
	m := merged{db: db}
	defer func() {
		if err = errors.Join(err, m.close()); err != nil {
			err = fmt.Errorf("changes of store %s: %w", db.dir, err)
		}
	}()
	for p, last := range f.Outbox {
		if from := at(after, p); from < last {
			if err := m.add(int32(p), from+1, last); err != nil {
				return err
			}
		}
	}
	var info commit.Info
	for {
		l, err := m.first()
		if err != nil || l == nil {
			return err
		}
		a, err := db.announcement(l.value, &info)
		if err != nil {
			return fmt.Errorf("outbox number %d of partition %d: %w", l.number, l.partition, err)
		}
		a.Version.Partition, a.Version.Outbox = l.partition, l.number
		if !fn(l.partition, l.number, a) {
			return nil
		}
		if err := l.next(); err != nil {
			return err
		}
	}
}

// merged is the partitions' lines of the outbox, read as one.
type merged struct {
	db    *DB
	lines []*line
}

// line is one partition's: it stands at number, or is done.
type line struct {
	it        *engine.Iterator
	partition int32
	number    uint64
	last      uint64
	value     []byte // the iterator's
	entry     announced
	done      bool
}

func (m *merged) add(partition int32, from, last uint64) error {
	it, err := m.db.eng.NewIter(&engine.IterOptions{LowerBound: outboxKey(nil, partition, from), UpperBound: outboxKey(nil, partition, last+1)})
	if err != nil {
		return err
	}
	l := &line{it: it, partition: partition, number: from, last: last}
	m.lines = append(m.lines, l)
	it.First()
	return l.read()
}

// first returns the line whose entry comes first, or nil when all are done.
func (m *merged) first() (*line, error) {
	var first *line
	for _, l := range m.lines {
		if l.done {
			continue
		}
		if first == nil || l.before(first) {
			first = l
		}
	}
	return first, nil
}

func (l *line) before(other *line) bool {
	if l.entry.commit != other.entry.commit {
		return l.entry.commit < other.entry.commit
	}
	return l.entry.sequence < other.entry.sequence
}

// next goes to the next entry.
func (l *line) next() error {
	if l.number == l.last {
		l.done = true
		return nil
	}
	l.number++
	l.it.Next()
	return l.read()
}

// read wants the iterator to stand at number.
func (l *line) read() error {
	if !l.it.Valid() || beUint64(l.it.Key()[len(l.it.Key())-8:]) != l.number {
		return errors.Join(l.it.Error(), fmt.Errorf("outbox number %d of partition %d is missing: %w", l.number, l.partition, store.ErrCorrupt))
	}
	value, err := l.it.ValueAndErr()
	if err != nil {
		return err
	}
	l.value = value
	if l.entry, err = decodeAnnounced(value); err != nil {
		return fmt.Errorf("outbox number %d of partition %d: %w", l.number, l.partition, err)
	}
	return nil
}

func (m *merged) close() (err error) {
	for _, l := range m.lines {
		err = errors.Join(err, l.it.Close())
	}
	return err
}

// Dropped returns the partition's last outbox number that is gone: Changes and
// Announcements have all that come after it. It may be called from any
// goroutine.
func (db *DB) Dropped(partition int32) (uint64, error) {
	first := db.state.Load().outbox(partition) + 1
	err := db.each(outboxKey(nil, partition, 0), outboxKey(nil, partition, first), func(key, _ []byte) (bool, error) {
		first = beUint64(key[len(key)-8:])
		return false, nil
	})
	if err != nil {
		return 0, fmt.Errorf("first outbox number of partition %d: %w", partition, err)
	}
	return first - 1, nil
}

// Current calls fn for every resource that is current and not deleted at the
// commit number, with its body, in the order of (type, member, id), until fn
// returns false. What fn gets is its own. It may be called from any goroutine.
func (db *DB) Current(number commit.Number, fn func(fhir.Version) bool) error {
	if number == 0 {
		return nil
	}
	view, err := db.At(uint64(number))
	if err != nil {
		return err
	}
	for _, typ := range db.Types() {
		more := true
		var failed error
		err := view.Scan(typ, "", true, "", "", func(entry fhir.Version) bool {
			v, ok, err := view.found(&entry)
			if err == nil && (!ok || v.Deleted || v.Number != entry.Number) {
				err = fmt.Errorf("%s version %d is not current at %d: %w", entry.ResourceID, entry.Number, number, store.ErrCorrupt)
			}
			if failed = err; err == nil {
				more = fn(v)
			}
			return err == nil && more
		})
		if err = errors.Join(err, failed); err != nil || !more {
			return err
		}
	}
	return nil
}

// Keep returns the store for a publisher beside which others follow the outbox:
// its Published drops nothing above taken, the last number of the partition that
// every follower has. Whoever drops entries MUST do it through the same one.
func (db *DB) Keep(taken func(partition int32) uint64) *Kept { return &Kept{db, taken} }

// Kept is a store whose published entries stay until they are taken.
type Kept struct {
	*DB
	taken func(partition int32) uint64
}

// Published records what the partition's topic holds, as DB.Published does, and
// drops only entries that are both published and taken.
func (k *Kept) Published(ctx context.Context, partition int32, number uint64) error {
	return k.publish(ctx, partition, number, min(number, k.taken(partition)))
}
