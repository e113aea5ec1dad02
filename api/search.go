package api

import (
	"fmt"
	"maps"
	"slices"

	"github.com/tributary-health/tributary/fhir"
)

// What bounds the work of one request.
const (
	defaultCount  = 50
	maxCount      = 1000
	maxForm       = 64 << 10
	maxCriteria   = 64
	maxValues     = 1000 // over all criteria
	maxSorts      = 5
	maxIncludes   = 32   // rules
	maxIncluded   = 5000 // resources beside the matches of a page
	maxSubsetting = 100  // names in _elements
)

// query is one search, parsed. What it found is ordered by sort, then by member
// and id.
type query struct {
	typ      string
	criteria []fhir.Criterion
	chains   []chain
	reverses []reverse
	bodies   []bodyCondition
	visible  func(resourceType string) bool // whether the caller may see such resources
	includes []includeRule
	sort     []sortBy
	count    int
	summary  bool   // count only
	form     string // of what is sent: "", true, text or data
	elements *fhir.Subset
	total    string   // "", none, estimate or accurate
	used     []pair   // the parameters that had an effect, as they were sent
	told     []string // members of whom the answer tells without showing their records
}

type sortBy struct {
	param      string
	descending bool
}

func (s *server) search(r *request) (answer, error) {
	typ, err := r.resourceType()
	if err != nil {
		return answer{}, err
	}
	pairs, err := r.queryPairs()
	if err != nil {
		return answer{}, err
	}
	return r.runSearch(typ, pairs)
}

// searchForm is the search by POST, whose parameters are not in the address.
func (s *server) searchForm(r *request) (answer, error) {
	typ, err := r.resourceType()
	if err != nil {
		return answer{}, err
	}
	pairs, err := r.queryPairs()
	if err != nil {
		return answer{}, err
	}
	form, err := r.body("application/x-www-form-urlencoded")
	if err != nil {
		return answer{}, err
	}
	inForm, err := parsePairs(string(form))
	if err != nil {
		return answer{}, err
	}
	for _, p := range inForm {
		if p.name == "_format" && !acceptsFormat(p.value) {
			return answer{}, notAcceptable
		}
	}
	r.sent = slices.Concat(pairs, inForm)
	return r.runSearch(typ, r.sent)
}

func (r *request) runSearch(typ string, pairs []pair) (answer, error) {
	page, paged, err := r.pageOf("search "+typ, pairs)
	if err != nil {
		return answer{}, err
	}
	sent := pairs
	if paged {
		pairs = page.pairs
	}
	q, err := r.parseSearch(typ, pairs)
	if err != nil {
		return answer{}, err
	}
	view, err := r.openPage(page)
	if err != nil {
		return answer{}, err
	}
	found, err := q.run(r.ctx, view, page)
	if err != nil {
		return answer{}, err
	}
	self := r.address(typ, q.used)
	if paged {
		self = r.address(typ, sent)
	}
	return r.foundAnswer(view, q, found, page, self)
}

func (r *request) foundAnswer(view View, q *query, found *results, at page, self string) (answer, error) {
	b := r.newBundle("searchset")
	if found.counted {
		b.total(found.total)
		at.total = found.total + 1
	} else if at.total > 0 {
		b.total(at.total - 1)
	}
	b.link("self", self)
	hits := found.hits
	switch {
	case q.summary:
		hits = nil
	case len(hits) > q.count:
		hits = hits[:q.count]
		last := hits[len(hits)-1]
		at.commit, at.pairs, at.after = view.Number(), q.used, last.cursor()
		b.link("next", r.pageLink(q.typ, "search "+q.typ, at))
	}
	for i := range hits {
		if err := hits[i].load(view); err != nil {
			return answer{}, err
		}
	}
	included, err := r.include(view, q, hits)
	if err != nil {
		return answer{}, err
	}
	matches, others := q.subsets()
	for i := range hits {
		b.searchEntry(hits[i].Version, "match", matches(q.typ))
	}
	for i := range included {
		b.searchEntry(included[i], "include", others(included[i].Type))
	}
	if err := q.tell(view, &b.shown); err != nil {
		return answer{}, err
	}
	return b.answer(), nil
}

// tell notes the members that the search asks for by name, or comes by, and of
// whose records the answer holds nothing: that too tells something of them.
func (q *query) tell(view View, shown *disclosure) error {
	named := map[string]bool{}
	note := func(typ string, c fhir.Criterion) {
		members, _ := c.Members()
		if ids, ok := c.IDs(); ok && typ == "Patient" {
			members = append(members, ids...)
		}
		for _, member := range members {
			named[member] = true
		}
	}
	for _, c := range q.criteria {
		note(q.typ, c)
	}
	for _, c := range q.chains {
		for typ, inner := range c.targets {
			note(typ, inner)
		}
	}
	for i := range q.reverses {
		note(q.reverses[i].source, q.reverses[i].criterion)
	}
	for _, member := range q.told {
		named[member] = true
	}
	for i := range shown.versions {
		delete(named, shown.versions[i].member)
	}
	for _, member := range slices.Sorted(maps.Keys(named)) {
		switch _, ok, err := view.Read(fhir.ResourceID{Type: "Patient", ID: member}); {
		case err != nil:
			return fmt.Errorf("api: read Patient: %w", err)
		case ok:
			shown.tells(member)
		}
	}
	return nil
}

// subsets returns what is sent of the matches and of the included resources, by
// type; nil stands for all.
func (q *query) subsets() (matches, others func(resourceType string) *fhir.Subset) {
	whole := func(string) *fhir.Subset { return nil }
	if q.elements != nil {
		return func(string) *fhir.Subset { return q.elements }, whole
	}
	made := map[string]*fhir.Subset{}
	each := func(of func(string) *fhir.Subset) func(string) *fhir.Subset {
		return func(resourceType string) *fhir.Subset {
			if made[resourceType] == nil {
				made[resourceType] = of(resourceType)
			}
			return made[resourceType]
		}
	}
	switch q.form {
	case "true":
		matches = each(fhir.SummarySubset)
	case "text":
		matches = each(fhir.TextSubset)
	case "data":
		matches = each(func(string) *fhir.Subset { return fhir.DataSubset() })
	default:
		matches = whole
	}
	return matches, matches
}
