package change

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"time"
)

// AppendAvro appends the event's Avro body in the schema ev.Schema.AvroSchema(),
// without a frame. Every text comes back as it was: where a number's own form
// would not give the same text again, the text itself is written.
func AppendAvro(dst []byte, ev *Event) []byte {
	dst = appendRow(dst, ev.Schema, ev.Before)
	dst = appendRow(dst, ev.Schema, ev.After)
	dst = appendString(dst, "tributary")
	dst = appendString(dst, ev.Schema.Table.Source)
	dst = appendString(dst, ev.Schema.Table.Name)
	dst = append(dst, boolByte(ev.Op == Read))
	micros := ev.Committed.UnixMicro()
	dst = appendLong(dst, micros)
	dst = appendLong(dst, int64(int32(ev.Position.Generation)))
	dst = appendLong(dst, int64(ev.Position.Ordinal))
	dst = appendLong(dst, int64(ev.Position.Sequence))
	dst = appendLong(dst, int64(ev.Incarnation))
	dst = append(dst, 2, byte(ev.Op)) // a string of one byte
	dst = appendLong(dst, micros/1000)
	dst = appendUnchanged(dst, ev.Before)
	return appendUnchanged(dst, ev.After)
}

// DecodeAvro reads what AppendAvro wrote with the schema s into ev, replacing all
// of it. ev keeps no part of b.
func DecodeAvro(b []byte, s *Schema, ev *Event) error {
	d := avroReader{b: b}
	*ev = Event{Schema: s}
	ev.Before = d.row(s)
	ev.After = d.row(s)
	d.skipString()
	d.skipString()
	d.skipString()
	d.byte()
	ev.Committed = time.UnixMicro(d.long()).UTC()
	ev.Position.Generation = uint32(d.long())
	ev.Position.Ordinal = uint64(d.long())
	ev.Position.Sequence = uint64(d.long())
	ev.Incarnation = Incarnation(d.long())
	if op := d.bytes(); len(op) == 1 {
		ev.Op = Op(op[0])
	} else {
		d.fail()
	}
	d.long()
	d.unchanged(ev.Before)
	d.unchanged(ev.After)
	if d.bad || len(d.b) != d.at {
		return fmt.Errorf("table %s: %w", s.Table, errShort)
	}
	return nil
}

func appendRow(dst []byte, s *Schema, row []Value) []byte {
	if row == nil {
		return append(dst, 0)
	}
	dst = append(dst, 2)
	for i := range s.Columns {
		var v Value
		if i < len(row) {
			v = row[i]
		}
		if v.State != Set {
			dst = append(dst, 0)
			continue
		}
		dst = appendValue(dst, s.Columns[i].Type, v.Text)
	}
	return dst
}

func appendValue(dst []byte, t Type, text string) []byte {
	switch t {
	case Bool:
		if text == "true" || text == "false" {
			return append(dst, 2, boolByte(text == "true"))
		}
	case Int:
		if n, ok := canonicalInt(text); ok {
			return appendLong(append(dst, 2), n)
		}
	case Float:
		if f, ok := canonicalFloat(text); ok {
			return binary.LittleEndian.AppendUint64(append(dst, 2), math.Float64bits(f))
		}
	default:
		return appendString(append(dst, 2), text)
	}
	return appendString(append(dst, 4), text)
}

// canonicalInt parses text if formatting the number gives text again.
func canonicalInt(text string) (int64, bool) {
	digits := text
	if len(digits) > 0 && digits[0] == '-' {
		digits = digits[1:]
	}
	if len(digits) == 0 || len(digits) > 19 || digits[0] == '0' && text != "0" {
		return 0, false
	}
	if len(digits) == 19 { // may overflow
		n, err := strconv.ParseInt(text, 10, 64)
		return n, err == nil
	}
	var n int64
	for i := 0; i < len(digits); i++ {
		c := digits[i] - '0'
		if c > 9 {
			return 0, false
		}
		n = n*10 + int64(c)
	}
	if len(digits) != len(text) {
		n = -n
	}
	return n, true
}

func canonicalFloat(text string) (float64, bool) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(f) {
		return 0, false
	}
	var buf [32]byte
	return f, string(strconv.AppendFloat(buf[:0], f, 'g', -1, 64)) == text
}

func appendUnchanged(dst []byte, row []Value) []byte {
	n := 0
	for i := range row {
		if row[i].State == Unchanged {
			n++
		}
	}
	if n == 0 {
		return append(dst, 0)
	}
	dst = appendLong(dst, int64(n))
	for i := range row {
		if row[i].State == Unchanged {
			dst = appendLong(dst, int64(i))
		}
	}
	return append(dst, 0)
}

func appendLong(dst []byte, n int64) []byte {
	return binary.AppendUvarint(dst, uint64(n)<<1^uint64(n>>63))
}

func appendString(dst []byte, s string) []byte {
	return append(appendLong(dst, int64(len(s))), s...)
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}
