package mysql

import (
	"bytes"
	"strconv"
	"unicode/utf8"

	proto "github.com/go-mysql-org/go-mysql/mysql"
)

// selectList names the columns for a SELECT whose texts appendSelected reads.
// Floats are asked for as plain doubles: the text of a FLOAT has only six digits,
// that of a DOUBLE(10,2) only two after the point, whatever is stored.
func selectList(columns []column) string {
	var b bytes.Buffer
	for i := range columns {
		if i > 0 {
			b.WriteString(", ")
		}
		if code := columns[i].code; code == proto.MYSQL_TYPE_FLOAT || code == proto.MYSQL_TYPE_DOUBLE {
			b.WriteString("CAST(" + quote(columns[i].name) + " AS DOUBLE)")
		} else {
			b.WriteString(quote(columns[i].name))
		}
	}
	return b.String()
}

// appendSelected appends the text that appendValue gives for the same value, of
// what a SELECT over the text protocol returned, in UTF-8 and UTC.
func appendSelected(dst, b []byte, col *column) ([]byte, error) {
	switch col.code {
	case proto.MYSQL_TYPE_TINY, proto.MYSQL_TYPE_SHORT, proto.MYSQL_TYPE_INT24,
		proto.MYSQL_TYPE_LONG, proto.MYSQL_TYPE_LONGLONG, proto.MYSQL_TYPE_YEAR, proto.MYSQL_TYPE_NEWDECIMAL:
		return appendUnpadded(dst, b), nil
	case proto.MYSQL_TYPE_FLOAT, proto.MYSQL_TYPE_DOUBLE:
		width := 64
		if col.code == proto.MYSQL_TYPE_FLOAT {
			width = 32
		}
		f, err := strconv.ParseFloat(string(b), width)
		if err != nil {
			return dst, err.(*strconv.NumError).Err
		}
		return appendFloat(dst, f, width), nil
	case proto.MYSQL_TYPE_BIT:
		c := cursor{b: b}
		return strconv.AppendUint(dst, c.big(len(b)), 10), nil
	case proto.MYSQL_TYPE_JSON:
		return appendJSON(dst, b)
	case proto.MYSQL_TYPE_DATETIME2:
		return appendMoment(dst, b, ""), nil
	case proto.MYSQL_TYPE_TIMESTAMP2:
		return appendMoment(dst, b, "Z"), nil
	case proto.MYSQL_TYPE_STRING, proto.MYSQL_TYPE_VARCHAR, proto.MYSQL_TYPE_BLOB:
		if col.charset != "binary" && !utf8.Valid(b) {
			return dst, errEncoding
		}
	}
	return append(dst, b...), nil
}

// appendUnpadded leaves out the zeros that ZEROFILL puts in front.
func appendUnpadded(dst, b []byte) []byte {
	if len(b) > 0 && b[0] == '-' {
		dst, b = append(dst, '-'), b[1:]
	}
	for len(b) > 1 && b[0] == '0' && b[1] >= '0' && b[1] <= '9' {
		b = b[1:]
	}
	return append(dst, b...)
}

// appendMoment puts a T between date and time, and the zone behind, unless it is
// no date: a month or day of zero.
func appendMoment(dst, b []byte, zone string) []byte {
	if len(b) < 19 || string(b[5:7]) == "00" || string(b[8:10]) == "00" {
		return append(dst, b...)
	}
	dst = append(dst, b[:10]...)
	dst = append(dst, 'T')
	dst = append(dst, b[11:]...)
	return append(dst, zone...)
}
