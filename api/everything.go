package api

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tributary-health/tributary/fhir"
)

// everything answers with a member's record, in an order that pages can go on
// in: the Patient; the record's resources by type and id; then, each once, what
// of the data that all members share they refer to, by type and id.
func (s *server) everything(r *request) (answer, error) {
	patient := fhir.ResourceID{Type: "Patient", ID: r.c.Param("id")}
	if !r.types["Patient"] || !fhir.ValidID(patient.ID) {
		return answer{}, notFound
	}
	if err := r.mayRead("Patient"); err != nil {
		return answer{}, err
	}
	pairs, err := r.operationPairs()
	if err != nil {
		return answer{}, err
	}
	scope := "everything " + patient.ID
	page, paged, err := r.pageOf(scope, pairs)
	if err != nil {
		return answer{}, err
	}
	self := r.address(patient.String()+"/$everything", pairs)
	if paged {
		pairs = page.pairs
	}
	e := &record{request: r, member: patient.ID, after: page.after.key, counting: page.total == 0}
	if pairs, err = e.parse(pairs); err != nil {
		return answer{}, err
	}
	if !paged {
		self = r.address(patient.String()+"/$everything", pairs)
	}
	if e.view, err = r.openPage(page); err != nil {
		return answer{}, err
	}
	v, err := current(e.view, patient)
	if err != nil {
		return answer{}, err
	}
	if err := e.collect(v); err != nil {
		return answer{}, fmt.Errorf("api: everything: %w", err)
	}
	page.pairs = pairs
	return e.answer(page, scope, self)
}

// record is one page of a member's record in the making.
type record struct {
	*request
	view   View
	member string

	// What is asked for.
	count int
	care  fhir.DateRange // only care that overlaps it
	since int64          // only what was updated at or after it, in microseconds
	only  []string       // types; nil for all

	after    string // the key behind which the page begins
	counting bool
	total    uint64
	hits     []hit // at most one more than count
}

// The phases of the order, which keys begin with.
const (
	phasePatient = "0"
	phaseRecord  = "1"
	phaseShared  = "2"
)

// parse reads the parameters and returns those that have an effect.
func (e *record) parse(pairs []pair) (used []pair, err error) {
	e.count, e.care, e.since = maxCount, fhir.Always, fhir.Always.Low
	given := map[string]bool{}
	for _, p := range pairs {
		if given[p.name] && p.name != "_type" {
			return nil, badParameter(p.name, "is given more than once")
		}
		given[p.name] = true
		var date fhir.DateRange
		switch p.name {
		case "start", "end", "_since":
			if date, err = fhir.ParseDate(p.value); err != nil {
				return nil, badParameter(p.name, "%v", err)
			}
		}
		switch p.name {
		case "start":
			e.care.Low = date.Low
		case "end":
			e.care.High = date.High
		case "_since":
			e.since = date.Low
		case "_count":
			if e.count, err = parseCount(p.value); err == nil && e.count == 0 {
				err = badParameter("_count", "want 1 to %d", maxCount)
			}
		case "_type":
			err = e.addTypes(p.value)
		case "_format", "_pretty":
		default:
			err = notSupported(p.name, "the operation has no such parameter")
		}
		if err != nil && e.lenient() && unsupported(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if p.name != "_format" && p.name != "_pretty" {
			used = append(used, p)
		}
	}
	if e.care.Low >= e.care.High {
		return nil, badParameter("end", "is before the start")
	}
	return used, nil
}

func (e *record) addTypes(value string) error {
	for name := range strings.SplitSeq(value, ",") {
		if !fhir.IsResource(name) {
			return badParameter("_type", "want names of resource types, with commas between")
		}
		e.only = append(e.only, name)
	}
	return nil
}

// wanted says whether resources of the type are sent.
func (e *record) wanted(resourceType string) bool {
	return e.visible(resourceType) && (e.only == nil || slices.Contains(e.only, resourceType))
}

// visible says whether the caller may know of resources of the type here.
func (e *record) visible(resourceType string) bool {
	return e.types[resourceType] && e.caller.MayRead(resourceType)
}

// recent says whether the resource was updated since.
func (e *record) recent(v fhir.Version) bool { return v.Updated.UnixMicro() >= e.since }

// inScope says whether the resource's care is in the time asked for; what has no
// date is.
func (e *record) inScope(v fhir.Version) bool {
	care, dated := fhir.CareDate(v)
	return !dated || care.Overlaps(e.care)
}

// add takes the next resource in order and reports whether more are needed.
func (e *record) add(phase string, v fhir.Version) bool {
	if key := phase + v.Type + "/" + v.ID; key > e.after && len(e.hits) <= e.count {
		e.hits = append(e.hits, hit{Version: v, key: key})
	}
	return len(e.hits) <= e.count
}

func (e *record) collect(patient fhir.Version) error {
	ctx := e.ctx
	if e.wanted("Patient") && e.recent(patient) {
		e.total++
		e.add(phasePatient, patient)
	}
	for _, typ := range e.Types {
		if typ == "Patient" || !e.wanted(typ) || !e.counting && len(e.hits) > e.count {
			continue
		}
		err := e.scan(ctx, typ, e.afterIn(typ), func(v fhir.Version) bool {
			if !e.recent(v) {
				return true
			}
			e.total++
			return e.add(phaseRecord, v) || e.counting
		})
		if err != nil {
			return err
		}
	}
	if len(e.hits) > e.count {
		return nil
	}
	return e.addShared(ctx, patient)
}

// afterIn returns the id behind which the page goes on within the type; lastID
// if the type is done.
func (e *record) afterIn(typ string) string {
	if id, ok := strings.CutPrefix(e.after, phaseRecord+typ+"/"); ok {
		return id
	}
	if phaseRecord+typ+"/" < e.after {
		return lastID
	}
	return ""
}

// lastID is behind every id.
const lastID = "~"

// scan calls fn for the record's resources of the type, behind an id, whose care
// is in scope.
func (e *record) scan(ctx context.Context, typ, afterID string, fn func(fhir.Version) bool) error {
	seen := 0
	err := e.view.Scan(typ, e.member, false, e.member, afterID, func(v fhir.Version) bool {
		seen++
		return (!e.inScope(v) || fn(v)) && (seen%1024 != 0 || ctx.Err() == nil)
	})
	if err == nil {
		err = ctx.Err()
	}
	return err
}

func (e *record) answer(at page, scope, self string) (answer, error) {
	b := e.newBundle("searchset")
	if e.counting {
		at.total = e.total + 1
	}
	b.total(at.total - 1)
	b.link("self", self)
	if len(e.hits) > e.count {
		e.hits = e.hits[:e.count]
		at.commit, at.after = e.view.Number(), cursor{key: e.hits[e.count-1].key}
		b.link("next", e.pageLink("Patient/"+e.member+"/$everything", scope, at))
	}
	for i := range e.hits {
		if err := e.hits[i].load(e.view); err != nil {
			return answer{}, err
		}
		mode := "match"
		if strings.HasPrefix(e.hits[i].key, phaseShared) {
			mode = "include"
		}
		b.searchEntry(e.hits[i].Version, mode, nil)
	}
	b.shown.tells(e.member)
	return b.answer(), nil
}
