package api

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/tributary-health/tributary/fhir"
)

// addShared adds what the record refers to outside of members' records:
// organizations, practitioners, places. A reference counts wherever it stands, so
// the whole record in scope is read, once, for the page that ends it. With
// _since, what the answer refers to is sent however old it is, and what the rest
// of the record refers to if it is recent.
func (e *record) addShared(ctx context.Context, patient fhir.Version) error {
	f := &shared{record: e, found: make(map[fhir.ResourceID]bool)}
	f.note(patient.Body, e.recent(patient))
	for _, typ := range e.Types {
		if typ == "Patient" || !e.visible(typ) {
			continue
		}
		var failed error
		err := e.scan(ctx, typ, "", func(v fhir.Version) bool {
			h := hit{Version: v}
			if failed = h.load(e.view); failed != nil {
				return false
			}
			f.note(h.Body, e.recent(v))
			return ctx.Err() == nil
		})
		err = cmp.Or(failed, err)
		if err != nil {
			return err
		}
	}
	versions, err := f.follow(ctx)
	if err != nil {
		return err
	}
	for _, v := range versions {
		if !e.add(phaseShared, v) {
			return nil
		}
	}
	return nil
}

// shared finds the resources that a record refers to.
type shared struct {
	*record
	found map[fhir.ResourceID]bool // true: by what is in the answer
	queue []fhir.ResourceID
}

// note takes the references of a resource.
func (f *shared) note(body []byte, answered bool) {
	for _, id := range references(nil, body) {
		if had, ok := f.found[id]; (!ok || answered && !had) && f.visible(id.Type) {
			f.found[id] = answered
			f.queue = append(f.queue, id)
		}
	}
}

// follow reads what was noted, and what that refers to in turn, and returns what
// is sent of it, in order.
func (f *shared) follow(ctx context.Context) ([]fhir.Version, error) {
	versions := make(map[fhir.ResourceID]fhir.Version)
	for len(f.queue) > 0 {
		id := f.queue[0]
		f.queue = f.queue[1:]
		v, ok, err := f.view.Read(id)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", id.Type, err)
		}
		if !ok || v.Deleted || v.Member != "" {
			continue
		}
		f.note(v.Body, f.found[id])
		if f.wanted(id.Type) && (f.found[id] || f.recent(v)) {
			versions[id] = v
		}
	}
	var ordered []fhir.Version
	for _, v := range versions {
		ordered = append(ordered, v)
	}
	slices.SortFunc(ordered, func(a, b fhir.Version) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.ID, b.ID))
	})
	return ordered, nil
}
