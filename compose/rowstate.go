package compose

import (
	"errors"
	"slices"
	"sync"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/compose/mapping"
)

// engine applies rows and composes resources over one state. Rows are changed
// from one goroutine, and only while no member is prepared; members are prepared
// by several.
type engine struct {
	plan    *plan
	state   *state
	schemas *schemas
	sources map[string]*progress
	skipped map[string]map[string]int64
	tokens  *tokenMaker     // nil for none
	unit    *unit           // where changes are recorded; nil for none
	cache   *rowCache       // nil for none
	renewed map[string]bool // sources of which a new snapshot is on its way
	marking bool            // members that lose rows are marked: nothing is composed now
	mu      sync.Mutex      // of what follows
	refs    map[refKey]mapping.Row
	dated   map[string]map[change.Table]string // newest dates by member, as put
}

// rowID is where a row lies.
type rowID struct {
	table      change.Table
	route, key string
}

// unit is the commit unit being made, with its rows by place: of several changes
// of a row only the last is kept.
type unit struct {
	commit.Unit
	index map[rowID]int
}

// put changes a row in the state and in the unit; a nil body removes it.
func (e *engine) put(table change.Table, route, key string, body []byte) {
	e.write(table, route, key, body, false)
}

// write is put; isNew says that neither the store nor the unit has the row.
func (e *engine) write(table change.Table, route, key string, body []byte, isNew bool) {
	e.state.put(table, route, key, body)
	e.cache.change(routeID{table, route}, key, len(body)+rowCost, func() (mapping.Row, error) {
		if body == nil {
			return mapping.Row{}, nil
		}
		row, _, err := e.schemas.decode(body)
		return row, err
	})
	if e.unit == nil {
		return
	}
	row := commit.Row{Table: table, Route: route, Key: key, Body: body, Deleted: body == nil, New: isNew, Grouped: e.plan.grouped[table]}
	id := rowID{table, route, key}
	if i, ok := e.unit.index[id]; ok {
		row.New = e.unit.Rows[i].New // the store has what it had before the unit
		e.unit.Rows[i] = row
		return
	}
	e.unit.index[id] = len(e.unit.Rows)
	e.unit.Rows = append(e.unit.Rows, row)
}

// delta is one applied row change. A row without schema is no row.
type delta struct {
	decl          mapping.TableDecl
	route, key    string
	before, after mapping.Row
}

func (d *delta) existed() bool { return d.before.Schema != nil }
func (d *delta) exists() bool  { return d.after.Schema != nil }

// errNoRow is the cause when an Update finds no row to change.
var errNoRow = errors.New("an update of a row that is not in the row state")

// apply changes the row state by one event: the row itself, and the reserved
// rows by which it is found.
func (e *engine) apply(ev *change.Event) (*delta, error) {
	d, err := e.place(ev)
	if err != nil {
		return nil, e.fault("apply row", ev, err)
	}
	before, _, err := e.at(d.decl.Table, d.route, d.key)
	if err != nil {
		return nil, e.fault("read row", ev, err)
	}
	d.before = before.row
	if ev.Op == change.Delete {
		if err := e.remove(d); err != nil {
			return nil, e.fault("remove row", ev, err)
		}
		return d, nil
	}
	if err := e.sameTypes(ev); err != nil {
		return nil, err
	}
	values, err := e.whole(ev, d.before)
	if err != nil {
		return nil, e.fault("apply row", ev, err)
	}
	d.after = mapping.Row{Schema: ev.Schema, Values: values}
	e.write(d.decl.Table, d.route, d.key, e.schemas.appendBody(nil, ev.Schema, ev.Incarnation, values), !d.existed())
	if !d.existed() {
		e.count(d.decl.Table, 1)
	}
	if err := e.keepReserved(d); err != nil {
		return nil, e.fault("apply row", ev, err)
	}
	return d, nil
}

// sameTypes stops at the first row after a column's type was changed at the
// source: such a change rewrites rows that the log does not tell of. A snapshot's
// rows are what they are, and a type that only grew rewrites nothing.
func (e *engine) sameTypes(ev *change.Event) error {
	p := e.sources[ev.Schema.Table.Source]
	if ev.Op == change.Read || e.renewed[ev.Schema.Table.Source] || p == nil || p.Rows[ev.Schema.Table.Name] == 0 || e.schemas.known(ev.Schema) {
		return nil
	}
	column, ok := e.schemas.retyped(ev.Schema)
	if !ok {
		return nil
	}
	return &Error{Op: "apply row", Table: ev.Schema.Table, Position: ev.Position,
		Err:  errors.New("the type of column " + column + " was changed: what that did to the other rows is not in the log"),
		Hint: "take a new snapshot: tributary run --resnapshot " + ev.Schema.Table.Source}
}

// fault wraps an error about an event's row.
func (e *engine) fault(op string, ev *change.Event, err error) error {
	return &Error{Op: op, Table: ev.Schema.Table, Position: ev.Position, Err: err}
}

// remove takes a row out. One that is not there is counted.
func (e *engine) remove(d *delta) error {
	if !d.existed() {
		if p := e.sources[d.decl.Table.Source]; p != nil {
			p.Missing++
		}
		return nil
	}
	if err := e.unskip(d); err != nil {
		return err
	}
	if e.marking && d.decl.Route.Kind != change.Reference {
		member, ok, err := e.memberOf(d.decl.Table, d.route)
		if err != nil {
			return err
		}
		if ok {
			e.put(goneTable(e.plan.root), "", member, []byte(reservedBody))
		}
	}
	e.put(d.decl.Table, d.route, d.key, nil)
	e.count(d.decl.Table, -1)
	return e.keepReserved(d)
}

// unskip takes a row that leaves out of the counts of rows without a resource.
func (e *engine) unskip(d *delta) error {
	for _, i := range e.plan.byTable[d.decl.Table] {
		if err := e.noteSkipped(composed{instance: instance{i, d.route, d.key}}); err != nil {
			return err
		}
	}
	return nil
}

// noteSkipped counts the rows that gave no resource, each once.
func (e *engine) noteSkipped(c composed) error {
	r := &e.plan.resources[c.resource]
	if r.skipped == "" {
		return nil
	}
	t := e.plan.skippedTable(r)
	body, err := e.state.row(t, c.route, c.key)
	if err != nil || (body != nil) == c.skipped {
		return err
	}
	counts := e.skipped[r.from.String()]
	if counts == nil {
		counts = make(map[string]int64)
		e.skipped[r.from.String()] = counts
	}
	if c.skipped {
		counts[r.skipped]++
		e.put(t, c.route, c.key, []byte(reservedBody))
	} else {
		counts[r.skipped]--
		e.put(t, c.route, c.key, nil)
	}
	return nil
}

func (e *engine) count(t change.Table, n int64) {
	p := e.sources[t.Source]
	if p == nil {
		return
	}
	if p.Rows == nil {
		p.Rows = make(map[string]int64)
	}
	p.Rows[t.Name] += n
}

// place finds where the event's row lies.
func (e *engine) place(ev *change.Event) (*delta, error) {
	decl, ok := e.plan.tables[ev.Schema.Table]
	if !ok {
		return nil, errors.New("the mappings do not declare it")
	}
	d := &delta{decl: decl}
	if d.key, ok = ev.Schema.Key(ev.Row()); !ok {
		return nil, errors.New("the row has no whole primary key")
	}
	if decl.Route.Kind == change.Reference {
		return d, nil
	}
	i := ev.Schema.Column(decl.Route.Column)
	if decl.Root && decl.Route.Column == "" { // its primary key, which the mappings need not name
		i = slices.IndexFunc(ev.Schema.Columns, func(c change.Column) bool { return c.Key })
	}
	if i < 0 || i >= len(ev.Row()) {
		return nil, errors.New("the route column " + decl.Route.Column + " is not in the row")
	}
	v := ev.Row()[i]
	if v.State == change.Unchanged && ev.Before != nil && i < len(ev.Before) {
		v = ev.Before[i] // an update keeps its route
	}
	if v.State == change.Unchanged {
		return nil, errors.New("the route column " + decl.Route.Column + " is missing in the row")
	}
	d.route = v.Text
	return d, nil
}

// whole returns the event's row with what the source did not resend taken from
// the stored row.
func (e *engine) whole(ev *change.Event, stored mapping.Row) ([]change.Value, error) {
	if len(ev.After) != len(ev.Schema.Columns) {
		return nil, errors.New("the row has not as many values as its schema has columns")
	}
	if ev.Op == change.Update && stored.Schema == nil {
		return nil, errNoRow
	}
	values := ev.After
	copied := false
	for i := range values {
		if values[i].State != change.Unchanged {
			continue
		}
		j := -1
		if stored.Schema != nil && ev.Op == change.Update {
			j = stored.Schema.Column(ev.Schema.Columns[i].Name)
		}
		if j < 0 {
			return nil, errors.New("column " + ev.Schema.Columns[i].Name + " was not sent and is not in the row state")
		}
		if !copied {
			values, copied = append([]change.Value(nil), values...), true
		}
		values[i] = stored.Values[j]
	}
	return values, nil
}

// keepReserved keeps the rows by which the row is found.
func (e *engine) keepReserved(d *delta) error {
	t := d.decl.Table
	if e.plan.located[t] {
		if err := e.keepRoute(d); err != nil {
			return err
		}
	}
	for _, column := range e.plan.links[t] {
		old, had := textOf(d.before, column)
		now, has := textOf(d.after, column)
		if had && (!has || old != now) {
			e.put(linkTable(t, column), change.JoinKey(old), pairKey(d.route, d.key), nil)
		}
		if has && (!had || old != now) {
			e.put(linkTable(t, column), change.JoinKey(now), pairKey(d.route, d.key), []byte(reservedBody))
		}
	}
	if d.decl.Route.Kind == change.Reference {
		delete(e.refs, refKey{t, d.key})
	}
	return nil
}

// keepRoute keeps the row's route findable by its key. A row that moved has
// another route by now: only its own is removed.
func (e *engine) keepRoute(d *delta) error {
	t := routeTable(d.decl.Table)
	if d.exists() {
		if !d.existed() {
			e.put(t, d.key, d.key, textBody(d.route))
		}
		return nil
	}
	body, err := e.state.row(t, d.key, d.key)
	if err == nil && body != nil && bodyText(body) == d.route {
		e.put(t, d.key, d.key, nil)
	}
	return err
}

// textOf returns a column's text; ok is false when it is null or not there.
func textOf(row mapping.Row, column string) (text string, ok bool) {
	if row.Schema == nil {
		return "", false
	}
	i := row.Schema.Column(column)
	if i < 0 || row.Values[i].State != change.Set {
		return "", false
	}
	return row.Values[i].Text, true
}
