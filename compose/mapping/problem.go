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

// didYouMean is the hint for a name that nothing has.
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

// nearest returns the known name that is most likely meant, or "".
func nearest(name string, known []string) string {
	best, bestDistance := "", len(name)/3+2
	for _, k := range known {
		d := distance(strings.ToLower(name), strings.ToLower(k))
		if lower := strings.ToLower(k); d >= bestDistance && len(name) >= 4 &&
			(strings.HasPrefix(lower, strings.ToLower(name)) || strings.HasSuffix(lower, strings.ToLower(name))) {
			d = bestDistance - 1
		}
		if d < bestDistance || d == bestDistance && best != "" && k < best {
			best, bestDistance = k, d
		}
	}
	return best
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
