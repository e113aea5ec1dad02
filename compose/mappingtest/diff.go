package mappingtest

import (
	"fmt"
	"strings"
)

// edit is one line of a comparison: ' ' in both, '-' only wanted, '+' only made.
type edit struct {
	op   byte
	text string
	a, b int // line numbers from 0 on both sides
}

// compareLines finds the longest common lines of two texts.
func compareLines(a, b []string) []edit {
	var edits []edit
	start := 0
	for start < len(a) && start < len(b) && a[start] == b[start] {
		edits = append(edits, edit{' ', a[start], start, start})
		start++
	}
	endA, endB := len(a), len(b)
	for endA > start && endB > start && a[endA-1] == b[endB-1] {
		endA, endB = endA-1, endB-1
	}
	edits = append(edits, middle(a[start:endA], b[start:endB], start)...)
	for i := range len(a) - endA {
		edits = append(edits, edit{' ', a[endA+i], endA + i, endB + i})
	}
	return edits
}

// middle compares what lies between a common beginning and a common end.
func middle(a, b []string, start int) (edits []edit) {
	longest := make([][]int, len(a)+1)
	for i := range longest {
		longest[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				longest[i][j] = longest[i+1][j+1] + 1
			} else {
				longest[i][j] = max(longest[i+1][j], longest[i][j+1])
			}
		}
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			edits = append(edits, edit{' ', a[i], start + i, start + j})
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && longest[i+1][j] >= longest[i][j+1]:
			edits = append(edits, edit{'-', a[i], start + i, start + j})
			i++
		default:
			edits = append(edits, edit{'+', b[j], start + i, start + j})
			j++
		}
	}
	return edits
}

// around is how many equal lines are shown beside those that differ.
const around = 3

// unified prints edits as a unified diff. Lines of a are numbered from lineA, the
// heading of each part comes from head, which gets the part's first edit.
func unified(edits []edit, lineA int, head func(edit) string) string {
	var out strings.Builder
	for i := 0; i < len(edits); {
		if edits[i].op == ' ' {
			i++
			continue
		}
		from, to, equal := max(i-around, 0), i, 0
		for to < len(edits) && equal <= 2*around {
			if edits[to].op == ' ' {
				equal++
			} else {
				equal = 0
			}
			to++
		}
		to -= max(equal-around, 0)
		part := edits[from:to]
		minus, plus := 0, 0
		for _, e := range part {
			if e.op != '+' {
				minus++
			}
			if e.op != '-' {
				plus++
			}
		}
		fmt.Fprintf(&out, "@@ -%d,%d +%d,%d @@ %s\n", lineA+part[0].a, minus, part[0].b+1, plus, head(edits[i]))
		for _, e := range part {
			fmt.Fprintf(&out, "%c%s\n", e.op, e.text)
		}
		i = to
	}
	return out.String()
}

// paths returns, for each line of indented JSON, the path of the element that it
// belongs to: "name[0].given[1]".
func paths(lines []string) []string {
	type level struct {
		path  string
		list  bool
		index int
	}
	var stack []level
	out := make([]string, len(lines))
	for n, line := range lines {
		t := strings.TrimSuffix(strings.TrimSpace(line), ",")
		if t == "}" || t == "]" {
			if len(stack) > 0 {
				out[n] = stack[len(stack)-1].path
				stack = stack[:len(stack)-1]
			}
			continue
		}
		path := ""
		if len(stack) > 0 {
			up := &stack[len(stack)-1]
			path = up.path
			if up.list {
				path += fmt.Sprintf("[%d]", up.index)
				up.index++
			} else if key, rest, ok := strings.Cut(t, `":`); ok {
				path = strings.TrimPrefix(path+"."+strings.TrimPrefix(key, `"`), ".")
				t = strings.TrimSpace(rest)
			}
		}
		out[n] = path
		if t == "{" || t == "[" {
			stack = append(stack, level{path: path, list: t == "["})
		}
	}
	return out
}
