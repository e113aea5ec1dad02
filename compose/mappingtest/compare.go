package mappingtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/tributary-health/tributary/compose/mapping"
)

// Failure is one thing that is wrong with a case, at a line of its file.
type Failure struct {
	File    string
	Line    int
	Section string // "Patient/emr.patients:p1", skipped, error; empty for a fault of the file
	Element string // "name[0].given[1]": the first that differs
	What    string
	Hint    string
	Diff    string // unified, its first side in lines of File; empty if there is nothing to compare
}

func (f Failure) message() string {
	s := ""
	if f.Section != "" {
		s += f.Section + ": "
	}
	if f.Element != "" {
		s += f.Element + " "
	}
	s += f.What
	if f.Hint != "" {
		s += " (" + f.Hint + ")"
	}
	return s
}

// String prints "file:line: section: element what (hint)", and below it the
// difference.
func (f Failure) String() string {
	return fmt.Sprintf("%s:%d: %s\n%s", f.File, f.Line, f.message(), f.Diff)
}

// compare holds what a case wants against what became of its rows.
func (c *testCase) compare(o *outcome) (failures []Failure) {
	got := o.sections()
	for _, want := range c.wants {
		i := slices.IndexFunc(got, func(s section) bool { return s.name == want.name })
		if i < 0 {
			failures = append(failures, c.missing(want, o))
			continue
		}
		if f, differs := c.difference(want, got[i].text); differs {
			failures = append(failures, f)
		}
	}
	for _, s := range got {
		if !slices.ContainsFunc(c.wants, func(w section) bool { return w.name == s.name }) {
			what := "is made, and the case does not want it"
			if s.name == skippedSection || s.name == errorSection {
				what = "the case does not say so"
			}
			edits := compareLines(nil, lines(s.text))
			failures = append(failures, Failure{Line: 1, Section: s.name, What: what,
				Diff: header(c.file, "composed") + unified(edits, 0, func(edit) string { return s.name })})
		}
	}
	switch {
	case len(got) == 0 && !c.nothing:
		failures = append(failures, Failure{Line: 1, What: "the rows give nothing", Hint: "if that is meant, add a section -- nothing --"})
	case c.nothing && (len(got) > 0 || len(c.wants) > 0):
		failures = append(failures, Failure{Line: 1, What: "the case says that the rows give nothing, and they do not"})
	}
	return failures
}

// missing tells why something that is wanted is not there, as far as the outcome
// shows it.
func (c *testCase) missing(want section, o *outcome) Failure {
	f := Failure{Line: want.line - 1, Section: want.name, What: "is not made"}
	switch {
	case want.name == skippedSection:
		f.What = "no row was skipped"
	case want.name == errorSection:
		f.What = "nothing failed"
	case !c.about(want.name):
		f.What = "is wanted, and only leaves its type out"
	default:
		for _, line := range o.skipped {
			if reason, ok := strings.CutPrefix(line, want.name+": "); ok {
				f.What = "is not made: the row is skipped: " + reason
				return f
			}
		}
		root, ok := o.roots[want.name]
		if !ok {
			f.What = "is not made, and no row of the case could give it"
		} else if reason := o.reasons[root]; reason != "" {
			f.What = "is not made: " + root + " cannot be composed: " + reason
			return f
		}
		var known []string
		for _, s := range o.resources {
			known = append(known, s.name)
		}
		f.Hint = mapping.DidYouMean(want.name, known)
	}
	return f
}

// difference compares one section. Wanted JSON may be laid out as one likes.
func (c *testCase) difference(want section, got string) (Failure, bool) {
	text, line := want.text, want.line
	resource := strings.Contains(want.name, "/")
	if resource {
		laidOut, err := layOut([]byte(want.text))
		if err != nil {
			return Failure{Line: want.line, Section: want.name, What: "the wanted text is no JSON: " + err.Error()}, true
		}
		if strings.TrimRight(laidOut, "\n") != strings.TrimRight(text, "\n") {
			line = 1 // its lines are not the file's
		}
		text = laidOut
	}
	a, b := lines(text), lines(got)
	if slices.Equal(a, b) {
		return Failure{}, false
	}
	edits := compareLines(a, b)
	head := func(edit) string { return want.name }
	pathsA, pathsB := paths(a), paths(b)
	if resource {
		head = func(e edit) string { return want.name + " " + elementOf(e, pathsA, pathsB) }
	}
	first := edits[slices.IndexFunc(edits, func(e edit) bool { return e.op != ' ' })]
	f := Failure{Line: want.line + first.a, Section: want.name, What: "differs", Diff: header(c.file, "composed") + unified(edits, line, head)}
	if line == 1 {
		f.Line = lineOfText(want, first.text)
	}
	if resource {
		f.Element = firstElement(text, got)
	}
	return f, true
}

// lineOfText finds a line in a section that is laid out in its own way.
func lineOfText(s section, text string) int {
	for i, l := range lines(s.text) {
		if strings.Trim(l, " ,") == strings.Trim(text, " ,") {
			return s.line + i
		}
	}
	return s.line
}

// firstElement is the path of the first scalar that two resources differ in.
func firstElement(a, b string) string {
	linesA, linesB := oneByOne(a), oneByOne(b)
	edits := compareLines(linesA, linesB)
	first := edits[slices.IndexFunc(edits, func(e edit) bool { return e.op != ' ' })]
	return elementOf(first, paths(linesA), paths(linesB))
}

// oneByOne lays JSON out with every scalar on a line of its own, and no commas,
// which would make the last of a list differ from the others.
func oneByOne(text string) []string {
	var b bytes.Buffer
	if err := json.Indent(&b, []byte(text), "", " "); err != nil {
		return lines(text)
	}
	all := lines(b.String())
	for i := range all {
		all[i] = strings.TrimSuffix(all[i], ",")
	}
	return all
}

// elementOf is the path of an edit's line.
func elementOf(e edit, a, b []string) string {
	if e.op == '+' {
		return b[e.b]
	}
	return a[e.a]
}

func header(a, b string) string { return "--- " + a + "\n+++ " + b + "\n" }

// lines are a section's lines without blank ones at its end.
func lines(text string) []string {
	text = strings.TrimRight(text, "\n")
	if text == "" {
		return nil
	}
	all := strings.Split(text, "\n")
	for i := range all {
		all[i] = strings.TrimRight(all[i], " \t")
	}
	return all
}
