package kafka

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// bytesConn is a connection that carries the given bytes, in pieces.
type bytesConn struct {
	net.Conn
	in *bytes.Reader
}

func (c bytesConn) Read(p []byte) (int, error) { return c.in.Read(p[:min(len(p), 7)]) }

// FuzzGuard: what the guard hands on is a prefix of what came in, and every
// request in it has a size and a key that the broker can read.
func FuzzGuard(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte("\x00\x00\x00\x08\x00\x12\x00\x00\x00\x00\x00\x01\x00\x00\x00\x0a\x00\x03\x00\x00\x00\x00\x00\x02xx"))
	f.Add([]byte("\x7f\xff\xff\xff\x00\x00\x00\x03\x00\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, in []byte) {
		conn := &guardConn{Conn: bytesConn{in: bytes.NewReader(in)}, closed: func() {}}
		out, _ := io.ReadAll(conn)
		if !bytes.HasPrefix(in, out) {
			t.Fatalf("got %x of %x", out, in)
		}
		for len(out) >= requestHead {
			size := int64(int32(binary.BigEndian.Uint32(out)))
			if size < requestHead-4 || size > maxRequestBytes || kmsg.RequestForKey(int16(binary.BigEndian.Uint16(out[4:]))) == nil {
				t.Fatalf("a request of %d bytes, key %x, was handed on", size, out[4:6])
			}
			out = out[min(int64(len(out)), size+4):]
		}
		if len(out) > 0 {
			t.Fatalf("%d bytes of an unread head were handed on", len(out))
		}
	})
}
