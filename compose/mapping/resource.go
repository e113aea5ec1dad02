package mapping

import (
	"slices"
	"strconv"
	"sync"

	"cel.dev/cel-go/cel"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/fhir"
)

// Resource is one compiled resource mapping: each row of From gives one resource
// of Type, unless its condition says otherwise. Joins are those that an
// expression uses; Input.Joined is aligned with them. It is safe for concurrent
// use.
type Resource struct {
	Type       string
	Name       string // tells two mappings of one table to one type apart; may be empty
	From       change.Table
	Joins      []Join
	UsesNewest bool   // an expression uses Input.Newest
	Skipped    string // the name under which rows without a resource are counted

	set      *Set
	idPrefix string
	from     *table
	tables   []*table // of Joins
	slots    map[string]slot
	where    *expression
	own      []nativeTruth // parts of where that look at the row alone
	lets     []*expression
	uses     uses
	loops    int
	depth    int // of filters within filters
	profile  *value
	body     *value
	calls    sync.Pool
}

// ID returns the id of the resource made from the row with the primary key.
func (r *Resource) ID(key string) string { return string(r.set.appendID(nil, r.idPrefix, key)) }

// String names the mapping for messages.
func (r *Resource) String() string {
	s := r.Type + " from " + r.From.String()
	if r.Name != "" {
		s += " (" + r.Name + ")"
	}
	return s
}

// resourceCompiler compiles one resource document.
type resourceCompiler struct {
	*compiler
	doc      *node
	resource *Resource
	scope    *scope
	joins    []joinDecl
	used     []bool // joins, aligned
	loops    map[string]int
	filters  []string // variables of the filters around what is compiled now
	frame    *frame   // of the expression that is compiled
	partial  bool     // what is compiled is a fragment by itself
}

type joinDecl struct {
	Join
	table *table
}

// head reads what other resources must know before their bodies are compiled.
func (c *compiler) head(doc *node) *resourceCompiler {
	c.keys(doc, "a resource", "resource", "from", "name", "where", "skipped", "join", "let", "profile", "body")
	r := &Resource{set: c.set, slots: map[string]slot{}}
	rc := &resourceCompiler{compiler: c, doc: doc, resource: r, loops: map[string]int{}}
	typ := doc.get("resource")
	r.Type = c.text(typ)
	if r.Type != "" && !fhir.IsResource(r.Type) {
		c.problem(typ, quote(r.Type)+" is not a resource type of FHIR R4", didYouMean(r.Type, fhir.ResourceTypes()))
	}
	if n := doc.get("name"); n != nil {
		r.Name = c.text(n)
	}
	from := doc.get("from")
	if from == nil {
		c.problem(typ, "the resource does not say from which table it is made", "add from: source.table")
		return nil
	}
	if r.from = c.named(from); r.from == nil {
		return nil
	}
	r.From = r.from.decl.Table
	r.idPrefix = idPrefix(r.Type, r.From.String(), r.Name)
	t := target{r.Type, r.From, r.Name}
	if c.targets[t] != nil {
		c.problem(typ, "there are two mappings for "+r.String(), "give one of them a name")
	}
	c.targets[t] = typ
	return rc
}

// compile compiles everything that the head left.
func (rc *resourceCompiler) compile() {
	r := rc.resource
	r.calls.New = func() any { return newCall(r) }
	rc.scope = &scope{env: rc.env}
	rc.declareVariable(rc.doc, "row", rowTypeOf(r.from), slot{rowSlot, 0})
	if !r.from.reference() {
		rc.declareVariable(rc.doc, "newest", cel.DynType, slot{newestSlot, 0})
	}
	rc.readJoins()
	rc.readLets()
	rc.readWhere()
	if root, ok := fhir.Lookup(r.Type); ok {
		if n := rc.doc.get("profile"); n != nil {
			meta, _ := fhir.Lookup("Meta", "profile")
			r.profile = rc.list(n, meta, "meta.profile")
		}
		if n := rc.doc.get("body"); n == nil {
			rc.problem(rc.doc.get("resource"), "the resource has no body", "")
		} else if n.kind != objectNode {
			rc.problem(n, "body is an object, not "+n.kind.String(), "")
		} else {
			r.body = rc.object(n, root, "")
		}
	}
	rc.keepUsedJoins()
	r.loops = len(rc.loops)
}

// declareVariable adds a name for expressions.
func (rc *resourceCompiler) declareVariable(at *node, name string, typ *cel.Type, s slot) {
	wider, err := rc.scope.with(variable{name, typ, s})
	if err != nil {
		rc.problem(at, "name "+quote(name)+" cannot be used", "")
		return
	}
	rc.scope = wider
	rc.resource.slots[name] = s
}

// freeName reports whether a name may be given to something new.
func (rc *resourceCompiler) freeName(n *node) bool {
	if !validName(n.text) {
		rc.problem(n, quote(n.text)+" is not a name", "letters, digits and _, not a word of CEL")
		return false
	}
	if _, taken := rc.scope.find(n.text); taken || n.text == "newest" || n.text == "it" {
		rc.problem(n, "the name "+quote(n.text)+" is taken", "")
		return false
	}
	return true
}

func (rc *resourceCompiler) readJoins() {
	n := rc.doc.get("join")
	if n == nil {
		return
	}
	if n.kind != objectNode {
		rc.problem(n, "join is an object, not "+n.kind.String(), "")
		return
	}
	for _, f := range n.fields {
		free := rc.freeName(f.key)
		j, ok := rc.readJoin(f)
		if !free {
			continue
		}
		typ := cel.DynType // of a faulty join: nothing more is said of its uses
		switch {
		case j.table != nil && j.Cardinality == One:
			typ = rowTypeOf(j.table)
		case j.table != nil:
			typ = cel.ListType(rowTypeOf(j.table))
		}
		if !ok {
			rc.declareVariable(f.key, f.key.text, typ, slot{})
			continue
		}
		rc.joins = append(rc.joins, j)
		rc.used = append(rc.used, false)
		rc.declareVariable(f.key, f.key.text, typ, slot{joinSlot, len(rc.joins) - 1})
	}
}

func (rc *resourceCompiler) readJoin(f entry) (j joinDecl, ok bool) {
	if f.value.kind != objectNode {
		rc.problem(f.value, "join "+quote(f.key.text)+" is an object, not "+f.value.kind.String(), "for example {one: table, key: column}")
		return j, false
	}
	rc.keys(f.value, "a join", "one", "many", "all", "key", "by", "is")
	var kinds []string
	for i, k := range []string{"one", "many", "all"} {
		if n := f.value.get(k); n != nil {
			kinds = append(kinds, k)
			j.Cardinality = Cardinality(i + 1)
			j.table = rc.named(n)
		}
	}
	if len(kinds) != 1 {
		rc.problem(f.key, "join "+quote(f.key.text)+" needs exactly one of one, many and all", "")
		return j, false
	}
	if j.table == nil {
		return j, false
	}
	j.Name, j.Table, j.From = f.key.text, j.table.decl.Table, -1
	own := rc.resource.from
	key, by, is := f.value.get("key"), f.value.get("by"), f.value.get("is")
	if is != nil {
		return j, rc.noKey(f, key, "key", "is says which row it is") && rc.noKey(f, by, "by", "is says which row it is") && rc.fixedJoin(&j, f, is)
	}
	if j.Cardinality != All || !j.table.reference() {
		if own.reference() && !j.table.reference() {
			rc.problem(f.value, "a row of "+own.decl.Table.String()+" belongs to no member: it cannot be joined with rows of "+j.Table.String()+", which do", "")
			return j, false
		}
	}
	switch j.Cardinality {
	case One:
		return j, rc.noKey(f, by, "by", "one takes key: the column that holds the other row's primary key") && rc.oneJoin(&j, f, key)
	case Many:
		return j, rc.noKey(f, key, "key", "many takes by: the other table's column that holds this row's primary key") && rc.manyJoin(&j, f, by)
	}
	if j.table.reference() {
		rc.problem(f.value, "table "+j.Table.String()+" belongs to no member: all its rows cannot be joined", "use one or many")
		return j, false
	}
	return j, rc.noKey(f, key, "key", "all takes no columns") && rc.noKey(f, by, "by", "all takes no columns")
}

func (rc *resourceCompiler) noKey(f entry, n *node, key, hint string) bool {
	if n != nil {
		rc.problem(n, "join "+quote(f.key.text)+" cannot have "+key, hint)
	}
	return n == nil
}

// fixedJoin reads the primary key of the one row that is joined everywhere.
func (rc *resourceCompiler) fixedJoin(j *joinDecl, f entry, is *node) bool {
	if j.Cardinality != One {
		rc.problem(is, "join "+quote(f.key.text)+" cannot have is", "only one takes is: the primary key of the row")
		return false
	}
	if !j.table.reference() {
		rc.problem(is, "table "+j.Table.String()+" has members: a row of it cannot be joined by is", "is names a row of a reference table")
		return false
	}
	j.Fixed = rc.text(is)
	if s := j.table.schema; s != nil && j.Fixed != "" {
		keys := s.KeyColumns()
		if len(keys) != 1 {
			rc.problem(f.value, "table "+j.Table.String()+" has no primary key of one column", "")
		} else if typ := s.Columns[keys[0]].Type; (typ == change.Int || typ == change.Uint) && !wholeNumber(j.Fixed) {
			rc.problem(is, quote(j.Fixed)+" is no primary key of "+j.Table.String()+": that is a whole number", "")
		}
	}
	return j.Fixed != ""
}

// wholeNumber reports whether the text is a whole number as sources print it.
func wholeNumber(s string) bool {
	n, err := strconv.ParseInt(s, 10, 64)
	return err == nil && strconv.FormatInt(n, 10) == s
}

// oneJoin reads "column" or "join.column".
func (rc *resourceCompiler) oneJoin(j *joinDecl, f entry, key *node) bool {
	if key == nil {
		rc.problem(f.key, "join "+quote(f.key.text)+" needs key: the column that holds the primary key", "")
		return false
	}
	from := rc.resource.from
	j.Column = rc.text(key)
	if owner, column, dotted := cutDot(j.Column); dotted {
		i := slices.IndexFunc(rc.joins, func(o joinDecl) bool { return o.Name == owner })
		if i < 0 || rc.joins[i].Cardinality != One {
			rc.problem(key, quote(owner)+" is not an earlier one join", didYouMean(owner, rc.oneJoins()))
			return false
		}
		j.From, j.Column, from = i, column, rc.joins[i].table
	}
	rc.column(from, j.Column, key)
	if s := j.table.schema; s != nil && len(s.KeyColumns()) != 1 {
		rc.problem(f.value, "table "+j.Table.String()+" has no primary key of one column", "")
	}
	return j.Column != ""
}

func (rc *resourceCompiler) manyJoin(j *joinDecl, f entry, by *node) bool {
	if by == nil {
		rc.problem(f.key, "join "+quote(f.key.text)+" needs by: the column of "+j.Table.String()+" that holds this row's primary key", "")
		return false
	}
	j.Column = rc.text(by)
	rc.column(j.table, j.Column, by)
	if s := rc.resource.from.schema; s != nil && len(s.KeyColumns()) != 1 {
		rc.problem(f.value, "table "+rc.resource.From.String()+" has no primary key of one column", "")
	}
	return j.Column != ""
}

func (rc *resourceCompiler) oneJoins() []string {
	var names []string
	for _, j := range rc.joins {
		if j.Cardinality == One {
			names = append(names, j.Name)
		}
	}
	return names
}

func cutDot(s string) (before, after string, found bool) {
	for i := range len(s) {
		if s[i] == '.' {
			return s[:i], s[i+1:], true
		}
	}
	return "", s, false
}

func (rc *resourceCompiler) readLets() {
	n := rc.doc.get("let")
	if n == nil {
		return
	}
	if n.kind != objectNode {
		rc.problem(n, "let is an object, not "+n.kind.String(), "")
		return
	}
	for _, f := range n.fields {
		free := rc.freeName(f.key)
		x := rc.bareExpression(f.value, "let "+f.key.text)
		switch {
		case !free:
		case x == nil: // nothing more is said of its uses
			rc.declareVariable(f.key, f.key.text, cel.DynType, slot{})
		default:
			rc.resource.lets = append(rc.resource.lets, x)
			rc.declareVariable(f.key, f.key.text, x.typ, slot{letSlot, len(rc.resource.lets) - 1})
		}
	}
}

func (rc *resourceCompiler) readWhere() {
	n, name := rc.doc.get("where"), rc.doc.get("skipped")
	if n == nil && name != nil {
		rc.problem(name, "skipped stands beside where only", "")
	}
	if n != nil {
		rc.resource.Skipped = "not selected"
	}
	switch {
	case name == nil:
	case name.kind == boolNode && name.text == "false":
		rc.resource.Skipped = ""
	default:
		rc.resource.Skipped = rc.text(name)
	}
	if n != nil {
		rc.resource.where = rc.condition(n, "where")
		if x := rc.resource.where; x != nil {
			rc.resource.own = rc.ownParts(x.tree.Expr())
		}
	}
}

// keepUsedJoins drops the joins that nothing uses: they would only cause
// recomposition.
func (rc *resourceCompiler) keepUsedJoins() {
	r := rc.resource
	for i := len(rc.joins) - 1; i >= 0; i-- {
		if from := rc.joins[i].From; rc.used[i] && from >= 0 {
			rc.used[from] = true
		}
	}
	place := make([]int, len(rc.joins))
	for i, j := range rc.joins {
		if !rc.used[i] {
			delete(r.slots, j.Name)
			continue
		}
		place[i] = len(r.Joins)
		if j.From >= 0 {
			j.From = place[j.From]
		}
		r.Joins = append(r.Joins, j.Join)
		r.tables = append(r.tables, j.table)
		r.slots[j.Name] = slot{joinSlot, place[i]}
	}
}
