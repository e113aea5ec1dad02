package pebble

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/store"
)

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// appendTime keeps every instant, the zero Time's too, to the nanosecond.
func appendTime(dst []byte, t time.Time) []byte {
	dst = binary.AppendVarint(dst, t.Unix())
	return binary.AppendUvarint(dst, uint64(t.Nanosecond()))
}

func appendPosition(dst []byte, p change.Position) []byte {
	dst = binary.AppendUvarint(dst, uint64(p.Generation))
	dst = binary.AppendUvarint(dst, p.Ordinal)
	return binary.AppendUvarint(dst, p.Sequence)
}

func appendFreshness(dst []byte, f *change.Freshness) []byte {
	dst = appendString(dst, f.Source)
	dst = appendPosition(dst, f.Position)
	dst = appendString(dst, f.Token)
	return appendTime(dst, f.Committed)
}

// reader takes values from the front of a record. After the first that is cut
// short every further one is zero; done reports it.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

// take returns the next n bytes, which alias the record.
func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.b, r.bad = nil, true
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) bytes() []byte  { return r.take(r.uvarint()) }
func (r *reader) string() string { return string(r.bytes()) }

func (r *reader) time() time.Time {
	sec := r.varint()
	nsec := r.uvarint()
	if nsec >= 1e9 {
		r.b, r.bad = nil, true
		return time.Time{}
	}
	return time.Unix(sec, int64(nsec)).UTC()
}

func (r *reader) position() change.Position {
	g := r.uvarint()
	if g > 1<<32-1 {
		r.b, r.bad = nil, true
	}
	return change.Position{Generation: uint32(g), Ordinal: r.uvarint(), Sequence: r.uvarint()}
}

func (r *reader) freshness() change.Freshness {
	return change.Freshness{Source: r.string(), Position: r.position(), Token: r.string(), Committed: r.time()}
}

// count reads a length of a list whose entries take a byte at least, so that a
// broken record cannot ask for more memory than it has.
func (r *reader) count() int {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.b, r.bad = nil, true
		return 0
	}
	return int(n)
}

// done returns an error if anything was missing, or is left over.
func (r *reader) done(what string) error {
	if r.bad || len(r.b) != 0 {
		return fmt.Errorf("%s record is malformed: %w", what, store.ErrCorrupt)
	}
	return nil
}
