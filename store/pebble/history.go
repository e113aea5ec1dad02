package pebble

import (
	"errors"
	"fmt"
	"slices"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/store"
)

// Commits calls fn for the visible commits after the given number, in their
// order, until fn returns false: the recorded order of commits of all sources.
// None is missing, whatever it changed. It may be called from any goroutine.
func (db *DB) Commits(after commit.Number, fn func(commit.Info) bool) error {
	last := db.state.Load().frontier.Number
	next := after + 1
	err := db.each(numberKey(nil, spaceLog, uint64(next)), numberKey(nil, spaceLog, uint64(last)+1), func(key, value []byte) (bool, error) {
		if number := commit.Number(beUint64(key[1:])); number != next {
			return false, fmt.Errorf("commit %d is not in the log: %w", next, store.ErrCorrupt)
		}
		info, err := decodeInfo(next, value)
		if err != nil {
			return false, fmt.Errorf("commit %d: %w", next, err)
		}
		next++
		if !fn(info) {
			last = next - 1
			return false, nil
		}
		return true, nil
	})
	if err == nil && next <= last {
		err = fmt.Errorf("commit %d is not in the log: %w", next, store.ErrCorrupt)
	}
	if err != nil {
		return fmt.Errorf("read the log of commits: %w", err)
	}
	return nil
}

// Types lists the resource types that ever had a resource, sorted.
func (db *DB) Types() []string {
	var types []string
	for _, text := range db.names.Load().text {
		if text != "" && text[0] == nameType {
			types = append(types, text[1:])
		}
	}
	slices.Sort(types)
	return types
}

// Histories calls fn for every resource of the type that Number shows, deleted
// ones too, in the order of their ids, with its versions up to Number, newest
// first, until fn returns false. What fn gets is its own.
func (v *View) Histories(resourceType string, fn func(id fhir.ResourceID, versions []fhir.Version) bool) error {
	kind, ok := v.db.names.Load().find(nameType, resourceType)
	if !ok {
		return nil
	}
	space := appendName(nil, spaceCurrent, kind)
	err := v.db.each(space, after(space), func(key, _ []byte) (bool, error) {
		id := fhir.ResourceID{Type: resourceType, ID: string(key[len(space):])}
		var versions []fhir.Version
		err := v.History(id, 0, func(old fhir.Version) bool {
			versions = append(versions, old)
			return true
		})
		if err != nil || len(versions) == 0 {
			return err == nil, err
		}
		return fn(id, versions), nil
	})
	if err != nil {
		return fmt.Errorf("read the histories of %s: %w", resourceType, err)
	}
	return nil
}

// FirstVersion is the number with which resources' versions begin.
func (db *DB) FirstVersion() uint64 { return db.first }

// Generation names the store's history of its own: no other store has it.
func (db *DB) Generation() string { return db.generation }

// keyNote is where Note keeps a value.
func keyNote(name string) []byte { return append([]byte{spaceMeta, 'n', '/'}, name...) }

// Note keeps a small value beside the store's own, durably; nil removes it. It
// is the caller's: the store makes nothing of it.
func (db *DB) Note(name string, value []byte) error {
	b := db.eng.NewBatch()
	err := b.Delete(keyNote(name), nil)
	if value != nil {
		err = b.Set(keyNote(name), value, nil)
	}
	if err != nil {
		return errors.Join(err, b.Close())
	}
	if err := db.apply(b, engine.Sync); err != nil {
		return fmt.Errorf("note %s in store %s: %w", name, db.dir, err)
	}
	return nil
}

// Noted returns a copy of what Note keeps under the name, or nil.
func (db *DB) Noted(name string) ([]byte, error) {
	value, err := db.get(keyNote(name))
	if err != nil {
		return nil, fmt.Errorf("read note %s of store %s: %w", name, db.dir, err)
	}
	return value, nil
}
