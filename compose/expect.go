package compose

import (
	"errors"
	"iter"
	"maps"
	"slices"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/compose/mapping"
	"github.com/tributary-health/tributary/fhir"
)

// Expected is what a resource is when it is composed from given rows alone:
// Content without versionId and lastUpdated, as it is hashed. Member is the
// Patient id it belongs to, empty for reference resources. A root that cannot be
// composed has Reason instead of everything but Root.
type Expected struct {
	Root    string // the member's key, or "source.table/key" of a reference row
	ID      fhir.ResourceID
	Member  string
	Content []byte
	Reason  string
}

// ComposeAll composes every resource of the rows, by the same code as a Worker
// but without a store, and calls fn for each: reference resources first, then
// member by member, in order. The rows are Read events; all of them are held in
// memory.
func ComposeAll(set *mapping.Set, rows iter.Seq2[*change.Event, error], fn func(Expected) error) error {
	e, err := fill(set, rows)
	if err != nil {
		return err
	}
	for _, t := range slices.SortedFunc(maps.Keys(e.plan.byTable), compareTables) {
		if err := e.expectReferences(t, fn); err != nil {
			return err
		}
	}
	members := make(map[string]bool)
	for t, decl := range e.plan.tables {
		if decl.Route.Kind != change.ByMember {
			continue
		}
		routes, err := e.state.allRoutes(t)
		if err != nil {
			return err
		}
		for _, m := range routes {
			members[m] = true
		}
	}
	delete(members, "")
	for _, m := range slices.Sorted(maps.Keys(members)) {
		if err := e.expectMember(m, fn); err != nil {
			return err
		}
	}
	return nil
}

// ComposeMember composes every resource of one member. The rows are the member's
// and those of the reference tables; others do no harm.
func ComposeMember(set *mapping.Set, rows iter.Seq2[*change.Event, error], member string, fn func(Expected) error) error {
	e, err := fill(set, rows)
	if err != nil {
		return err
	}
	return e.expectMember(member, fn)
}

// fill applies the rows to a state over nothing.
func fill(set *mapping.Set, rows iter.Seq2[*change.Event, error]) (*engine, error) {
	p, err := planOf(set)
	if err != nil {
		return nil, err
	}
	e := &engine{plan: p, state: newState(nothing{}), schemas: &schemas{}}
	for ev, err := range rows {
		if err != nil {
			return nil, err
		}
		if _, err := e.apply(ev); err != nil {
			return nil, err
		}
	}
	return e, nil
}

func (e *engine) expectReferences(t change.Table, fn func(Expected) error) error {
	if e.plan.tables[t].Route.Kind != change.Reference {
		return nil
	}
	rows, err := e.routed(t, "")
	if err != nil {
		return err
	}
	v := e.view("")
	for _, row := range rows {
		root := refKey{t, row.key}.root()
		var all []Expected
		for _, n := range e.plan.byTable[t] {
			c, err := v.compose(instance{n, "", row.key}, row.row)
			if err != nil {
				if all, err = failedRoot(root, err); err != nil {
					return err
				}
				break
			}
			if c.content != nil {
				all = append(all, Expected{Root: root, ID: c.id, Content: c.content})
			}
		}
		if err := each(all, fn); err != nil {
			return err
		}
	}
	return nil
}

func (e *engine) expectMember(m string, fn func(Expected) error) error {
	newest, err := e.rescanNewest(m)
	if err != nil {
		return err
	}
	id := e.plan.memberID(m)
	var all []Expected
	v := e.view(m)
	v.newest, v.dated = newestOf(newest), true
	err = v.whole(func(c composed) error {
		if c.content != nil {
			all = append(all, Expected{Root: m, ID: c.id, Member: id, Content: c.content})
		}
		return nil
	})
	if err != nil {
		if all, err = failedRoot(m, err); err != nil {
			return err
		}
	}
	return each(all, fn)
}

// failedRoot is what is expected of a root whose mapping fails.
func failedRoot(root string, err error) ([]Expected, error) {
	var f *failure
	if !errors.As(err, &f) {
		return nil, err
	}
	return []Expected{{Root: root, Reason: f.reason}}, nil
}

func each(all []Expected, fn func(Expected) error) error {
	for _, x := range all {
		if err := fn(x); err != nil {
			return err
		}
	}
	return nil
}
