package mappingtest

import "strings"

// section is one part of a case file: what stands between two lines "-- name --".
type section struct {
	name string
	line int // of its first line of text, from 1
	text string
}

// sections splits a case file (the txtar form). The first section has no name:
// it is the story that the case tells.
func sections(text string) []section {
	all := []section{{line: 1}}
	line := 0
	for l := range strings.Lines(strings.ReplaceAll(text, "\r\n", "\n")) {
		line++
		if name, ok := marker(l); ok {
			all = append(all, section{name: name, line: line + 1})
			continue
		}
		last := &all[len(all)-1]
		last.text += l
	}
	return all
}

// marker returns the name in a line "-- name --".
func marker(line string) (name string, ok bool) {
	line = strings.TrimRight(line, " \t\n")
	if !strings.HasPrefix(line, "-- ") || !strings.HasSuffix(line, " --") || len(line) < len("-- x --") {
		return "", false
	}
	name = strings.TrimSpace(line[3 : len(line)-3])
	return name, name != ""
}

// content is a section's text without blank lines and comments, which begin
// with #, by line.
func (s section) content(fn func(line int, text string)) {
	n := s.line
	for l := range strings.Lines(s.text) {
		if t := strings.TrimRight(l, " \t\n"); strings.TrimSpace(t) != "" && !strings.HasPrefix(strings.TrimSpace(t), "#") {
			fn(n, t)
		}
		n++
	}
}
