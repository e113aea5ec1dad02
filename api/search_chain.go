package api

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tributary-health/tributary/fhir"
)

// maxChained is how many resources a chained parameter may lead over.
const maxChained = 1000

// chain is a condition on what a reference points at, one step away:
// name[:Type].parameter[:modifier]=value (FHIR R4, search, 3.1.1.4.15). Of a search
// that is narrow without it, each candidate's reference is followed. Of any other,
// what it points at is found as a search for it would be, in the same view.
type chain struct {
	sent    string                    // the parameter's name as it was sent
	name    string                    // of the reference
	member  bool                      // it is to the Patient whose record it is
	targets map[string]fhir.Criterion // by type of what is pointed at

	// filters says that the condition is held against each candidate; known is what
	// was looked at by now.
	filters bool
	known   map[fhir.ResourceID]bool
}

// parseChain reads a chained parameter; ok is false for one that is none.
func parseChain(typ string, p pair, base string) (c chain, ok bool, err error) {
	reference, rest, ok := strings.Cut(p.name, ".")
	name, only, typed := strings.Cut(reference, ":")
	param := fhir.FindParam(typ, name)
	if !ok || param == nil || param.Kind != fhir.ReferenceParam || strings.Contains(rest, ".") {
		return c, false, nil
	}
	c = chain{sent: p.name, name: name, member: param.Member, targets: make(map[string]fhir.Criterion)}
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

// follow makes of each chained parameter that does not filter one that names what
// it points at; ok is false if one of them points at nothing there is. Those that
// lead to named members come first: the others filter then. A parameter kept across
// members makes others filter that would lead over all there is.
func (q *query) follow(ctx context.Context, view View) (ok bool, err error) {
	slices.SortStableFunc(q.chains, func(a, b chain) int {
		x, y := a.member && a.named(), b.member && b.named()
		switch {
		case x == y:
			return 0
		case x:
			return -1
		}
		return 1
	})
	for i := range q.chains {
		c := &q.chains[i]
		if c.filters = q.namesRecords() || !c.named() && q.narrow(); c.filters {
			continue
		}
		var at []string
		for _, typ := range slices.Sorted(maps.Keys(c.targets)) {
			if !q.visible(typ) {
				continue
			}
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
	return true, nil
}

// named says whether what is pointed at is found without a look at all there is.
func (c *chain) named() bool {
	for _, criterion := range c.targets {
		if !namesWhere(&criterion) {
			return false
		}
	}
	return true
}

// namesRecords says whether the criteria name members or ids.
func (q *query) namesRecords() bool {
	return slices.ContainsFunc(q.criteria, func(c fhir.Criterion) bool {
		_, ids := c.IDs()
		_, members := c.Members()
		return ids || members
	})
}

// leads says whether one of the candidate's references leads to what satisfies the
// condition.
func (c *chain) leads(l *further, v fhir.Version) (bool, error) {
	for _, id := range fhir.References(v.Index, v.Type, c.name) {
		criterion, ok := c.targets[id.Type]
		if !ok || !l.query.visible(id.Type) {
			continue
		}
		satisfies, known := c.known[id]
		if !known {
			if err := l.reads(c.sent); err != nil {
				return false, err
			}
			to, ok, err := l.view.Read(id)
			if err != nil {
				return false, fmt.Errorf("api: read %s: %w", id.Type, err)
			}
			if c.known == nil {
				c.known = map[fhir.ResourceID]bool{}
			}
			satisfies = ok && criterion.Match(to)
			c.known[id] = satisfies
		}
		if satisfies {
			return true, nil
		}
	}
	return false, nil
}
