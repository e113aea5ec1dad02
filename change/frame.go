package change

import (
	"encoding/binary"
	"errors"
)

// AppendFrame appends the Confluent wire format's frame: a zero byte and the
// schema's id, four bytes, big endian.
func AppendFrame(dst []byte, id uint32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, 0), id)
}

// CutFrame splits a framed record into schema id and body; body aliases b.
func CutFrame(b []byte) (id uint32, body []byte, err error) {
	if len(b) < 5 || b[0] != 0 {
		return 0, nil, errors.New("change: record has no Confluent frame")
	}
	return binary.BigEndian.Uint32(b[1:5]), b[5:], nil
}
