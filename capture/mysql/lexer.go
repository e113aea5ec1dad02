package mysql

import (
	"bytes"
	"strings"
)

// lexer reads the words, names and signs of a statement, so far as is needed to
// tell what kind of statement it is and which tables it names.
type lexer struct{ s []byte }

// token is a word in upper case as written (name false), a quoted or unquoted
// name as written, or a single sign. The zero token is the end.
type token struct {
	word string // upper case; empty for a quoted name
	text string
}

func (l *lexer) next() token {
	l.skip()
	if len(l.s) == 0 {
		return token{}
	}
	switch c := l.s[0]; {
	case c == '`', c == '"':
		return token{text: l.quoted(c, false)}
	case c == '\'':
		return token{word: "'", text: l.quoted(c, true)}
	case wordByte(c):
		n := 1
		for n < len(l.s) && wordByte(l.s[n]) {
			n++
		}
		text := string(l.s[:n])
		l.s = l.s[n:]
		return token{word: strings.ToUpper(text), text: text}
	default:
		l.s = l.s[1:]
		return token{word: string(rune(c)), text: string(rune(c))}
	}
}

// peek returns the next token without taking it.
func (l *lexer) peek() token {
	ahead := *l
	return ahead.next()
}

// accept takes the next token if it is one of these words.
func (l *lexer) accept(words ...string) bool {
	for _, w := range words {
		if l.peek().word == w {
			l.next()
			return true
		}
	}
	return false
}

// skip passes over white space and comments; what stands in a comment that the
// server executes stays.
func (l *lexer) skip() {
	for len(l.s) > 0 {
		switch {
		case l.s[0] <= ' ':
			l.s = l.s[1:]
		case l.s[0] == '#', bytes.HasPrefix(l.s, []byte("-- ")):
			l.after("\n")
		case bytes.HasPrefix(l.s, []byte("/*!")), bytes.HasPrefix(l.s, []byte("/*M!")):
			l.after("!")
			for len(l.s) > 0 && l.s[0] >= '0' && l.s[0] <= '9' {
				l.s = l.s[1:]
			}
		case bytes.HasPrefix(l.s, []byte("/*")), bytes.HasPrefix(l.s, []byte("*/")):
			l.after("*/")
		default:
			return
		}
	}
}

func (l *lexer) after(sep string) { _, l.s, _ = bytes.Cut(l.s, []byte(sep)) }

// quoted takes a text in quotes, in which a doubled quote stands for one.
func (l *lexer) quoted(quote byte, escapes bool) string {
	var b strings.Builder
	i := 1
	for ; i < len(l.s); i++ {
		c := l.s[i]
		if escapes && c == '\\' && i+1 < len(l.s) {
			i++
			b.WriteByte(l.s[i])
			continue
		}
		if c == quote {
			if i+1 >= len(l.s) || l.s[i+1] != quote {
				i++
				break
			}
			i++
		}
		b.WriteByte(c)
	}
	l.s = l.s[min(i, len(l.s)):]
	return b.String()
}

func wordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '$' || c >= 0x80
}

// table takes a table's name, with or without its database before it.
func (l *lexer) table(database string) name {
	first := l.next().text
	if l.accept(".") {
		return name{first, l.next().text}
	}
	return name{database, first}
}
