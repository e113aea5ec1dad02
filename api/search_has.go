package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tributary-health/tributary/fhir"
)

// maxReverses is how many _has a search may have: each looks through a record for
// each candidate.
const maxReverses = 8

// reverse is a condition on what refers to a resource, one step away:
// _has:Type:reference:parameter[:modifier]=value (FHIR R4, search, 3.1.1.4.16).
// What refers to a resource of a member's record counts if it is in that record
// itself, whatever else the search asks for; a Patient may also be referred to as
// something else than whose record it is, from any record.
type reverse struct {
	sent      string // the parameter's name as it was sent
	source    string
	name      string // of the reference
	criterion fhir.Criterion

	// filters says that the condition is held against each candidate, by what is in
	// its own record: found are the ids that the record of member, which was looked
	// at last, refers to.
	filters bool
	looked  bool
	member  string
	found   map[string]bool
}

// parseReverse reads a _has parameter; ok is false for one that is none.
func parseReverse(typ string, p pair, base string) (r reverse, ok bool, err error) {
	rest, ok := strings.CutPrefix(p.name, "_has")
	if !ok || rest != "" && rest[0] != ':' {
		return r, false, nil
	}
	parts := strings.SplitN(rest, ":", 4)
	if len(parts) != 4 || slices.Contains(parts[1:], "") {
		return r, true, badParameter(p.name, "want _has:Type:reference:parameter")
	}
	r = reverse{sent: p.name, source: parts[1], name: parts[2]}
	if !fhir.IsResource(r.source) {
		return r, true, badParameter(p.name, "names no resource type")
	}
	param := fhir.FindParam(r.source, r.name)
	switch {
	case param == nil || param.Kind != fhir.ReferenceParam:
		return r, true, notSupported(p.name, "%s has no such reference parameter", r.source)
	case param.Targets != nil && !slices.Contains(param.Targets, typ):
		return r, true, notSupported(p.name, "%s of %s does not point at %s", r.name, r.source, typ)
	case strings.HasPrefix(parts[3], "_has:") || strings.Contains(parts[3], "."):
		return r, true, notSupported(p.name, "has more than one step")
	}
	if r.criterion, err = fhir.ParseCriterion(r.source, parts[3], p.value, base); err != nil {
		var wrong *fhir.ParamError
		if errors.As(err, &wrong) {
			wrong.Param = p.name
		}
		return r, true, err
	}
	r.filters = fhir.InRecord(r.source) && alwaysInRecord(typ) && (typ != "Patient" || param.Member)
	if fhir.InRecord(r.source) && !r.filters && !namesWhere(&r.criterion) {
		return r, true, notSupported(p.name, "%s resources of all members may refer to one %s: ask for those of a patient, an _id or an identifier, or search %s instead",
			r.source, typ, r.source)
	}
	return r, true, nil
}

// alwaysInRecord says whether all resources of the type are in members' records. Of
// one that only a mapping knows, such as a Medication, they may be or not.
func alwaysInRecord(typ string) bool {
	return fhir.InRecord(typ) && slices.Contains(fhir.SearchTypes(), typ)
}

// lookBack decides how each _has is answered. One that filters looks through the
// records of the candidates, one after the other, unless what refers is named and
// the candidates are not: then that leads to the candidates first. One that does
// not filter always leads to them. ok is false if it leads to nothing.
func (q *query) lookBack(ctx context.Context, view View) (ok bool, err error) {
	for i := range q.reverses {
		r := &q.reverses[i]
		if !q.visible(r.source) {
			return false, nil
		}
		if r.filters && (q.narrow() || !namesWhere(&r.criterion)) {
			continue
		}
		ids, err := q.leads(ctx, view, r)
		if len(ids) == 0 || err != nil {
			return false, err
		}
		criterion, err := fhir.ParseCriterion(q.typ, "_id", strings.Join(ids, ","), "")
		if err != nil {
			return false, err
		}
		q.criteria = append(q.criteria, criterion)
	}
	return true, nil
}

// leads finds what refers, as a search for it would, and returns the ids that it
// refers to. Of a member's record that is all there is of it.
func (q *query) leads(ctx context.Context, view View, r *reverse) (ids []string, err error) {
	_, bounded := r.criterion.Members()
	var at page
	for {
		found, err := q.referrers(ctx, view, r, at)
		if err != nil {
			return nil, err
		}
		more := len(found) > maxChained
		if more && !bounded {
			return nil, tooCostly(r.sent, "leads over more than %d resources", maxChained)
		}
		for _, h := range found {
			for _, id := range fhir.References(h.Index, r.source, r.name) {
				if id.Type == q.typ {
					ids = append(ids, id.ID)
				}
			}
			if !r.filters && h.Member != "" { // the answer tells of whose it is, and does not show it
				q.told = append(q.told, h.Member)
			}
		}
		slices.Sort(ids)
		if ids = slices.Compact(ids); len(ids) > maxChained {
			return nil, tooCostly(r.sent, "leads to more than %d resources", maxChained)
		}
		if !more {
			return ids, nil
		}
		at.after = found[maxChained].cursor()
	}
}

// referrers are what satisfies the condition behind a place, one more than
// maxChained at most.
func (q *query) referrers(ctx context.Context, view View, r *reverse, at page) ([]hit, error) {
	inner := &query{typ: r.source, count: maxChained, total: "none", criteria: []fhir.Criterion{r.criterion}}
	if to, ok := q.references(); ok {
		criterion, err := fhir.ParseCriterion(r.source, r.name, to, "")
		if err != nil {
			return nil, err
		}
		inner.criteria = append(inner.criteria, criterion)
	}
	found, err := inner.run(ctx, view, at)
	if err != nil {
		return nil, err
	}
	return found.hits, nil
}

// records are those that a _has of the search names: nothing else satisfies it.
func (q *query) records() (members []string, ok bool) {
	for i := range q.reverses {
		if members, ok := q.reverses[i].criterion.Members(); ok && q.reverses[i].filters {
			return members, true
		}
	}
	return nil, false
}

// references are the references to what the search names by _id.
func (q *query) references() (list string, ok bool) {
	for i := range q.criteria {
		ids, ok := q.criteria[i].IDs()
		if !ok {
			continue
		}
		var to []string
		for _, id := range ids {
			to = append(to, q.typ+"/"+id)
		}
		return strings.Join(to, ","), true
	}
	return "", false
}

// refers says whether something in the candidate's record that satisfies the
// condition refers to it.
func (r *reverse) refers(ctx context.Context, view View, v fhir.Version) (bool, error) {
	if r.looked && r.member == v.Member {
		return r.found[v.ID], nil
	}
	r.looked, r.member, r.found = true, v.Member, map[string]bool{}
	seen := 0
	err := view.Scan(r.source, v.Member, false, v.Member, "", func(from fhir.Version) bool {
		if r.criterion.Match(from) {
			for _, id := range fhir.References(from.Index, r.source, r.name) {
				if id.Type == v.Type {
					r.found[id.ID] = true
				}
			}
		}
		seen++
		// A record has one Patient: who is found need not be looked for any more.
		return (v.Type != "Patient" || !r.found[v.ID]) && (seen%1024 != 0 || ctx.Err() == nil)
	})
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return false, fmt.Errorf("api: scan %s: %w", r.source, err)
	}
	return r.found[v.ID], nil
}
