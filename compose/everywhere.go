package compose

import (
	"context"
	"maps"
	"slices"

	"github.com/tributary-health/tributary/change"
)

// A row that every resource of a mapping is joined with (is:) affects them all:
// too many to list. The mapping is noted, and its instances are found member by
// member, while the members are composed.

// shared adds the reference rows whose resources are affected everywhere.
func (r *recomposer) shared(a *affected) error {
	for n := range a.everywhere {
		from := r.e.plan.resources[n].from
		if r.e.plan.tables[from].Route.Kind != change.Reference {
			continue
		}
		err := r.e.state.rows(from, "", func(key string, _ []byte) bool {
			a.references[instance{n, "", key}] = known
			return true
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// everybody composes what of the members is affected, and every instance of the
// given resources in every other member's record too, a few members at a time.
func (r *recomposer) everybody(resources map[int]struct{}) func(ctx context.Context, keys []string, sets map[string]*memberSet) error {
	return func(ctx context.Context, keys []string, sets map[string]*memberSet) error {
		all, err := r.holders(resources, keys)
		if err != nil {
			return err
		}
		for chunk := range slices.Chunk(all, preparedAtOnce*workers()) {
			of := make(map[string]*memberSet, len(chunk))
			for _, m := range chunk {
				if of[m] = sets[m]; of[m] == nil {
					of[m] = &memberSet{instances: make(map[instance]origin), newest: make(map[change.Table]*newestChange)}
				}
				if err := r.e.addInstances(of[m], m, resources); err != nil {
					return err
				}
			}
			if err := r.members(ctx, chunk, of); err != nil {
				return err
			}
		}
		return nil
	}
}

// holders lists the given members and all that may have rows which the resources
// are made from, in order.
func (r *recomposer) holders(resources map[int]struct{}, keys []string) ([]string, error) {
	set := make(map[string]bool, len(keys))
	for _, m := range keys {
		set[m] = true
	}
	for n := range resources {
		t := r.e.plan.resources[n].from
		for r.e.plan.tables[t].Route.Kind == change.ByParent {
			t = r.e.plan.tables[t].Route.Parent
		}
		if r.e.plan.tables[t].Route.Kind != change.ByMember {
			continue
		}
		routes, err := r.e.state.allRoutes(t)
		if err != nil {
			return nil, err
		}
		for _, m := range routes {
			set[m] = true
		}
	}
	delete(set, "")
	return slices.Sorted(maps.Keys(set)), nil
}

// addInstances adds every instance of the resources in the member's record, as
// allOf does.
func (e *engine) addInstances(s *memberSet, m string, resources map[int]struct{}) error {
	if s.whole {
		return nil
	}
	for n := range resources {
		if err := e.eligible(n, m, func(i instance) { s.instances[i] = known }); err != nil {
			return err
		}
	}
	return nil
}
