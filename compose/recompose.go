package compose

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/compose/mapping"
	"github.com/tributary-health/tributary/fhir"
)

// recomposer composes what a unit has affected and writes the versions. Of a
// row that moved from one member to another the resource is one and the same:
// the new member's version comes first, and what is to be deleted is decided
// when all members are done, by whose the newest version is then.
type recomposer struct {
	w    *writer
	e    *engine
	gone []candidate
	// remake has the tokens of what is composed as a whole made even if it has not
	// changed.
	remake bool
}

// candidate is a resource to be deleted unless it has become another member's.
type candidate struct {
	id     fhir.ResourceID
	member string // Patient id
}

// affected composes everything in the set.
func (r *recomposer) affected(ctx context.Context, a *affected) error {
	if err := r.shared(a); err != nil {
		return err
	}
	if err := r.references(ctx, a.references); err != nil {
		return err
	}
	composeMembers := r.members
	if len(a.everywhere) > 0 {
		composeMembers = r.everybody(a.everywhere)
	}
	if err := composeMembers(ctx, slices.Sorted(maps.Keys(a.members)), a.members); err != nil {
		return err
	}
	return r.finish(ctx)
}

// finish writes the deletions.
func (r *recomposer) finish(ctx context.Context) error {
	for _, c := range r.gone {
		head, ok, err := r.e.state.headOf(c.member, c.id)
		if err != nil {
			return err
		}
		if !ok || head.Deleted || head.Member != c.member {
			continue
		}
		if err := r.w.write(ctx, &draft{id: c.id, head: head, existed: true, member: c.member}); err != nil {
			return err
		}
	}
	r.gone = nil
	return nil
}

// batch is one root's composition, before it is known whether all of it works.
type batch struct {
	committed time.Time // of the unit
	drafts    []*draft
	bytes     int // of the drafts
	gone      []candidate
	done      []composed // without content, for counting
	order     []instance
	alive     map[fhir.ResourceID]bool
	remake    bool              // the tokens of what has not changed are missing
	tokens    []commit.TokenSet // of these
}

// newBatch is for a root that is composed in the open unit.
func (e *engine) newBatch() *batch {
	return &batch{committed: e.unit.Committed, alive: make(map[fhir.ResourceID]bool)}
}

// keep writes a root's composition.
func (r *recomposer) keep(ctx context.Context, b *batch) error {
	for _, c := range b.done {
		if err := r.e.noteSkipped(c); err != nil {
			return err
		}
	}
	for _, d := range b.drafts {
		if err := r.w.write(ctx, d); err != nil {
			return err
		}
	}
	for _, s := range b.tokens {
		r.w.tokens(s)
	}
	for _, c := range b.gone {
		if !b.alive[c.id] { // a row may have moved to another route of the same member
			r.gone = append(r.gone, c)
		}
	}
	return nil
}

// addNewest adds the instances that use the newest date.
func (r *recomposer) addNewest(m string, s *memberSet) error {
	for _, n := range r.e.plan.newest {
		rows, err := r.e.memberRows(r.e.plan.resources[n].from, m)
		if err != nil {
			return err
		}
		for _, row := range rows {
			s.instances[instance{n, row.route, row.key}] = known
		}
	}
	return nil
}

// failed parks the root if err is a mapping's. It passes on any other error. A
// member that parks is found by none of its match tokens any more: what is known
// of it may be wrong.
func (r *recomposer) failed(ctx context.Context, root string, err error) (bool, error) {
	var f *failure
	if !errors.As(err, &f) {
		return false, err
	}
	if _, already := r.w.parked[root]; !already || r.remake {
		if err := r.w.withdraw(ctx, root); err != nil {
			return false, err
		}
	}
	r.w.park(root, f.reason)
	return true, nil
}

// goneOf finds the stored resources that are not alive.
func (b *batch) goneOf(e *engine, member string) error {
	ids, err := e.state.resources(member)
	b.gone = b.gone[:0]
	for _, id := range ids {
		if !b.alive[id] {
			b.gone = append(b.gone, candidate{id, member})
		}
	}
	return err
}

// references composes reference resources; each row is a root of its own.
func (r *recomposer) references(ctx context.Context, set map[instance]origin) error {
	byRow := make(map[refKey][]instance)
	for i := range set {
		k := refKey{r.e.plan.resources[i.resource].from, i.key}
		byRow[k] = append(byRow[k], i)
	}
	for _, k := range slices.SortedFunc(maps.Keys(byRow), compareRefs) {
		if _, parked := r.w.parked[k.root()]; parked {
			byRow[k] = r.instancesOf(k)
		}
		if err := r.reference(ctx, k, byRow[k]); err != nil {
			return err
		}
	}
	return nil
}

func (r *recomposer) instancesOf(k refKey) (all []instance) {
	for _, n := range r.e.plan.byTable[k.table] {
		all = append(all, instance{n, "", k.key})
	}
	return all
}

func (r *recomposer) reference(ctx context.Context, k refKey, instances []instance) error {
	slices.SortFunc(instances, compareInstances)
	v, b := r.e.view(""), r.e.newBatch()
	for _, i := range instances {
		c, err := v.compose(i, mapping.Row{})
		if err == nil {
			err = b.take(r.e, c, known, "")
		}
		if failed, err := r.failed(ctx, k.root(), err); failed || err != nil {
			return err
		}
	}
	r.w.unpark(k.root())
	return r.keep(ctx, b)
}

// root names the row among the parked roots.
func (k refKey) root() string { return k.table.String() + "/" + k.key }

// parkedRef reads refKey.root back; ok is false for a member.
func (p *plan) parkedRef(root string) (k refKey, ok bool) {
	for t, decl := range p.tables {
		if key, found := strings.CutPrefix(root, t.String()+"/"); found && decl.Route.Kind == change.Reference {
			return refKey{t, key}, true
		}
	}
	return k, false
}

func compareInstances(a, b instance) int {
	return cmp.Or(cmp.Compare(a.resource, b.resource), cmp.Compare(a.key, b.key), cmp.Compare(a.route, b.route))
}

func compareRefs(a, b refKey) int {
	return cmp.Or(compareTables(a.table, b.table), cmp.Compare(a.key, b.key))
}
