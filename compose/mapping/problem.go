package mapping

import (
	"cmp"
	"slices"
	"strings"
)

// problems collects faults; the zero value is ready for use.
type problems struct {
	list []Problem
}

func (ps *problems) add(p Problem) { ps.list = append(ps.list, p) }

// sorted returns the problems by place, each once.
func (ps *problems) sorted() []Problem {
	slices.SortStableFunc(ps.list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.What, b.What))
	})
	return slices.Compact(ps.list)
}

// DidYouMean is the hint for a name that nothing has: the known name that was
// most likely meant, or all of them if they are few, or nothing.
func DidYouMean(name string, known []string) string { return didYouMean(name, known) }

func didYouMean(name string, known []string) string {
	if best := nearest(name, known); best != "" {
		return "did you mean " + quote(best) + "?"
	}
	if len(known) > 0 && len(known) <= 8 {
		known = slices.Clone(known)
		slices.Sort(known)
		return "one of " + strings.Join(known, ", ")
	}
	return ""
}

func quote(s string) string { return `"` + s + `"` }

// nearest returns the known name that is most likely meant, or "": the one with
// the fewest slips, else the shortest that has the name as a part of it. Of equal
// ones it is the first by name.
func nearest(name string, known []string) string {
	best, fewest := "", 0
	for _, k := range known {
		n, ok := slips(strings.ToLower(name), strings.ToLower(k))
		if !ok && extends(name, k) {
			n, ok = 1000+len(k), true
		}
		if ok && (best == "" || n < fewest || n == fewest && k < best) {
			best, fewest = k, n
		}
	}
	return best
}

// slips counts the differences between two names part by part, where parts are
// what points and blanks separate: that two tables are of one source makes their
// names no more alike. ok is false if a part differs too much to be meant.
func slips(name, known string) (n int, ok bool) {
	separator := func(r rune) bool { return r == '.' || r == ' ' }
	a, b := strings.FieldsFunc(name, separator), strings.FieldsFunc(known, separator)
	if len(a) != len(b) || len(a) == 0 {
		if len(a) == 1 && len(b) == 2 && a[0] == b[1] { // the table without its source
			return 1, true
		}
		return 0, false
	}
	for i := range a {
		d := distance(a[i], b[i])
		if d > tolerated(a[i]) {
			if len(a) != 2 || i != 0 || a[1] != b[1] { // but the right table of a wrong source
				return 0, false
			}
			d = tolerated(a[i])
		}
		n += d
	}
	return n, true
}

// tolerated is how many slips a word of its length may have.
func tolerated(word string) int {
	switch n := len(word); {
	case n <= 2:
		return 0
	case n <= 5:
		return 1
	case n <= 8:
		return 2
	default:
		return n / 3
	}
}

// extends reports whether known is the name and more: start, start_date;
// medication, medicationReference; id, patientId. Where nothing marks the end of
// a word, the name must be most of it: patient, patientid.
func extends(name, known string) bool {
	if len(name) < 3 || len(known) <= len(name) {
		return false
	}
	if rest, ok := strings.CutPrefix(known, name); ok {
		return rest[0] == '_' || rest[0] >= 'A' && rest[0] <= 'Z' || 3*len(name) >= 2*len(known)
	}
	rest, ok := strings.CutSuffix(strings.ToLower(known), strings.ToLower(name))
	if !ok {
		return false
	}
	first := known[len(rest)]
	return rest[len(rest)-1] == '_' || first >= 'A' && first <= 'Z' && (name[0] < 'A' || name[0] > 'Z') || 3*len(name) >= 2*len(known)
}

// distance is the number of insertions, deletions, replacements and swaps of
// neighbours that make b from a.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(last[j]+1, next[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, last = last, next
	}
	return last[len(b)]
}
