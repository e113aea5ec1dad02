package compose

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/tributary-health/tributary/change"
)

// spool is the file that pending rows go to when they exceed the memory budget.
// It is unlinked as soon as it is open, so nothing of it outlives the process,
// and it is cut to nothing whenever no segment of it is in use.
type spool struct {
	dir     string
	file    *os.File
	end     int64
	live    int // segments in use
	schemas []*change.Schema
	ids     map[*change.Schema]uint64
	buf     []byte
}

// segment is a stretch of the spool that holds n events of one stream.
type segment struct {
	offset, length int64
	n              int
}

// write appends the events as one segment.
func (s *spool) write(events []*change.Event) (segment, error) {
	if s.file == nil {
		if err := s.open(); err != nil {
			return segment{}, err
		}
	}
	s.buf = s.buf[:0]
	seg := segment{offset: s.end, n: len(events)}
	for _, ev := range events {
		s.buf = s.append(s.buf, ev)
		if len(s.buf) >= 1<<20 {
			if err := s.flush(); err != nil {
				return segment{}, err
			}
		}
	}
	if err := s.flush(); err != nil {
		return segment{}, err
	}
	seg.length = s.end - seg.offset
	s.live++
	return seg, nil
}

func (s *spool) open() error {
	f, err := os.CreateTemp(s.dir, "rows-*.spill")
	if err != nil {
		return fmt.Errorf("compose: open spill file: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return errors.Join(fmt.Errorf("compose: unlink spill file: %w", err), f.Close())
	}
	s.file, s.ids = f, make(map[*change.Schema]uint64)
	return nil
}

func (s *spool) flush() error {
	n, err := s.file.WriteAt(s.buf, s.end)
	s.end += int64(n)
	s.buf = s.buf[:0]
	if err != nil {
		return fmt.Errorf("compose: write spill file: %w", err)
	}
	return nil
}

// release gives segments back.
func (s *spool) release(n int) error {
	if s.live -= n; s.live > 0 || n == 0 {
		return nil
	}
	s.end = 0
	if err := s.file.Truncate(0); err != nil {
		return fmt.Errorf("compose: truncate spill file: %w", err)
	}
	return nil
}

func (s *spool) close() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	return err
}

// append appends one event with its length before it.
func (s *spool) append(dst []byte, ev *change.Event) []byte {
	id, ok := s.ids[ev.Schema]
	if !ok {
		id = uint64(len(s.schemas))
		s.ids[ev.Schema] = id
		s.schemas = append(s.schemas, ev.Schema)
	}
	var b []byte
	b = append(b, byte(ev.Op), boolByte(ev.Before != nil), boolByte(ev.After != nil))
	b = binary.AppendUvarint(b, id)
	b = binary.AppendUvarint(b, uint64(ev.Position.Generation))
	b = binary.AppendUvarint(b, ev.Position.Ordinal)
	b = binary.AppendUvarint(b, ev.Position.Sequence)
	b = binary.AppendUvarint(b, uint64(ev.Incarnation))
	b = binary.AppendVarint(b, ev.Committed.UnixMicro())
	for _, row := range [][]change.Value{ev.Before, ev.After} {
		values := change.AppendValues(nil, row)
		b = binary.AppendUvarint(b, uint64(len(values)))
		b = append(b, values...)
	}
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// reader reads segments back, one event at a time.
type spoolReader struct {
	s    *spool
	segs []segment
	left int
	r    *bufio.Reader
}

// next returns nil after the last event.
func (r *spoolReader) next() (*change.Event, error) {
	for r.left == 0 {
		if len(r.segs) == 0 {
			return nil, nil
		}
		seg := r.segs[0]
		r.segs, r.left = r.segs[1:], seg.n
		r.r = bufio.NewReaderSize(io.NewSectionReader(r.s.file, seg.offset, seg.length), 32<<10)
	}
	r.left--
	n, err := binary.ReadUvarint(r.r)
	if err != nil {
		return nil, fmt.Errorf("compose: read spill file: %w", err)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r.r, b); err != nil {
		return nil, fmt.Errorf("compose: read spill file: %w", err)
	}
	return r.s.decode(b)
}

var errSpill = errors.New("compose: spill file is damaged")

func (s *spool) decode(b []byte) (*change.Event, error) {
	if len(b) < 3 {
		return nil, errSpill
	}
	ev := &change.Event{Op: change.Op(b[0])}
	hasBefore, hasAfter := b[1] == 1, b[2] == 1
	c := cursor{b: b[3:]}
	id := c.uvarint()
	ev.Position.Generation = uint32(c.uvarint())
	ev.Position.Ordinal = c.uvarint()
	ev.Position.Sequence = c.uvarint()
	ev.Incarnation = change.Incarnation(c.uvarint())
	ev.Committed = time.UnixMicro(c.varint()).UTC()
	before, after := c.bytes(), c.bytes()
	if c.bad || id >= uint64(len(s.schemas)) {
		return nil, errSpill
	}
	ev.Schema = s.schemas[id]
	var err error
	if hasBefore {
		if ev.Before, err = change.DecodeValues(before, nil); err != nil {
			return nil, err
		}
	}
	if hasAfter {
		if ev.After, err = change.DecodeValues(after, nil); err != nil {
			return nil, err
		}
	}
	return ev, nil
}

// cursor reads varints; bad is set, and stays set, when the bytes end early.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) uvarint() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.bad = true
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) varint() int64 {
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.bad = true
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) bytes() []byte {
	n := c.uvarint()
	if c.bad || n > uint64(len(c.b)) {
		c.bad = true
		return nil
	}
	v := c.b[:n]
	c.b = c.b[n:]
	return v
}
