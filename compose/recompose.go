package compose

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/tributary-health/tributary/change"
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
}

// candidate is a resource to be deleted unless it has become another member's.
type candidate struct {
	id     fhir.ResourceID
	member string // Patient id
}

// affected composes everything in the set.
func (r *recomposer) affected(ctx context.Context, a *affected) error {
	if err := r.references(ctx, a.references); err != nil {
		return err
	}
	for _, m := range slices.Sorted(maps.Keys(a.members)) {
		if err := r.member(ctx, m, a.members[m]); err != nil {
			return err
		}
	}
	return r.finish(ctx)
}

// finish writes the deletions.
func (r *recomposer) finish(ctx context.Context) error {
	for _, c := range r.gone {
		head, ok, err := r.e.state.head(c.id)
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
	drafts []*draft
	gone   []candidate
	done   []composed // without content, for counting
	alive  map[fhir.ResourceID]bool
}

func newBatch() *batch { return &batch{alive: make(map[fhir.ResourceID]bool)} }

// take compares one instance with what is stored.
func (b *batch) take(e *engine, c composed, member string) error {
	if r := &e.plan.resources[c.resource]; r.skipped != "" {
		b.done = append(b.done, composed{instance: c.instance, skipped: c.skipped})
	}
	if c.content == nil {
		b.gone = append(b.gone, candidate{c.id, member})
		return nil
	}
	b.alive[c.id] = true
	head, ok, err := e.state.head(c.id)
	if err != nil {
		return err
	}
	d := &draft{id: c.id, head: head, existed: ok, content: c.content, member: member}
	sum := sha256.Sum256(c.content)
	copy(d.hash[:], sum[:])
	if !ok || head.Deleted || head.Hash != d.hash || head.Member != member {
		b.drafts = append(b.drafts, d)
	}
	return nil
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
	for _, c := range b.gone {
		if !b.alive[c.id] { // a row may have moved to another route of the same member
			r.gone = append(r.gone, c)
		}
	}
	return nil
}

// member composes what of one member is affected: all of it or, when any of it
// fails, nothing.
func (r *recomposer) member(ctx context.Context, m string, s *memberSet) error {
	e := r.e
	if _, parked := r.w.parked[m]; parked {
		s.whole = true
	}
	if s.whole {
		if err := e.rescanNewest(m); err != nil {
			return err
		}
		return r.wholeMember(ctx, m)
	}
	moved, err := e.settleNewest(m, s)
	if err != nil {
		return err
	}
	if moved {
		if err := r.addNewest(m, s); err != nil {
			return err
		}
	}
	v := e.view(m)
	b := newBatch()
	id := e.plan.memberID(m)
	for _, i := range slices.SortedFunc(maps.Keys(s.instances), compareInstances) {
		c, err := v.compose(i, mapping.Row{})
		if err == nil {
			err = b.take(e, c, id)
		}
		if failed, err := r.failed(m, err); failed || err != nil {
			return err
		}
	}
	return r.keep(ctx, b)
}

// addNewest adds the instances that use the newest date.
func (r *recomposer) addNewest(m string, s *memberSet) error {
	for _, n := range r.e.plan.newest {
		rows, err := r.e.memberRows(r.e.plan.resources[n].from, m)
		if err != nil {
			return err
		}
		for _, row := range rows {
			s.instances[instance{n, row.route, row.key}] = struct{}{}
		}
	}
	return nil
}

// failed parks the root if err is a mapping's. It passes on any other error.
func (r *recomposer) failed(root string, err error) (bool, error) {
	var f *failure
	if errors.As(err, &f) {
		r.w.park(root, f.reason)
		return true, nil
	}
	return false, err
}

// wholeMember composes all that the member has, and deletes what it has no more.
func (r *recomposer) wholeMember(ctx context.Context, m string) error {
	e := r.e
	id := e.plan.memberID(m)
	b := newBatch()
	err := e.view(m).whole(func(c composed) error { return b.take(e, c, id) })
	if failed, err := r.failed(m, err); failed || err != nil {
		return err
	}
	if err := b.goneOf(e, id); err != nil {
		return err
	}
	r.w.unpark(m)
	return r.keep(ctx, b)
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
func (r *recomposer) references(ctx context.Context, set map[instance]struct{}) error {
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
	v, b := r.e.view(""), newBatch()
	for _, i := range instances {
		c, err := v.compose(i, mapping.Row{})
		if err == nil {
			err = b.take(r.e, c, "")
		}
		if failed, err := r.failed(k.root(), err); failed || err != nil {
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
