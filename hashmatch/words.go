package hashmatch

import (
	"embed"
	"fmt"
	"strings"
)

// The reviewed word lists are part of the version: a changed list is another
// [Version].
//
//go:embed data/*.txt
var data embed.FS

var (
	nicknames    = readList("data/nicknames.txt")
	placeholders = readList("data/placeholders.txt")
	streetWords  = readList("data/streets.txt")
)

// readList reads lines of the form "KEY: WORD WORD"; # begins a comment. The
// lists are built in, so a broken one is a broken program.
func readList(file string) map[string][]string {
	text, err := data.ReadFile(file)
	if err != nil {
		panic(err)
	}
	list := map[string][]string{}
	for n, line := range strings.Split(string(text), "\n") {
		line, _, _ = strings.Cut(line, "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		key, rest, ok := strings.Cut(line, ":")
		key = strings.TrimSpace(key)
		if _, twice := list[key]; !ok || twice {
			panic(fmt.Sprintf("%s:%d: not of the form KEY: WORD WORD, or a key twice", file, n+1))
		}
		list[key] = strings.Fields(rest)
	}
	return list
}

// inverted maps each word of a list to its key.
func inverted(list map[string][]string) map[string]string {
	keys := map[string]string{}
	for key, all := range list {
		for _, w := range all {
			keys[w] = key
		}
	}
	return keys
}

func set(all []string) map[string]bool {
	s := map[string]bool{}
	for _, w := range all {
		s[w] = true
	}
	return s
}
