package compose

import (
	"errors"
	"fmt"
	"sync"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/compose/mapping"
	"github.com/tributary-health/tributary/fhir"
)

// view is one member's record (or, for an empty member, the reference tables) as
// resources are composed from it. What it reads it keeps, so it MUST NOT be used
// after a row of it has changed.
type view struct {
	engine *engine
	member string
	newest string
	dated  bool // newest was read
	tables map[change.Table]*viewTable
}

// viewTable is a table's rows in the record, in key order: of one route, or each
// of its own.
type viewTable struct {
	route  string
	routes []string
	plain  *mapping.Rows

	mu       sync.Mutex
	eligible map[int][]int // by resource, where its rows are that it does not exclude
}

// eligibleFor lists the rows that may give the resource something: most visits
// were no stay in a hospital, and each change of an order would look at all.
func (vt *viewTable) eligibleFor(n int, r *resource) []int {
	vt.mu.Lock()
	defer vt.mu.Unlock()
	found, ok := vt.eligible[n]
	if ok {
		return found
	}
	for i := range vt.plain.Len() {
		if !r.excluded(vt.plain.At(i)) {
			found = append(found, i)
		}
	}
	if vt.eligible == nil {
		vt.eligible = make(map[int][]int)
	}
	vt.eligible[n] = found
	return found
}

func (vt *viewTable) at(i int) placed {
	p := placed{route: vt.route, row: vt.plain.At(i)}
	if p.key = p.row.Key; vt.routes != nil {
		p.route = vt.routes[i]
	}
	return p
}

// all lists the rows.
func (vt *viewTable) all() []placed {
	rows := make([]placed, vt.plain.Len())
	for i := range rows {
		rows[i] = vt.at(i)
	}
	return rows
}

func (e *engine) view(member string) *view {
	return &view{engine: e, member: member, tables: make(map[change.Table]*viewTable)}
}

// table returns all rows of a table in the record, in key order.
func (v *view) table(t change.Table) (*viewTable, error) {
	if vt := v.tables[t]; vt != nil {
		return vt, nil
	}
	var vt *viewTable
	var err error
	switch v.engine.plan.tables[t].Route.Kind {
	case change.Reference:
		vt, err = v.engine.rowsOf(t, "")
	case change.ByMember:
		vt, err = v.engine.rowsOf(t, v.member)
	default:
		var rows []placed
		rows, err = v.engine.memberRows(t, v.member)
		vt = v.engine.plan.gathered(t, rows)
	}
	if err != nil {
		return nil, err
	}
	v.tables[t] = vt
	return vt, nil
}

// join reads the rows of one join. The joins before it are in joined.
func (v *view) join(r *resource, own mapping.Row, joined []*mapping.Rows, j int) (*mapping.Rows, error) {
	join := &r.joins[j]
	if join.Cardinality == mapping.All {
		vt, err := v.table(join.Table)
		if err != nil {
			return nil, err
		}
		return vt.plain, nil
	}
	if join.Fixed != "" {
		p, ok, err := v.engine.find(join.Table, change.JoinKey(join.Fixed), v.member)
		if !ok || err != nil {
			return nil, err
		}
		return v.engine.plan.made(join.Table, p.row), nil
	}
	row := own
	if join.From >= 0 {
		if joined[join.From].Len() == 0 {
			return nil, nil
		}
		row = joined[join.From].At(0)
	}
	if join.Cardinality == mapping.One {
		text, ok := textOf(row, join.Column)
		if !ok {
			return nil, nil
		}
		p, ok, err := v.engine.find(join.Table, change.JoinKey(text), v.member)
		if !ok || err != nil {
			return nil, err
		}
		return v.engine.plan.made(join.Table, p.row), nil
	}
	return v.many(join, row)
}

// many returns the rows whose column holds the row's primary key.
func (v *view) many(join *mapping.Join, row mapping.Row) (*mapping.Rows, error) {
	keys := row.Schema.KeyColumns()
	if len(keys) != 1 || row.Values[keys[0]].State != change.Set {
		return nil, &failure{"many: " + join.Table.String() + ": needs a primary key of one column"}
	}
	text := row.Values[keys[0]].Text
	e := v.engine
	if e.plan.tables[join.Table].Route.Kind != change.Reference {
		vt, err := v.table(join.Table)
		if err != nil {
			return nil, err
		}
		return vt.plain.Where(join.Column, text), nil
	}
	var pairs []string
	err := e.state.rows(linkTable(join.Table, join.Column), change.JoinKey(text), func(pair string, _ []byte) bool {
		pairs = append(pairs, pair)
		return true
	})
	var rows []mapping.Row
	for _, pair := range pairs {
		_, key := splitPair(pair)
		p, ok, err := e.findRef(join.Table, key)
		if err != nil {
			return nil, err
		}
		if held, has := textOf(p.row, join.Column); ok && has && held == text {
			rows = append(rows, p.row)
		}
	}
	return e.plan.made(join.Table, rows...), err
}

// input reads everything a resource is made from.
func (v *view) input(r *resource, own mapping.Row) (mapping.Input, error) {
	in := mapping.Input{Row: own, Joined: make([]*mapping.Rows, len(r.joins))}
	for j := range r.joins {
		rows, err := v.join(r, own, in.Joined, j)
		if err != nil {
			return in, err
		}
		in.Joined[j] = rows
	}
	if r.usesNewest && !v.dated {
		newest, err := v.engine.newest(v.member)
		if err != nil {
			return in, err
		}
		v.newest, v.dated = newest, true
	}
	in.Newest = v.newest
	return in, nil
}

// composed is what became of an instance: content, or none because its row is
// gone or gives no resource.
type composed struct {
	instance
	id      fhir.ResourceID
	content []byte
	skipped bool
}

// failure is an error of a mapping, which parks its root; any other error stops
// composition.
type failure struct{ reason string }

func (f *failure) Error() string { return f.reason }

// compose makes the instance's resource. row is its row if the caller has it.
func (v *view) compose(i instance, row mapping.Row) (c composed, err error) {
	e := v.engine
	r := &e.plan.resources[i.resource]
	c = composed{instance: i, id: e.plan.resourceID(i.resource, i.key)}
	if row.Schema == nil {
		p, ok, err := e.at(r.from, i.route, i.key)
		if err != nil || !ok {
			return c, err
		}
		if owner, ok, err := e.memberOf(r.from, i.route); err != nil || ok && owner != v.member || !ok && v.member != "" {
			return c, err
		}
		row = p.row
	}
	if r.excluded(row) { // without reading what it is joined with
		c.skipped = true
		return c, nil
	}
	in, err := v.input(r, row)
	if err != nil {
		return c, err
	}
	content, skipped, err := r.compose(nil, in)
	if err != nil {
		if _, named := errors.AsType[*mapping.Error](err); named {
			return c, &failure{err.Error()}
		}
		return c, &failure{fmt.Sprintf("compose %s from %s: %v", r.typ, r.from, err)}
	}
	if c.skipped = skipped; !skipped {
		c.content = content
	}
	return c, nil
}

// whole composes everything in the view's record, calling fn for each in the
// order of mapping and key.
func (v *view) whole(fn func(composed) error) error {
	for n := range v.engine.plan.resources {
		from := v.engine.plan.resources[n].from
		if (v.engine.plan.tables[from].Route.Kind == change.Reference) != (v.member == "") {
			continue
		}
		vt, err := v.table(from)
		if err != nil {
			return err
		}
		for i := range vt.plain.Len() {
			row := vt.at(i)
			c, err := v.compose(instance{n, row.route, row.key}, row.row)
			if err != nil {
				return err
			}
			if err := fn(c); err != nil {
				return err
			}
		}
	}
	return nil
}
