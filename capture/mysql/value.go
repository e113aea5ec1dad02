package mysql

import (
	"errors"
	"math"
	"math/bits"
	"strconv"
	"time"

	proto "github.com/go-mysql-org/go-mysql/mysql"
)

var errMember = errors.New("the value is not one of the column's members")

// appendValue appends the text of the value that c stands at.
func appendValue(dst []byte, c *cursor, col *column) ([]byte, error) {
	switch col.code {
	case proto.MYSQL_TYPE_TINY:
		return appendInteger(dst, c.little(1), 8, col.unsigned), nil
	case proto.MYSQL_TYPE_SHORT:
		return appendInteger(dst, c.little(2), 16, col.unsigned), nil
	case proto.MYSQL_TYPE_INT24:
		return appendInteger(dst, c.little(3), 24, col.unsigned), nil
	case proto.MYSQL_TYPE_LONG:
		return appendInteger(dst, c.little(4), 32, col.unsigned), nil
	case proto.MYSQL_TYPE_LONGLONG:
		return appendInteger(dst, c.little(8), 64, col.unsigned), nil
	case proto.MYSQL_TYPE_YEAR:
		if y := c.little(1); y != 0 {
			return strconv.AppendUint(dst, y+1900, 10), nil
		}
		return append(dst, '0'), nil
	case proto.MYSQL_TYPE_FLOAT:
		return appendFloat(dst, float64(math.Float32frombits(uint32(c.little(4)))), 32), nil
	case proto.MYSQL_TYPE_DOUBLE:
		return appendFloat(dst, math.Float64frombits(c.little(8)), 64), nil
	case proto.MYSQL_TYPE_NEWDECIMAL:
		return appendDecimal(dst, c, col.digits, col.scale)
	case proto.MYSQL_TYPE_BIT:
		return strconv.AppendUint(dst, c.big((col.length+7)/8), 10), nil
	case proto.MYSQL_TYPE_DATE:
		v := c.little(3)
		return appendDate(dst, v>>9, v>>5&15, v&31), nil
	case proto.MYSQL_TYPE_TIME2:
		return appendTime(dst, c, col.scale), nil
	case proto.MYSQL_TYPE_DATETIME2:
		return appendDatetime(dst, c, col.scale), nil
	case proto.MYSQL_TYPE_TIMESTAMP2:
		return appendTimestamp(dst, c, col.scale), nil
	}
	return appendBytesLike(dst, c, col)
}

// appendBytesLike is appendValue for the types that hold bytes or members.
func appendBytesLike(dst []byte, c *cursor, col *column) ([]byte, error) {
	switch col.code {
	case proto.MYSQL_TYPE_ENUM:
		n := c.little(col.length)
		if n == 0 { // what an invalid value became outside strict mode
			return dst, nil
		}
		if n > uint64(len(col.members)) {
			return dst, errMember
		}
		return append(dst, col.members[n-1]...), nil
	case proto.MYSQL_TYPE_SET:
		return appendSet(dst, c.little(col.length), col.members)
	case proto.MYSQL_TYPE_STRING, proto.MYSQL_TYPE_VARCHAR:
		size := 1
		if col.length > 255 {
			size = 2
		}
		b := c.take(int(c.little(size)))
		if col.charset != "binary" {
			return appendText(dst, b, col.charset)
		}
		dst = append(dst, b...)
		if col.code == proto.MYSQL_TYPE_STRING { // BINARY: the log leaves trailing zeros out
			for n := len(b); n < col.length; n++ {
				dst = append(dst, 0)
			}
		}
		return dst, nil
	case proto.MYSQL_TYPE_BLOB:
		b := c.take(int(c.little(col.length)))
		if col.charset != "binary" {
			return appendText(dst, b, col.charset)
		}
		return append(dst, b...), nil
	}
	return dst, errors.New("the column's type is not handled")
}

func appendInteger(dst []byte, v uint64, width int, unsigned bool) []byte {
	if unsigned {
		return strconv.AppendUint(dst, v, 10)
	}
	shift := 64 - width
	return strconv.AppendInt(dst, int64(v<<shift)>>shift, 10)
}

// appendFloat writes the shortest text that reads back equal, with an exponent
// only where the plain form would be long.
func appendFloat(dst []byte, f float64, width int) []byte {
	format := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e15) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, f, format, -1, width)
}

func appendSet(dst []byte, v uint64, members []string) ([]byte, error) {
	if bits.Len64(v) > len(members) {
		return dst, errMember
	}
	first := true
	for i, m := range members {
		if v&(1<<i) == 0 {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(dst, m...)
	}
	return dst, nil
}

// decimalBytes is how many bytes a group of so many digits takes.
var decimalBytes = [10]int{0, 1, 1, 2, 2, 3, 3, 4, 4, 4}

// appendDecimal reads the packed form: groups of nine digits in four bytes, the
// incomplete groups at both ends in fewer, the first bit the inverted sign, and
// of a negative number all bits inverted.
func appendDecimal(dst []byte, c *cursor, digits, scale int) ([]byte, error) {
	whole := digits - scale
	if whole < 0 || digits > 65 {
		return dst, errors.New("the decimal's precision is impossible")
	}
	size := whole/9*4 + decimalBytes[whole%9] + scale/9*4 + decimalBytes[scale%9]
	var buf [32]byte
	if copy(buf[:size], c.take(size)); c.bad || size == 0 {
		return dst, errRows
	}
	if buf[0]&0x80 == 0 {
		dst = append(dst, '-')
		for i := range buf[:size] {
			buf[i] = ^buf[i]
		}
	}
	buf[0] &^= 0x80
	p := cursor{b: buf[:size]}
	start := len(dst)
	dst = appendGroup(dst, p.big(decimalBytes[whole%9]), whole%9)
	for range whole / 9 {
		dst = appendGroup(dst, p.big(4), 9)
	}
	dst = stripZeros(dst, start)
	if scale == 0 {
		return dst, nil
	}
	dst = append(dst, '.')
	for range scale / 9 {
		dst = appendGroup(dst, p.big(4), 9)
	}
	return appendGroup(dst, p.big(decimalBytes[scale%9]), scale%9), nil
}

// appendGroup writes v with exactly n digits.
func appendGroup(dst []byte, v uint64, n int) []byte {
	at := len(dst)
	for range n {
		dst = append(dst, '0')
	}
	for i := at + n - 1; i >= at; i-- {
		dst[i] = byte('0' + v%10)
		v /= 10
	}
	return dst
}

// stripZeros removes the leading zeros of the digits from start on, but not the
// last digit.
func stripZeros(dst []byte, start int) []byte {
	at := start
	for at < len(dst)-1 && dst[at] == '0' {
		at++
	}
	if len(dst) == start {
		return append(dst, '0')
	}
	return append(dst[:start], dst[at:]...)
}

func appendDate(dst []byte, year, month, day uint64) []byte {
	dst = append(appendGroup(dst, year, 4), '-')
	dst = append(appendGroup(dst, month, 2), '-')
	return appendGroup(dst, day, 2)
}

func appendClock(dst []byte, hour, minute, second uint64) []byte {
	dst = append(appendGroup(dst, hour, 2), ':')
	dst = append(appendGroup(dst, minute, 2), ':')
	return appendGroup(dst, second, 2)
}

// appendFraction writes a second's fraction of so many digits.
func appendFraction(dst []byte, micros uint64, digits int) []byte {
	if digits == 0 {
		return dst
	}
	dst = append(dst, '.')
	return appendGroup(dst, micros, 6)[:len(dst)+digits]
}

// fractionMicros reads the stored fraction of a column with so many digits.
func fractionMicros(c *cursor, digits int) uint64 {
	v := c.big((digits + 1) / 2)
	for i := (digits + 1) / 2; i > 0 && i < 3; i++ {
		v *= 100
	}
	return v
}

// appendDatetime writes what is a date and time with a T between them, and what
// is not one (the zero date, a month or day of zero) as the server prints it.
func appendDatetime(dst []byte, c *cursor, digits int) []byte {
	packed := c.big(5) &^ (1 << 39)
	micros := fractionMicros(c, digits)
	date, clock := packed>>17, packed&(1<<17-1)
	year, month, day := date>>5/13, date>>5%13, date&31
	dst = appendDate(dst, year, month, day)
	if month == 0 || day == 0 {
		dst = append(dst, ' ')
	} else {
		dst = append(dst, 'T')
	}
	dst = appendClock(dst, clock>>12, clock>>6&63, clock&63)
	return appendFraction(dst, micros, digits)
}

func appendTimestamp(dst []byte, c *cursor, digits int) []byte {
	seconds := c.big(4)
	micros := fractionMicros(c, digits)
	if seconds == 0 {
		return appendFraction(append(dst, "0000-00-00 00:00:00"...), micros, digits)
	}
	t := time.Unix(int64(seconds), 0).UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	dst = append(appendDate(dst, uint64(year), uint64(month), uint64(day)), 'T')
	dst = appendClock(dst, uint64(hour), uint64(minute), uint64(second))
	return append(appendFraction(dst, micros, digits), 'Z')
}

// appendTime reads a signed number of hours, minutes, seconds and fraction,
// stored with an offset: the whole is one number in as many bytes as it takes.
func appendTime(dst []byte, c *cursor, digits int) []byte {
	size := (digits + 1) / 2
	packed := int64(c.big(3+size)) - 1<<(23+8*size)
	if packed < 0 {
		dst = append(dst, '-')
		packed = -packed
	}
	clock, fraction := uint64(packed)>>(8*size), uint64(packed)&(1<<(8*size)-1)
	for i := size; i > 0 && i < 3; i++ {
		fraction *= 100
	}
	hour := clock >> 12 & 1023
	if hour > 99 {
		dst = appendGroup(dst, hour/100, 1)
		hour %= 100
	}
	dst = appendClock(dst, hour, clock>>6&63, clock&63)
	return appendFraction(dst, fraction, digits)
}
