package api

import (
	"slices"

	"github.com/tributary-health/tributary/change"
)

// freshHeaders are the header lines of one state of the sources. They change far
// more rarely than they are sent, so the last ones made are kept.
type freshHeaders struct {
	sources []change.Freshness
	lines   []string
}

// freshLines returns the Tributary-Source lines of the view. They are shared:
// nobody may change them.
func (s *server) freshLines(view View) []string {
	sources := view.Freshness()
	if last := s.fresh.Load(); last != nil && slices.Equal(last.sources, sources) {
		return last.lines
	}
	made := &freshHeaders{sources: slices.Clone(sources)}
	for _, f := range sources {
		line := f.Source + `; position="` + f.Position.String() + `"`
		if !f.Committed.IsZero() {
			line += `; committed="` + f.Committed.UTC().Format("2006-01-02T15:04:05.000000Z") + `"`
		}
		made.lines = append(made.lines, line)
	}
	s.fresh.Store(made)
	return made.lines
}
