package mysql

import (
	"encoding/binary"
	"errors"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

var errEncoding = errors.New("the bytes are not valid in the column's character set")

// charsets are the character sets that are read, with the most bytes that a
// character has in them.
var charsets = map[string]int{
	"utf8mb4": 4, "utf8mb3": 3, "ascii": 1, "latin1": 1,
	"ucs2": 2, "utf16": 4, "utf16le": 4, "utf32": 4, "binary": 1,
}

// charsetName gives the old name of three-byte UTF-8 its new one.
func charsetName(set string) string {
	if set == "utf8" {
		return "utf8mb3"
	}
	return set
}

// appendText appends b, which is in the character set, as UTF-8.
func appendText(dst, b []byte, set string) ([]byte, error) {
	switch set {
	case "utf8mb4", "utf8mb3", "ascii":
		if !utf8.Valid(b) {
			return dst, errEncoding
		}
		return append(dst, b...), nil
	case "latin1":
		return appendLatin1(dst, b), nil
	case "ucs2", "utf16":
		return appendUTF16(dst, b, binary.BigEndian)
	case "utf16le":
		return appendUTF16(dst, b, binary.LittleEndian)
	case "utf32":
		return appendUTF32(dst, b)
	}
	return dst, errors.New("the column's character set is not known")
}

// appendLatin1 reads what the servers call latin1: Windows code page 1252, with
// its five holes as control characters.
func appendLatin1(dst, b []byte) []byte {
	for _, c := range b {
		if c < utf8.RuneSelf {
			dst = append(dst, c)
			continue
		}
		r := charmap.Windows1252.DecodeByte(c)
		if r == utf8.RuneError {
			r = rune(c)
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}

func appendUTF16(dst, b []byte, order binary.ByteOrder) ([]byte, error) {
	if len(b)%2 != 0 {
		return dst, errEncoding
	}
	for len(b) > 0 {
		r := rune(order.Uint16(b))
		b = b[2:]
		if utf16.IsSurrogate(r) {
			if len(b) < 2 {
				return dst, errEncoding
			}
			if r = utf16.DecodeRune(r, rune(order.Uint16(b))); r == utf8.RuneError {
				return dst, errEncoding
			}
			b = b[2:]
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst, nil
}

func appendUTF32(dst, b []byte) ([]byte, error) {
	if len(b)%4 != 0 {
		return dst, errEncoding
	}
	for ; len(b) > 0; b = b[4:] {
		r := binary.BigEndian.Uint32(b)
		if r > utf8.MaxRune || !utf8.ValidRune(rune(r)) {
			return dst, errEncoding
		}
		dst = utf8.AppendRune(dst, rune(r))
	}
	return dst, nil
}
