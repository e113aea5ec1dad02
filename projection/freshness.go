package projection

import (
	"maps"
	"slices"
	"time"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
)

// grid is the step in which freshness is told, and its least age.
//
// Watermarks move a source's freshness twice a second, and so do transactions,
// of which some are hidden. Told as it is, freshness would show when a hidden
// one came. Cut to a grid alone, it would still show one that came just after a
// step and before the first watermark there. So what is told is also at least
// one step old: while the source is less than ten seconds behind, it follows
// from the clock on the wall and from nothing else. A source further behind is
// told by its own log's times, to ten seconds.
const grid = 10 * time.Second

// freshness is how far each source is told to be applied. It never goes back.
type freshness map[string]time.Time

// cut is what may be told of a time.
func cut(t, now time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	if latest := now.Add(-grid); t.After(latest) {
		t = latest
	}
	return t.UTC().Truncate(grid)
}

// tell takes over how far a source is applied; it reports whether that changes
// what is told.
func (f freshness) tell(source string, applied, now time.Time) bool {
	applied = cut(applied, now)
	told, known := f[source]
	if known && !applied.After(told) {
		return false
	}
	f[source] = applied
	return true
}

func (f freshness) tellAll(sources []change.Freshness, now time.Time) {
	for i := range sources {
		f.tell(sources[i].Source, sources[i].Committed, now)
	}
}

// list is what a unit says, in the order of the names.
func (f freshness) list() []change.Freshness {
	var all []change.Freshness
	for _, name := range slices.Sorted(maps.Keys(f)) {
		all = append(all, change.Freshness{Source: name, Committed: f[name]})
	}
	return all
}

// progress is what a frontier says.
func (f freshness) progress() map[string]commit.Progress {
	all := make(map[string]commit.Progress, len(f))
	for name, t := range f {
		all[name] = commit.Progress{Freshness: change.Freshness{Source: name, Committed: t}}
	}
	return all
}

// newest is the latest time that is told of any source.
func (f freshness) newest() (t time.Time) {
	for _, told := range f {
		if told.After(t) {
			t = told
		}
	}
	return t
}
