package mysql

import (
	"bytes"
	"compress/zlib"
	"errors"
	"io"
	"slices"

	proto "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/tributary-health/tributary/change"
)

// rowsHead is the part of a rows event before the rows.
type rowsHead struct {
	table   uint64
	flags   uint16
	columns int
	first   []byte // which columns the first image has
	second  []byte // which columns an update's second image has
	rows    []byte
}

var errRows = errors.New("a rows event is cut short")

// rowsKind says what a rows event does; ok is false for other events.
func rowsKind(t replication.EventType) (op change.Op, version int, compressed, ok bool) {
	switch t {
	case replication.WRITE_ROWS_EVENTv1:
		return change.Create, 1, false, true
	case replication.UPDATE_ROWS_EVENTv1:
		return change.Update, 1, false, true
	case replication.DELETE_ROWS_EVENTv1:
		return change.Delete, 1, false, true
	case replication.WRITE_ROWS_EVENTv2:
		return change.Create, 2, false, true
	case replication.UPDATE_ROWS_EVENTv2:
		return change.Update, 2, false, true
	case replication.DELETE_ROWS_EVENTv2:
		return change.Delete, 2, false, true
	case replication.MARIADB_WRITE_ROWS_COMPRESSED_EVENT_V1:
		return change.Create, 1, true, true
	case replication.MARIADB_UPDATE_ROWS_COMPRESSED_EVENT_V1:
		return change.Update, 1, true, true
	case replication.MARIADB_DELETE_ROWS_COMPRESSED_EVENT_V1:
		return change.Delete, 1, true, true
	}
	return 0, 0, false, false
}

// rowsTable reads only which table a rows event is about.
func rowsTable(body []byte) (uint64, bool) {
	c := cursor{b: body}
	id := c.little(6)
	return id, !c.bad
}

func readRowsHead(body []byte, op change.Op, version int, compressed bool) (rowsHead, error) {
	c := cursor{b: body}
	var h rowsHead
	h.table = c.little(6)
	h.flags = uint16(c.little(2))
	if version == 2 {
		c.take(int(c.little(2)) - 2)
	}
	h.columns = int(c.packed())
	h.first = c.take((h.columns + 7) / 8)
	if op == change.Update {
		h.second = c.take((h.columns + 7) / 8)
	}
	h.rows = c.b
	if c.bad {
		return h, errRows
	}
	if compressed {
		rows, err := inflate(h.rows)
		if err != nil {
			return h, err
		}
		h.rows = rows
	}
	return h, nil
}

// inflate reads MariaDB's compressed form: a byte with the length of the length,
// the length in big-endian, and a zlib stream. The length is not trusted.
func inflate(b []byte) ([]byte, error) {
	c := cursor{b: b}
	size := c.big(int(c.little(1) & 7))
	if c.bad || size > 1<<30 {
		return nil, errRows
	}
	r, err := zlib.NewReader(bytes.NewReader(c.b))
	if err != nil {
		return nil, errRows
	}
	defer r.Close()
	var out bytes.Buffer
	out.Grow(int(min(size, 1<<20)))
	n, err := io.Copy(&out, io.LimitReader(r, int64(size)+1))
	if err != nil || uint64(n) != size {
		return nil, errRows
	}
	return out.Bytes(), nil
}

// rowDecoder turns images into values. It is reused from row to row.
type rowDecoder struct {
	text []byte
	ends []int
}

// columnError is a value that cannot be decoded.
type columnError struct {
	column string
	err    error
}

func (e *columnError) Error() string { return "column " + e.column + ": " + e.err.Error() }
func (e *columnError) Unwrap() error { return e.err }

// image reads one row image: values of the columns that present has, and
// Unchanged for the rest. Everything that is text becomes slices of one string.
// json holds what the library decoded of the row's JSON columns, if there are any.
// The row is built in row's memory, as far as it reaches.
func (d *rowDecoder) image(row []change.Value, c *cursor, columns []column, present []byte, json []any) ([]change.Value, error) {
	row = slices.Grow(row[:0], len(columns))[:len(columns)]
	clear(row)
	count := 0
	for i := range columns {
		if present[i>>3]&(1<<(i&7)) != 0 {
			count++
		}
	}
	nulls := c.take((count + 7) / 8)
	if c.bad {
		return row, errRows
	}
	d.text, d.ends = d.text[:0], d.ends[:0]
	bit := 0
	for i := range columns {
		if present[i>>3]&(1<<(i&7)) == 0 {
			row[i].State = change.Unchanged
		} else {
			if nulls[bit>>3]&(1<<(bit&7)) == 0 {
				row[i].State = change.Set
				if err := d.value(c, &columns[i], json, i); err != nil {
					return row, &columnError{columns[i].name, err}
				}
			}
			bit++
		}
		d.ends = append(d.ends, len(d.text))
	}
	all, from := string(d.text), 0
	for i, end := range d.ends {
		row[i].Text = all[from:end]
		from = end
	}
	return row, nil
}

func (d *rowDecoder) value(c *cursor, col *column, json []any, i int) error {
	if col.code == proto.MYSQL_TYPE_JSON {
		return d.json(c, col, json, i)
	}
	var err error
	d.text, err = appendValue(d.text, c, col)
	if c.bad && err == nil {
		err = errRows
	}
	return err
}

// json takes the text that the library made of the value, and passes over the
// value itself.
func (d *rowDecoder) json(c *cursor, col *column, decoded []any, i int) error {
	length := int(c.little(col.length))
	c.take(length)
	if c.bad {
		return errRows
	}
	if length == 0 { // what INSERT IGNORE makes of NULL in a NOT NULL column
		d.text = append(d.text, "null"...)
		return nil
	}
	if i < len(decoded) {
		if text, ok := decoded[i].(string); ok {
			var err error
			d.text, err = appendJSON(d.text, []byte(text))
			return err
		}
	}
	return errors.New("the JSON value could not be decoded")
}
