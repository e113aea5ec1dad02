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
	"github.com/tributary-health/tributary/hashmatch"
)

// finding is one thing that is wrong, and where.
type finding struct {
	where       string
	what        string
	hint        string
	unreachable bool // the source did not answer
	warning     bool // nothing is wrong, but somebody should look
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
		return reportFindings(found, 0)
	}
	if *mappingsDir != "" {
		cfg.Mappings = *mappingsDir
	}
	// Any key will do: ids are not part of the check.
	set, problems := readMappings(cfg, make([]byte, 32))
	sound := len(found) == 0
	found = append(found, cfg.checkFiles(*path)...)
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
		return reportFindings(found, len(cfg.doubts))
	}
	tables := 0
	for _, s := range sources {
		tables += len(s.tables)
	}
	fmt.Printf("check: %d sources, %d tables, %d mappings: nothing is wrong%s\n", len(sources), tables, len(set.Resources()), warnings(len(cfg.doubts)))
	return nil
}

func reportFindings(found []finding, doubts int) error {
	fmt.Fprint(os.Stderr, formatFindings(found))
	fmt.Fprintf(os.Stderr, "tributary: check: %d wrong%s\n", len(found), warnings(doubts))
	return errReported
}

// warnings ends a sum of what was found.
func warnings(n int) string {
	switch n {
	case 0:
		return ""
	case 1:
		return ", 1 warning"
	}
	return fmt.Sprintf(", %d warnings", n)
}

// checkFiles reads what only a running process needs: certificate and key, and the
// match keys. What is doubtful is added to the configuration's doubts.
func (c *Config) checkFiles(path string) []finding {
	var found []finding
	if c.TLS.enabled() {
		if _, err := c.TLS.server(nil, nil); err != nil {
			found = append(found, finding{where: path, what: err.Error()})
		}
	}
	keys := map[hashmatch.PartnerKey]string{}
	for _, client := range c.clients {
		if client.Match == nil {
			continue
		}
		file := client.Match.KeyFile
		if _, _, err := matchKey(client, keys); err != nil {
			found = append(found, finding{where: file, what: err.Error()})
		}
		if info, err := os.Stat(file); err == nil && info.Mode().Perm()&0o077 != 0 {
			c.doubts = append(c.doubts, finding{where: file, warning: true, what: "client " + client.ID + ": others than its owner may read the match key",
				hint: "chmod 600 " + shellQuote(file)})
		}
	}
	return found
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
		return finding{where: where, what: what, hint: ce.Hint, unreachable: ce.Kind == capture.Transient}
	}
	return finding{where: "source " + source, what: err.Error()}
}

func formatFindings(found []finding) string {
	var b strings.Builder
	for _, f := range found {
		kind := ""
		if f.warning {
			kind = "warning: "
		}
		fmt.Fprintf(&b, "%s: %s%s\n", f.where, kind, f.what)
		if f.hint != "" {
			fmt.Fprintf(&b, "    %s\n", strings.ReplaceAll(f.hint, "\n", "\n    "))
		}
	}
	return b.String()
}
