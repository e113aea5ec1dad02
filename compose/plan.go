package compose

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/compose/mapping"
	"github.com/tributary-health/tributary/fhir"
)

// resource is one mapping as composition uses it.
type resource struct {
	typ        string
	name       string
	from       change.Table
	joins      []mapping.Join
	usesNewest bool
	skipped    string
	uses       func(change.Table) (columns []string, all bool) // nil: any column
	excludes   func(mapping.Row) bool                          // nil: none; see mapping.Resource
	id         func(key string) string
	compose    func(dst []byte, in mapping.Input) (content []byte, skipped bool, err error)

	watched map[change.Table][]string // the columns that matter; no entry: any may
}

// dep says that a resource depends on a table: as its own (join -1) or through
// one of its joins.
type dep struct {
	resource int
	join     int
}

// plan is what composition derives from the mappings once.
type plan struct {
	tables    map[change.Table]mapping.TableDecl
	children  map[change.Table][]change.Table
	located   map[change.Table]bool     // a locate row is kept for each row
	links     map[change.Table][]string // columns by which rows are found in reverse
	deps      map[change.Table][]dep
	resources []resource
	byTable   map[change.Table][]int // resources made from the table
	newest    []int                  // resources that use the newest date
	grouped   map[change.Table]bool  // read together, by member
	timed     []*timed               // in order of table
	root      change.Table
	memberID  func(member string) string
	made      func(t change.Table, rows ...mapping.Row) *mapping.Rows
	version   string // of the mappings
}

// memberType is the FHIR type of the person a member's record is about.
const memberType = "Patient"

// planOf plans for a loaded set.
func planOf(set *mapping.Set) (*plan, error) {
	var resources []resource
	for _, r := range set.Resources() {
		resources = append(resources, resource{
			typ: r.Type, name: r.Name, from: r.From, joins: r.Joins, usesNewest: r.UsesNewest, skipped: r.Skipped, uses: r.Uses,
			excludes: r.Excludes, id: r.ID, compose: r.Compose,
		})
	}
	p, err := newPlan(set.Tables(), set.Root(), resources, set.ResourceID)
	if err == nil {
		p.version, p.made = set.Version(), set.Rows
	}
	return p, err
}

func newPlan(tables []mapping.TableDecl, root mapping.TableDecl, resources []resource,
	id func(typ string, table change.Table, name, key string) string) (*plan, error) {
	p := &plan{
		tables:    make(map[change.Table]mapping.TableDecl),
		children:  make(map[change.Table][]change.Table),
		located:   make(map[change.Table]bool),
		links:     make(map[change.Table][]string),
		grouped:   map[change.Table]bool{newestTable(root.Table): true},
		deps:      make(map[change.Table][]dep),
		byTable:   make(map[change.Table][]int),
		resources: resources,
		root:      root.Table,
		memberID:  func(member string) string { return id(memberType, root.Table, "", member) },
	}
	for _, t := range tables {
		p.tables[t.Table] = t
		p.grouped[t.Table] = t.Route.Kind == change.ByMember
		if t.Route.Kind == change.ByParent {
			p.children[t.Route.Parent] = append(p.children[t.Route.Parent], t.Table)
			p.located[t.Route.Parent] = true
		}
		if t.Time != "" && t.Route.Kind != change.Reference {
			zone, err := time.LoadLocation(cmp.Or(t.Zone, "UTC"))
			if err != nil {
				return nil, fmt.Errorf("compose: table %s: zone: %w", t.Table, err)
			}
			p.timed = append(p.timed, &timed{t.Table, t.Time, zone})
		}
	}
	slices.SortFunc(p.timed, func(a, b *timed) int { return compareTables(a.table, b.table) })
	for i := range resources {
		if err := p.addResource(i); err != nil {
			return nil, err
		}
	}
	return p, p.checkParents()
}

func (p *plan) addResource(i int) error {
	r := &p.resources[i]
	if _, ok := p.tables[r.from]; !ok {
		return fmt.Errorf("compose: mapping of %s: table %s is not declared", r.typ, r.from)
	}
	r.watch()
	p.byTable[r.from] = append(p.byTable[r.from], i)
	p.deps[r.from] = append(p.deps[r.from], dep{i, -1})
	if r.usesNewest {
		p.newest = append(p.newest, i)
	}
	for j, join := range r.joins {
		if err := p.addJoin(r, i, j); err != nil {
			return fmt.Errorf("compose: mapping of %s from %s: join %s: %w", r.typ, r.from, join.Name, err)
		}
	}
	return nil
}

func (p *plan) addJoin(r *resource, i, j int) error {
	join := r.joins[j]
	target, ok := p.tables[join.Table]
	if !ok {
		return fmt.Errorf("table %s is not declared", join.Table)
	}
	if join.From >= j || join.From >= 0 && r.joins[join.From].Cardinality != mapping.One {
		return errors.New("it goes on from a join that is not an earlier one: join")
	}
	from := p.source(r, join)
	members := p.tables[from].Route.Kind != change.Reference
	reference := target.Route.Kind == change.Reference
	switch {
	case join.Fixed != "" && (join.Cardinality != mapping.One || !reference):
		return errors.New("is: takes a row of a reference table")
	case join.Fixed != "":
	case !members && !reference:
		return fmt.Errorf("%s belongs to no member and cannot reach %s, which does", from, join.Table)
	case join.Cardinality == mapping.One && reference:
		p.link(from, join.Column)
	case join.Cardinality == mapping.One:
		p.locate(target)
	case join.Cardinality == mapping.Many && reference:
		if members {
			return fmt.Errorf("rows of %s belong to no member and cannot hold a key of %s", join.Table, from)
		}
		p.link(join.Table, join.Column)
	case join.Cardinality == mapping.Many:
		p.locate(p.tables[from])
	case join.Cardinality == mapping.All && reference:
		return fmt.Errorf("all: takes a table with members, %s has none", join.Table)
	}
	p.deps[join.Table] = append(p.deps[join.Table], dep{i, j})
	return nil
}

// source is the table whose row a join goes out from.
func (p *plan) source(r *resource, join mapping.Join) change.Table {
	if join.From < 0 {
		return r.from
	}
	return r.joins[join.From].Table
}

// link has the rows of the table findable by a column's text.
func (p *plan) link(table change.Table, column string) {
	if !slices.Contains(p.links[table], column) {
		p.links[table] = append(p.links[table], column)
	}
}

// locate has the rows of a child table findable by key alone.
func (p *plan) locate(t mapping.TableDecl) {
	if t.Route.Kind == change.ByParent {
		p.located[t.Table] = true
	}
}

// checkParents makes sure that walking up ends.
func (p *plan) checkParents() error {
	for t := range p.tables {
		at, steps := t, 0
		for p.tables[at].Route.Kind == change.ByParent {
			at = p.tables[at].Route.Parent
			if _, ok := p.tables[at]; !ok {
				return fmt.Errorf("compose: table %s: parent %s is not declared", t, at)
			}
			if steps++; steps > len(p.tables) {
				return fmt.Errorf("compose: table %s: its parents go in a circle", t)
			}
		}
		if at != t && p.tables[at].Route.Kind == change.Reference {
			return fmt.Errorf("compose: table %s: its parent %s belongs to no member", t, at)
		}
	}
	return nil
}

// resourceID names the resource made from the row with the key.
func (p *plan) resourceID(r int, key string) fhir.ResourceID {
	return fhir.ResourceID{Type: p.resources[r].typ, ID: p.resources[r].id(key)}
}

// watch works out which columns of which table matter to the resource: those of
// its expressions, and those that its joins go by.
func (r *resource) watch() {
	if r.uses == nil {
		return
	}
	r.watched = make(map[change.Table][]string)
	add := func(t change.Table) bool {
		columns, all := r.uses(t)
		if !all {
			r.watched[t] = columns
		}
		return !all
	}
	if !add(r.from) {
		r.watched = nil
		return
	}
	for _, join := range r.joins {
		add(join.Table)
	}
	for _, join := range r.joins {
		by := join.Table // many: the other row's column
		switch {
		case join.Cardinality == mapping.All, join.Fixed != "":
			continue
		case join.Cardinality == mapping.One && join.From < 0:
			by = r.from
		case join.Cardinality == mapping.One:
			by = r.joins[join.From].Table
		}
		if !slices.Contains(r.watched[by], join.Column) {
			r.watched[by] = append(r.watched[by], join.Column)
		}
	}
}

// concerned reports whether the change can make a difference to the resource: a
// row that comes or goes, or a column that matters.
func (r *resource) concerned(d *delta) bool {
	columns, told := r.watched[d.decl.Table]
	if !told || !d.existed() || !d.exists() {
		return true
	}
	return slices.ContainsFunc(columns, func(c string) bool { return differ(d.before, d.after, c) })
}

// excluded reports whether the row gives no resource whatever other rows hold.
func (r *resource) excluded(row mapping.Row) bool { return r.excludes != nil && r.excludes(row) }

// differ reports whether two rows differ in a column.
func differ(a, b mapping.Row, column string) bool {
	i, j := a.Schema.Column(column), b.Schema.Column(column)
	if i < 0 || j < 0 {
		return i != j
	}
	return a.Schema.Columns[i].Type != b.Schema.Columns[j].Type || a.Values[i] != b.Values[j]
}
