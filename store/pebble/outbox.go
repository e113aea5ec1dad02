package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/store"
)

// Announcements calls fn for the entries of the partition after the given
// number, in order, up to the visible frontier, until fn returns false. What fn
// gets is its own. An entry that was published and dropped is an error, not a
// gap. It may be called from any goroutine.
func (db *DB) Announcements(partition int32, after uint64, fn func(number uint64, a commit.Announcement) bool) error {
	last := db.state.Load().outbox(partition)
	if after >= last {
		return nil
	}
	next := after + 1
	var info commit.Info
	err := db.each(outboxKey(nil, partition, next), outboxKey(nil, partition, last+1), func(key, value []byte) (bool, error) {
		number := beUint64(key[len(key)-8:])
		if number != next {
			return false, fmt.Errorf("outbox number %d is missing: %w", next, store.ErrCorrupt)
		}
		next++
		a, err := db.announcement(value, &info)
		if err != nil {
			return false, fmt.Errorf("outbox number %d: %w", number, err)
		}
		a.Version.Partition, a.Version.Outbox = partition, number
		if !fn(number, a) {
			last = number
			return false, nil
		}
		return true, nil
	})
	if err == nil && next <= last {
		err = fmt.Errorf("outbox number %d is missing: %w", next, store.ErrCorrupt)
	}
	if err != nil {
		return fmt.Errorf("announcements of partition %d: %w", partition, err)
	}
	return nil
}

// announcement reads what an outbox entry names. info is that of the entry
// before: most are of the same commit.
func (db *DB) announcement(value []byte, info *commit.Info) (commit.Announcement, error) {
	entry, err := decodeAnnounced(value)
	if err != nil {
		return commit.Announcement{}, err
	}
	id := fhir.ResourceID{Type: db.names.Load().textOf(nameType, entry.kind), ID: string(entry.id)}
	v, ok, err := db.newestOf(entry.member, entry.kind, id.ID, entry.version)
	if err == nil && !ok {
		v, ok, err = db.versionNumbered(entry.kind, id.ID, entry.version)
	}
	if err != nil {
		return commit.Announcement{}, err
	}
	if !ok || v.commit != entry.commit {
		return commit.Announcement{}, fmt.Errorf("%s version %d is not of commit %d: %w", id, entry.version, entry.commit, store.ErrCorrupt)
	}
	if uint64(info.Number) != entry.commit {
		if *info, err = db.info(commit.Number(entry.commit)); err != nil {
			return commit.Announcement{}, err
		}
	}
	a := commit.Announcement{Info: *info, Generation: db.generation}
	a.Info.Sources = append(a.Info.Sources[:0:0], info.Sources...)
	a.Version.Version = v.fhir(id)
	a.Version.Op, a.Version.Hash, a.Version.Sequence = opOf(v.flags), v.hash, entry.sequence
	return a, nil
}

// Mark returns the last number that Published recorded for the partition; zero
// for none. It may be called from any goroutine.
func (db *DB) Mark(partition int32) (uint64, error) {
	db.publishing.Lock()
	defer db.publishing.Unlock()
	return db.published[partition], nil
}

// dropEvery is how many published entries gather before they are dropped
// together.
const dropEvery = 4096

// Published records that the partition's topic durably holds every number up to
// and including number, and drops published entries now and then. A number at
// or below the mark changes nothing. It is not synced: a mark that a power loss
// takes back is found again in the topic. It may be called from any goroutine.
func (db *DB) Published(ctx context.Context, partition int32, number uint64) error {
	return db.publish(ctx, partition, number, number)
}

// publish marks the entries up to number as published; those up to droppable,
// which is not above it, may be dropped.
func (db *DB) publish(ctx context.Context, partition int32, number, droppable uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	db.publishing.Lock()
	defer db.publishing.Unlock()
	if number <= db.published[partition] {
		return db.Err()
	}
	if last := db.state.Load().outbox(partition); number > last {
		return fmt.Errorf("mark partition %d as published up to %d, its last outbox number is %d: %w", partition, number, last, store.ErrOrder)
	}
	b := db.eng.NewBatch()
	err := b.Set(markKey(nil, partition), binary.BigEndian.AppendUint64(nil, number), nil)
	drop := droppable >= db.dropped[partition]+dropEvery
	if drop {
		err = errors.Join(err, b.DeleteRange(outboxKey(nil, partition, db.dropped[partition]), outboxKey(nil, partition, droppable+1), nil))
	}
	if err != nil {
		return errors.Join(err, b.Close())
	}
	if err := db.apply(b, engine.NoSync); err != nil {
		return fmt.Errorf("mark partition %d as published: %w", partition, err)
	}
	db.published[partition] = number
	if drop {
		db.dropped[partition] = droppable
	}
	return nil
}

// Changed returns a channel that is closed when the frontier next moves. It may
// be called from any goroutine; take the channel before looking at the store.
func (db *DB) Changed() <-chan struct{} {
	db.changing.Lock()
	defer db.changing.Unlock()
	if db.changed == nil {
		db.changed = make(chan struct{})
	}
	return db.changed
}

func (db *DB) broadcast() {
	db.changing.Lock()
	defer db.changing.Unlock()
	if db.changed != nil {
		close(db.changed)
		db.changed = nil
	}
}
