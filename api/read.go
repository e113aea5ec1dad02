package api

import (
	"fmt"
	"strconv"

	"github.com/tributary-health/tributary/fhir"
)

func (s *server) read(r *request) (answer, error) {
	id, err := r.resourceID()
	if err != nil {
		return answer{}, err
	}
	part, err := r.part(id.Type)
	if err != nil {
		return answer{}, err
	}
	view, err := r.open(0)
	if err != nil {
		return answer{}, err
	}
	v, err := current(view, id)
	if err != nil {
		return answer{}, err
	}
	return r.versionAnswer(v, part), nil
}

// part is what _summary or _elements leave of what is read; nil stands for all.
func (r *request) part(typ string) (*fhir.Subset, error) {
	if r.c.Request.URL.RawQuery == "" {
		return nil, nil
	}
	pairs, err := r.queryPairs()
	if err != nil {
		return nil, err
	}
	q := &query{typ: typ, count: defaultCount}
	for _, p := range pairs {
		if p.name != "_summary" && p.name != "_elements" {
			continue
		}
		_, err := q.control(p)
		if err == nil && q.summary {
			err = badParameter(p.name, "counts the matches of a search, and this is none")
		}
		if err != nil && !(r.lenient() && unsupported(err)) {
			return nil, err
		}
		q.used = append(q.used, p)
	}
	if err := q.settle(); err != nil {
		return nil, err
	}
	of, _ := q.subsets()
	return of(typ), nil
}

// current reads the version that is current in the view; that there is none, or
// no more, is the error.
func current(view View, id fhir.ResourceID) (fhir.Version, error) {
	v, ok, err := view.Read(id)
	switch {
	case err != nil:
		return v, fmt.Errorf("api: read %s: %w", id.Type, err)
	case !ok:
		return v, notFound
	case v.Deleted:
		return v, goneOf(v)
	}
	return v, nil
}

func (s *server) vread(r *request) (answer, error) {
	id, err := r.resourceID()
	if err != nil {
		return answer{}, err
	}
	number, err := strconv.ParseUint(r.c.Param("version"), 10, 64)
	if err != nil || number == 0 {
		return answer{}, notFound
	}
	part, err := r.part(id.Type)
	if err != nil {
		return answer{}, err
	}
	view, err := r.open(0)
	if err != nil {
		return answer{}, err
	}
	v, ok, err := view.VRead(id, number)
	switch {
	case err != nil:
		return answer{}, fmt.Errorf("api: read a version of %s: %w", id.Type, err)
	case !ok:
		return answer{}, notFound
	case v.Deleted:
		return answer{}, goneOf(v)
	}
	return r.versionAnswer(v, part), nil
}

// history answers with the versions of one resource, newest first. Its pages
// stay at the commit number of the first.
func (s *server) history(r *request) (answer, error) {
	id, err := r.resourceID()
	if err != nil {
		return answer{}, err
	}
	pairs, err := r.queryPairs()
	if err != nil {
		return answer{}, err
	}
	scope := "history " + id.String()
	page, paged, err := r.pageOf(scope, pairs)
	if err != nil {
		return answer{}, err
	}
	self := r.address(id.String()+"/_history", pairs)
	if paged {
		pairs = page.pairs
	}
	count, since, err := historyParams(pairs)
	if err != nil {
		return answer{}, err
	}
	view, err := r.openPage(page)
	if err != nil {
		return answer{}, err
	}
	newest, ok, err := view.Read(id)
	if err != nil {
		return answer{}, fmt.Errorf("api: read %s: %w", id.Type, err)
	}
	if !ok {
		return answer{}, notFound
	}
	versions, more, err := collectHistory(view, id, page.before, count, since)
	if err != nil {
		return answer{}, err
	}
	b := r.newBundle("history")
	if since.Low == fhir.Always.Low {
		b.total(newest.Number - r.store.FirstVersion() + 1)
	}
	b.link("self", self)
	if more {
		page.commit, page.pairs, page.before = view.Number(), pairs, versions[len(versions)-1].Number
		b.link("next", r.pageLink(id.String()+"/_history", scope, page))
	}
	for _, v := range versions {
		b.historyEntry(v, r.store.FirstVersion())
	}
	b.shown.tells(newest.Member)
	return b.answer(), nil
}

func historyParams(pairs []pair) (count int, since fhir.DateRange, err error) {
	count, since = defaultCount, fhir.Always
	for _, p := range pairs {
		switch p.name {
		case "_count":
			if count, err = parseCount(p.value); err == nil && count == 0 {
				err = badParameter("_count", "want 1 to %d", maxCount)
			}
		case "_since":
			if since, err = fhir.ParseDate(p.value); err != nil {
				err = badParameter("_since", "%v", err)
			}
		case "_format", "_pretty":
		default:
			err = badParameter(p.name, "history has no such parameter")
		}
		if err != nil {
			return 0, since, err
		}
	}
	return count, since, nil
}

func collectHistory(view View, id fhir.ResourceID, before uint64, count int, since fhir.DateRange) (versions []fhir.Version, more bool, err error) {
	err = view.History(id, before, func(v fhir.Version) bool {
		if v.Updated.UnixMicro() < since.Low {
			return false
		}
		if more = len(versions) == count; more {
			return false
		}
		versions = append(versions, v)
		return true
	})
	if err != nil {
		return nil, false, fmt.Errorf("api: history of %s: %w", id.Type, err)
	}
	return versions, more, nil
}
