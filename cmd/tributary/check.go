package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/compose/mapping"
)

// finding is one thing that is wrong, and where.
type finding struct {
	where       string
	what        string
	hint        string
	unreachable bool // the source did not answer
}

func runCheck(ctx context.Context, args []string) error {
	f := newFlags("check", "Validates configuration, mappings and the sources' settings, and lists everything that is wrong at once.")
	path := f.String("config", "tributary.yaml", "configuration file")
	mappingsDir := f.String("mappings", "", "mapping folder; default: the configuration's")
	offline := f.Bool("offline", false, "do not connect to the sources")
	if err := parseFlags(f, args); err != nil {
		return err
	}
	cfg, err := loadConfig(*path)
	if err != nil {
		return err
	}
	if *mappingsDir != "" {
		cfg.Mappings = *mappingsDir
	}
	// Any key will do: ids are not part of the check.
	set, err := loadMappings(cfg, make([]byte, 32))
	if err != nil {
		return err
	}
	sources, err := newSources(cfg, set)
	if err != nil {
		return err
	}
	var found []finding
	if !*offline {
		found = checkSources(ctx, cfg, set, sources)
	}
	if len(found) > 0 {
		fmt.Fprint(os.Stderr, formatFindings(found))
		fmt.Fprintf(os.Stderr, "tributary: check: %d problems\n", len(found))
		return errReported
	}
	tables := 0
	for _, s := range sources {
		tables += len(s.tables)
	}
	fmt.Printf("check: %d sources, %d tables, %d mappings: nothing is wrong\n", len(sources), tables, len(set.Resources()))
	return nil
}

// checkSources asks every source for its settings and schemas, and holds the
// mappings against these.
func checkSources(ctx context.Context, cfg *Config, set *mapping.Set, sources []*source) []finding {
	var found []finding
	schemas := map[change.Table]*change.Schema{}
	complete := true
	for _, s := range sources {
		asking, cancel := context.WithTimeout(ctx, 20*time.Second)
		problems, err := s.check(asking)
		if err == nil {
			for _, p := range problems {
				found = append(found, problemFinding(p))
			}
			var of map[change.Table]*change.Schema
			if of, err = s.schemas(asking); err == nil {
				for t, schema := range of {
					schemas[t] = schema
				}
			}
		}
		cancel()
		if err != nil {
			complete = false
			found = append(found, errorFinding(s.name, err))
		}
	}
	if !complete {
		return found
	}
	for _, p := range set.Check(schemas) {
		folder := cfg.Mappings
		if folder == "" {
			folder = "mappings"
		}
		where := fmt.Sprintf("%s:%d:%d", filepath.Join(folder, p.File), p.Line, p.Column)
		found = append(found, finding{where: where, what: p.What, hint: p.Hint})
	}
	return found
}

func problemFinding(p capture.Problem) finding {
	where := "source " + p.Source
	if p.Table != (change.Table{}) {
		where += ", table " + p.Table.Name
	}
	return finding{where: where, what: p.What, hint: p.Hint}
}

func errorFinding(source string, err error) finding {
	var ce *capture.Error
	if errors.As(err, &ce) {
		where := "source " + source
		if ce.Table != "" {
			where += ", table " + ce.Table
		}
		if ce.Column != "" {
			where += ", column " + ce.Column
		}
		what := ce.Op
		if ce.Err != nil {
			what += ": " + ce.Err.Error()
		}
		return finding{where, what, ce.Hint, ce.Kind == capture.Transient}
	}
	return finding{where: "source " + source, what: err.Error()}
}

func formatFindings(found []finding) string {
	var b strings.Builder
	for _, f := range found {
		fmt.Fprintf(&b, "%s: %s\n", f.where, f.what)
		if f.hint != "" {
			fmt.Fprintf(&b, "    %s\n", strings.ReplaceAll(f.hint, "\n", "\n    "))
		}
	}
	return b.String()
}
