package postgres

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgproto3"
)

const (
	bufferSize  = 256 << 10
	keepScratch = 4 << 20
	maxMessage  = 1 << 30 // the server's own limit of a message
)

var pgEpoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// framing gives a Frontend never more than one message at a time, so that the
// stream can be taken over at a message's end with nothing left inside the
// Frontend. After that next reads messages without the driver's per-message
// work.
type framing struct {
	br      *bufio.Reader
	left    int
	skip    int
	scratch []byte
}

func frontend(in **framing) func(r io.Reader, w io.Writer) *pgproto3.Frontend {
	return func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		f := &framing{br: bufio.NewReaderSize(r, bufferSize)}
		*in = f
		return pgproto3.NewFrontend(f, w)
	}
}

// Read implements io.Reader for the Frontend.
func (f *framing) Read(p []byte) (int, error) {
	if f.left == 0 {
		_, n, err := f.header()
		if err != nil {
			return 0, err
		}
		f.left = 5 + n
	}
	n, err := f.br.Read(p[:min(len(p), f.left)])
	f.left -= n
	return n, err
}

// header looks at the next message's type and the length of its body.
func (f *framing) header() (kind byte, n int, err error) {
	h, err := f.br.Peek(5)
	if err != nil {
		return 0, 0, err
	}
	size := binary.BigEndian.Uint32(h[1:])
	if size < 4 || size > maxMessage {
		return 0, 0, errors.New("malformed message from the server")
	}
	return h[0], int(size) - 4, nil
}

// next returns the next message; body is valid until the following call.
func (f *framing) next() (kind byte, body []byte, err error) {
	if f.skip > 0 {
		_, _ = f.br.Discard(f.skip) // was peeked: it is all there
		f.skip = 0
	}
	kind, n, err := f.header()
	if err != nil {
		return 0, nil, err
	}
	if 5+n <= bufferSize {
		b, err := f.br.Peek(5 + n)
		f.skip = 5 + n
		if err != nil {
			return 0, nil, err
		}
		return kind, b[5:], nil
	}
	_, _ = f.br.Discard(5)
	if cap(f.scratch) < n || cap(f.scratch) > keepScratch && n < keepScratch {
		f.scratch = make([]byte, n)
	}
	f.scratch = f.scratch[:n]
	_, err = io.ReadFull(f.br, f.scratch)
	return kind, f.scratch, err
}

// sendStatus tells the server what is durable, in all three fields: one left
// zero means "as far as the others", and the slot moves.
func sendStatus(conn net.Conn, lsn pglogrepl.LSN, now time.Time) error {
	b := make([]byte, 0, 39)
	b = append(b, 'd')
	b = binary.BigEndian.AppendUint32(b, 4+34)
	b = append(b, 'r')
	for range 3 {
		b = binary.BigEndian.AppendUint64(b, uint64(lsn))
	}
	b = binary.BigEndian.AppendUint64(b, uint64(now.Sub(pgEpoch).Microseconds()))
	b = append(b, 1) // and say how far you are
	if err := conn.SetWriteDeadline(now.Add(30 * time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write(b); err != nil {
		return fmt.Errorf("send status: %w", err)
	}
	return nil
}

// cursor walks a message. After the first fault bad is set and every further
// read gives zero, so callers check once.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.b, c.bad = nil, true
		return nil
	}
	b := c.b[:n]
	c.b = c.b[n:]
	return b
}

func (c *cursor) byte() byte {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) uint16() int {
	if b := c.take(2); b != nil {
		return int(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (c *cursor) uint32() uint32 {
	if b := c.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) uint64() uint64 {
	if b := c.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// text reads a string that a zero byte ends.
func (c *cursor) text() string {
	for i, x := range c.b {
		if x == 0 {
			return string(c.take(i + 1)[:i])
		}
	}
	c.take(len(c.b) + 1)
	return ""
}

func (c *cursor) lsn() pglogrepl.LSN { return pglogrepl.LSN(c.uint64()) }

func (c *cursor) time() time.Time {
	return pgEpoch.Add(time.Duration(int64(c.uint64())) * time.Microsecond)
}
