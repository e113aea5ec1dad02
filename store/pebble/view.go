package pebble

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/store"
)

// View reads at one commit number; what it shows never changes. It holds no
// snapshot: opening one costs nothing, and one that is kept open holds nothing
// back. It may be used by one goroutine. What it hands out stays valid and MUST
// NOT be modified.
type View struct {
	db        *DB
	number    uint64
	freshness []change.Freshness
	committed time.Time
}

// At returns a view at the commit number, or at the frontier when it is zero. A
// number above the frontier is store.ErrAbove. It may be called from any
// goroutine.
func (db *DB) At(number uint64) (*View, error) {
	s := db.state.Load()
	switch top := s.number(); {
	case number == 0 || number == top:
		return &View{db, top, s.freshness, s.committed}, nil
	case number > top:
		return nil, fmt.Errorf("view at commit %d, frontier %d: %w", number, top, store.ErrAbove)
	}
	info, err := db.info(commit.Number(number))
	if err != nil {
		return nil, fmt.Errorf("view at commit %d: %w", number, err)
	}
	return &View{db, number, info.Sources, info.Committed}, nil
}

// Number returns the commit number that the view reads at; zero in an empty
// store.
func (v *View) Number() uint64 { return v.number }

// Freshness lists how far each source was applied at Number, as the unit that
// was written under it says; a view at the frontier knows of later watermarks.
func (v *View) Freshness() []change.Freshness { return v.freshness }

// Committed is the source's commit time of Number's transaction.
func (v *View) Committed() time.Time { return v.committed }

// Close ends the view.
func (v *View) Close() error { return nil }

// Read returns the version current at Number; ok is false if there is none yet.
// A deleted resource is ok, with Deleted.
func (v *View) Read(id fhir.ResourceID) (out fhir.Version, ok bool, err error) {
	kind, ok := v.db.names.Load().find(nameType, id.Type)
	if !ok {
		return out, false, nil
	}
	found, ok, err := v.db.versionAt(kind, id.ID, v.number)
	if err != nil {
		return out, false, fmt.Errorf("read %s: %w", id.Type, err)
	}
	if !ok {
		return out, false, nil
	}
	return found.fhir(id), true, nil
}

// VRead returns one version by its number, if its commit is at or below Number.
func (v *View) VRead(id fhir.ResourceID, number uint64) (out fhir.Version, ok bool, err error) {
	kind, ok := v.db.names.Load().find(nameType, id.Type)
	if !ok {
		return out, false, nil
	}
	found, ok, err := v.db.versionNumbered(kind, id.ID, number)
	if err != nil {
		return out, false, fmt.Errorf("read %s version %d: %w", id.Type, number, err)
	}
	if !ok || found.commit > v.number {
		return out, false, nil
	}
	return found.fhir(id), true, nil
}

// History calls fn for the versions at or below Number, newest first, starting
// below the version number before (0: from the newest), until fn returns false.
func (v *View) History(id fhir.ResourceID, before uint64, fn func(fhir.Version) bool) error {
	kind, ok := v.db.names.Load().find(nameType, id.Type)
	if !ok {
		return nil
	}
	newest, ok, err := v.db.versionAt(kind, id.ID, v.number)
	if err != nil {
		return fmt.Errorf("history of %s: %w", id.Type, err)
	}
	if !ok {
		return nil
	}
	if before == 0 || before > newest.number {
		before = newest.number
		if !fn(newest.fhir(id)) {
			return nil
		}
	}
	var room arena
	// Version before-1 has the next key after before's.
	lower := append(historyKey(nil, kind, id.ID, before), 0)
	err = v.db.group(lower, func(_, value []byte) (bool, error) {
		old, err := decodeVersion(room.copy(value))
		return err == nil && fn(old.fhir(id)), err
	})
	if err != nil {
		return fmt.Errorf("history of %s: %w", id.Type, err)
	}
	return nil
}

// Scan calls fn for the current, not deleted resources of the type in one
// member's record, or of all when member is empty and all is true, in the order
// of (member, id), starting after the given pair, until fn returns false. Body
// is left out; Index is there.
func (v *View) Scan(resourceType, member string, all bool, afterMember, afterID string, fn func(fhir.Version) bool) error {
	kind, ok := v.db.names.Load().find(nameType, resourceType)
	if !ok {
		return nil
	}
	space := appendName(nil, spaceMember, kind)
	lower, upper := space, after(space)
	one := !all || member != ""
	if one {
		lower = memberPrefix(nil, kind, member)
		upper = after(lower)
	}
	group := lower
	if afterMember != "" || afterID != "" {
		if from := append(memberKey(nil, kind, afterMember, afterID), 0); string(from) > string(lower) {
			lower = from
		}
	}
	if one && !bytes.HasPrefix(lower, group) {
		return nil // it is to start after all of the member's
	}
	var room arena
	var in string // the member of the entries before
	entries := func(key, value []byte) (bool, error) {
		text, id, err := cutText(key[len(space):])
		if err != nil {
			return false, err
		}
		if string(text) != in {
			in = string(text)
		}
		e, err := decodeEntry(value)
		if err != nil {
			return false, err
		}
		out := fhir.Version{ResourceID: fhir.ResourceID{Type: resourceType, ID: string(id)}, Member: in}
		if ok, err := v.show(&out, &e, kind, &room); err != nil || !ok {
			return true, err
		}
		return fn(out), nil
	}
	var err error
	if one {
		err = v.db.group(lower, entries)
	} else {
		err = v.db.each(lower, upper, entries)
	}
	if err != nil {
		return fmt.Errorf("scan %s: %w", resourceType, err)
	}
	return nil
}

// show fills in what the view shows of a member entry; ok is false if nothing.
func (v *View) show(out *fhir.Version, e *entry, kind uint16, room *arena) (ok bool, err error) {
	if e.commit <= v.number {
		if e.gone() {
			return false, nil
		}
		out.Number, out.Commit, out.Updated = e.number, e.commit, e.updated
		if len(e.index) > 0 {
			out.Index = room.copy(e.index)
		}
		return true, nil
	}
	old, ok, err := v.db.versionAt(kind, out.ID, v.number)
	if err != nil || !ok || old.deleted() || string(old.member) != out.Member {
		return false, err
	}
	out.Number, out.Commit, out.Updated = old.number, old.commit, old.updated
	if len(old.index) > 0 {
		out.Index = old.index
	}
	return true, nil
}

// found reads what Scan has found, with its body.
func (v *View) found(entry *fhir.Version) (out fhir.Version, ok bool, err error) {
	kind, _ := v.db.names.Load().find(nameType, entry.Type)
	newest, ok, err := v.db.newestOf([]byte(entry.Member), kind, entry.ID, entry.Number)
	if err != nil {
		return out, false, fmt.Errorf("read %s: %w", entry.Type, err)
	}
	if !ok {
		return v.Read(entry.ResourceID)
	}
	return newest.fhir(entry.ResourceID), true, nil
}

// Postings calls fn for the candidates whose posting of the parameter has a
// value in [low, high), in the order of value, until fn returns false; a nil
// high is no bound. A candidate may be stale or come twice: the caller checks it
// against the resource's Index.
func (v *View) Postings(resourceType, param string, low, high []byte, fn func(member, id string) bool) error {
	n := v.db.names.Load()
	kind, ok1 := n.find(nameType, resourceType)
	name, ok2 := n.find(nameParam, param)
	if !ok1 || !ok2 {
		return nil
	}
	space := postingPrefix(nil, kind, name)
	lower, upper := appendText(space[:len(space):len(space)], low), after(space)
	if high != nil {
		upper = appendText(space[:len(space):len(space)], high)
	}
	if string(lower) >= string(upper) {
		return nil
	}
	err := v.db.each(lower, upper, func(key, value []byte) (bool, error) {
		_, rest, err := cutText(key[len(space):])
		if err != nil {
			return false, err
		}
		member, id, err := cutText(rest)
		if err != nil {
			return false, err
		}
		if ok, err := v.lived(kind, string(id), value); err != nil || !ok {
			return true, err
		}
		return fn(string(member), string(id)), nil
	})
	if err != nil {
		return fmt.Errorf("search %s by %s: %w", resourceType, param, err)
	}
	return nil
}

// lived says whether a posting may concern the view: it was last written at or
// below Number, or its resource was there then.
func (v *View) lived(kind uint16, id string, posting []byte) (bool, error) {
	written, n := binary.Uvarint(posting)
	if n <= 0 {
		return false, fmt.Errorf("posting is malformed: %w", store.ErrCorrupt)
	}
	if written <= v.number {
		return true, nil
	}
	old, ok, err := v.db.headAt(kind, id, v.number)
	return ok && !old.deleted(), err
}

// head returns the newest version's head, from a copy, staged or committed.
func (db *DB) head(kind uint16, id string) (h head, ok bool, err error) {
	var room [96]byte
	value, err := db.get(currentKey(room[:0], kind, id))
	if err != nil || value == nil {
		return h, false, err
	}
	h, err = decodeHead(value)
	return h, true, err
}

// content returns the version of a head that C had, from a copy. If a write came
// between, the version is no longer the current one, and the history has it.
func (db *DB) content(kind uint16, id string, h *head) (version, error) {
	if h.deleted() {
		return version{head: *h}, nil
	}
	v, ok, err := db.newestOf(h.member, kind, id, h.number)
	if err != nil || ok {
		return v, err
	}
	var room [96]byte
	value, err := db.get(historyKey(room[:0], kind, id, h.number))
	if err != nil {
		return version{}, err
	}
	if value == nil {
		return version{}, fmt.Errorf("the content of version %d is missing: %w", h.number, store.ErrCorrupt)
	}
	return decodeVersion(value)
}

// newestOf returns the version, from a copy, if it is the newest, lives, and is of
// the member. It needs no head: a number stands for one version alone.
func (db *DB) newestOf(member []byte, kind uint16, id string, number uint64) (version, bool, error) {
	var room [128]byte
	value, err := db.get(bodyKey(room[:0], member, kind, id))
	if err != nil || value == nil {
		return version{}, false, err
	}
	v, err := decodeVersion(value)
	return v, err == nil && v.number == number, err
}

// headAt returns the head of the version current at a commit number, from a copy.
func (db *DB) headAt(kind uint16, id string, number uint64) (head, bool, error) {
	h, ok, err := db.head(kind, id)
	if err != nil || !ok || h.commit <= number {
		return h, ok, err
	}
	v, ok, err := db.historyAt(kind, id, number)
	return v.head, ok, err
}

// versionAt returns the version current at a commit number, from a copy.
func (db *DB) versionAt(kind uint16, id string, number uint64) (version, bool, error) {
	h, ok, err := db.head(kind, id)
	if err != nil || !ok {
		return version{}, false, err
	}
	if h.commit > number {
		return db.historyAt(kind, id, number)
	}
	v, err := db.content(kind, id, &h)
	return v, err == nil, err
}

// nearby is how many versions are read one by one before the search halves.
const nearby = 8

// historyAt finds the newest version in the history that is at or below the
// commit number. Readers are seldom far behind; for one that is, the commits
// grow with the versions, so that the place can be found by halving.
func (db *DB) historyAt(kind uint16, id string, number uint64) (version, bool, error) {
	prefix := historyPrefix(nil, kind, id)
	var found version
	var ok bool
	var newer uint64 // the last version seen, which is too new
	seen := 0
	err := db.group(prefix, func(_, value []byte) (more bool, err error) {
		written, err := versionCommit(value)
		if err != nil {
			return false, err
		}
		if written <= number {
			ok = true
			found, err = decodeVersion(append(make([]byte, 0, len(value)), value...))
			return false, err
		}
		v, err := decodeVersion(value)
		newer = v.number
		seen++
		return seen < nearby, err
	})
	if err != nil || ok || newer <= db.first {
		return found, ok, err
	}
	low, high := db.first, newer // the first too new one is in [low, high]
	for low < high {
		mid := low + (high-low)/2
		v, ok, err := db.versionNumbered(kind, id, mid)
		if err != nil {
			return version{}, false, err
		}
		if !ok {
			return version{}, false, fmt.Errorf("version %d is missing: %w", mid, store.ErrCorrupt)
		}
		if v.commit > number {
			high = mid
		} else {
			low = mid + 1
		}
	}
	if low == db.first {
		return version{}, false, nil
	}
	return db.versionNumbered(kind, id, low-1)
}

// versionNumbered returns one version, from a copy. It looks at the current one
// first: what it is no longer by then, the history has.
func (db *DB) versionNumbered(kind uint16, id string, number uint64) (version, bool, error) {
	h, ok, err := db.head(kind, id)
	if err != nil || !ok {
		return version{}, false, err
	}
	if h.number == number {
		v, err := db.content(kind, id, &h)
		return v, err == nil, err
	}
	var room [96]byte
	old, err := db.get(historyKey(room[:0], kind, id, number))
	if err != nil || old == nil {
		return version{}, false, err
	}
	v, err := decodeVersion(old)
	return v, err == nil, err
}
