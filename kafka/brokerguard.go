package kafka

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// guardListener hands the broker connections that only carry requests it can
// read. Without it a stranger's bytes on the port (a browser, a port scan) make
// the broker allocate what their first four bytes happen to say, or stop the
// whole process on a request of no known kind.
type guardListener struct {
	net.Listener
	advertise string
	open      sync.WaitGroup
}

func newGuardListener(l net.Listener, advertise string) *guardListener {
	return &guardListener{Listener: l, advertise: advertise}
}

// Accept waits for the next connection.
func (l *guardListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.open.Add(1)
	return &guardConn{Conn: conn, closed: l.open.Done}, nil
}

// Addr is the address that clients are told.
func (l *guardListener) Addr() net.Addr {
	if l.advertise == "" {
		return l.Listener.Addr()
	}
	return namedAddr(l.advertise)
}

// wait returns when every accepted connection is closed.
func (l *guardListener) wait() { l.open.Wait() }

type namedAddr string

func (namedAddr) Network() string  { return "tcp" }
func (a namedAddr) String() string { return string(a) }

// requestHead is size, key, version and correlation of a request.
const requestHead = 12

// guardConn looks at the head of each request before the broker reads it. One
// goroutine reads.
type guardConn struct {
	net.Conn
	head   [requestHead]byte
	given  int   // bytes of head handed on
	filled bool  // head holds a request
	left   int64 // bytes of the body not read yet
	once   sync.Once
	closed func()
}

// Read hands on the next bytes of a well-formed request, or fails.
func (c *guardConn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if !c.filled {
		if _, err := io.ReadFull(c.Conn, c.head[:]); err != nil {
			return 0, err
		}
		size := int64(int32(binary.BigEndian.Uint32(c.head[:4])))
		if size < requestHead-4 || size > maxRequestBytes {
			return 0, fmt.Errorf("request of %d bytes", size)
		}
		key := int16(binary.BigEndian.Uint16(c.head[4:6]))
		if kmsg.RequestForKey(key) == nil {
			return 0, fmt.Errorf("request of unknown key %d", key)
		}
		c.filled, c.given, c.left = true, 0, size-(requestHead-4)
	}
	if c.given < requestHead {
		n := copy(p, c.head[c.given:])
		c.given += n
		c.filled = c.given < requestHead || c.left > 0
		return n, nil
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.Conn.Read(p)
	c.left -= int64(n)
	c.filled = c.left > 0
	return n, err
}

// Close closes the connection.
func (c *guardConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.closed)
	return err
}
