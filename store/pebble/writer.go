package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/store"
)

// room is what one writer leaves to the next, so that a small commit allocates
// little.
type room struct {
	key, value []byte
	newest     map[fhir.ResourceID]newest
	sets       map[fhir.ResourceID]tokens // that this batch has written already
}

// newest is a version that this batch has written already.
type newest struct {
	version *commit.Version
	commit  commit.Number
}

// writer turns units into one batch. It changes nothing of the DB until its
// batch is written: a batch that is refused leaves no trace.
type writer struct {
	db     *DB
	batch  *engine.Batch
	undo   *undoList // nil in a Commit, which needs none
	names  *names
	top    commit.Number
	outbox []uint64
	room
}

func (db *DB) newWriter(staged bool) *writer {
	w := &writer{db: db, batch: db.eng.NewBatch(), names: db.names.Load(), top: db.top, outbox: slices.Clone(db.outbox), room: db.room}
	if w.newest == nil {
		w.newest = map[fhir.ResourceID]newest{}
		w.sets = map[fhir.ResourceID]tokens{}
	}
	if staged {
		w.undo = db.newUndo()
	}
	return w
}

// maxRoom is what is kept of buffers and maps that one huge unit has grown.
const maxRoom = 1 << 20

func (w *writer) release() {
	if w.batch != nil {
		_ = w.batch.Close()
	}
	if len(w.newest) > 1<<12 {
		w.newest = nil
	}
	clear(w.newest)
	clear(w.sets)
	if cap(w.value) > maxRoom {
		w.value = nil
	}
	w.db.room = w.room
}

// set writes a key. absent says that the key is known to be new, which saves
// the undo record a look.
func (w *writer) set(key, value []byte, absent bool) error {
	if w.undo != nil {
		if err := w.undo.add(w.db, key, absent); err != nil {
			return err
		}
	}
	return w.batch.Set(key, value, nil)
}

func (w *writer) delete(key []byte) error {
	if w.undo != nil {
		if err := w.undo.add(w.db, key, false); err != nil {
			return err
		}
	}
	return w.batch.Delete(key, nil)
}

// name returns the name's number, and gives it one in this batch if it has none.
// A name is not undone: it says nothing and stays for the next time.
func (w *writer) name(kind byte, text string) (uint16, error) {
	if n, ok := w.names.find(kind, text); ok {
		return n, nil
	}
	with, n, err := w.names.with(kind, text)
	if err != nil {
		return 0, err
	}
	w.names = with
	return n, w.batch.Set(append([]byte{spaceName, kind}, text...), binary.BigEndian.AppendUint16(nil, n), nil)
}

// place returns where the row's table is, and makes it in this batch if it is
// new. Like a name it is not undone.
func (w *writer) place(r *commit.Row) (place, error) {
	if p, ok := w.names.table(r.Table); ok {
		return p, nil
	}
	n, err := w.name(nameTable, tableName(r.Table))
	if err != nil || !r.Grouped {
		return place{table: n}, err
	}
	w.names = w.names.withGrouped(n)
	value := append(binary.BigEndian.AppendUint16(nil, n), layoutGrouped)
	return place{n, true}, w.batch.Set(append([]byte{spaceName, nameTable}, tableName(r.Table)...), value, nil)
}

func (w *writer) units(b commit.Batch) error {
	for i := range b.Units {
		if err := w.unit(&b.Units[i]); err != nil {
			return fmt.Errorf("unit %d: %w", b.Units[i].Number, err)
		}
	}
	return nil
}

func (w *writer) unit(u *commit.Unit) error {
	visible := w.db.state.Load().frontier.Number
	if u.Number != w.top+1 && (u.Number != w.top || u.Number <= visible) {
		return fmt.Errorf("comes after unit %d with the frontier at %d: %w", w.top, visible, store.ErrOrder)
	}
	w.top = u.Number
	for i := range u.Rows {
		if err := w.row(&u.Rows[i]); err != nil {
			return fmt.Errorf("row of %s: %w", u.Rows[i].Table, err)
		}
	}
	for i := range u.Versions {
		if err := w.version(&u.Versions[i], u.Number); err != nil {
			return fmt.Errorf("%s version %d: %w", u.Versions[i].ResourceID, u.Versions[i].Number, err)
		}
	}
	for i := range u.Parked {
		if err := w.parked(&u.Parked[i]); err != nil {
			return fmt.Errorf("parked root: %w", err)
		}
	}
	for i := range u.Tokens {
		if err := w.tokens(&u.Tokens[i], u.Number); err != nil {
			return fmt.Errorf("match tokens of %s: %w", u.Tokens[i].Resource, err)
		}
	}
	w.key = numberKey(w.key[:0], spaceLog, uint64(u.Number))
	w.value = appendInfo(w.value[:0], u)
	return w.set(w.key, w.value, true)
}

func (w *writer) row(r *commit.Row) error {
	p, err := w.place(r)
	if err != nil {
		return err
	}
	w.key = rowKey(w.key[:0], p, r.Route, r.Key)
	if r.Deleted {
		return w.delete(w.key)
	}
	return w.set(w.key, r.Body, r.New)
}

func (w *writer) parked(p *commit.Parked) error {
	w.key = append(append(w.key[:0], spaceParked), p.Root...)
	if p.Cleared {
		return w.delete(w.key)
	}
	w.value = appendParked(w.value[:0], p)
	return w.set(w.key, w.value, false)
}

// version writes everything there is of one resource version.
func (w *writer) version(v *commit.Version, number commit.Number) error {
	kind, err := w.name(nameType, v.Type)
	if err != nil {
		return err
	}
	old, exists, err := w.supersede(v, kind)
	if err != nil {
		return err
	}
	w.key = currentKey(w.key[:0], kind, v.ID)
	w.value = appendHead(w.value[:0], v, number)
	if err := w.set(w.key, w.value, !exists); err != nil {
		return err
	}
	if err := w.content(v, kind, number, old, exists); err != nil {
		return err
	}
	w.newest[v.ResourceID] = newest{v, number}
	w.db.fresh.Load().add(kind, v.ID)
	if err := w.member(v, kind, number, old, exists); err != nil {
		return err
	}
	if err := w.postings(v, kind, number, exists); err != nil {
		return err
	}
	return w.announce(v, kind, number)
}

// before is what the writer needs of the version that a new one replaces.
type before struct {
	number  uint64
	deleted bool
	member  string
}

// supersede moves the current version, if there is one, to the history.
func (w *writer) supersede(v *commit.Version, kind uint16) (old before, exists bool, err error) {
	if n, ok := w.newest[v.ResourceID]; ok {
		old, exists = before{n.version.Number, n.version.Deleted, n.version.Member}, true
		w.value = appendVersion(w.value[:0], n.version, n.commit)
	} else if old, exists, err = w.expected(v, kind); err == nil && !exists {
		old, exists, err = w.current(v.ResourceID, kind)
	}
	if err == nil && !exists && v.Number != w.db.first {
		err = fmt.Errorf("there is no version before it, and the first is %d: %w", w.db.first, store.ErrOrder)
	}
	if err != nil || !exists {
		return old, exists, err
	}
	if v.Number != old.number+1 {
		return old, true, fmt.Errorf("the current version is %d: %w", old.number, store.ErrOrder)
	}
	w.key = historyKey(w.key[:0], kind, v.ID, old.number)
	return old, true, w.set(w.key, w.value, true)
}

// expected reads the version that v most often replaces: the one before it, of the
// same member. It leaves its record in w.value; ok is false if another is the
// current one. It needs no head: only what lives is there, and once.
func (w *writer) expected(v *commit.Version, kind uint16) (old before, ok bool, err error) {
	if v.Number == w.db.first {
		return old, false, nil
	}
	w.key = bodyKey(w.key[:0], v.Member, kind, v.ID)
	if ok, err = w.load(); err != nil || !ok {
		return old, false, err
	}
	content, err := decodeVersion(w.value)
	if err != nil || content.number+1 != v.Number {
		return old, false, err
	}
	return before{content.number, false, v.Member}, true, nil
}

// current reads the current version as the store has it, and leaves its record in
// w.value.
func (w *writer) current(id fhir.ResourceID, kind uint16) (old before, ok bool, err error) {
	if w.db.fresh.Load().lacks(kind, id.ID) {
		return old, false, nil
	}
	w.key = currentKey(w.key[:0], kind, id.ID)
	if ok, err = w.load(); err != nil || !ok {
		return old, ok, err
	}
	h, err := decodeHead(w.value)
	if err != nil {
		return old, true, err
	}
	old = before{h.number, h.deleted(), string(h.member)}
	if old.deleted {
		w.value = withoutContent(w.value)
		return old, true, nil
	}
	w.key = bodyKey(w.key[:0], old.member, kind, id.ID)
	there, err := w.load()
	if err != nil {
		return old, true, err
	}
	if there {
		content, err := decodeVersion(w.value)
		if err != nil || content.number == h.number {
			return old, true, err
		}
	}
	return old, true, fmt.Errorf("the content of version %d is missing: %w", h.number, store.ErrCorrupt)
}

// load reads the value of w.key into w.value; ok is false if there is none.
func (w *writer) load() (ok bool, err error) {
	value, closer, err := w.db.eng.Get(w.key)
	if errors.Is(err, engine.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	w.value = append(w.value[:0], value...)
	return true, closer.Close()
}

// content writes the version under its member if it lives, and takes away what it
// replaces unless it stands in the same place: only what lives is there.
func (w *writer) content(v *commit.Version, kind uint16, number commit.Number, old before, exists bool) error {
	there := exists && !old.deleted
	stays := there && !v.Deleted && old.member == v.Member
	if there && !stays {
		w.key = bodyKey(w.key[:0], old.member, kind, v.ID)
		if err := w.delete(w.key); err != nil {
			return err
		}
	}
	if v.Deleted {
		return nil
	}
	w.key = bodyKey(w.key[:0], v.Member, kind, v.ID)
	w.value = appendVersion(w.value[:0], v, number)
	return w.set(w.key, w.value, !stays)
}

// member writes the entry that searches scan, leaves a tombstone where the
// resource was before, and keeps the list of the member's living resources.
func (w *writer) member(v *commit.Version, kind uint16, number commit.Number, old before, exists bool) error {
	e := entry{commit: uint64(number), number: v.Number, updated: v.Updated, index: v.Index}
	if v.Deleted {
		e.flags, e.index = flagDeleted, nil
	}
	w.key = memberKey(w.key[:0], kind, v.Member, v.ID)
	w.value = appendEntry(w.value[:0], e)
	if err := w.set(w.key, w.value, !exists); err != nil {
		return err
	}
	moved := exists && old.member != v.Member
	wasThere := exists && !old.deleted
	if moved && wasThere {
		e.flags, e.index = flagMoved, nil
		w.key = memberKey(w.key[:0], kind, old.member, v.ID)
		w.value = appendEntry(w.value[:0], e)
		if err := w.set(w.key, w.value, false); err != nil {
			return err
		}
	}
	if wasThere && (v.Deleted || moved) {
		w.key = ofKey(w.key[:0], old.member, kind, v.ID)
		if err := w.delete(w.key); err != nil {
			return err
		}
	}
	if v.Deleted || wasThere && !moved {
		return nil
	}
	w.key = ofKey(w.key[:0], v.Member, kind, v.ID)
	return w.set(w.key, nil, !exists)
}

func (w *writer) postings(v *commit.Version, kind uint16, number commit.Number, exists bool) error {
	for i := range v.Postings {
		p := &v.Postings[i]
		param, err := w.name(nameParam, p.Param)
		if err != nil {
			return err
		}
		w.key = postingKey(w.key[:0], kind, param, p.Value, v.Member, v.ID)
		w.value = binary.AppendUvarint(w.value[:0], uint64(number))
		if err := w.set(w.key, w.value, !exists); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) announce(v *commit.Version, kind uint16, number commit.Number) error {
	if v.Partition < 0 || v.Partition > math.MaxInt16 {
		return fmt.Errorf("partition %d: %w", v.Partition, store.ErrOrder)
	}
	for int(v.Partition) >= len(w.outbox) {
		w.outbox = append(w.outbox, 0)
	}
	if last := w.outbox[v.Partition]; v.Outbox != last+1 {
		return fmt.Errorf("outbox number %d of partition %d comes after %d: %w", v.Outbox, v.Partition, last, store.ErrOrder)
	}
	w.outbox[v.Partition] = v.Outbox
	w.key = outboxKey(w.key[:0], v.Partition, v.Outbox)
	w.value = appendAnnounced(w.value[:0], kind, v, number)
	return w.set(w.key, w.value, true)
}
