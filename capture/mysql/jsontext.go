package mysql

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

var errJSON = errors.New("the JSON text is not valid")

// appendJSON appends a JSON text without white space between its parts, strings
// with as few escapes as may be, and doubles in one form. MySQL's own text and
// the one the library makes of MySQL's binary form differ in these alone; a
// DECIMAL within keeps its digits, unless it is nearer to zero than 0.0001.
func appendJSON(dst, src []byte) ([]byte, error) {
	for len(src) > 0 {
		switch c := src[0]; {
		case c == ' ', c == '\n', c == '\t', c == '\r':
			src = src[1:]
		case c == '"':
			n := stringLength(src)
			var s string
			if n == 0 || json.Unmarshal(src[:n], &s) != nil {
				return dst, errJSON
			}
			dst = appendJSONString(dst, s)
			src = src[n:]
		case c == '-', c >= '0' && c <= '9':
			n := 1
			for n < len(src) && strings.IndexByte("0123456789+-.eE", src[n]) >= 0 {
				n++
			}
			dst = appendJSONNumber(dst, string(src[:n]))
			src = src[n:]
		default:
			dst = append(dst, c)
			src = src[1:]
		}
	}
	return dst, nil
}

// stringLength is how many bytes the string at the beginning takes; 0 if it does
// not end.
func stringLength(src []byte) int {
	for i := 1; i < len(src); i++ {
		switch src[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

func appendJSONString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"', r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < ' ':
			const hex = "0123456789abcdef"
			dst = append(dst, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}

func appendJSONNumber(dst []byte, text string) []byte {
	exponent := strings.ContainsAny(text, "eE")
	f, err := strconv.ParseFloat(text, 64)
	a := math.Abs(f)
	double := exponent || a >= 1e15 && strings.HasSuffix(text, ".0") || a < 1e-4 && f != 0
	if err != nil || !double {
		return append(dst, text...)
	}
	start := len(dst)
	dst = appendFloat(dst, f, 64)
	if !strings.ContainsAny(string(dst[start:]), ".e") {
		dst = append(dst, ".0"...)
	}
	return dst
}
