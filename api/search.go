package api

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/tributary-health/tributary/fhir"
)

const (
	defaultCount = 50
	maxCount     = 1000
	maxForm      = 64 << 10
)

// query is one search, parsed. What it found is ordered by sort, then by member
// and id.
type query struct {
	typ      string
	criteria []fhir.Criterion
	includes []string // reference parameters of typ, "*" for all, with ":Type" to narrow
	sort     []sortBy
	count    int
	summary  bool   // count only
	total    string // "", none, estimate or accurate
	used     []pair // the parameters that had an effect, as they were sent
}

type sortBy struct {
	param      string
	descending bool
}

func (s *server) search(r *request) error {
	typ, err := r.resourceType()
	if err != nil {
		return err
	}
	pairs, err := parsePairs(r.c.Request.URL.RawQuery)
	if err != nil {
		return err
	}
	return r.runSearch(typ, pairs)
}

// searchForm is the search by POST, whose parameters are not in the address.
func (s *server) searchForm(r *request) error {
	typ, err := r.resourceType()
	if err != nil {
		return err
	}
	media, _, err := mime.ParseMediaType(r.c.Request.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		return problem{status: http.StatusUnsupportedMediaType, code: "not-supported", text: "want a body of application/x-www-form-urlencoded"}
	}
	form, err := io.ReadAll(http.MaxBytesReader(r.c.Writer, r.c.Request.Body, maxForm))
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return err
		}
		return problem{status: http.StatusBadRequest, code: "incomplete", text: "the body ended early", cause: err}
	}
	pairs, err := parsePairs(r.c.Request.URL.RawQuery)
	if err != nil {
		return err
	}
	inForm, err := parsePairs(string(form))
	if err != nil {
		return err
	}
	return r.runSearch(typ, append(pairs, inForm...))
}

func (r *request) runSearch(typ string, pairs []pair) error {
	page, paged, err := r.pageOf("search "+typ, pairs)
	if err != nil {
		return err
	}
	if paged {
		pairs = page.pairs
	}
	q, err := r.parseSearch(typ, pairs)
	if err != nil {
		return err
	}
	view, err := r.openPage(page)
	if err != nil {
		return err
	}
	found, err := q.run(r.c.Request.Context(), view, page)
	if err != nil {
		return err
	}
	return r.sendFound(view, q, found, page, paged)
}

func (r *request) sendFound(view View, q *query, found *results, at page, paged bool) error {
	b := r.newBundle("searchset")
	defer b.release()
	if found.counted {
		b.total(found.total)
		at.total = found.total + 1
	} else if at.total > 0 {
		b.total(at.total - 1)
	}
	b.link("self", r.pageSelf(q.typ, q.used, paged))
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
			return err
		}
		b.searchEntry(hits[i].Version, "match")
	}
	if err := r.include(view, q, hits, b); err != nil {
		return err
	}
	r.send(http.StatusOK, b.bytes())
	return nil
}

// include adds what the matches refer to, each once, as far as the caller may
// see it.
func (r *request) include(view View, q *query, hits []hit, b *bundle) error {
	if len(q.includes) == 0 {
		return nil
	}
	seen := make(map[fhir.ResourceID]bool, len(hits))
	for i := range hits {
		seen[hits[i].ResourceID] = true
	}
	for i := range hits {
		for _, include := range q.includes {
			param, target, _ := strings.Cut(include, ":")
			for _, id := range fhir.References(hits[i].Index, q.typ, param) {
				if seen[id] || target != "" && id.Type != target || !r.types[id.Type] || !r.caller.MayRead(id.Type) {
					continue
				}
				seen[id] = true
				v, ok, err := view.Read(id)
				if err != nil {
					return fmt.Errorf("api: include %s: %w", id, err)
				}
				if ok && !v.Deleted {
					b.searchEntry(v, "include")
				}
			}
		}
	}
	return nil
}

// parseSearch reads the parameters. An unknown one is an error, unless the
// caller asks for leniency; a known one that is wrong always is.
func (r *request) parseSearch(typ string, pairs []pair) (*query, error) {
	q := &query{typ: typ, count: defaultCount}
	lenient := false
	for _, prefer := range r.c.Request.Header["Prefer"] {
		lenient = lenient || strings.Contains(strings.ReplaceAll(prefer, " ", ""), "handling=lenient")
	}
	base := r.base()
	for _, p := range pairs {
		handled, err := q.control(p)
		if !handled && err == nil {
			var c fhir.Criterion
			if c, err = fhir.ParseCriterion(typ, p.name, p.value, base); err == nil {
				q.criteria = append(q.criteria, c)
			}
		}
		var param *fhir.ParamError
		if lenient && errors.As(err, &param) && param.Unknown {
			continue
		}
		if err != nil {
			return nil, err
		}
		if p.name != "_format" && p.name != "_pretty" {
			q.used = append(q.used, p)
		}
	}
	if q.count == 0 {
		q.summary = true
	}
	return q, nil
}

// control takes the parameters that say how to answer; handled is false for one
// that says what to find.
func (q *query) control(p pair) (handled bool, err error) {
	switch p.name {
	case "_format", "_pretty":
		return true, nil
	case "_count", "_summary", "_total", "_sort":
		for _, before := range q.used {
			if before.name == p.name {
				return true, badParameter(p.name, "is given more than once")
			}
		}
	}
	switch p.name {
	case "_count":
		q.count, err = parseCount(p.value)
	case "_summary":
		if p.value != "count" && p.value != "false" {
			return true, badParameter(p.name, "want count or false")
		}
		q.summary = p.value == "count"
	case "_total":
		if p.value != "none" && p.value != "estimate" && p.value != "accurate" {
			return true, badParameter(p.name, "want none, estimate or accurate")
		}
		q.total = p.value
	case "_include":
		return true, q.addInclude(p.value)
	case "_sort":
		return true, q.addSort(p.value)
	default:
		return false, nil
	}
	return true, err
}

func parseCount(value string) (int, error) {
	n, err := strconv.ParseUint(value, 10, 32)
	if err != nil || n > maxCount {
		return 0, badParameter("_count", "want a number from 0 to %d", maxCount)
	}
	return int(n), nil
}

func (q *query) addInclude(value string) error {
	source, param, ok := strings.Cut(value, ":")
	if value == "*" {
		source, param, ok = q.typ, "*", true
	}
	name, _, _ := strings.Cut(param, ":")
	if !ok || source != q.typ {
		return badParameter("_include", "want %s:parameter or %s:parameter:Type", q.typ, q.typ)
	}
	known := name == "*"
	for _, p := range fhir.SearchParams(q.typ) {
		known = known || p.Name == name && p.Kind == fhir.ReferenceParam
	}
	if !known {
		return badParameter("_include", "%s has no such reference parameter", q.typ)
	}
	q.includes = append(q.includes, param)
	return nil
}

func (q *query) addSort(value string) error {
	for rule := range strings.SplitSeq(value, ",") {
		param, descending := strings.CutPrefix(rule, "-")
		if _, ok := fhir.SortKey(nil, fhir.Version{ResourceID: fhir.ResourceID{Type: q.typ}}, param, descending); !ok {
			return badParameter("_sort", "want _id, _lastUpdated or a date parameter of %s", q.typ)
		}
		q.sort = append(q.sort, sortBy{param, descending})
	}
	return nil
}
