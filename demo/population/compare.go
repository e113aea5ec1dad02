package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// A report collects what the comparison finds.
type report struct {
	known  []*deviation
	show   int
	table  []line
	faults map[string]*fault // by type, path and kind
}

// A line is one type's row of the table.
type line struct {
	typ                                string
	rows, resources, unmatched         int // unmatched: keys whose counts of rows and resources differ
	export, compared, equal, different int // different: with an undocumented difference
	documented                         int // equal but for documented ones
}

// A fault is an undocumented difference.
type fault struct {
	count    int
	examples []string
}

func newReport(known []*deviation, show int) *report {
	return &report{known: known, show: show, faults: map[string]*fault{}}
}

func (r *report) fault(typ, path, what, example string) {
	name := typ + "\t" + path + "\t" + what
	f := r.faults[name]
	if f == nil {
		f = &fault{}
		r.faults[name] = f
	}
	if f.count++; len(f.examples) < r.show {
		f.examples = append(f.examples, example)
	}
}

// compare compares one kind.
func (r *report) compare(k kind, files map[string][]row, ours, theirs *side) {
	l := line{typ: k.typ}
	count, said := map[string]int{}, map[string][]*record{}
	for _, name := range k.files {
		for _, row := range files[name] {
			if k.only != nil && !k.only(row) {
				continue
			}
			key := k.key(row)
			l.rows++
			count[key]++
			if k.facts != nil {
				said[key] = append(said[key], &record{typ: k.typ, facts: k.facts(row)})
			}
		}
	}
	mine, exported := map[string][]*record{}, said
	for _, o := range ours.records[k.typ] {
		if o.first("order") == "2" && k.typ == "Coverage" {
			continue // a second payer: one more of the same row
		}
		l.resources++
		mine[k.of(o, true)] = append(mine[k.of(o, true)], o)
	}
	if k.facts == nil {
		exported = map[string][]*record{}
		for _, t := range theirs.records[k.typ] {
			exported[k.of(t, false)] = append(exported[k.of(t, false)], t)
		}
	}
	for _, all := range exported {
		l.export += len(all)
	}
	for key := range keys(count, mine) {
		if count[key] != len(mine[key]) {
			l.unmatched++
			r.fault(k.typ, "(count)", "rows and resources", fmt.Sprintf("%s: %d rows, %d resources", key, count[key], len(mine[key])))
		}
	}
	for key := range keys(mine, exported) {
		r.match(&l, key, mine[key], exported[key])
	}
	r.table = append(r.table, l)
}

// keys are those of both.
func keys[A, B any](a map[string]A, b map[string]B) map[string]bool {
	all := map[string]bool{}
	for key := range a {
		all[key] = true
	}
	for key := range b {
		all[key] = true
	}
	return all
}

// match pairs the resources of one key, the most alike first.
func (r *report) match(l *line, key string, mine, exported []*record) {
	mine, exported = slices.Clone(mine), slices.Clone(exported)
	for len(mine) > 0 && len(exported) > 0 {
		best, i, j := 1<<30, 0, 0
		if len(mine) > 1 || len(exported) > 1 {
			for o := range mine {
				for t := range exported {
					a, b := r.unexplained(l.typ, mine[o], exported[t])
					if n := len(a) + len(b); n < best {
						best, i, j = n, o, t
					}
				}
			}
		}
		r.elements(l, key, mine[i], exported[j])
		mine, exported = slices.Delete(mine, i, i+1), slices.Delete(exported, j, j+1)
	}
	for range mine {
		if !r.alone("missing", l.typ, key) {
			r.fault(l.typ, "(resource)", "Synthea's export has none", key)
		}
	}
	for range exported {
		if !r.alone("extra", l.typ, key) {
			r.fault(l.typ, "(resource)", "we have none", key)
		}
	}
}

func (r *report) alone(kind, typ, key string) bool {
	for _, d := range r.known {
		if d.kind == kind && d.typ == typ && d.ours.MatchString(key) {
			d.met++
			return true
		}
	}
	return false
}

// without are the facts of each that the other lacks.
func without(ours, theirs []fact) (a, b []fact) {
	left := map[fact]int{}
	for _, f := range theirs {
		left[f]++
	}
	for _, f := range ours {
		if left[f] > 0 {
			left[f]--
		} else {
			a = append(a, f)
		}
	}
	for _, f := range theirs {
		if left[f] > 0 {
			left[f]--
			b = append(b, f)
		}
	}
	return a, b
}

// unexplained are the facts of each that the other lacks and no deviation explains.
func (r *report) unexplained(typ string, ours, theirs *record) (a, b []fact) {
	a, b = without(ours.facts, theirs.facts)
	a = slices.DeleteFunc(a, func(f fact) bool {
		i := slices.IndexFunc(b, func(g fact) bool { return g.path == f.path && r.explained(typ, f, g) })
		if i < 0 {
			return r.only("ours", typ, f)
		}
		b = slices.Delete(b, i, i+1)
		return true
	})
	b = slices.DeleteFunc(b, func(f fact) bool { return r.only("export", typ, f) })
	return a, b
}

// elements compares two resources.
func (r *report) elements(l *line, key string, ours, theirs *record) {
	l.compared++
	if a, b := without(ours.facts, theirs.facts); len(a)+len(b) == 0 {
		l.equal++
		return
	}
	a, b := r.unexplained(l.typ, ours, theirs)
	if len(a)+len(b) == 0 {
		l.documented++
		return
	}
	l.different++
	for _, f := range a {
		i := slices.IndexFunc(b, func(g fact) bool { return g.path == f.path })
		if i < 0 {
			r.fault(l.typ, f.path, "only ours", key+": "+strconv.Quote(f.value))
			continue
		}
		r.fault(l.typ, f.path, "differs", fmt.Sprintf("%s: %q, Synthea %q", key, f.value, b[i].value))
		b = slices.Delete(b, i, i+1)
	}
	for _, f := range b {
		r.fault(l.typ, f.path, "only Synthea's", key+": "+strconv.Quote(f.value))
	}
}

func (r *report) explained(typ string, ours, theirs fact) bool {
	for _, d := range r.known {
		if d.at(typ, ours.path) && d.pair(ours.value, theirs.value) {
			d.met++
			return true
		}
	}
	return false
}

func (r *report) only(kind, typ string, f fact) bool {
	for _, d := range r.known {
		re := d.ours
		if kind == "export" {
			re = d.export
		}
		if d.kind == kind && d.at(typ, f.path) && re.MatchString(f.value) {
			d.met++
			return true
		}
	}
	return false
}

// print writes the tables, and tells whether all is as it must be.
func (r *report) print(w io.Writer) bool {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "type\trows\tresources\tkeys off\texport\tcompared\tequal\tdocumented\tdifferent\t")
	for _, l := range r.table {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", l.typ, l.rows, l.resources, l.unmatched, l.export, l.compared, l.equal, l.documented, l.different)
	}
	_ = t.Flush()
	fmt.Fprintln(w, "\nDocumented differences that were met (deviations.txt):")
	for _, d := range r.known {
		if d.met > 0 {
			fmt.Fprintf(w, "%8d  %s %s, %s: %s\n", d.met, d.typ, d.path, d.kind, d.reason)
		}
	}
	if len(r.faults) == 0 {
		fmt.Fprintln(w, "\nNo other difference.")
		return true
	}
	fmt.Fprintln(w, "\nDifferences that nothing explains:")
	names := slices.SortedFunc(maps.Keys(r.faults), func(a, b string) int {
		return cmp.Or(cmp.Compare(strings.SplitN(a, "\t", 2)[0], strings.SplitN(b, "\t", 2)[0]), cmp.Compare(r.faults[b].count, r.faults[a].count), cmp.Compare(a, b))
	})
	for _, name := range names {
		f := r.faults[name]
		fmt.Fprintf(w, "%8d  %s\n", f.count, strings.ReplaceAll(name, "\t", " "))
		for _, e := range f.examples {
			fmt.Fprintf(w, "          %s\n", e)
		}
	}
	return false
}
