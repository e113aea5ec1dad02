package change

import (
	"encoding/binary"
	"errors"
)

// errShort is what every decoder of this package returns for input that ends
// too early or says lengths that cannot be.
var errShort = errors.New("change: truncated or malformed record")

// AppendValues appends the compact form of a row, for row state: a uvarint
// count, then per value 0 for Null, 1 for Unchanged, or its text's length plus 2
// and the text.
func AppendValues(dst []byte, row []Value) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(row)))
	for i := range row {
		switch row[i].State {
		case Null:
			dst = append(dst, 0)
		case Unchanged:
			dst = append(dst, 1)
		default:
			dst = binary.AppendUvarint(dst, uint64(len(row[i].Text))+2)
			dst = append(dst, row[i].Text...)
		}
	}
	return dst
}

// DecodeValues reads what AppendValues wrote, appending to dst. The texts share
// one copy of b. Anything after the row is an error.
func DecodeValues(b []byte, dst []Value) ([]Value, error) {
	s := string(b)
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return dst, errShort
	}
	at := w
	for range n {
		l, w := binary.Uvarint(b[at:])
		if w <= 0 {
			return dst, errShort
		}
		at += w
		switch {
		case l == 0:
			dst = append(dst, Value{})
		case l == 1:
			dst = append(dst, Value{State: Unchanged})
		case l-2 > uint64(len(b)-at):
			return dst, errShort
		default:
			end := at + int(l-2)
			dst = append(dst, Value{Set, s[at:end]})
			at = end
		}
	}
	if at != len(b) {
		return dst, errShort
	}
	return dst, nil
}
