package pebble

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	engine "github.com/cockroachdb/pebble/v2"
)

// undoList gathers, for one batch, what each key held before.
// While no version was ever committed every version is a staged one: one entry
// stands for all that was written of them, which is most of a first composition.
type undoList struct {
	seen map[string]struct{}
	list []byte
	none bool // no version was ever committed
}

const (
	undoAbsent   = 0
	undoValue    = 1
	undoVersions = 2 // of no key: all of versionSpaces
)

// versionSpaces hold nothing but what versions wrote.
var versionSpaces = []byte{spaceCurrent, spaceBody, spaceHistory, spaceMember, spaceOf, spacePosting, spaceOutbox}

// newUndo starts the list of one batch.
func (db *DB) newUndo() *undoList {
	u := &undoList{seen: map[string]struct{}{}, none: db.unversioned()}
	if u.none {
		u.list = append(appendBytes(u.list, nil), undoVersions)
	}
	return u
}

// add remembers the key's value as the store has it; only the first time in a
// batch, for that is what is to come back. absent says that the caller knows
// the key to be new.
func (u *undoList) add(db *DB, key []byte, absent bool) error {
	if u.none && bytes.IndexByte(versionSpaces, key[0]) >= 0 {
		return nil
	}
	if _, ok := u.seen[string(key)]; ok {
		return nil
	}
	u.seen[string(key)] = struct{}{}
	u.list = appendBytes(u.list, key)
	if absent {
		u.list = append(u.list, undoAbsent)
		return nil
	}
	v, closer, err := db.eng.Get(key)
	if errors.Is(err, engine.ErrNotFound) {
		u.list = append(u.list, undoAbsent)
		return nil
	}
	if err != nil {
		return err
	}
	u.list = appendBytes(append(u.list, undoValue), v)
	return closer.Close()
}

// restore puts the list's values back into b. Each key stands in a list once,
// so their order does not matter; that of the lists does.
func restore(b *engine.Batch, list []byte) error {
	r := reader{b: list}
	for len(r.b) > 0 {
		key := r.bytes()
		var err error
		switch r.byte() {
		case undoVersions:
			for _, space := range versionSpaces {
				err = errors.Join(err, b.DeleteRange([]byte{space}, []byte{space + 1}, nil))
			}
		case undoValue:
			err = b.Set(key, r.bytes(), nil)
		default:
			err = b.Delete(key, nil)
		}
		if err != nil {
			return err
		}
	}
	return r.done("undo")
}

// unstage undoes every staged batch, newest first. Each is undone in one write
// with the removal of its record, so that it may itself be cut off anywhere.
func (db *DB) unstage() error {
	for {
		key, list, err := db.lastUndo()
		if err != nil || key == nil {
			return err
		}
		b := db.eng.NewBatch()
		if err := errors.Join(restore(b, list), b.Delete(key, nil)); err != nil {
			return errors.Join(err, b.Close())
		}
		if err := db.apply(b, engine.Sync); err != nil {
			return err
		}
	}
}

func (db *DB) lastUndo() (key, list []byte, err error) {
	it, err := db.eng.NewIter(&engine.IterOptions{LowerBound: []byte{spaceUndo}, UpperBound: []byte{spaceUndo + 1}})
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	if !it.Last() {
		return nil, nil, it.Error()
	}
	v, err := it.ValueAndErr()
	if err != nil {
		return nil, nil, fmt.Errorf("read undo record: %w", err)
	}
	return bytes.Clone(it.Key()), bytes.Clone(v), nil
}

func beUint32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }
func beUint64(b []byte) uint64 { return binary.BigEndian.Uint64(b) }
