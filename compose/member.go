package compose

import (
	"slices"
	"strings"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/compose/mapping"
)

// refKey names a row of a reference table.
type refKey struct {
	table change.Table
	key   string
}

// maxRefs bounds the decoded reference rows that are kept.
const maxRefs = 20_000

// memberOf returns whose a row with the route is, walking up over its parents.
// ok is false for rows that reach no member: their parent is not there, or their
// member column is empty.
func (e *engine) memberOf(table change.Table, route string) (member string, ok bool, err error) {
	for {
		decl := e.plan.tables[table]
		switch decl.Route.Kind {
		case change.ByMember:
			return route, route != "", nil
		case change.ByParent:
			parent := decl.Route.Parent
			body, err := e.state.row(routeTable(parent), change.JoinKey(route), change.JoinKey(route))
			if err != nil || body == nil {
				return "", false, err
			}
			table, route = parent, bodyText(body)
		default:
			return "", false, nil
		}
	}
}

// placed is a stored row with its place, decoded.
type placed struct {
	route, key string
	row        mapping.Row
}

// routed returns the decoded rows of one route.
func (e *engine) routed(table change.Table, route string) ([]placed, error) {
	vt, err := e.rowsOf(table, route)
	if err != nil {
		return nil, err
	}
	return vt.all(), nil
}

// rowsOf returns the rows of one route, from the cache if they are there.
func (e *engine) rowsOf(table change.Table, route string) (*viewTable, error) {
	id := routeID{table, route}
	if vt := e.cache.get(id); vt != nil {
		return vt, nil
	}
	var rows []mapping.Row
	var bad error
	bytes := 0
	err := e.state.rows(table, route, func(key string, body []byte) bool {
		row, _, err := e.schemas.decode(body)
		if err != nil {
			bad = &Error{Op: "read row", Table: table, Err: err}
			return false
		}
		row.Key = key
		rows = append(rows, row)
		bytes += len(body) + rowCost
		return true
	})
	if err == nil {
		err = bad
	}
	if err != nil {
		return nil, err
	}
	vt := &viewTable{route: route, plain: e.plan.made(table, rows...)}
	if route != "" {
		e.cache.keep(id, vt, bytes)
	}
	return vt, nil
}

// memberRows decodes all rows of a table in the member's record, in key order.
func (e *engine) memberRows(table change.Table, member string) ([]placed, error) {
	decl := e.plan.tables[table]
	if decl.Route.Kind == change.ByMember {
		return e.routed(table, member)
	}
	if decl.Route.Kind != change.ByParent {
		return nil, nil
	}
	parents, err := e.memberKeys(decl.Route.Parent, member)
	if err != nil {
		return nil, err
	}
	var all []placed
	for _, parent := range parents {
		rows, err := e.routed(table, parent)
		if err != nil {
			return nil, err
		}
		all = append(all, rows...)
	}
	slices.SortFunc(all, func(a, b placed) int { return strings.Compare(a.key, b.key) })
	return all, nil
}

// memberKeys lists the texts by which children name the member's rows of a
// table.
func (e *engine) memberKeys(table change.Table, member string) ([]string, error) {
	rows, err := e.memberRows(table, member)
	keys := make([]string, 0, len(rows))
	for _, r := range rows {
		for _, i := range r.row.Schema.KeyColumns() {
			keys = append(keys, r.row.Values[i].Text) // a parent has a key of one column
		}
	}
	return keys, err
}

// hasChildren reports whether any row names this one as its parent.
func (e *engine) hasChildren(d *delta) (bool, error) {
	row := d.after
	if row.Schema == nil {
		row = d.before
	}
	for _, child := range e.plan.children[d.decl.Table] {
		for _, i := range row.Schema.KeyColumns() {
			found := false
			err := e.state.rows(child, row.Values[i].Text, func(string, []byte) bool {
				found = true
				return false
			})
			if found || err != nil {
				return found, err
			}
		}
	}
	return false, nil
}

// find returns the row of a table with the primary key, in the member's record
// if the table has members; ok is false if there is none.
func (e *engine) find(table change.Table, key, member string) (p placed, ok bool, err error) {
	route := ""
	switch e.plan.tables[table].Route.Kind {
	case change.Reference:
		return e.findRef(table, key)
	case change.ByMember:
		route = member
	case change.ByParent:
		body, err := e.state.row(routeTable(table), key, key)
		if err != nil || body == nil {
			return p, false, err
		}
		route = bodyText(body)
		if owner, ok, err := e.memberOf(table, route); err != nil || !ok || owner != member {
			return p, false, err
		}
	}
	return e.at(table, route, key)
}

// at returns the row at a place.
func (e *engine) at(table change.Table, route, key string) (p placed, ok bool, err error) {
	if vt := e.cache.peek(routeID{table, route}); vt != nil {
		if i, ok := vt.find(key); ok {
			return vt.at(i), true, nil
		}
		return p, false, nil
	}
	body, err := e.state.row(table, route, key)
	if err != nil || body == nil {
		return p, false, err
	}
	row, _, err := e.schemas.decode(body)
	if err != nil {
		return p, false, &Error{Op: "read row", Table: table, Err: err}
	}
	row.Key = key
	return placed{route, key, row}, true, nil
}

func (e *engine) findRef(table change.Table, key string) (placed, bool, error) {
	k := refKey{table, key}
	e.mu.Lock()
	row, ok := e.refs[k]
	e.mu.Unlock()
	if ok {
		return placed{"", key, row}, true, nil
	}
	p, ok, err := e.at(table, "", key)
	if ok && err == nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.refs == nil || len(e.refs) >= maxRefs {
			e.refs = make(map[refKey]mapping.Row)
		}
		e.refs[k] = p.row
	}
	return p, ok, err
}
