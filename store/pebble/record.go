package pebble

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/store"
)

// The flags of a version or member entry.
const (
	flagDeleted = 1 << iota // no body: the resource is gone
	flagMoved               // member entries: it went to another member
	flagCreate
	flagUpdate
	flagDelete
)

var opFlags = map[commit.Op]byte{commit.Create: flagCreate, commit.Update: flagUpdate, commit.Delete: flagDelete}

func opOf(flags byte) commit.Op {
	switch {
	case flags&flagCreate != 0:
		return commit.Create
	case flags&flagUpdate != 0:
		return commit.Update
	case flags&flagDelete != 0:
		return commit.Delete
	}
	return ""
}

// version is a record of C or H. Its slices alias the record.
type version struct {
	flags   byte
	commit  uint64
	number  uint64
	updated time.Time
	hash    [16]byte
	member  []byte
	index   []byte
	body    []byte
}

func appendVersion(dst []byte, v *commit.Version, number commit.Number) []byte {
	flags := opFlags[v.Op]
	if v.Deleted {
		flags |= flagDeleted
	}
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, uint64(number))
	dst = binary.AppendUvarint(dst, v.Number)
	dst = appendTime(dst, v.Updated)
	dst = append(dst, v.Hash[:]...)
	dst = appendString(dst, v.Member)
	dst = appendBytes(dst, v.Index)
	return append(dst, v.Body...)
}

// versionCommit reads no further than the commit number.
func versionCommit(b []byte) (uint64, error) {
	if len(b) > 1 {
		if n, w := binary.Uvarint(b[1:]); w > 0 {
			return n, nil
		}
	}
	return 0, fmt.Errorf("version record is malformed: %w", store.ErrCorrupt)
}

func decodeVersion(b []byte) (version, error) {
	r := reader{b: b}
	v := version{flags: r.byte(), commit: r.uvarint(), number: r.uvarint(), updated: r.time()}
	copy(v.hash[:], r.take(uint64(len(v.hash))))
	v.member = r.bytes()
	v.index = r.bytes()
	v.body, r.b = r.b, nil
	return v, r.done("version")
}

func (v *version) deleted() bool { return v.flags&flagDeleted != 0 }

// fhir makes what callers get. It keeps v's slices: v must be decoded from a
// copy.
func (v *version) fhir(id fhir.ResourceID) fhir.Version {
	out := fhir.Version{
		ResourceID: id,
		Member:     string(v.member),
		Number:     v.number,
		Commit:     v.commit,
		Updated:    v.updated,
		Deleted:    v.deleted(),
	}
	if len(v.index) > 0 {
		out.Index = v.index
	}
	if len(v.body) > 0 {
		out.Body = v.body
	}
	return out
}

// entry is a record of M. Index aliases the record.
type entry struct {
	flags   byte
	commit  uint64
	number  uint64
	updated time.Time
	index   []byte
}

func appendEntry(dst []byte, e entry) []byte {
	dst = append(dst, e.flags)
	dst = binary.AppendUvarint(dst, e.commit)
	dst = binary.AppendUvarint(dst, e.number)
	dst = appendTime(dst, e.updated)
	return append(dst, e.index...)
}

func decodeEntry(b []byte) (entry, error) {
	r := reader{b: b}
	e := entry{flags: r.byte(), commit: r.uvarint(), number: r.uvarint(), updated: r.time()}
	e.index, r.b = r.b, nil
	return e, r.done("member entry")
}

func (e *entry) gone() bool { return e.flags&(flagDeleted|flagMoved) != 0 }

func appendInfo(dst []byte, u *commit.Unit) []byte {
	dst = appendString(dst, u.Source)
	dst = appendPosition(dst, u.Position)
	dst = appendTime(dst, u.Committed)
	dst = binary.AppendUvarint(dst, uint64(u.Count))
	dst = binary.AppendUvarint(dst, uint64(len(u.Sources)))
	for i := range u.Sources {
		dst = appendFreshness(dst, &u.Sources[i])
	}
	return dst
}

func decodeInfo(number commit.Number, b []byte) (commit.Info, error) {
	r := reader{b: b}
	in := commit.Info{
		Number:    number,
		Source:    r.string(),
		Position:  r.position(),
		Committed: r.time(),
		Count:     uint32(r.uvarint()),
	}
	for range r.count() {
		in.Sources = append(in.Sources, r.freshness())
	}
	return in, r.done("commit log")
}

func appendParked(dst []byte, p *commit.Parked) []byte {
	dst = appendTime(dst, p.Since)
	dst = binary.AppendUvarint(dst, uint64(p.Attempts))
	return append(dst, p.Reason...)
}

func decodeParked(root string, b []byte) (commit.Parked, error) {
	r := reader{b: b}
	p := commit.Parked{Root: root, Since: r.time(), Attempts: int(r.uvarint())}
	p.Reason, r.b = string(r.b), nil
	return p, r.done("parked root")
}

// announced is a record of O.
type announced struct {
	kind     uint16
	version  uint64
	commit   uint64
	sequence uint32
	id       []byte
}

func appendAnnounced(dst []byte, kind uint16, v *commit.Version, number commit.Number) []byte {
	dst = binary.BigEndian.AppendUint16(dst, kind)
	dst = binary.AppendUvarint(dst, v.Number)
	dst = binary.AppendUvarint(dst, uint64(number))
	dst = binary.AppendUvarint(dst, uint64(v.Sequence))
	return append(dst, v.ID...)
}

func decodeAnnounced(b []byte) (announced, error) {
	r := reader{b: b}
	var a announced
	if kind := r.take(2); kind != nil {
		a.kind = binary.BigEndian.Uint16(kind)
	}
	a.version, a.commit, a.sequence = r.uvarint(), r.uvarint(), uint32(r.uvarint())
	a.id, r.b = r.b, nil
	return a, r.done("outbox")
}
