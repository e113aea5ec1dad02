package pebble

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/store"
)

// tokens is a record of B: what one resource holds now.
type tokens struct {
	member string
	held   []held // in the order of token
}

// held is a token, and the commit that added it.
type held struct {
	token commit.Token
	added uint64
}

func compareHeld(a, b held) int { return bytes.Compare(a.token[:], b.token[:]) }

func appendTokens(dst []byte, s *tokens) []byte {
	dst = appendString(dst, s.member)
	for i := range s.held {
		dst = append(dst, s.held[i].token[:]...)
		dst = binary.AppendUvarint(dst, s.held[i].added)
	}
	return dst
}

func decodeTokens(b []byte) (tokens, error) {
	r := reader{b: b}
	s := tokens{member: r.string()}
	for len(r.b) > 0 {
		var h held
		copy(h.token[:], r.take(uint64(len(h.token))))
		h.added = r.uvarint()
		s.held = append(s.held, h)
	}
	if len(s.held) > commit.MaxTokens {
		r.bad = true
	}
	for i := 1; i < len(s.held); i++ {
		if compareHeld(s.held[i-1], s.held[i]) >= 0 {
			r.bad = true
		}
	}
	return s, r.done("match token")
}

// decodeRemoved reads a value of T.
func decodeRemoved(b []byte) (uint64, error) {
	r := reader{b: b}
	removed := r.uvarint()
	return removed, r.done("match token entry")
}

// tokens replaces what the resource holds: entries of tokens that go are closed,
// new ones get theirs, and what stays is not touched.
func (w *writer) tokens(s *commit.TokenSet, number commit.Number) error {
	if err := s.Check(); err != nil {
		return err
	}
	if _, known := w.names.find(nameType, s.Resource.Type); !known && len(s.Tokens) == 0 {
		return nil
	}
	kind, err := w.name(nameType, s.Resource.Type)
	if err != nil {
		return err
	}
	old, err := w.holds(kind, s.Resource)
	if err != nil {
		return err
	}
	now := tokens{member: s.Member, held: make([]held, len(s.Tokens))}
	for i, t := range s.Tokens {
		now.held[i] = held{t, uint64(number)}
	}
	slices.SortFunc(now.held, compareHeld)
	now.held = slices.CompactFunc(now.held, func(a, b held) bool { return a.token == b.token })
	changed, err := w.exchange(&old, &now, kind, s.Resource.ID, number)
	if err != nil || !changed {
		return err
	}
	w.sets[s.Resource] = now
	w.key = tokensKey(w.key[:0], kind, s.Resource.ID)
	if len(now.held) == 0 {
		return w.delete(w.key)
	}
	w.value = appendTokens(w.value[:0], &now)
	return w.set(w.key, w.value, false)
}

// holds is what the resource holds as of what was written so far.
func (w *writer) holds(kind uint16, id fhir.ResourceID) (tokens, error) {
	if s, ok := w.sets[id]; ok {
		return s, nil
	}
	w.key = tokensKey(w.key[:0], kind, id.ID)
	value, closer, err := w.db.eng.Get(w.key)
	if errors.Is(err, engine.ErrNotFound) {
		return tokens{}, nil
	}
	if err != nil {
		return tokens{}, err
	}
	s, err := decodeTokens(value)
	return s, errors.Join(err, closer.Close())
}

// exchange writes the entries that differ between two sets of a resource, and
// takes over into now since when it holds what stays.
func (w *writer) exchange(old, now *tokens, kind uint16, id string, number commit.Number) (changed bool, err error) {
	before, moved := old.held, old.member != now.member
	leave := func(h held) error {
		changed = true
		w.key = tokenKey(w.key[:0], h.token, old.member, kind, id, h.added)
		w.value = binary.AppendUvarint(w.value[:0], uint64(number))
		return w.set(w.key, w.value, false)
	}
	for i := range now.held {
		h := &now.held[i]
		for len(before) > 0 && compareHeld(before[0], *h) < 0 {
			if err := leave(before[0]); err != nil {
				return changed, err
			}
			before = before[1:]
		}
		if len(before) > 0 && before[0].token == h.token {
			was := before[0]
			if before = before[1:]; !moved {
				h.added = was.added
				continue
			}
			if err := leave(was); err != nil {
				return changed, err
			}
		}
		changed = true
		// No commit below this one can have left an entry of this number.
		w.key = tokenKey(w.key[:0], h.token, now.member, kind, id, h.added)
		if err := w.set(w.key, []byte{0}, true); err != nil {
			return changed, err
		}
	}
	for _, h := range before {
		if err := leave(h); err != nil {
			return changed, err
		}
	}
	return changed, nil
}

// Holders calls fn for each member that holds the token at Number, in order and
// once, until fn returns false. If it is held by somebody who may not be found,
// one or several, fn is first called with an empty member: one that counts as a
// holder and is never the answer. A view below Frontier.Matching is refused with
// an error that wraps commit.ErrMatching: there a token that several hold could
// seem to be one's. Views above it are answered at any number, old ones too.
func (v *View) Holders(t commit.Token, fn func(member string) bool) error {
	if whole := uint64(v.db.state.Load().frontier.Matching); whole == 0 || v.number < whole {
		return fmt.Errorf("match at commit %d: %w", v.number, commit.ErrMatching)
	}
	if err := v.holders(t, fn); err != nil {
		return fmt.Errorf("match at commit %d: %w", v.number, err)
	}
	return nil
}

func (v *View) holders(t commit.Token, fn func(member string) bool) (err error) {
	prefix := tokenPrefix(nil, t)
	it, err := v.db.eng.NewIter(&engine.IterOptions{LowerBound: prefix, UpperBound: afterToken(t)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for it.First(); it.Valid(); {
		k, err := cutTokenKey(it.Key())
		if err != nil {
			return err
		}
		if k.added > v.number {
			it.Next()
			continue
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		removed, err := decodeRemoved(value)
		if err != nil {
			return err
		}
		if removed != 0 && removed <= v.number {
			it.SeekGE(after(k.resource)) // what it held before does not matter
			continue
		}
		next := after(k.ofMember)
		if !fn(string(k.member)) {
			return nil
		}
		it.SeekGE(next)
	}
	return it.Error()
}

// afterToken is the end of the token's keys; after the last token comes the next
// space.
func afterToken(t commit.Token) []byte { return after(tokenPrefix(nil, t)) }

// splitToken is a key of T in its parts, which alias it.
type splitToken struct {
	token    commit.Token
	ofMember []byte // the key up to the member's end
	member   []byte
	kind     uint16
	resource []byte // the key up to the id's end
	id       []byte
	added    uint64
}

func cutTokenKey(key []byte) (k splitToken, err error) {
	n := 1 + len(k.token)
	if len(key) < n {
		return k, fmt.Errorf("key of a match token is malformed: %w", store.ErrCorrupt)
	}
	copy(k.token[:], key[1:])
	var rest []byte
	if k.member, rest, err = cutText(key[n:]); err != nil {
		return k, err
	}
	k.ofMember = key[:len(key)-len(rest)]
	if len(rest) < 2 {
		return k, fmt.Errorf("key of a match token is malformed: %w", store.ErrCorrupt)
	}
	k.kind = binary.BigEndian.Uint16(rest)
	if k.id, rest, err = cutText(rest[2:]); err != nil {
		return k, err
	}
	k.resource = key[:len(key)-len(rest)]
	if len(rest) != 8 {
		return k, fmt.Errorf("key of a match token is malformed: %w", store.ErrCorrupt)
	}
	k.added = ^beUint64(rest)
	return k, nil
}
