package postgres

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/tributary-health/tributary/change"
)

// row gathers one row's values. Their texts lie side by side in text and become
// slices of one string when the row is sealed: one allocation a row. It is
// reused; values are valid until the next reset.
type row struct {
	values []change.Value
	text   []byte
	ends   []int
}

func (r *row) reset() {
	r.values, r.text, r.ends = r.values[:0], r.text[:0], r.ends[:0]
}

// skip adds a column without a text.
func (r *row) skip(s change.State) {
	r.values = append(r.values, change.Value{State: s})
	r.ends = append(r.ends, len(r.text))
}

// add adds a column that the server printed as raw.
func (r *row) add(t change.Type, raw []byte) error {
	var err error
	r.text, err = appendText(r.text, t, raw)
	r.values = append(r.values, change.Value{State: change.Set})
	r.ends = append(r.ends, len(r.text))
	return err
}

// seal gives the values their texts.
func (r *row) seal() []change.Value {
	all, from := string(r.text), 0
	for i, end := range r.ends {
		if r.values[i].State == change.Set {
			r.values[i].Text = all[from:end]
		}
		from = end
	}
	return r.values
}

// columnError is a fault in one column's value.
type columnError struct {
	column string
	err    error
}

func (e *columnError) Error() string { return "column " + e.column + ": " + e.err.Error() }
func (e *columnError) Unwrap() error { return e.err }

var errTuple = errors.New("malformed row from the server")

// tuple reads a row of a log message into r. In a key tuple all columns outside
// the replica identity read NULL, whatever they hold: they are unknown.
func (r *row) tuple(c *cursor, s *change.Schema, identity []bool) error {
	r.reset()
	if n := c.uint16(); n != len(s.Columns) || c.bad {
		return fmt.Errorf("%w: %d columns, %d expected", errTuple, n, len(s.Columns))
	}
	for i := range s.Columns {
		switch kind := c.byte(); kind {
		case 'n':
			if identity != nil && !identity[i] {
				r.skip(change.Unchanged)
			} else {
				r.skip(change.Null)
			}
		case 'u':
			r.skip(change.Unchanged)
		case 't':
			raw := c.take(int(c.uint32()))
			if c.bad {
				return errTuple
			}
			if err := r.add(s.Columns[i].Type, raw); err != nil {
				return &columnError{s.Columns[i].Name, err}
			}
		default:
			return fmt.Errorf("%w: column kind %q", errTuple, kind)
		}
	}
	r.seal()
	return nil
}

// copyLine reads a row of COPY's text format, without the line's end, into r.
func (r *row) copyLine(line []byte, s *change.Schema, scratch *[]byte) error {
	r.reset()
	for i := range s.Columns {
		field, rest, more := bytes.Cut(line, []byte{'\t'})
		if more != (i < len(s.Columns)-1) {
			return fmt.Errorf("%w: COPY line has not %d columns", errTuple, len(s.Columns))
		}
		line = rest
		if len(field) == 2 && field[0] == '\\' && field[1] == 'N' {
			r.skip(change.Null)
			continue
		}
		if bytes.IndexByte(field, '\\') >= 0 {
			var ok bool
			if *scratch, ok = unescape((*scratch)[:0], field); !ok {
				return &columnError{s.Columns[i].Name, errTuple}
			}
			field = *scratch
		}
		if err := r.add(s.Columns[i].Type, field); err != nil {
			return &columnError{s.Columns[i].Name, err}
		}
	}
	r.seal()
	return nil
}

// unescape undoes COPY's backslashes, as the server writes them.
func unescape(dst, field []byte) ([]byte, bool) {
	for i := 0; i < len(field); i++ {
		if field[i] != '\\' {
			dst = append(dst, field[i])
			continue
		}
		if i++; i == len(field) {
			return dst, false
		}
		switch c := field[i]; c {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'v':
			dst = append(dst, '\v')
		default:
			dst = append(dst, c)
		}
	}
	return dst, true
}
