package mappingtest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/tributary-health/tributary/compose/mapping"
)

// Options say what is tested. Mappings and Paths are required.
type Options struct {
	// Mappings are the mapping files, and Folder their folder's name in messages.
	Mappings fs.FS
	Folder   string
	// Paths are case files, and folders whose .txtar files (in folders within too)
	// are cases.
	Paths []string
	// Run chooses the cases whose path without .txtar matches; nil for all.
	Run *regexp.Regexp
	// Rewrite writes what the rows give into the case files instead of comparing.
	Rewrite bool
}

// Result is what one case gave.
type Result struct {
	File      string
	Failures  []Failure
	Resources int
	Skipped   int
	Errors    int
	Rewritten bool // the file has another text now
}

// Report is what a run gave, case by case.
type Report struct {
	Results []Result
}

// Failed counts the cases with failures.
func (r *Report) Failed() int {
	n := 0
	for _, c := range r.Results {
		if len(c.Failures) > 0 {
			n++
		}
	}
	return n
}

// Print writes the failures with their differences, then one line that sums up.
func (r *Report) Print(w io.Writer) {
	resources, skipped, failing, rewritten := 0, 0, 0, 0
	for _, c := range r.Results {
		for _, f := range c.Failures {
			fmt.Fprint(w, f)
		}
		resources, skipped, failing = resources+c.Resources, skipped+c.Skipped, failing+c.Errors
		if c.Rewritten {
			rewritten++
			fmt.Fprintf(w, "%s: rewritten\n", c.File)
		}
	}
	fmt.Fprintf(w, "mapping test: %d cases, %d failed; %d resources, %d rows skipped, %d compositions in error", len(r.Results), r.Failed(), resources, skipped, failing)
	if rewritten > 0 {
		fmt.Fprintf(w, "; %d files rewritten", rewritten)
	}
	fmt.Fprintln(w)
}

// runner keeps what the cases of a run share.
type runner struct {
	options Options
	sets    map[string]*checked // by schema file
}

// checked is a set held against a schema file.
type checked struct {
	set     *mapping.Set
	schemas Schemas
}

// ErrNoCases says that nothing was tested, which is no success.
var ErrNoCases = errors.New("there is no case")

// Run runs every chosen case. A failing case is no error; the error says that
// cases could not be run: mappings with faults, a schema that does not fit them,
// no case at all
// (ErrNoCases).
func Run(o Options) (*Report, error) {
	files, err := findCases(o.Paths)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%w in %s: a case is a file that ends in .txtar", ErrNoCases, strings.Join(o.Paths, ", "))
	}
	r := &runner{o, map[string]*checked{}}
	report := &Report{}
	for _, file := range files {
		if o.Run != nil && !o.Run.MatchString(strings.TrimSuffix(filepath.ToSlash(file), ".txtar")) {
			continue
		}
		result, err := r.run(file)
		if err != nil {
			return nil, err
		}
		for i := range result.Failures {
			result.Failures[i].File = file
		}
		slices.SortStableFunc(result.Failures, func(a, b Failure) int { return a.Line - b.Line })
		report.Results = append(report.Results, result)
	}
	if len(report.Results) == 0 {
		return nil, fmt.Errorf("%w: none of %d matches %s", ErrNoCases, len(files), o.Run)
	}
	return report, nil
}

func (r *runner) run(file string) (Result, error) {
	result := Result{File: file}
	text, err := os.ReadFile(file)
	if err != nil {
		return result, fmt.Errorf("case: %w", err)
	}
	env, err := r.checkedFor(file)
	if err != nil {
		return result, err
	}
	c := readCase(file, string(text), env.set)
	if len(c.schemas) > 0 {
		if env = r.extended(c, env); env == nil {
			result.Failures = c.faults
			return result, nil
		}
	}
	rows := c.readRowSet(env.set, env.schemas)
	if len(c.faults) > 0 {
		result.Failures = c.faults
		return result, nil
	}
	o, err := c.compose(env.set, rows)
	if err != nil {
		result.Failures = []Failure{{Line: 1, What: "the rows cannot be composed: " + err.Error()}}
		return result, nil
	}
	result.Resources, result.Skipped, result.Errors = len(o.resources), len(o.skipped), len(o.errors)
	if r.options.Rewrite && (len(o.sections()) > 0 || c.nothing) {
		result.Rewritten, err = c.rewrite(string(text), o)
		return result, err
	}
	result.Failures = c.compare(o)
	return result, nil
}

// checkedFor returns the mappings, held against the columns of the schema file
// that is nearest to the case.
func (r *runner) checkedFor(file string) (*checked, error) {
	name, err := schemaFile(file)
	if err != nil {
		return nil, fmt.Errorf("case %s: %w", file, err)
	}
	if known := r.sets[name]; known != nil {
		return known, nil
	}
	env := &checked{schemas: Schemas{}}
	if name != "" {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("schema: %w", err)
		}
		if env.schemas, err = ParseSchemas(name, string(text)); err != nil {
			return nil, err
		}
	}
	if env.set, err = r.load(); err == nil && name != "" {
		err = r.problems(env.set.Check(env.schemas), name)
	}
	if err != nil {
		return nil, err
	}
	r.sets[name] = env
	return env, nil
}

// extended adds the columns that the case itself declares; nil after faults.
func (r *runner) extended(c *testCase, base *checked) *checked {
	env := &checked{schemas: maps.Clone(base.schemas)}
	for _, s := range c.schemas {
		more, faults := parseSchemas(s)
		c.faults = append(c.faults, faults...)
		maps.Copy(env.schemas, more)
	}
	if len(c.faults) > 0 {
		return nil
	}
	var err error
	if env.set, err = r.load(); err == nil {
		err = r.problems(env.set.Check(env.schemas), "")
	}
	if err != nil {
		c.fault(c.schemas[0].line-1, "the mappings do not fit the schema: "+err.Error(), "")
		return nil
	}
	return env
}

func (r *runner) load() (*mapping.Set, error) {
	set, problems := mapping.Load(r.options.Mappings, mapping.Options{IDKey: []byte(idKey)})
	return set, r.problems(problems, "")
}

// problems makes one error of the mappings' faults. schema names the file that
// they were held against.
func (r *runner) problems(list []mapping.Problem, schema string) error {
	var errs []error
	for _, p := range list {
		p.File = path.Join(filepath.ToSlash(r.options.Folder), p.File)
		errs = append(errs, p)
	}
	if len(errs) > 0 && schema != "" {
		errs = append(errs, fmt.Errorf("if a column is new, write %[1]s again: tributary mapping schema > %[1]s", schema))
	}
	return errors.Join(errs...)
}
