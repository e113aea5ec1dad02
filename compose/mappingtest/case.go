package mappingtest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/compose/mapping"
	"github.com/tributary-health/tributary/fhir"
)

// The sections of a case that are neither a table's rows nor a resource.
const (
	schemaSection  = "schema"  // columns of tables, beside those of the schema file
	onlySection    = "only"    // the types that the case is about
	skippedSection = "skipped" // rows that give no resource, and why
	errorSection   = "error"   // members and reference rows that cannot be composed
	nothingSection = "nothing" // says that the rows give nothing at all
)

var wordSections = []string{schemaSection, onlySection, skippedSection, errorSection, nothingSection}

// SchemaFile is the file beside the cases, or in a folder above them, that says
// which columns the tables have.
const SchemaFile = "schema.txt"

// testCase is one case file.
type testCase struct {
	file    string
	rows    []section // of tables, as they stand
	schemas []section
	only    map[string]bool // empty for every type
	wants   []section       // resources, skipped, error
	nothing bool
	inputs  string // the file's text without what it wants, for rewriting
	faults  []Failure
}

func (c *testCase) fault(line int, what, hint string) {
	c.faults = append(c.faults, Failure{Line: line, What: what, Hint: hint})
}

// readCase takes a case file apart.
func readCase(file, text string, set *mapping.Set) *testCase {
	c := &testCase{file: file, only: map[string]bool{}}
	var inputs strings.Builder
	given := map[string]bool{}
	for _, s := range sections(text) {
		table, isTable := change.ParseTable(s.name)
		keep := true
		switch {
		case s.name == "":
		case strings.Contains(s.name, "/"), s.name == skippedSection, s.name == errorSection:
			if given[s.name] {
				c.fault(s.line-1, fmt.Sprintf("%q is given twice", s.name), "")
			}
			given[s.name], keep = true, false
			c.wants = append(c.wants, s)
		case s.name == nothingSection:
			c.nothing = true
		case s.name == onlySection:
			c.readOnly(s)
		case s.name == schemaSection:
			c.schemas = append(c.schemas, s)
		case isTable:
			if _, ok := set.Table(table); !ok {
				c.fault(s.line-1, "the mappings declare no table "+s.name, mapping.DidYouMean(s.name, tableNames(set)))
			}
			c.rows = append(c.rows, s)
		default:
			c.fault(s.line-1, fmt.Sprintf("there is no section %q", s.name), mapping.DidYouMean(s.name, append(tableNames(set), wordSections...)))
		}
		if keep {
			if s.name != "" {
				inputs.WriteString("-- " + s.name + " --\n")
			}
			inputs.WriteString(s.text)
		}
	}
	if len(c.rows) == 0 && len(c.faults) == 0 {
		c.fault(1, "the case has no rows", "begin a section -- source.table --")
	}
	c.inputs = inputs.String()
	return c
}

func (c *testCase) readOnly(s section) {
	s.content(func(line int, text string) {
		for _, typ := range strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' }) {
			if !fhir.IsResource(typ) {
				c.fault(line, fmt.Sprintf("%q is not a resource type of FHIR R4", typ), mapping.DidYouMean(typ, fhir.ResourceTypes()))
			}
			c.only[typ] = true
		}
	})
	if len(c.only) == 0 && len(c.faults) == 0 {
		c.fault(s.line-1, "only names no type", "")
	}
}

// about reports whether the case is about a resource of this name.
func (c *testCase) about(name string) bool {
	typ, _, _ := strings.Cut(name, "/")
	return len(c.only) == 0 || c.only[typ]
}

func tableNames(set *mapping.Set) []string {
	var names []string
	for _, d := range set.Tables() {
		names = append(names, d.Table.String())
	}
	return names
}

// findCases lists the case files that the paths name, in order, each once.
func findCases(paths []string) ([]string, error) {
	var files []string
	for _, path := range paths {
		err := filepath.WalkDir(path, func(name string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() && (strings.HasSuffix(name, ".txtar") || name == path) {
				files = append(files, name)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("cases: %w", err)
		}
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

// schemaFile finds the schema file for a case: in its folder or above.
func schemaFile(file string) (string, error) {
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return "", err
	}
	here := filepath.Dir(file)
	for {
		if name := filepath.Join(here, SchemaFile); isFile(name) {
			return name, nil
		}
		above := filepath.Dir(dir)
		if above == dir {
			return "", nil
		}
		dir, here = above, filepath.Join(here, "..")
	}
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && !info.IsDir()
}
