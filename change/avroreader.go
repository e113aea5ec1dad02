package change

import (
	"encoding/binary"
	"math"
	"strconv"
)

// avroReader walks an Avro body. After the first fault bad is set and every
// further read gives zero, so callers check once, at the end.
type avroReader struct {
	b   []byte
	at  int
	bad bool
}

func (d *avroReader) fail() {
	d.bad = true
	d.at = len(d.b)
}

func (d *avroReader) byte() byte {
	if d.at >= len(d.b) {
		d.fail()
		return 0
	}
	c := d.b[d.at]
	d.at++
	return c
}

func (d *avroReader) long() int64 {
	u, w := binary.Uvarint(d.b[d.at:])
	if w <= 0 {
		d.fail()
		return 0
	}
	d.at += w
	return int64(u>>1) ^ -int64(u&1)
}

// bytes returns a string's or bytes' content, aliasing the input.
func (d *avroReader) bytes() []byte {
	n := d.long()
	if n < 0 || n > int64(len(d.b)-d.at) {
		d.fail()
		return nil
	}
	s := d.b[d.at : d.at+int(n)]
	d.at += int(n)
	return s
}

func (d *avroReader) string() string { return string(d.bytes()) }
func (d *avroReader) skipString()    { d.bytes() }

// row reads a nullable row. All texts are gathered in one buffer and become
// slices of one string: one allocation for the texts, one for the values.
func (d *avroReader) row(s *Schema) []Value {
	switch d.long() {
	case 0:
		return nil
	case 1:
	default:
		d.fail()
		return nil
	}
	row := make([]Value, len(s.Columns))
	var fixed [512]byte
	text := fixed[:0]
	var ends [64]int
	marks := ends[:0]
	for i := range s.Columns {
		branch := d.long()
		if branch == 0 {
			marks = append(marks, len(text))
			continue
		}
		row[i].State = Set
		text = d.value(text, s.Columns[i].Type, branch)
		marks = append(marks, len(text))
	}
	if d.bad {
		return nil
	}
	all, from := string(text), 0
	for i, end := range marks {
		row[i].Text = all[from:end]
		from = end
	}
	return row
}

func (d *avroReader) value(text []byte, t Type, branch int64) []byte {
	own := t == Bool || t == Int || t == Float
	switch {
	case branch == 2 && own, branch == 1 && !own:
		return append(text, d.bytes()...)
	case branch != 1:
		d.fail()
		return text
	case t == Bool:
		return strconv.AppendBool(text, d.byte() == 1)
	case t == Int:
		return strconv.AppendInt(text, d.long(), 10)
	default:
		if len(d.b)-d.at < 8 {
			d.fail()
			return text
		}
		f := math.Float64frombits(binary.LittleEndian.Uint64(d.b[d.at:]))
		d.at += 8
		return strconv.AppendFloat(text, f, 'g', -1, 64)
	}
}

// unchanged reads a list of column indexes and marks them in row.
func (d *avroReader) unchanged(row []Value) {
	d.array(func() {
		i := d.long()
		if d.bad || i < 0 || i >= int64(len(row)) || row[i].State == Set {
			d.fail()
			return
		}
		row[i].State = Unchanged
	})
}

// array calls item for each item of an array, whatever blocks it comes in.
func (d *avroReader) array(item func()) {
	for !d.bad {
		n := d.long()
		if n == 0 || d.bad {
			return
		}
		if n < 0 { // the block's size in bytes follows
			n = -n
			d.long()
		}
		if n < 0 || n > int64(len(d.b)-d.at) {
			d.fail()
			return
		}
		for range n {
			item()
		}
	}
}
