package compose

import (
	"strings"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/compose/mapping"
)

// instance is one resource to be composed: a mapping and the place of its row.
type instance struct {
	resource   int
	route, key string
}

// affected collects what depends on the rows of a transaction. It holds at most
// maxInstances instances: beyond, and for a member with many changes, it
// remembers only the member, who is then composed as a whole. Composing too
// much is not wrong: unchanged content makes no version.
type affected struct {
	engine     *engine
	members    map[string]*memberSet
	references map[instance]origin
	everywhere map[int]struct{} // resources of which every instance is affected
	instances  int
	collapsed  bool
}

// origin tells how an instance was reached. It decides where its head is looked
// for first, and nothing else.
type origin byte

const (
	known origin = iota // its row was there before: so, most often, is its resource
	novel               // its row is new
)

// memberSet is what of one member is affected.
type memberSet struct {
	whole     bool
	deltas    int
	instances map[instance]origin
	newest    map[change.Table]*newestChange
}

// The limits of affected.
const (
	maxInstances = 200_000
	maxDeltas    = 10_000 // of one member, beyond which it is composed as a whole
)

func newAffected(e *engine) *affected {
	return &affected{engine: e, members: make(map[string]*memberSet), references: make(map[instance]origin),
		everywhere: make(map[int]struct{})}
}

// member returns the member's set.
func (a *affected) member(m string) *memberSet {
	s := a.members[m]
	if s == nil {
		s = &memberSet{instances: make(map[instance]origin), newest: make(map[change.Table]*newestChange)}
		s.whole = a.collapsed
		a.members[m] = s
	}
	return s
}

// whole has the member composed as a whole.
func (a *affected) whole(m string) {
	s := a.member(m)
	s.whole = true
	a.instances -= len(s.instances)
	s.instances = nil
}

// add takes a change that was just applied.
func (a *affected) add(d *delta) error {
	if !d.existed() && !d.exists() {
		return nil
	}
	table := d.decl.Table
	member, ok, err := a.engine.memberOf(table, d.route)
	if err != nil {
		return err
	}
	if d.decl.Route.Kind != change.Reference {
		if !ok {
			return nil // nobody's row; if its parent comes, the whole member is affected
		}
		if done, err := a.addMemberChange(d, member); done || err != nil {
			return err
		}
	}
	for _, dep := range a.engine.plan.deps[table] {
		if err := a.follow(dep, d, member); err != nil {
			return err
		}
	}
	return nil
}

// addMemberChange notes a change in a member's record. It reports true when the
// whole member is affected anyway.
func (a *affected) addMemberChange(d *delta, member string) (bool, error) {
	s := a.member(member)
	if s.deltas++; s.deltas > maxDeltas && !s.whole {
		a.whole(member)
	}
	if d.existed() != d.exists() && !s.whole {
		children, err := a.engine.hasChildren(d)
		if err != nil {
			return false, err
		}
		if children {
			a.whole(member)
		}
	}
	if !s.whole {
		a.engine.noteDate(s, d)
	}
	return s.whole, nil
}

// follow finds the instances that one dependency leads to.
func (a *affected) follow(dp dep, d *delta, member string) error {
	if !a.engine.plan.resources[dp.resource].concerned(d) {
		return nil
	}
	if dp.join < 0 {
		o := known
		if !d.existed() {
			o = novel
		}
		a.put(instance{dp.resource, d.route, d.key}, o, member)
		return nil
	}
	join := &a.engine.plan.resources[dp.resource].joins[dp.join]
	switch join.Cardinality {
	case mapping.One:
		return a.back(dp, d.key, member)
	case mapping.Many:
		old, had := textOf(d.before, join.Column)
		now, has := textOf(d.after, join.Column)
		if had {
			if err := a.toward(dep{dp.resource, join.From}, change.JoinKey(old), member); err != nil {
				return err
			}
		}
		if has && (!had || now != old) {
			return a.toward(dep{dp.resource, join.From}, change.JoinKey(now), member)
		}
		return nil
	}
	return a.allOf(dp.resource, member)
}

// toward goes to the instances whose row of the join (-1: whose own row) has the
// primary key.
func (a *affected) toward(to dep, key, member string) error {
	if to.join >= 0 {
		return a.back(to, key, member)
	}
	e := a.engine
	table := e.plan.resources[to.resource].from
	p, ok, err := e.find(table, key, member)
	if ok {
		a.put(instance{to.resource, p.route, key}, known, member)
	}
	return err
}

// back goes from the row with the key, which a One join leads to, to the
// instances that it leads there from.
func (a *affected) back(to dep, key, member string) error {
	e := a.engine
	r := &e.plan.resources[to.resource]
	join := r.joins[to.join]
	if join.Fixed != "" {
		if change.JoinKey(join.Fixed) == key {
			a.everywhere[to.resource] = struct{}{}
		}
		return nil
	}
	from := e.plan.source(r, join)
	if e.plan.tables[join.Table].Route.Kind == change.Reference {
		return a.backByLink(to, from, join.Column, key)
	}
	if e.plan.tables[from].Route.Kind == change.ByMember && !strings.ContainsAny(key, "\\\x1f") {
		vt, err := e.rowsOf(from, member)
		if err != nil {
			return err
		}
		found := vt.plain.Where(join.Column, key)
		for i := range found.Len() {
			if err := a.reached(to, member, found.At(i).Key, member); err != nil {
				return err
			}
		}
		return nil
	}
	rows, err := e.memberRows(from, member)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if text, ok := textOf(row.row, join.Column); ok && change.JoinKey(text) == key {
			if err := a.reached(to, row.route, row.key, member); err != nil {
				return err
			}
		}
	}
	return nil
}

// backByLink does so over the link rows, in every member.
func (a *affected) backByLink(to dep, from change.Table, column, key string) error {
	e := a.engine
	var pairs []string
	err := e.state.rows(linkTable(from, column), key, func(pair string, _ []byte) bool {
		pairs = append(pairs, pair)
		return true
	})
	if err != nil {
		return err
	}
	reference := e.plan.tables[from].Route.Kind == change.Reference
	for _, pair := range pairs {
		route, rowKey := splitPair(pair)
		member, ok, err := e.memberOf(from, route)
		if err != nil {
			return err
		}
		if !ok && !reference {
			continue
		}
		if err := a.reached(to, route, rowKey, member); err != nil {
			return err
		}
	}
	return nil
}

// reached goes on from a row that the join of to goes out from.
func (a *affected) reached(to dep, route, key, member string) error {
	from := a.engine.plan.resources[to.resource].joins[to.join].From
	if from < 0 {
		a.put(instance{to.resource, route, key}, known, member)
		return nil
	}
	return a.back(dep{to.resource, from}, key, member)
}

// allOf affects every instance of the resource in the member's record. A row that
// the mapping excludes has no resource, and gets none by other rows' changes.
func (a *affected) allOf(resource int, member string) error {
	return a.engine.eligible(resource, member, func(i instance) { a.put(i, known, member) })
}

// eligible calls fn for each instance of the resource in the member's record that
// the mapping does not exclude.
func (e *engine) eligible(resource int, member string, fn func(instance)) error {
	r := &e.plan.resources[resource]
	if e.plan.tables[r.from].Route.Kind == change.ByMember {
		vt, err := e.rowsOf(r.from, member)
		if err != nil {
			return err
		}
		for _, i := range vt.eligibleFor(resource, r) {
			fn(instance{resource, member, vt.plain.At(i).Key})
		}
		return nil
	}
	rows, err := e.memberRows(r.from, member)
	for _, row := range rows {
		if !r.excluded(row.row) {
			fn(instance{resource, row.route, row.key})
		}
	}
	return err
}

func (a *affected) put(i instance, o origin, member string) {
	set := a.references
	if a.engine.plan.tables[a.engine.plan.resources[i.resource].from].Route.Kind != change.Reference {
		s := a.member(member)
		if s.whole {
			return
		}
		set = s.instances
	}
	before, ok := set[i]
	if set[i] = max(o, before); ok {
		return
	}
	if a.instances++; a.instances > maxInstances && !a.collapsed {
		a.collapsed = true
		for m := range a.members {
			a.whole(m)
		}
	}
}
