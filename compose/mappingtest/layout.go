package mappingtest

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// width is how long a line of a resource gets before it is broken up.
const width = 130

// layOut prints JSON the way cases have it: an object or a list stands on one
// line if it fits there. Members keep their order, and scalars their spelling.
func layOut(content []byte) (string, error) {
	var b bytes.Buffer
	if err := json.Compact(&b, content); err != nil {
		return "", err
	}
	l := &layout{json: b.Bytes()}
	v := l.read()
	l.write(v, "", "", true)
	l.out.WriteByte('\n')
	return l.out.String(), nil
}

// layout reads compact JSON, which is known to be valid, and writes it anew.
type layout struct {
	json []byte
	at   int
	out  strings.Builder
}

type jsonValue struct {
	line    string // all of it on one line
	open    byte   // '{', '[' or 0
	keys    []string
	members []jsonValue
}

func (l *layout) read() jsonValue {
	switch c := l.json[l.at]; c {
	case '{', '[':
		return l.container(c)
	}
	start := l.at
	if l.json[l.at] == '"' {
		for l.at++; l.json[l.at] != '"'; l.at++ {
			if l.json[l.at] == '\\' {
				l.at++
			}
		}
		l.at++
	} else {
		for l.at < len(l.json) && !bytes.ContainsRune([]byte(",]}"), rune(l.json[l.at])) {
			l.at++
		}
	}
	return jsonValue{line: string(l.json[start:l.at])}
}

func (l *layout) container(open byte) jsonValue {
	v := jsonValue{open: open}
	var b strings.Builder
	b.WriteByte(open)
	l.at++
	for l.json[l.at] != open+2 { // } and ] stand two after { and [
		if l.json[l.at] == ',' {
			l.at++
			b.WriteString(", ")
		}
		if open == '{' {
			key := l.read().line
			l.at++
			v.keys = append(v.keys, key)
			b.WriteString(key + ": ")
		}
		m := l.read()
		v.members = append(v.members, m)
		b.WriteString(m.line)
	}
	l.at++
	b.WriteByte(open + 2)
	v.line = b.String()
	return v
}

// write prints a value behind what stands before it on its line.
func (l *layout) write(v jsonValue, indent, before string, top bool) {
	if len(v.members) == 0 || !top && utf8.RuneCountInString(indent+before+v.line) < width {
		l.out.WriteString(indent + before + v.line)
		return
	}
	l.out.WriteString(indent + before + string(v.open) + "\n")
	for i, m := range v.members {
		key := ""
		if v.open == '{' {
			key = v.keys[i] + ": "
		}
		l.write(m, indent+"  ", key, false)
		if i < len(v.members)-1 {
			l.out.WriteByte(',')
		}
		l.out.WriteByte('\n')
	}
	l.out.WriteString(indent + string(v.open+2))
}
