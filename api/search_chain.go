package api

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/tributary-health/tributary/fhir"
)

// maxChained is how many resources a chained parameter may lead over.
const maxChained = 1000

// chain is a condition on what a reference points at, one step away:
// name[:Type].parameter[:modifier]=value (FHIR R4, search, 3.1.1.5.2). What it
// points at is found as a search for it would be, in the same view.
type chain struct {
	sent    string                    // the parameter's name as it was sent
	name    string                    // of the reference
	targets map[string]fhir.Criterion // by type of what is pointed at
}

// parseChain reads a chained parameter; ok is false for one that is none.
func parseChain(typ string, p pair, base string) (c chain, ok bool, err error) {
	reference, rest, ok := strings.Cut(p.name, ".")
	name, only, typed := strings.Cut(reference, ":")
	param := fhir.FindParam(typ, name)
	if !ok || param == nil || param.Kind != fhir.ReferenceParam || strings.Contains(rest, ".") {
		return c, false, nil
	}
	c = chain{sent: p.name, name: name, targets: make(map[string]fhir.Criterion)}
	targets := param.Targets
	if typed {
		if !slices.Contains(targets, only) {
			return c, true, notSupported(p.name, "%s of %s does not point at %s", name, typ, only)
		}
		targets = []string{only}
	}
	if len(targets) == 0 {
		return c, true, notSupported(p.name, "%s of %s may point at anything: say at what, as in %s:Patient", name, typ, name)
	}
	for _, target := range targets {
		criterion, failed := fhir.ParseCriterion(target, rest, p.value, base)
		switch {
		case failed == nil:
			c.targets[target] = criterion
		case err == nil || unsupported(err):
			err = failed
		}
	}
	if len(c.targets) > 0 { // of the types that it may point at some have the parameter
		return c, true, nil
	}
	return c, true, err
}

func (c *chain) values() (n int) {
	for _, criterion := range c.targets {
		n = max(n, criterion.Values())
	}
	return n
}

// follow makes of each chained parameter one that names what it points at; ok is
// false if one of them points at nothing there is.
func (q *query) follow(ctx context.Context, view View) (ok bool, err error) {
	for _, c := range q.chains {
		var at []string
		for _, typ := range slices.Sorted(maps.Keys(c.targets)) {
			inner := &query{typ: typ, count: maxChained, criteria: []fhir.Criterion{c.targets[typ]}}
			found, err := inner.run(ctx, view, page{})
			if err != nil {
				return false, err
			}
			for i := range found.hits {
				at = append(at, typ+"/"+found.hits[i].ID)
			}
		}
		switch {
		case len(at) > maxChained:
			return false, tooCostly(c.sent, "leads over more than %d resources", maxChained)
		case len(at) == 0:
			return false, nil
		}
		criterion, err := fhir.ParseCriterion(q.typ, c.name, strings.Join(at, ","), "")
		if err != nil {
			return false, err
		}
		q.criteria = append(q.criteria, criterion)
	}
	q.chains = nil
	return true, nil
}
