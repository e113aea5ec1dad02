package api

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/tributary-health/tributary/fhir"
)

// parseSearch reads the parameters. One that is unknown or not supported is an
// error, unless the caller asks for leniency: a search that quietly leaves out a
// filter finds too much. A known one that is wrong always is.
func (r *request) parseSearch(typ string, pairs []pair) (*query, error) {
	q := &query{typ: typ, count: defaultCount, visible: r.maySearch}
	lenient := r.lenient()
	base := r.base()
	values := 0
	for _, p := range pairs {
		if p.value == "" && lenient {
			continue
		}
		handled, err := q.control(p)
		if !handled && err == nil {
			var n int
			if n, err = q.criterion(p, base); err == nil {
				if values += n; values > maxValues || q.conditions() > maxCriteria {
					err = tooCostly(p.name, "the search has more than %d parameters or %d values", maxCriteria, maxValues)
				}
			}
		}
		if err != nil && lenient && unsupported(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if p.name != "_format" && p.name != "_pretty" {
			q.used = append(q.used, p)
		}
	}
	return q, q.settle()
}

// criterion takes a parameter that says what to find, and returns how many values
// it has.
func (q *query) criterion(p pair, base string) (values int, err error) {
	chained, ok, err := parseChain(q.typ, p, base)
	if err != nil {
		return 0, err
	}
	if ok {
		q.chains = append(q.chains, chained)
		return chained.values(), nil
	}
	back, ok, err := parseReverse(q.typ, p, base)
	switch {
	case err != nil:
		return 0, err
	case ok && len(q.reverses) == maxReverses:
		return 0, tooCostly(p.name, "the search has more than %d _has", maxReverses)
	case ok:
		q.reverses = append(q.reverses, back)
		return back.criterion.Values(), nil
	}
	body, ok, err := fhir.ParseBodyCriterion(q.typ, p.name, p.value)
	switch {
	case err != nil:
		return 0, err
	case ok:
		if in, ok := body.InIndex(); ok {
			q.criteria = append(q.criteria, in)
		}
		q.bodies = append(q.bodies, bodyCondition{p.name, body})
		return body.Values(), nil
	}
	c, err := fhir.ParseCriterion(q.typ, p.name, p.value, base)
	if err == nil {
		q.criteria = append(q.criteria, c)
	}
	return c.Values(), err
}

// conditions is how many parameters say what to find.
func (q *query) conditions() int {
	return len(q.criteria) + len(q.chains) + len(q.reverses) + len(q.bodies)
}

// maySearch says whether the caller may know of resources of the type here.
func (r *request) maySearch(resourceType string) bool {
	return r.types[resourceType] && r.caller.MayRead(resourceType)
}

// settle checks what the parameters mean together.
func (q *query) settle() error {
	if q.count == 0 {
		q.summary = true
	}
	switch {
	case q.elements != nil && q.form != "":
		return badParameter("_elements", "does not go together with _summary=%s", q.form)
	case q.form == "text" && len(q.includes) > 0:
		return badParameter(q.includes[0].name, "does not go together with _summary=text")
	}
	return nil
}

// lenient reports whether the caller asks to leave out what is not supported.
func (r *request) lenient() bool {
	for _, prefer := range r.c.Request.Header["Prefer"] {
		for one := range strings.FieldsFuncSeq(prefer, func(c rune) bool { return c == ',' || c == ';' }) {
			name, value, _ := strings.Cut(one, "=")
			if strings.EqualFold(strings.TrimSpace(name), "handling") {
				return strings.EqualFold(strings.Trim(value, ` "`), "lenient")
			}
		}
	}
	return false
}

// unsupported reports whether leniency forgives the error.
func unsupported(err error) bool {
	var param *fhir.ParamError
	if errors.As(err, &param) {
		return param.Unknown
	}
	var p problem
	return errors.As(err, &p) && p.code == "not-supported"
}

// control takes the parameters that say how to answer; handled is false for one
// that says what to find.
func (q *query) control(p pair) (handled bool, err error) {
	switch p.name {
	case "_format", "_pretty":
		return true, nil
	case "_count", "_summary", "_total", "_elements":
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
		err = q.setSummary(p.value)
	case "_elements":
		err = q.setElements(p.value)
	case "_total":
		if p.value != "none" && p.value != "estimate" && p.value != "accurate" {
			return true, badParameter(p.name, "want none, estimate or accurate")
		}
		q.total = p.value
	case "_include", "_include:iterate", "_revinclude", "_revinclude:iterate":
		err = q.addInclude(p.name, p.value)
	case "_sort":
		err = q.addSort(p.value)
	default:
		return false, nil
	}
	return true, err
}

func (q *query) setSummary(value string) error {
	switch value {
	case "count":
		q.summary = true
	case "true", "text", "data":
		q.form = value
	case "false":
	default:
		return badParameter("_summary", "want true, text, data, count or false")
	}
	return nil
}

func (q *query) setElements(value string) error {
	names := strings.Split(value, ",")
	if len(names) > maxSubsetting {
		return tooCostly("_elements", "has more than %d names", maxSubsetting)
	}
	var ok bool
	if q.elements, ok = fhir.ElementsSubset(q.typ, names); !ok || slices.Contains(names, "") {
		q.elements = nil
		return notSupported("_elements", "want names of elements at the root of %s, with commas between", q.typ)
	}
	return nil
}

// parseCount reads how many a page may have. Of a larger number a page has
// maxCount, for R4 lets a page have less than was asked for.
func parseCount(value string) (int, error) {
	n, err := strconv.ParseUint(value, 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		n, err = maxCount, nil
	}
	if err != nil {
		return 0, badParameter("_count", "want a number of entries, 0 or more")
	}
	return int(min(n, maxCount)), nil
}

func (q *query) addSort(value string) error {
	rules := q.sort
	for rule := range strings.SplitSeq(value, ",") {
		param, descending := strings.CutPrefix(rule, "-")
		if _, ok := fhir.SortKey(nil, fhir.Version{ResourceID: fhir.ResourceID{Type: q.typ}}, param, descending); !ok {
			return notSupported("_sort", "want _id, _lastUpdated or a date parameter of %s", q.typ)
		}
		rules = append(rules, sortBy{param, descending})
	}
	if len(rules) > maxSorts {
		return tooCostly("_sort", "has more than %d rules", maxSorts)
	}
	q.sort = slices.Clip(rules)
	return nil
}
