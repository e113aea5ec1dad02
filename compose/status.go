package compose

import (
	"maps"
	"slices"
	"strings"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
)

// Status is where a worker stands, as of its last commit.
type Status struct {
	Number   commit.Number
	Composed bool // everything is composed: no snapshot is open or waits for its composition
	Matching bool // every match token is made, with Config's TokensID; false without one
	Sources  []SourceStatus
	// Skipped counts the rows that gave no resource, by "source.table" and the
	// mapping's name for it.
	Skipped map[string]map[string]int64
	// Parked are the roots whose last composition failed.
	Parked []commit.Parked
}

// SourceStatus is where one source stands.
type SourceStatus struct {
	change.Freshness
	Snapshot bool             // a snapshot is open, or none has ever ended
	Rows     map[string]int64 // rows in row state, by table name
	Missing  int64            // deletes of rows that were not there
}

// Status returns a copy of the status.
func (w *Worker) Status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.status
	s.Sources = slices.Clone(s.Sources)
	s.Parked = slices.Clone(s.Parked)
	return s
}

// publish makes the status anew; what Status has given out stays as it is.
func (w *Worker) publish() {
	s := Status{Number: w.frontier.Number, Composed: w.extra.Composed, Matching: w.frontier.Matching > 0, Skipped: make(map[string]map[string]int64)}
	for _, f := range w.freshness() {
		p, snap := w.engine.sources[f.Source], &w.asm.sources[f.Source].snap
		s.Sources = append(s.Sources, SourceStatus{
			Freshness: f, Snapshot: snap.Open || !snap.Finished, Rows: maps.Clone(p.Rows), Missing: p.Missing,
		})
	}
	for t, counts := range w.engine.skipped {
		s.Skipped[t] = maps.Clone(counts)
	}
	for _, p := range w.w.parked {
		s.Parked = append(s.Parked, p)
	}
	slices.SortFunc(s.Parked, func(a, b commit.Parked) int { return strings.Compare(a.Root, b.Root) })
	w.mu.Lock()
	w.status = s
	w.mu.Unlock()
}
