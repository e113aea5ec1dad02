package mapping

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tributary-health/tributary/fhir"
)

// primitive is how a FHIR primitive is written and checked.
type primitive uint8

const (
	noPrimitive primitive = iota
	stringType
	codeType
	idType
	uriType
	xhtmlType
	base64Type
	dateType
	dateTimeType
	instantType
	timeType
	booleanType
	decimalType
	integerType
	unsignedIntType
	positiveIntType
)

var primitives = map[string]primitive{
	"string": stringType, "markdown": stringType, "code": codeType, "id": idType,
	"uri": uriType, "url": uriType, "canonical": uriType, "oid": uriType, "uuid": uriType,
	"xhtml": xhtmlType, "base64Binary": base64Type, "date": dateType, "dateTime": dateTimeType,
	"instant": instantType, "time": timeType, "boolean": booleanType, "decimal": decimalType,
	"integer": integerType, "unsignedInt": unsignedIntType, "positiveInt": positiveIntType,
}

func primitiveOf(e fhir.Element) primitive {
	if e.Kind != fhir.Primitive {
		return noPrimitive
	}
	return primitives[e.Type]
}

// bare reports whether the type is a JSON number or boolean.
func (p primitive) bare() bool { return p >= booleanType }

// check reports why the text is no value of the type; "" if it is one.
func (p primitive) check(text string) string {
	ok, want := true, ""
	switch p {
	case codeType:
		ok, want = validCode(text), "a code: no blanks at its ends, no two in a row"
	case idType:
		ok, want = validID(text), "an id: letters, digits, - and ., at most 64"
	case uriType:
		ok, want = !strings.ContainsAny(text, " \t\r\n"), "a URI: no blanks"
	case xhtmlType:
		ok, want = strings.HasPrefix(text, "<div"), "a narrative: XHTML that begins with <div"
	case dateType:
		ok, want = validDate(text), "a date: YYYY, YYYY-MM or YYYY-MM-DD"
	case dateTimeType:
		ok, want = validDateTime(text, false), "a dateTime: a date, or a day with time and zone"
	case instantType:
		ok, want = len(text) > 10 && validDateTime(text, false), "an instant: a day with time and zone"
	case timeType:
		ok, want = validClock(text), "a time: hh:mm:ss"
	case booleanType:
		ok, want = text == "true" || text == "false", "a boolean: true or false"
	case decimalType:
		ok, want = validNumber(text), "a decimal number"
	case integerType:
		ok, want = validInteger(text, -1<<31), "a whole number of 32 bits"
	case unsignedIntType:
		ok, want = validInteger(text, 0), "a whole number from 0 to 2147483647"
	case positiveIntType:
		ok, want = validInteger(text, 1), "a whole number from 1 to 2147483647"
	}
	if ok {
		return ""
	}
	return want
}

func blank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func validCode(s string) bool {
	for i := range len(s) {
		if blank(s[i]) && (i == 0 || i == len(s)-1 || blank(s[i-1])) {
			return false
		}
	}
	return true
}

func validID(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 64
}

func validInteger(s string, least int64) bool {
	n, err := strconv.ParseInt(s, 10, 32)
	return err == nil && n >= least && validNumber(s)
}

// validNumber reports whether the text is a JSON number.
func validNumber(s string) bool {
	s = strings.TrimPrefix(s, "-")
	whole := digitsIn(s)
	if whole == 0 || whole > 1 && s[0] == '0' {
		return false
	}
	s = s[whole:]
	if strings.HasPrefix(s, ".") {
		n := digitsIn(s[1:])
		if n == 0 {
			return false
		}
		s = s[1+n:]
	}
	if s != "" && (s[0] == 'e' || s[0] == 'E') {
		s = s[1:]
		if s != "" && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		n := digitsIn(s)
		return n > 0 && n == len(s)
	}
	return s == ""
}

func digitsIn(s string) int {
	n := 0
	for n < len(s) && s[n]-'0' <= 9 {
		n++
	}
	return n
}

// empty reports whether a text is one that FHIR does not have: none at all, or
// nothing but blanks.
func empty(s string) bool {
	for i := range len(s) {
		if !blank(s[i]) {
			return strings.TrimSpace(s[i:]) == ""
		}
	}
	return true
}

const hexDigits = "0123456789abcdef"

// appendString appends the text as a JSON string. Only what JSON demands is
// escaped. ok is false if the text is not UTF-8.
func appendString(dst []byte, s string) (out []byte, ok bool) {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				return dst, false
			}
			i += n
			continue
		}
		if c >= 0x20 && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[from:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		from = i
	}
	return append(append(dst, s[from:]...), '"'), true
}
