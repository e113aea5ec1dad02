// Package verify recomputes every resource from the sources and compares it with
// what the running process serves. It shares no code with the write path but the
// mappings and their evaluation: it finds loss, duplication, disorder and
// staleness, not a wrong mapping.
package verify

import (
	"context"
	"fmt"
	"hash/maphash"
	"sort"
	"time"

	"github.com/tributary-health/tributary/fhir"
)

// Attempt is one try: what the sources say at one cut, and what is served at it.
type Attempt interface {
	// Expected composes every resource from a fresh, consistent read of the
	// sources.
	Expected(ctx context.Context, fn func(member string, id fhir.ResourceID, content []byte) error) error

	// Served calls fn for every resource that is served at the same cut, its
	// content without versionId and lastUpdated. It is called after Expected.
	Served(ctx context.Context, fn func(id fhir.ResourceID, content []byte) error) error

	Close() error
}

// Config says how to try. Tries and Pause have working defaults.
type Config struct {
	Begin func(ctx context.Context) (Attempt, error)
	Tries int           // 10
	Pause time.Duration // one second
	// Progress is told of each try, with the number of resources that differ.
	Progress func(try, differing int)
}

// Kind says how a resource differs.
type Kind string

// The kinds.
const (
	Missing   Kind = "missing"   // the sources have it, it is not served
	Ghost     Kind = "ghost"     // it is served, the sources do not have it
	Different Kind = "different" // both have it, with other content
	Twice     Kind = "twice"     // it is served more than once
)

// Difference is one settled difference: it was there in every try.
type Difference struct {
	ID   fhir.ResourceID
	Kind Kind
}

// Report is the result. Resources counts what the sources say, per type.
type Report struct {
	Resources   map[string]int
	Members     int
	Tries       int
	Differences []Difference
}

// Run compares until nothing differs or the tries are used up. A resource counts
// as different only if it differed in every try.
func Run(ctx context.Context, cfg Config) (Report, error) {
	if cfg.Tries == 0 {
		cfg.Tries = 10
	}
	if cfg.Pause == 0 {
		cfg.Pause = time.Second
	}
	var report Report
	var open map[fhir.ResourceID]Difference
	for try := 1; ; try++ {
		report.Tries = try
		found, err := compare(ctx, cfg, &report)
		if err != nil {
			return report, err
		}
		open = settled(open, found)
		if cfg.Progress != nil {
			cfg.Progress(try, len(open))
		}
		if len(open) == 0 {
			return report, nil
		}
		if try >= cfg.Tries {
			break
		}
		select {
		case <-time.After(cfg.Pause):
		case <-ctx.Done():
			return report, ctx.Err()
		}
	}
	for _, d := range open {
		report.Differences = append(report.Differences, d)
	}
	sort.Slice(report.Differences, func(i, j int) bool {
		return report.Differences[i].ID.String() < report.Differences[j].ID.String()
	})
	return report, nil
}

// settled keeps of what was open what is found again; at first, all of it.
func settled(open, found map[fhir.ResourceID]Difference) map[fhir.ResourceID]Difference {
	if open == nil {
		return found
	}
	for id := range open {
		if d, still := found[id]; still {
			open[id] = d
		} else {
			delete(open, id)
		}
	}
	return open
}

// compare makes one try. Only hashes of contents are held, so that memory goes
// with the number of resources and not with their size.
func compare(ctx context.Context, cfg Config, report *Report) (map[fhir.ResourceID]Difference, error) {
	attempt, err := cfg.Begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	defer attempt.Close()
	seed := maphash.MakeSeed()
	expected := map[fhir.ResourceID]uint64{}
	members := map[string]struct{}{}
	types := map[string]int{}
	err = attempt.Expected(ctx, func(member string, id fhir.ResourceID, content []byte) error {
		if _, twice := expected[id]; twice {
			return fmt.Errorf("the mappings compose %s twice", id)
		}
		expected[id] = maphash.Bytes(seed, content)
		types[id.Type]++
		if member != "" {
			members[member] = struct{}{}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("verify: recomputing: %w", err)
	}
	report.Resources, report.Members = types, len(members)
	found := map[fhir.ResourceID]Difference{}
	served := make(map[fhir.ResourceID]struct{}, len(expected))
	err = attempt.Served(ctx, func(id fhir.ResourceID, content []byte) error {
		if _, twice := served[id]; twice {
			found[id] = Difference{ID: id, Kind: Twice}
		}
		served[id] = struct{}{}
		want, ok := expected[id]
		switch {
		case !ok:
			found[id] = Difference{ID: id, Kind: Ghost}
		case want != maphash.Bytes(seed, content):
			found[id] = Difference{ID: id, Kind: Different}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("verify: reading what is served: %w", err)
	}
	for id := range expected {
		if _, ok := served[id]; !ok {
			found[id] = Difference{ID: id, Kind: Missing}
		}
	}
	return found, nil
}
