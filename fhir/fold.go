package fhir

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Fold returns text as string search compares it: lower case, without accents
// and other combining marks, runs of blanks made one. Latin letters that only
// look like an accented one, or like two, become those.
func Fold(text string) string {
	if folded, ok := foldASCII(text); ok {
		return folded
	}
	var b strings.Builder
	blank := false
	for _, r := range norm.NFKD.String(text) {
		switch {
		case unicode.Is(unicode.Mn, r):
		case unicode.IsSpace(r):
			blank = b.Len() > 0
		default:
			if blank {
				b.WriteByte(' ')
				blank = false
			}
			r = unicode.ToLower(r)
			if plain, ok := plainLetters[r]; ok {
				b.WriteString(plain)
				continue
			}
			b.WriteRune(r)
		}
	}
	return b.String()
}

var plainLetters = map[rune]string{
	'ß': "ss", 'æ': "ae", 'œ': "oe", 'ø': "o", 'ł': "l", 'đ': "d", 'ð': "d", 'þ': "th", 'ı': "i",
}

func foldASCII(text string) (string, bool) {
	lower := make([]byte, 0, len(text))
	blank := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c >= utf8.RuneSelf {
			return "", false
		}
		if c == ' ' || '\t' <= c && c <= '\r' {
			blank = len(lower) > 0
			continue
		}
		if blank {
			lower, blank = append(lower, ' '), false
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower = append(lower, c)
	}
	return string(lower), true
}
