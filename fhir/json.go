package fhir

import (
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds how deep JSON text may nest; FHIR's own resources stay far
// below it.
const maxDepth = 512

// SyntaxError says where JSON text is malformed. It never quotes the text.
type SyntaxError struct {
	Offset int
}

// Error names the place and what is wrong there, and quotes nothing.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("fhir: malformed JSON at byte %d", e.Offset)
}

// ValidJSON reports whether text is one well-formed JSON value, nested no deeper
// than 512.
func ValidJSON(text []byte) bool {
	end, ok := skipValue(text, skipBlanks(text, 0), 0)
	return ok && skipBlanks(text, end) == len(text)
}

// EachMember calls fn for each member of the JSON object, in order, repeats
// included, until fn returns false. name is unescaped; value is the member's raw
// text. Both alias object unless the name has an escape. Text behind the point
// where fn stops is not looked at.
func EachMember(object []byte, fn func(name, value []byte) bool) error {
	return eachMember(object, func(name []byte, start, end int) bool {
		return fn(name, object[start:end:end])
	})
}

// eachMember is EachMember that tells where each value lies.
func eachMember(object []byte, fn func(name []byte, start, end int) bool) error {
	i := skipBlanks(object, 0)
	if i >= len(object) || object[i] != '{' {
		return &SyntaxError{i}
	}
	if i = skipBlanks(object, i+1); i < len(object) && object[i] == '}' {
		return nil
	}
	for {
		if i >= len(object) || object[i] != '"' {
			return &SyntaxError{i}
		}
		end, ok := skipString(object, i)
		if !ok {
			return &SyntaxError{end}
		}
		name := memberName(object[i:end])
		if i = skipBlanks(object, end); i >= len(object) || object[i] != ':' {
			return &SyntaxError{i}
		}
		i = skipBlanks(object, i+1)
		if end, ok = skipValue(object, i, 1); !ok {
			return &SyntaxError{end}
		}
		if !fn(name, i, end) {
			return nil
		}
		i = skipBlanks(object, end)
		if i < len(object) && object[i] == '}' {
			return nil
		}
		if i >= len(object) || object[i] != ',' {
			return &SyntaxError{i}
		}
		i = skipBlanks(object, i+1)
	}
}

// EachItem calls fn for the raw text of each item of the JSON array, in order,
// until fn returns false.
func EachItem(array []byte, fn func(value []byte) bool) error {
	i := skipBlanks(array, 0)
	if i >= len(array) || array[i] != '[' {
		return &SyntaxError{i}
	}
	if i = skipBlanks(array, i+1); i < len(array) && array[i] == ']' {
		return nil
	}
	for {
		end, ok := skipValue(array, i, 1)
		if !ok {
			return &SyntaxError{end}
		}
		if !fn(array[i:end:end]) {
			return nil
		}
		i = skipBlanks(array, end)
		if i < len(array) && array[i] == ']' {
			return nil
		}
		if i >= len(array) || array[i] != ',' {
			return &SyntaxError{i}
		}
		i = skipBlanks(array, i+1)
	}
}

// Member returns the raw text of the object's first member of that name, or nil
// if there is none or the text before it is malformed.
func Member(object []byte, name string) []byte {
	var found []byte
	_ = EachMember(object, func(n, v []byte) bool {
		if string(n) == name {
			found = v
		}
		return found == nil
	})
	return found
}

// Text returns the text of a JSON string; ok is false for any other value.
func Text(value []byte) (text string, ok bool) {
	b, ok := appendText(nil, value)
	return string(b), ok
}

// memberName unquotes a string token whose extent is known.
func memberName(token []byte) []byte {
	for _, c := range token {
		if c == '\\' {
			name, _ := appendText(nil, token)
			return name
		}
	}
	return token[1 : len(token)-1]
}

// appendText appends the unescaped text of a JSON string. A lone surrogate
// becomes U+FFFD, as everywhere in Go.
func appendText(dst, value []byte) ([]byte, bool) {
	if len(value) == 0 || value[0] != '"' {
		return dst, false
	}
	end, ok := skipString(value, 0)
	if !ok || end != len(value) {
		return dst, false
	}
	s := value[1 : end-1]
	for i := 0; i < len(s); {
		if s[i] != '\\' {
			dst = append(dst, s[i])
			i++
			continue
		}
		switch c := s[i+1]; c {
		case 'u':
			r := hex4(s[i+2:])
			i += 6
			if utf16.IsSurrogate(r) {
				low := utf8.RuneError
				if i+6 <= len(s) && s[i] == '\\' && s[i+1] == 'u' {
					low = utf16.DecodeRune(r, hex4(s[i+2:]))
				}
				if r = low; low != utf8.RuneError {
					i += 6
				}
			}
			dst = utf8.AppendRune(dst, r)
			continue
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		default:
			dst = append(dst, c)
		}
		i += 2
	}
	return dst, true
}

func hex4(s []byte) rune {
	var r rune
	for _, c := range s[:4] {
		switch {
		case c <= '9':
			c -= '0'
		default:
			c = c&^0x20 - 'A' + 10
		}
		r = r<<4 | rune(c)
	}
	return r
}
