package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/compose"
	"github.com/tributary-health/tributary/compose/mapping"
	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/verify"
)

func runVerify(ctx context.Context, args []string) error {
	f := newFlags("verify", "Recomputes every resource from the source databases and compares it with what the running process serves.\n"+
		"Exits 1 if anything differs in every try, 2 if it could not find out.")
	target := targetFlags(f)
	path := f.String("config", "", "configuration file; default: the demo's")
	tries := f.Int("tries", 10, "how often a difference is tried again against a fresh read of the sources")
	limit := f.Int("limit", 20, "how many differences are printed")
	if err := parseFlags(f, args); err != nil {
		return err
	}
	t, err := target.resolve() // first: it says that no demo runs, where there is neither
	if err != nil {
		return cannot(err)
	}
	if *path == "" {
		*path = filepath.Join(*target.work, demoConfigFile)
	}
	cfg, err := loadConfig(*path)
	if err != nil {
		return cannot(err)
	}
	c, err := newChecker(cfg, t)
	if err != nil {
		return cannot(err)
	}
	report, err := verify.Run(ctx, verify.Config{Begin: c.begin, Tries: *tries, Progress: func(try, differing int) {
		if differing > 0 && try < *tries {
			fmt.Fprintf(os.Stderr, "verify: try %d: %d resources differ; trying again\n", try, differing)
		}
	}})
	if err != nil {
		return cannot(err)
	}
	err = printReport(report, *limit)
	for _, name := range slices.Sorted(maps.Keys(c.parked)) {
		fmt.Printf("parked, not compared: %s: %s\n", name, c.parked[name])
		err = errReported
	}
	return err
}

// cannot is for what keeps verify from finding out.
func cannot(err error) error { return usageError{err.Error()} }

func printReport(r verify.Report, limit int) error {
	types := make([]string, 0, len(r.Resources))
	total := 0
	for t, n := range r.Resources {
		types = append(types, t)
		total += n
	}
	sort.Strings(types)
	for _, t := range types {
		fmt.Printf("%-24s %8d\n", t, r.Resources[t])
	}
	tries := fmt.Sprintf("%d tries", r.Tries)
	if r.Tries == 1 {
		tries = "1 try"
	}
	fmt.Printf("verify: %d resources of %d members, %d differences, %s\n", total, r.Members, len(r.Differences), tries)
	for i, d := range r.Differences {
		if i == limit {
			fmt.Printf("... and %d more\n", len(r.Differences)-limit)
			break
		}
		fmt.Printf("%s: %s\n", d.ID, d.Kind)
	}
	if len(r.Differences) > 0 {
		return errReported
	}
	return nil
}

// checker holds what every try needs.
type checker struct {
	parked  map[string]string // reason by name of what cannot be composed: a member's Patient, a reference row's resources
	set     *mapping.Set
	sources []*source
	target  *target
}

func newChecker(cfg *Config, t *target) (*checker, error) {
	key, err := os.ReadFile(filepath.Join(cfg.Data, "id.key"))
	if err != nil {
		return nil, fmt.Errorf("id key: %w", err)
	}
	set, err := loadMappings(cfg, key)
	if err != nil {
		return nil, err
	}
	sources, err := newSources(cfg, set)
	return &checker{parked: map[string]string{}, set: set, sources: sources, target: t}, err
}

// attempt is one try: the rows of all sources, each at its own mark.
type attempt struct {
	*checker
	rows  [][]change.Event
	marks []change.Mark
	ids   map[string][]string // expected, by type
}

// park notes a root that cannot be composed from what the sources say now.
func (a *attempt) park(root, reason string) {
	for _, name := range parkedNames(a.set, root) {
		a.parked[name] = reason
	}
}

// ofParked reports whether a served resource belongs to a parked member or
// reference row: it is its last good state, and neither right nor wrong.
func (a *attempt) ofParked(id fhir.ResourceID, content []byte) bool {
	if _, parked := a.parked[id.String()]; parked {
		return true
	}
	for name := range a.parked {
		if strings.HasPrefix(name, "Patient/") && bytes.Contains(content, []byte(`"`+name+`"`)) {
			return true
		}
	}
	return false
}

// begin reads all sources at once, so that their marks lie close together.
func (c *checker) begin(ctx context.Context) (verify.Attempt, error) {
	clear(c.parked)
	a := &attempt{c, make([][]change.Event, len(c.sources)), make([]change.Mark, len(c.sources)), map[string][]string{}}
	g, ctx := errgroup.WithContext(ctx)
	for i, s := range c.sources {
		g.Go(func() error {
			col := &collector{}
			if err := s.snapshot(ctx, col); !errors.Is(err, errCollected) {
				return fmt.Errorf("source %s: %w", s.name, cmp.Or(err, errors.New("the snapshot did not end")))
			}
			a.rows[i], a.marks[i] = col.events, col.mark
			return nil
		})
	}
	return a, g.Wait()
}

func (a *attempt) Close() error { return nil }

func (a *attempt) all() iter.Seq2[*change.Event, error] {
	return func(yield func(*change.Event, error) bool) {
		for _, rows := range a.rows {
			for i := range rows {
				if !yield(&rows[i], nil) {
					return
				}
			}
		}
	}
}

func (a *attempt) Expected(_ context.Context, fn func(string, fhir.ResourceID, []byte) error) error {
	return compose.ComposeAll(a.set, a.all(), func(x compose.Expected) error {
		if x.Reason != "" { // parked: what is served is its last good state
			a.park(x.Root, x.Reason)
			return nil
		}
		a.ids[x.ID.Type] = append(a.ids[x.ID.Type], x.ID.ID)
		return fn(x.Member, x.ID, x.Content)
	})
}

// Served reads every type, page by page, at the newest commit at which no source
// is further than what Expected read.
func (a *attempt) Served(ctx context.Context, fn func(fhir.ResourceID, []byte) error) error {
	compared := fn
	fn = func(id fhir.ResourceID, content []byte) error {
		if a.ofParked(id, content) {
			return nil
		}
		return compared(id, content)
	}
	if err := a.applied(ctx); err != nil {
		return err
	}
	query := url.Values{}
	for i, s := range a.sources {
		query.Set(s.name, a.marks[i].Position.String())
	}
	number, err := a.target.get(ctx, a.target.root+"/status/commit?"+query.Encode())
	if err != nil {
		return err
	}
	for _, typ := range a.types() {
		err := a.pages(ctx, typ, string(number), fn)
		if errors.Is(err, errDamaged) {
			err = a.each(ctx, typ, string(number), fn)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// applied waits until the process has applied what was read.
func (a *attempt) applied(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		var r statusReport
		if err := a.target.getJSON(ctx, "/status", &r); err != nil {
			return err
		}
		behind := ""
		for i, s := range a.sources {
			for _, have := range r.Sources {
				at, err := change.ParsePosition(have.Applied)
				if have.Name != s.name {
					continue
				}
				// A read of our own does not know which history the process counts.
				a.marks[i].Position.Generation = at.Generation
				if err != nil || at.Compare(a.marks[i].Position) < 0 {
					behind = s.name
				}
			}
		}
		if behind == "" && r.Composed {
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("source %s: the process does not catch up with what was read from it", behind)
		}
	}
}

func (a *attempt) types() []string {
	var types []string
	for _, r := range a.set.Resources() {
		if !slices.Contains(types, r.Type) {
			types = append(types, r.Type)
		}
	}
	sort.Strings(types)
	return types
}

// served is a resource as a page has it, without its stamp.
type served struct {
	id      fhir.ResourceID
	content []byte
}

type searchPage struct {
	Link []struct {
		Relation string `json:"relation"`
		URL      string `json:"url"`
	} `json:"link"`
	Entry []struct {
		Resource json.RawMessage `json:"resource"`
		Search   struct {
			Mode string `json:"mode"`
		} `json:"search"`
	} `json:"entry"`
}

// errDamaged says that a page holds something that is no JSON.
var errDamaged = errors.New("the answer is no Bundle")

// each reads the expected resources of a type one by one: where a stored one is
// so damaged that no page with it can be read, this still finds out which.
func (a *attempt) each(ctx context.Context, typ, number string, fn func(fhir.ResourceID, []byte) error) error {
	for _, id := range a.ids[typ] {
		body, err := a.target.get(ctx, a.target.fhir+"/"+typ+"/"+id, "Tributary-Commit", number)
		var refused *refusal
		switch {
		case errors.As(err, &refused) && (refused.status == http.StatusNotFound || refused.status == http.StatusGone):
			continue
		case errors.As(err, &refused) && refused.status >= 500:
			body = nil // it is there, and cannot be read
		case err != nil:
			return err
		}
		content := bytes.TrimSpace(body)
		if json.Valid(content) {
			content = fhir.Unstamp(content)
		}
		if err := fn(fhir.ResourceID{Type: typ, ID: id}, content); err != nil {
			return err
		}
	}
	return nil
}

// pages reads a type page by page, and tells of nothing before it has read all.
func (a *attempt) pages(ctx context.Context, typ, number string, fn func(fhir.ResourceID, []byte) error) error {
	var found []served
	next := a.target.fhir + "/" + typ + "?_count=1000"
	for next != "" {
		body, err := a.target.get(ctx, next, "Tributary-Commit", number)
		var refused *refusal
		if errors.As(err, &refused) && refused.status == http.StatusInternalServerError {
			return fmt.Errorf("%s: %w: %w", typ, errDamaged, err)
		}
		if err != nil {
			return err
		}
		var page searchPage
		if err := json.Unmarshal(body, &page); err != nil {
			return fmt.Errorf("%s: %w: %w", typ, errDamaged, err)
		}
		for _, e := range page.Entry {
			var head struct {
				Type string `json:"resourceType"`
				ID   string `json:"id"`
			}
			if err := json.Unmarshal(e.Resource, &head); err != nil {
				return fmt.Errorf("%s: an entry is no resource: %w", typ, err)
			}
			content := fhir.Unstamp(bytes.TrimSpace(e.Resource))
			found = append(found, served{fhir.ResourceID{Type: head.Type, ID: head.ID}, content})
		}
		next = ""
		for _, l := range page.Link {
			if l.Relation == "next" {
				next = l.URL
			}
		}
	}
	for _, r := range found {
		if err := fn(r.id, r.content); err != nil {
			return err
		}
	}
	return nil
}
