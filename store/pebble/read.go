package pebble

import (
	"errors"
	"fmt"
	"time"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/store"
)

// get returns a copy of the key's value, or nil if there is none. The value of a
// key that is there is not nil.
func (db *DB) get(key []byte) ([]byte, error) {
	v, closer, err := db.eng.Get(key)
	if errors.Is(err, engine.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := append(make([]byte, 0, len(v)), v...)
	return out, closer.Close()
}

// each calls fn for the keys of [lower, upper) until it returns false. Key and
// value are the iterator's own.
func (db *DB) each(lower, upper []byte, fn func(key, value []byte) (bool, error)) (err error) {
	it, err := db.eng.NewIter(&engine.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for it.First(); it.Valid(); it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		if more, err := fn(it.Key(), v); err != nil || !more {
			return err
		}
	}
	return it.Error()
}

// group is each for the keys of lower's group from lower on. Whole levels of the
// store that have none of them are passed over.
func (db *DB) group(lower []byte, fn func(key, value []byte) (bool, error)) (err error) {
	it, err := db.eng.NewIter(&engine.IterOptions{UseL6Filters: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	return eachOf(it, lower, fn)
}

// eachOf calls fn for the keys of lower's group from lower on, until it returns
// false.
func eachOf(it *engine.Iterator, lower []byte, fn func(key, value []byte) (bool, error)) error {
	for it.SeekPrefixGE(lower); it.Valid(); it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		if more, err := fn(it.Key(), v); err != nil || !more {
			return err
		}
	}
	return it.Error()
}

// Frontier returns the frontier as of the last Commit; the caller may keep and
// change it. It may be called from any goroutine.
func (db *DB) Frontier() commit.Frontier { return cloneFrontier(db.state.Load().frontier) }

func (db *DB) loadFrontier() (f commit.Frontier, committed time.Time, err error) {
	f.Generation = db.generation
	value, err := db.get(keyFrontier)
	if err != nil || value == nil {
		return f, committed, err
	}
	topics := db.names.Load()
	if f, err = decodeFrontier(value, func(n uint16) string { return topics.textOf(nameTopic, n) }); err != nil {
		return f, committed, err
	}
	if f.Extra, err = db.get(keyExtra); err != nil {
		return f, committed, err
	}
	if f.Number > 0 {
		info, err := db.info(f.Number)
		if err != nil {
			return f, committed, err
		}
		committed = info.Committed
	}
	return f, committed, nil
}

// info reads one entry of the commit log.
func (db *DB) info(number commit.Number) (commit.Info, error) {
	v, err := db.get(numberKey(nil, spaceLog, uint64(number)))
	if err != nil {
		return commit.Info{}, err
	}
	if v == nil {
		return commit.Info{}, fmt.Errorf("commit %d is not in the log: %w", number, store.ErrCorrupt)
	}
	return decodeInfo(number, v)
}

// Head returns the head of the resource's newest version, staged or committed;
// ok is false if it never existed.
func (db *DB) Head(id fhir.ResourceID) (head commit.Head, ok bool, err error) {
	kind, ok := db.names.Load().find(nameType, id.Type)
	if !ok {
		return head, false, nil
	}
	if db.fresh.Load().lacks(kind, id.ID) {
		return head, false, nil
	}
	var room [96]byte
	value, closer, err := db.eng.Get(currentKey(room[:0], kind, id.ID))
	if errors.Is(err, engine.ErrNotFound) {
		return head, false, nil
	}
	if err != nil {
		return head, false, fmt.Errorf("read head of %s: %w", id, err)
	}
	h, err := decodeHead(value)
	head = h.newest()
	if err = errors.Join(err, closer.Close()); err != nil {
		return commit.Head{}, false, fmt.Errorf("read head of %s: %w", id, err)
	}
	return head, true, nil
}

// HeadOf is Head, looked for at the member first. What it finds there lies in one
// block with what the next version of the resource replaces, and with more of what
// a change of the member needs; the heads in C lie one by one.
func (db *DB) HeadOf(member string, id fhir.ResourceID) (head commit.Head, ok bool, err error) {
	kind, ok := db.names.Load().find(nameType, id.Type)
	if !ok || db.fresh.Load().lacks(kind, id.ID) {
		return head, false, nil
	}
	var room [128]byte
	value, closer, err := db.eng.Get(bodyKey(room[:0], member, kind, id.ID))
	if errors.Is(err, engine.ErrNotFound) {
		return db.Head(id)
	}
	if err != nil {
		return head, false, fmt.Errorf("read head of %s: %w", id, err)
	}
	v, err := decodeVersion(value)
	head = v.newest()
	if err = errors.Join(err, closer.Close()); err != nil {
		return commit.Head{}, false, fmt.Errorf("read head of %s: %w", id, err)
	}
	return head, true, nil
}

// Resources calls fn for the id of each resource of the member (empty:
// reference resources) that is not deleted, until fn returns false.
func (db *DB) Resources(member string, fn func(fhir.ResourceID) bool) error {
	types := db.names.Load()
	prefix := ofPrefix(nil, member)
	err := db.own(prefix, func(key, _ []byte) (bool, error) {
		rest := key[len(prefix):]
		if len(rest) < 2 {
			return false, fmt.Errorf("key of a member's resource is malformed: %w", store.ErrCorrupt)
		}
		kind := uint16(rest[0])<<8 | uint16(rest[1])
		return fn(fhir.ResourceID{Type: types.textOf(nameType, kind), ID: string(rest[2:])}), nil
	})
	if err != nil {
		return fmt.Errorf("list resources of a member: %w", err)
	}
	return nil
}

// Parked lists the parked roots, in the order of their names.
func (db *DB) Parked() ([]commit.Parked, error) {
	var all []commit.Parked
	err := db.each([]byte{spaceParked}, []byte{spaceParked + 1}, func(key, value []byte) (bool, error) {
		p, err := decodeParked(string(key[1:]), value)
		all = append(all, p)
		return true, err
	})
	if err != nil {
		return nil, fmt.Errorf("list parked roots: %w", err)
	}
	return all, nil
}

// arena copies many small values with few allocations. They stay valid for
// ever; the zero value works.
type arena struct {
	free []byte
	size int
}

func (a *arena) copy(b []byte) []byte {
	if len(b) > cap(a.free)-len(a.free) {
		a.size = min(max(2*a.size, 1<<10), 1<<16)
		a.free = make([]byte, 0, max(a.size, len(b)))
	}
	start := len(a.free)
	a.free = append(a.free, b...)
	return a.free[start:len(a.free):len(a.free)]
}
