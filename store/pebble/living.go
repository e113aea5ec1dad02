package pebble

import (
	"fmt"

	"github.com/tributary-health/tributary/fhir"
)

// Newest returns the resource's newest version, staged or committed; ok is false
// if it never existed. It is composition's own; Index is left out. What it returns
// is the caller's.
func (db *DB) Newest(id fhir.ResourceID) (out fhir.Version, ok bool, err error) {
	kind, ok := db.names.Load().find(nameType, id.Type)
	if !ok {
		return out, false, nil
	}
	v, ok, err := db.versionAt(kind, id.ID, ^uint64(0))
	if err != nil {
		return out, false, fmt.Errorf("read the newest version of %s: %w", id, err)
	}
	if !ok {
		return out, false, nil
	}
	out = v.fhir(id)
	out.Index = nil
	return out, true, nil
}

// Living calls fn for the newest version of each resource of the type that is
// not deleted, staged or committed, in the order of their ids, starting after
// the given id (empty: from the first), until fn returns false. It is
// composition's own; Index is left out. What fn gets is its own.
func (db *DB) Living(resourceType, afterID string, fn func(fhir.Version) bool) error {
	kind, ok := db.names.Load().find(nameType, resourceType)
	if !ok {
		return nil
	}
	space := appendName(nil, spaceCurrent, kind)
	lower := space
	if afterID != "" {
		lower = append(currentKey(nil, kind, afterID), 0)
	}
	err := db.each(lower, after(space), func(key, value []byte) (bool, error) {
		h, err := decodeHead(value)
		if err != nil || h.deleted() {
			return err == nil, err
		}
		id := fhir.ResourceID{Type: resourceType, ID: string(key[len(space):])}
		v, err := db.content(kind, id.ID, &h)
		if err != nil {
			return false, err
		}
		out := v.fhir(id)
		out.Index = nil
		return fn(out), nil
	})
	if err != nil {
		return fmt.Errorf("read the resources of %s: %w", resourceType, err)
	}
	return nil
}
