package pebble

import (
	"bytes"
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

// head is a record of C: what there is of a version but its content. Member
// aliases the record.
type head struct {
	flags   byte
	commit  uint64
	number  uint64
	updated time.Time
	hash    [16]byte
	member  []byte
}

func appendHead(dst []byte, v *commit.Version, number commit.Number) []byte {
	flags := opFlags[v.Op]
	if v.Deleted {
		flags |= flagDeleted
	}
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, uint64(number))
	dst = binary.AppendUvarint(dst, v.Number)
	dst = appendTime(dst, v.Updated)
	dst = append(dst, v.Hash[:]...)
	return appendString(dst, v.Member)
}

func (r *reader) head() head {
	h := head{flags: r.byte(), commit: r.uvarint(), number: r.uvarint(), updated: r.time()}
	copy(h.hash[:], r.take(uint64(len(h.hash))))
	h.member = r.bytes()
	return h
}

func decodeHead(b []byte) (head, error) {
	r := reader{b: b}
	h := r.head()
	return h, r.done("head")
}

func (h *head) equal(other *head) bool {
	return h.flags == other.flags && h.commit == other.commit && h.number == other.number &&
		h.updated.Equal(other.updated) && h.hash == other.hash && bytes.Equal(h.member, other.member)
}

func (h *head) deleted() bool { return h.flags&flagDeleted != 0 }

// newest makes what composition gets of a head, which aliases nothing.
func (h *head) newest() commit.Head {
	return commit.Head{Number: h.number, Hash: h.hash, Updated: h.updated, Deleted: h.deleted(), Member: string(h.member)}
}

// version is a record of V or H: the head, and what it is the head of. Its slices
// alias the record.
type version struct {
	head
	index []byte
	body  []byte
}

// appendVersion leaves out a deletion's content, which has none: its record is
// that of withoutContent.
func appendVersion(dst []byte, v *commit.Version, number commit.Number) []byte {
	dst = appendHead(dst, v, number)
	if v.Deleted {
		return withoutContent(dst)
	}
	dst = appendBytes(dst, v.Index)
	return append(dst, v.Body...)
}

// withoutContent makes a head the record of a version that is no more than it.
func withoutContent(head []byte) []byte { return appendBytes(head, nil) }

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
	v := version{head: r.head(), index: r.bytes()}
	v.body, r.b = r.b, nil
	return v, r.done("version")
}

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
	member   []byte
	id       []byte
}

func appendAnnounced(dst []byte, kind uint16, v *commit.Version, number commit.Number) []byte {
	dst = binary.BigEndian.AppendUint16(dst, kind)
	dst = binary.AppendUvarint(dst, v.Number)
	dst = binary.AppendUvarint(dst, uint64(number))
	dst = binary.AppendUvarint(dst, uint64(v.Sequence))
	dst = appendString(dst, v.Member)
	return append(dst, v.ID...)
}

func decodeAnnounced(b []byte) (announced, error) {
	r := reader{b: b}
	var a announced
	if kind := r.take(2); kind != nil {
		a.kind = binary.BigEndian.Uint16(kind)
	}
	a.version, a.commit, a.sequence = r.uvarint(), r.uvarint(), uint32(r.uvarint())
	a.member = r.bytes()
	a.id, r.b = r.b, nil
	return a, r.done("outbox")
}
