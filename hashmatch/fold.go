package hashmatch

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// undecomposed are letters that Unicode does not take apart, as they are written
// where only A to Z can be.
var undecomposed = map[rune]string{
	'Æ': "AE", 'Œ': "OE", 'Ø': "O", 'Ð': "D", 'Đ': "D", 'Þ': "TH", 'ẞ': "SS", 'ß': "SS", 'Ł': "L",
	'Ħ': "H", 'Ŧ': "T", 'Ŋ': "N", 'Ɨ': "I", 'Ʉ': "U", 'Ƀ': "B", 'Ǝ': "E", 'Ə': "E", 'Ɩ': "I",
	'ĸ': "K", 'ı': "I",
}

// apostrophe reports the marks that are left out inside a name. Some of them
// decompose into a space, so they go first.
func apostrophe(r rune) bool {
	switch r {
	case '\'', '`', '´', '‘', '’', '‛', 'ʹ', 'ʻ', 'ʼ', 'ʽ', 'ʾ', 'ʿ', '′', '＇':
		return true
	}
	return false
}

// upper is s without apostrophes, in upper case, decomposed (NFKD), without
// marks, and with what does not decompose spelled out. A letter outside A to Z
// that is left stays as it is.
func upper(s string) string {
	if plain(s) {
		return strings.ToUpper(s)
	}
	var b strings.Builder
	for _, r := range norm.NFKD.String(strings.ToUpper(dropApostrophes(s))) {
		r = unicode.ToUpper(r)
		switch spelled, ok := undecomposed[r]; {
		case ok:
			b.WriteString(spelled)
		case unicode.Is(unicode.M, r), apostrophe(r):
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func dropApostrophes(s string) string {
	return strings.Map(func(r rune) rune {
		if apostrophe(r) {
			return -1
		}
		return r
	}, s)
}

// plain reports that s is ASCII without apostrophes: nearly every value.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 || s[i] == '\'' || s[i] == '`' {
			return false
		}
	}
	return true
}

// words are the runs of letters and digits of upper(s).
func words(s string) []string {
	return strings.FieldsFunc(upper(s), func(r rune) bool { return !unicode.IsLetter(r) && !isDigit(r) })
}

func isDigit(r rune) bool { return r >= '0' && r <= '9' }

// digits are the digits of s, in order.
func digits(s string) string {
	return strings.Map(func(r rune) rune {
		if isDigit(r) {
			return r
		}
		return -1
	}, s)
}

func withoutDigits(s string) string {
	return strings.Map(func(r rune) rune {
		if isDigit(r) {
			return -1
		}
		return r
	}, s)
}

// same reports that s is one character again and again.
func same(s string) bool {
	_, size := utf8.DecodeRuneInString(s)
	return s != "" && strings.Count(s, s[:size])*size == len(s)
}
