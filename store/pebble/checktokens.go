package pebble

import (
	"bytes"
	"errors"
	"slices"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/tributary-health/tributary/fhir"
)

// tokens wants of each resource's set an open entry of each token, and of each
// open entry a set that has it. Both are read from one snapshot, for they change
// together.
func (c *checker) tokens() (err error) {
	if len(c.problems) >= maxProblems {
		return nil
	}
	snap := c.db.eng.NewSnapshot()
	defer func() { err = errors.Join(err, snap.Close()) }()
	for _, part := range []struct {
		space byte
		fn    func(snap *engine.Snapshot, key, value []byte) error
	}{{spaceTokens, c.tokenSet}, {spaceToken, c.tokenEntry}} {
		if err := c.walkIn(snap, part.space, part.fn); err != nil {
			return err
		}
	}
	return nil
}

// walkIn calls fn for every key of a space, as a snapshot has it.
func (c *checker) walkIn(snap *engine.Snapshot, space byte, fn func(*engine.Snapshot, []byte, []byte) error) (err error) {
	it, err := snap.NewIter(&engine.IterOptions{LowerBound: []byte{space}, UpperBound: []byte{space + 1}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for it.First(); it.Valid(); it.Next() {
		value, err := it.ValueAndErr()
		if err == nil {
			err = fn(snap, it.Key(), value)
		}
		if err == nil {
			err = c.ctx.Err()
		}
		if errors.Is(err, errEnough) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return it.Error()
}

func (c *checker) tokenSet(snap *engine.Snapshot, key, value []byte) error {
	if len(key) < 3 {
		return c.report("a key of a set of match tokens is malformed")
	}
	kind := uint16(key[1])<<8 | uint16(key[2])
	id := fhir.ResourceID{Type: c.db.names.Load().textOf(nameType, kind), ID: string(key[3:])}
	s, err := decodeTokens(value)
	if err != nil {
		return c.report("%s: %w", id, err)
	}
	for _, h := range s.held {
		removed, ok, err := removedIn(snap, tokenKey(nil, h.token, s.member, kind, id.ID, h.added))
		if err != nil {
			return err
		}
		if !ok || removed != 0 {
			return c.report("%s: a match token of commit %d has no entry, or a closed one", id, h.added)
		}
	}
	return nil
}

func removedIn(snap *engine.Snapshot, key []byte) (removed uint64, ok bool, err error) {
	value, closer, err := snap.Get(key)
	if errors.Is(err, engine.ErrNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	removed, err = decodeRemoved(value)
	return removed, true, errors.Join(err, closer.Close())
}

func (c *checker) tokenEntry(snap *engine.Snapshot, key, value []byte) error {
	k, err := cutTokenKey(key)
	if err != nil {
		return c.report("match token: %w", err)
	}
	id := fhir.ResourceID{Type: c.db.names.Load().textOf(nameType, k.kind), ID: string(k.id)}
	removed, err := decodeRemoved(value)
	if err != nil {
		return c.report("%s: %w", id, err)
	}
	if removed != 0 {
		if removed < k.added {
			return c.report("%s: a match token was removed by commit %d and added by commit %d", id, removed, k.added)
		}
		return nil
	}
	set, closer, err := snap.Get(tokensKey(nil, k.kind, id.ID))
	if errors.Is(err, engine.ErrNotFound) {
		return c.report("%s: a match token of commit %d is left over", id, k.added)
	}
	if err != nil {
		return err
	}
	s, err := decodeTokens(bytes.Clone(set))
	if err = errors.Join(err, closer.Close()); err != nil {
		return nil // tokenSet has said so
	}
	if s.member != string(k.member) || !slices.Contains(s.held, held{k.token, k.added}) {
		return c.report("%s: a match token of commit %d is left over", id, k.added)
	}
	return nil
}
