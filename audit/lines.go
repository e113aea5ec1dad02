package audit

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// lines reads a segment line by line in bounded memory.
type lines struct {
	f  *os.File
	r  *bufio.Reader
	at int64 // where the next line begins
}

var (
	errCut  = errors.New("the file ends in the middle of a line")
	errLong = errors.New("a line is longer than any entry")
)

func openLines(dir string, segment int) (*lines, error) {
	f, err := os.Open(filepath.Join(dir, segmentName(segment)))
	if err != nil {
		return nil, &Error{Op: "read", File: segmentName(segment), Err: cause(err)}
	}
	r := readers.Get().(*bufio.Reader)
	r.Reset(f)
	return &lines{f: f, r: r}, nil
}

// readers have room for the longest line: whoever reads many segments makes it
// once.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, maxLine) }}

func (l *lines) close() {
	_ = l.f.Close() // only read
	l.r.Reset(nil)
	readers.Put(l.r)
}

// next returns the next line without its end; it is valid until the next call.
// The error is io.EOF at the end, errCut or errLong for what is no line, or the
// disk's.
func (l *lines) next() ([]byte, error) {
	b, err := l.r.ReadSlice('\n')
	switch {
	case err == nil:
		l.at += int64(len(b))
		return b[:len(b)-1], nil
	case err == io.EOF && len(b) > 0:
		l.at += int64(len(b))
		return b, errCut
	case errors.Is(err, bufio.ErrBufferFull):
		l.at += int64(len(b))
		return nil, errors.Join(errLong, l.skip())
	}
	return nil, err
}

// skip reads to the end of a line that is too long.
func (l *lines) skip() error {
	for {
		b, err := l.r.ReadSlice('\n')
		l.at += int64(len(b))
		switch {
		case err == nil, err == io.EOF:
			return nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}

// readHeader reads the first line of a segment.
func readHeader(dir string, segment int) (place, error) {
	name := segmentName(segment)
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return place{}, &Error{Op: "read", File: name, Err: cause(err)}
	}
	defer f.Close()
	b := make([]byte, headerRoom)
	n, err := io.ReadFull(f, b)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return place{}, &Error{Op: "read", File: name, Err: cause(err)}
	}
	first, _, ended := bytes.Cut(b[:n], []byte{'\n'})
	p, ok := parseHeader(first, segment)
	if !ended || !ok {
		return place{}, &Error{Op: "read", File: name, Err: ErrDamaged, Hint: "its first line is not a segment's header"}
	}
	return p, nil
}
