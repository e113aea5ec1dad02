package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
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
	cfg, found := readConfig(*path)
	if cfg == nil {
		return reportFindings(found)
	}
	if *mappingsDir != "" {
		cfg.Mappings = *mappingsDir
	}
	// Any key will do: ids are not part of the check.
	set, problems := readMappings(cfg, make([]byte, 32))
	sound := len(found) == 0
	for _, p := range problems {
		found = append(found, mappingFinding(p))
	}
	sources, err := newSources(cfg, set)
	switch {
	case err != nil && sound && len(problems) == 0:
		found = append(found, finding{where: *path, what: err.Error()})
	case err == nil && sound && !*offline:
		found = append(found, checkSources(ctx, cfg, set, sources)...)
	}
	fmt.Fprint(os.Stderr, formatFindings(cfg.doubts))
	if len(found) > 0 {
		return reportFindings(found)
	}
	tables := 0
	for _, s := range sources {
		tables += len(s.tables)
	}
	fmt.Printf("check: %d sources, %d tables, %d mappings: nothing is wrong\n", len(sources), tables, len(set.Resources()))
	return nil
}

func reportFindings(found []finding) error {
	fmt.Fprint(os.Stderr, formatFindings(found))
	fmt.Fprintf(os.Stderr, "tributary: check: %d wrong\n", len(found))
	return errReported
}

// checkSources asks every source for its settings and schemas, and holds the
// mappings against these.
func checkSources(ctx context.Context, cfg *Config, set *mapping.Set, sources []*source) []finding {
	var found []finding
	schemas := map[change.Table]*change.Schema{}
	described := true // every source could say what tables it has
	for _, s := range sources {
		asking, cancel := context.WithTimeout(ctx, 20*time.Second)
		problems, err := s.check(asking)
		for _, p := range problems {
			found = append(found, problemFinding(p))
		}
		if err == nil {
			err = s.describe(asking, len(problems) > 0, schemas)
		}
		cancel()
		if err != nil {
			described = false
			found = append(found, errorFinding(s.name, err))
		}
	}
	if !described {
		return found
	}
	for _, p := range set.Check(schemas) {
		p.File = mappingFile(cfg, p.File)
		found = append(found, mappingFinding(p))
	}
	return found
}

// describe adds the schemas of the source's tables. Once something is known to
// be wrong with them, tables are asked for one by one, without what the mappings
// say of them, so that one that is refused does not hide the others' faults.
func (s *source) describe(ctx context.Context, oneByOne bool, schemas map[change.Table]*change.Schema) error {
	if !oneByOne {
		of, err := s.schemas(ctx, s.tables)
		maps.Copy(schemas, of)
		return err
	}
	for _, t := range s.tables {
		of, err := s.schemas(ctx, []capture.Table{{Table: t.Table, Route: change.Route{Kind: change.Reference}}})
		maps.Copy(schemas, of)
		var refused *capture.Error
		if err != nil && !(errors.As(err, &refused) && refused.Kind == capture.Unsupported) {
			return err
		}
	}
	return nil
}

func mappingFinding(p mapping.Problem) finding {
	where := p.File
	if p.Line > 0 {
		where = fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
	}
	return finding{where: where, what: p.What, hint: p.Hint}
}

// unreadableFolder says why a folder that is named cannot be listed, without
// naming it again.
func unreadableFolder(folder string) error {
	if folder == "" {
		return nil
	}
	_, err := os.ReadDir(folder)
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
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
