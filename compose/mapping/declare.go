package mapping

import (
	"slices"
	"sort"
	"strings"
	"time"
	_ "time/tzdata" // the same zones on every machine

	"github.com/tributary-health/tributary/change"
)

// table is a declared table while it is compiled and at run time.
type table struct {
	decl                       TableDecl
	at                         *node // the declaration; the next are its parts
	timeAt, columnAt, parentAt *node
	zone                       *time.Location
	schema                     *change.Schema // nil until Check
}

func (t *table) reference() bool { return t.decl.Route.Kind == change.Reference }

type codeTable struct {
	entries map[string]string
	at      map[string]*node // the entries' places, by key
}

// declare reads the tables and codes documents; resources come after, because
// they may name any table of any file.
func (c *compiler) declare(doc *node) {
	if doc.kind != objectNode {
		c.problem(doc, "a document is an object with one of the keys tables, codes, fragment or resource", "")
		return
	}
	kinds := []string{"tables", "codes", "fragment", "resource"}
	var which []string
	for _, k := range kinds {
		if doc.get(k) != nil {
			which = append(which, k)
		}
	}
	switch {
	case len(which) == 0:
		hint := "a document has one of the keys codes, fragment, resource, tables"
		for _, f := range doc.fields {
			if n := nearest(f.key.text, kinds); n != "" {
				hint = didYouMean(f.key.text, kinds)
				break
			}
		}
		c.problem(doc, "the document is neither tables nor codes nor a fragment nor a resource", hint)
		return
	case len(which) > 1:
		c.problem(doc, "the document is "+strings.Join(which, " and ")+" at once", "separate them by a line ---")
		return
	}
	if which[0] == "resource" {
		c.resourceDocs = append(c.resourceDocs, doc)
		return
	}
	if which[0] == "fragment" {
		c.declareFragment(doc)
		return
	}
	c.keys(doc, "a "+which[0]+" document", which[0])
	body := doc.get(which[0])
	if body.kind != objectNode {
		c.problem(body, which[0]+" is an object, not "+body.kind.String(), "")
		return
	}
	for _, f := range body.fields {
		if which[0] == "tables" {
			c.table(f.key, f.value)
		} else {
			c.codeTable(f.key, f.value)
		}
	}
}

func (c *compiler) codeTable(key, value *node) {
	if c.codes[key.text] != nil {
		c.problem(key, "codes "+quote(key.text)+" is declared twice", "")
		return
	}
	t := &codeTable{map[string]string{}, map[string]*node{}}
	c.codes[key.text] = t
	if value.kind != objectNode {
		c.problem(value, "codes "+quote(key.text)+" is an object, not "+value.kind.String(), "")
		return
	}
	for _, f := range value.fields {
		if !f.value.scalar() || strings.TrimSpace(f.value.text) == "" {
			c.problem(f.value, "an entry of codes "+quote(key.text)+" is text, not "+f.value.kind.String(), "")
			continue
		}
		t.entries[f.key.text], t.at[f.key.text] = f.value.text, f.value
	}
}

func (c *compiler) table(key, value *node) {
	name, ok := change.ParseTable(key.text)
	if !ok {
		c.problem(key, quote(key.text)+" does not name a table", "write source.table")
		return
	}
	if c.tables[name] != nil {
		c.problem(key, "table "+key.text+" is declared twice", "")
		return
	}
	t := &table{decl: TableDecl{Table: name, Zone: "UTC"}, at: key, zone: time.UTC}
	c.tables[name] = t
	c.tableOrder = append(c.tableOrder, t)
	if value.kind != objectNode {
		c.problem(value, "table "+key.text+" is an object, not "+value.kind.String(), "for example {member: column}")
		return
	}
	c.keys(value, "a table", "root", "reference", "member", "parent", "key", "time", "zone")
	c.route(t, key, value)
	if n := value.get("time"); n != nil {
		t.timeAt = n
		if t.decl.Time = c.text(n); t.reference() {
			c.problem(n, "a reference table has no time: it belongs to no member", "")
		}
	}
	if n := value.get("zone"); n != nil {
		zone, err := loadZone(c.text(n))
		if err != nil {
			c.problem(n, quote(n.text)+" is not a time zone", "a name like America/New_York")
			return
		}
		t.decl.Zone, t.zone = n.text, zone
	}
}

func loadZone(name string) (*time.Location, error) {
	if name == "" || name == "UTC" {
		return time.UTC, nil
	}
	return time.LoadLocation(name)
}

// route reads how the table's rows reach their member.
func (c *compiler) route(t *table, key, value *node) {
	var given []string
	for _, k := range []string{"root", "reference", "member", "parent"} {
		n := value.get(k)
		if n == nil {
			continue
		}
		given = append(given, k)
		switch k {
		case "root":
			t.columnAt = n
			t.decl.Root, t.decl.Route = true, change.Route{Kind: change.ByMember, Column: c.text(n)}
		case "reference":
			if n.kind != boolNode || n.text != "true" {
				c.problem(n, k+" can only be true", "")
			}
			t.decl.Route = change.Route{Kind: change.Reference}
		case "member":
			t.columnAt = n
			t.decl.Route = change.Route{Kind: change.ByMember, Column: c.text(n)}
		case "parent":
			t.parentAt = n
			parent, ok := change.ParseTable(c.text(n))
			if !ok {
				c.problem(n, quote(n.text)+" does not name a table", "write source.table")
			}
			t.decl.Route = change.Route{Kind: change.ByParent, Parent: parent}
			if k := value.get("key"); k != nil {
				t.columnAt = k
				t.decl.Route.Column = c.text(k)
			} else {
				c.problem(n, "parent needs key: the column that holds the parent's primary key", "")
			}
		}
	}
	if len(given) != 1 {
		what := "table " + key.text + " does not say how its rows reach their member"
		if len(given) > 1 {
			what = "table " + key.text + " has " + strings.Join(given, " and ") + " at once"
		}
		c.problem(key, what, "one of root: column, member: column, parent: table, reference: true")
	}
	if n := value.get("key"); n != nil && value.get("parent") == nil {
		c.problem(n, "key stands beside parent only", "")
	}
}

// checkTables looks at what one declaration alone cannot show.
func (c *compiler) checkTables() {
	var roots []string
	for _, t := range c.tableOrder {
		if t.decl.Root {
			roots = append(roots, t.decl.Table.String())
			if len(roots) > 1 {
				c.problem(t.at, "there are two roots: "+strings.Join(roots, " and "), "")
			}
		}
		if t.decl.Route.Kind == change.ByParent {
			c.checkParent(t)
		}
	}
	if len(c.tableOrder) > 0 && len(roots) == 0 {
		c.problem(c.tableOrder[0].at, "no table is the root", "declare the members' table with root: its primary key")
	}
	if c.schemas != nil {
		for _, t := range c.tableOrder {
			c.checkSchema(t)
		}
	}
}

func (c *compiler) checkParent(t *table) {
	seen := map[*table]bool{}
	for p := t; p.decl.Route.Kind == change.ByParent; {
		if seen[p] {
			c.problem(t.at, "table "+t.decl.Table.String()+" is its own parent", "")
			return
		}
		seen[p] = true
		next := c.tables[p.decl.Route.Parent]
		if next == nil {
			if p == t {
				c.unknownTable(t.parentAt, t.decl.Route.Parent.String())
			}
			return
		}
		if next.reference() {
			c.problem(t.parentAt, "parent "+next.decl.Table.String()+" is a reference table: it leads to no member", "")
			return
		}
		p = next
	}
}

// checkSchema compares a declaration with the source's table.
func (c *compiler) checkSchema(t *table) {
	t.schema = c.schemas[t.decl.Table]
	name := t.decl.Table.String()
	if t.schema == nil {
		var known []string
		for k := range c.schemas {
			known = append(known, k.String())
		}
		sort.Strings(known)
		c.problem(t.at, "the source has no table "+name, didYouMean(name, known))
		return
	}
	keys := t.schema.KeyColumns()
	if len(keys) == 0 {
		c.problem(t.at, "table "+name+" has no primary key", "declare one in the source")
	}
	if i := c.column(t, t.decl.Route.Column, t.columnAt); t.decl.Root && i >= 0 && (len(keys) != 1 || keys[0] != i) {
		c.problem(t.columnAt, quote(t.decl.Route.Column)+" is not the primary key of "+name, "the root's primary key is the member key, one column")
	}
	if t.decl.Time == "" {
		return
	}
	if i := c.column(t, t.decl.Time, t.timeAt); i >= 0 {
		switch typ := t.schema.Columns[i].Type; typ {
		case change.Date, change.Timestamp, change.Instant:
		default:
			c.problem(t.timeAt, "time column "+quote(t.decl.Time)+" of "+name+" is of type "+typ.String(), "it must be a date or a time stamp")
		}
	}
}

// column returns the index of a table's column, -1 if the schema is not known,
// -1 with a problem if there is none.
func (c *compiler) column(t *table, name string, at *node) int {
	if t.schema == nil || name == "" {
		return -1
	}
	i := t.schema.Column(name)
	if i < 0 {
		c.problem(at, noColumn(t.decl.Table.String(), name), didYouMean(name, columnNames(t.schema)))
	}
	return i
}

func noColumn(table, column string) string {
	return "table " + table + " has no column " + quote(column)
}

func columnNames(s *change.Schema) []string {
	names := make([]string, len(s.Columns))
	for i := range s.Columns {
		names[i] = s.Columns[i].Name
	}
	return names
}

func (c *compiler) unknownTable(at *node, name string) {
	c.problem(at, "table "+quote(name)+" is not declared", didYouMean(name, c.tableNames()))
}

func (c *compiler) tableNames() []string {
	var names []string
	for _, t := range c.tableOrder {
		names = append(names, t.decl.Table.String())
	}
	return names
}

// named returns the declared table that a node names, or nil with a problem.
func (c *compiler) named(n *node) *table {
	if n == nil {
		return nil
	}
	name, _ := change.ParseTable(c.text(n))
	t := c.tables[name]
	if t == nil && n.kind == textNode {
		c.unknownTable(n, n.text)
	}
	return t
}

// keys reports the keys of an object that are not among the known ones.
func (c *compiler) keys(n *node, what string, known ...string) {
	for _, f := range n.fields {
		if !slices.Contains(known, f.key.text) {
			c.problem(f.key, what+" has no key "+quote(f.key.text), didYouMean(f.key.text, known))
		}
	}
}

// text returns a node's text, reporting what is not text or is empty.
func (c *compiler) text(n *node) string {
	if !n.scalar() || strings.TrimSpace(n.text) == "" {
		c.problem(n, "expected text, found "+n.kind.String(), "")
		return ""
	}
	return n.text
}

func (c *compiler) declared() []TableDecl {
	list := make([]TableDecl, len(c.tableOrder))
	for i, t := range c.tableOrder {
		list[i] = t.decl
	}
	return list
}
