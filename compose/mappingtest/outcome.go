package mappingtest

import (
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/compose"
	"github.com/tributary-health/tributary/compose/mapping"
)

// rowSet is a case's rows.
type rowSet struct {
	schemas Schemas
	tables  []change.Table // in the order of their first rows
	byTable map[change.Table][][]change.Value
}

// readRowSet reads the row sections of a case.
func (c *testCase) readRowSet(set *mapping.Set, schemas Schemas) *rowSet {
	rows := &rowSet{schemas: schemas, byTable: map[change.Table][][]change.Value{}}
	seen := map[string]bool{}
	for _, s := range c.rows {
		t, _ := change.ParseTable(s.name)
		schema := schemas[t]
		if _, declared := set.Table(t); !declared {
			continue // which has been said
		}
		if schema == nil {
			c.fault(s.line-1, "the columns of table "+s.name+" are not known",
				"add it to "+SchemaFile+" beside the cases (tributary mapping schema prints it), or in a section -- schema --")
			continue
		}
		all, faults := readRows(s)
		c.faults = append(c.faults, faults...)
		if len(all) == 0 && len(faults) == 0 {
			c.fault(s.line-1, "the section has no row", "")
		}
		for _, cells := range all {
			values, faults := row(schema, cells)
			c.faults = append(c.faults, faults...)
			key, ok := schema.Key(values)
			if id := t.String() + "\x00" + key; ok && seen[id] {
				c.fault(cells[0].line, "two rows of "+s.name+" have the same primary key", "")
			} else if ok {
				seen[id] = true
			}
			if rows.byTable[t] == nil {
				rows.tables = append(rows.tables, t)
			}
			rows.byTable[t] = append(rows.byTable[t], values)
		}
	}
	return rows
}

// events are the rows as a snapshot brings them.
func (rows *rowSet) events() iter.Seq2[*change.Event, error] {
	return func(yield func(*change.Event, error) bool) {
		var n uint64
		for _, t := range rows.tables {
			for _, values := range rows.byTable[t] {
				n++
				ev := &change.Event{Position: change.Position{Generation: 1, Ordinal: 1, Sequence: n}, Incarnation: 1, Op: change.Read,
					Schema: rows.schemas[t], After: values, Committed: time.Unix(0, 0).UTC()}
				if !yield(ev, nil) {
					return
				}
			}
		}
	}
}

// root names whom a row belongs to as compose.Expected does: a member's key, or
// "source.table/key" of a reference row. It is empty if the row reaches nobody.
func (rows *rowSet) root(set *mapping.Set, t change.Table, values []change.Value) string {
	decl, _ := set.Table(t)
	schema := rows.schemas[t]
	key, _ := schema.Key(values)
	text := func() string {
		if i := schema.Column(decl.Route.Column); i >= 0 {
			return values[i].Text
		}
		return ""
	}
	switch decl.Route.Kind {
	case change.Reference:
		return t.String() + "/" + key
	case change.ByMember:
		return text()
	}
	parent := decl.Route.Parent
	for _, other := range rows.byTable[parent] {
		if k, ok := rows.schemas[parent].Key(other); ok && k == change.JoinKey(text()) {
			return rows.root(set, parent, other)
		}
	}
	return ""
}

// outcome is what became of a case's rows, in the form in which cases say it.
type outcome struct {
	resources []section
	skipped   []string
	errors    []string
	roots     map[string]string // whom the row of a possible resource belongs to
	reasons   map[string]string // why a root could not be composed
}

// sections are the outcome as the sections of a case file.
func (o *outcome) sections() []section {
	all := slices.Clone(o.resources)
	if len(o.skipped) > 0 {
		all = append(all, section{name: skippedSection, text: strings.Join(o.skipped, "\n") + "\n"})
	}
	if len(o.errors) > 0 {
		all = append(all, section{name: errorSection, text: strings.Join(o.errors, "\n") + "\n"})
	}
	return all
}

// compose composes the case's rows.
func (c *testCase) compose(set *mapping.Set, rows *rowSet) (*outcome, error) {
	o := &outcome{roots: map[string]string{}, reasons: map[string]string{}}
	known := namesOf(set, rows)
	made := map[string]bool{}
	err := compose.ComposeAll(set, rows.events(), func(x compose.Expected) error {
		if x.Reason != "" {
			o.reasons[x.Root] = plainReason(x.Reason)
			o.errors = append(o.errors, x.Root+": "+o.reasons[x.Root])
			return nil
		}
		name := x.ID.Type + "/" + known.readable(x.ID.ID)
		made[x.ID.Type+"/"+x.ID.ID] = true
		if !c.about(name) {
			return nil
		}
		text, err := layOut([]byte(known.readable(string(x.Content))))
		if err != nil {
			return fmt.Errorf("%s is no JSON: %w", name, err)
		}
		o.resources = append(o.resources, section{name: name, text: text})
		return nil
	})
	if err != nil {
		return nil, err
	}
	o.addSkipped(c, set, rows, made)
	return o, nil
}

// addSkipped accounts for the rows of which a mapping made nothing: those that
// its condition leaves out, by the name they are counted under, and those that
// reach no member.
func (o *outcome) addSkipped(c *testCase, set *mapping.Set, rows *rowSet, made map[string]bool) {
	for _, r := range set.Resources() {
		for _, values := range rows.byTable[r.From] {
			key, _ := rows.schemas[r.From].Key(values)
			root := rows.root(set, r.From, values)
			name := r.Type + "/" + rowName(r, key)
			o.roots[name] = root
			switch {
			case made[r.Type+"/"+r.ID(key)], o.reasons[root] != "", !c.about(name):
			case root == "":
				o.skipped = append(o.skipped, name+": reaches no member")
			default:
				if r.Skipped != "" {
					o.skipped = append(o.skipped, name+": "+r.Skipped)
				}
			}
		}
	}
}

var (
	placeForm = regexp.MustCompile(` \([^()]*:\d+:\d+\)$`)
	startForm = regexp.MustCompile(`^compose \w+ from [^ ]+: (compose \w+ from )`)
)

// plainReason is why a composition failed, without the place in the mapping
// file: it would change with every line above it.
func plainReason(reason string) string {
	return placeForm.ReplaceAllString(startForm.ReplaceAllString(reason, "$1"), "")
}
