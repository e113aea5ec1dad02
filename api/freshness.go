package api

import (
	"slices"

	"github.com/tributary-health/tributary/change"
)

// freshHeaders are the header lines of one state of the sources. They change far
// more rarely than they are sent, so the last ones made for a client are kept.
type freshHeaders struct {
	sources []change.Freshness
	lines   []string
}

// freshLines returns the Tributary-Source lines of the view: of a source whose
// position the view does not tell, how fresh it is. They are shared: nobody may
// change them.
func (r *request) freshLines(view View) []string {
	sources := view.Freshness()
	if last, ok := r.fresh.Load(r.caller.ClientID); ok && slices.Equal(last.(*freshHeaders).sources, sources) {
		return last.(*freshHeaders).lines
	}
	made := &freshHeaders{sources: slices.Clone(sources)}
	for _, f := range sources {
		line := f.Source
		if f.Position != (change.Position{}) {
			line += `; position="` + f.Position.String() + `"`
		}
		if !f.Committed.IsZero() {
			line += `; committed="` + f.Committed.UTC().Format("2006-01-02T15:04:05.000000Z") + `"`
		}
		made.lines = append(made.lines, line)
	}
	r.fresh.Store(r.caller.ClientID, made)
	return made.lines
}
