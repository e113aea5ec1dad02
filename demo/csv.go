package demo

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// A cellError says where a file is wrong and why, and never what stands there.
type cellError struct {
	file   string
	line   int
	column string // "" when the line as a whole is wrong
	reason string
}

func (e *cellError) Error() string {
	if e.column == "" {
		return fmt.Sprintf("demo: %s line %d: %s", e.file, e.line, e.reason)
	}
	return fmt.Sprintf("demo: %s line %d column %s: %s", e.file, e.line, e.column, e.reason)
}

// A csvFile reads the records of one table's file, plain or gzipped.
type csvFile struct {
	name   string
	reader *csv.Reader
	header map[string]int // upper-cased column name: field
	fields []string       // of the current record; reused by the next
	line   int
	close  func() error
}

// openCSV opens name.csv or name.csv.gz. It returns nil without an error when there is neither.
func openCSV(data fs.FS, name string) (*csvFile, error) {
	text, file, err := openText(data, name)
	if text == nil || err != nil {
		return nil, err
	}
	c := &csvFile{name: file, close: text.Close, reader: csv.NewReader(skipBOM(text))}
	c.reader.ReuseRecord = true
	head, err := c.reader.Read()
	if err == io.EOF {
		err = errors.New("the file is empty: no header line")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("demo: read %s: %w", file, err), text.Close())
	}
	c.header = make(map[string]int, len(head))
	for i, name := range head {
		name = strings.ToUpper(strings.TrimSpace(name))
		if _, twice := c.header[name]; twice {
			return nil, errors.Join(&cellError{file, 1, name, "the header names this column twice"}, text.Close())
		}
		c.header[name] = i
	}
	return c, nil
}

// next moves to the next record; false at the end of the file.
func (c *csvFile) next() (bool, error) {
	fields, err := c.reader.Read()
	if err == io.EOF {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("demo: read %s: %w", c.name, err) // csv's errors say line and column, and no text
	}
	c.fields = fields
	c.line, _ = c.reader.FieldPos(0)
	return true, nil
}

// cell is the text of a column, "" for a column that the file lacks.
func (c *csvFile) cell(column string) string {
	if i, ok := c.header[column]; ok {
		return c.fields[i]
	}
	return ""
}

// bad is an error at the current record.
func (c *csvFile) bad(column, reason string) error {
	return &cellError{c.name, c.line, column, reason}
}

// each calls f for each record of a table's file; a missing file has none.
func each(data fs.FS, name string, f func(c *csvFile) error) error {
	c, err := openCSV(data, name)
	if c == nil || err != nil {
		return err
	}
	for {
		more, err := c.next()
		if more && err == nil {
			err = f(c)
		}
		if err != nil || !more {
			return errors.Join(err, c.close())
		}
	}
}

// countRecords counts a table's records by its line ends outside quotes, which is several times faster than parsing.
func countRecords(data fs.FS, name string) (int64, error) {
	text, file, err := openText(data, name)
	if text == nil || err != nil {
		return 0, err
	}
	defer text.Close()
	var n int64
	quoted, length, onlyCR := false, 0, false // of the line so far; a line of one CR is blank, too
	end := func() {
		if length > 1 || length == 1 && !onlyCR {
			n++
		}
		length = 0
	}
	buf := make([]byte, 1<<16)
	for {
		k, err := text.Read(buf)
		for _, b := range buf[:k] {
			if b == '\n' && !quoted {
				end()
				continue
			}
			if b == '"' {
				quoted = !quoted
			}
			onlyCR = length == 0 && b == '\r'
			length++
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, fmt.Errorf("demo: read %s: %w", file, err)
		}
	}
	end()
	return max(0, n-1), nil
}

// openText opens a table's file as text. It returns nil without an error when there is none.
func openText(data fs.FS, name string) (io.ReadCloser, string, error) {
	for _, file := range []string{name + ".csv", name + ".csv.gz"} {
		f, err := data.Open(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, file, fmt.Errorf("demo: open %s: %w", file, err)
		}
		if !strings.HasSuffix(file, ".gz") {
			return f, file, nil
		}
		z, err := gzip.NewReader(bufio.NewReaderSize(f, 1<<16))
		if err != nil {
			return nil, file, errors.Join(fmt.Errorf("demo: open %s: %w", file, err), f.Close())
		}
		return &unzipped{z, f}, file, nil
	}
	return nil, "", nil
}

// unzipped closes the file beneath the decompressor, too.
type unzipped struct {
	*gzip.Reader
	file io.Closer
}

func (u *unzipped) Close() error { return errors.Join(u.Reader.Close(), u.file.Close()) }

// skipBOM drops the byte order mark that some tools put before the header.
func skipBOM(r io.Reader) io.Reader {
	b := bufio.NewReaderSize(r, 1<<16)
	if mark, err := b.Peek(3); err == nil && string(mark) == "\xef\xbb\xbf" {
		_, _ = b.Discard(3) // cannot fail: just peeked
	}
	return b
}
