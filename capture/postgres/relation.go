package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/change"
)

// relation is a table as the log describes it at one point.
type relation struct {
	table    capture.Table
	schema   *change.Schema
	identity []bool // columns in the replica identity
	watch    []int  // primary key and route: an Update that changes one is a move
	route    int    // -1 for a Reference
	covered  bool   // the replica identity holds all watched columns
}

// described is one column of a Relation message.
type described struct {
	name     string
	oid      uint32
	modifier int32
	identity bool
}

// relation reads a Relation message. The catalog knows the table as it is now,
// the message as it was when the change was made; where they differ the message
// is right.
func (s *stream) relation(c *cursor) error {
	oid := c.uint32()
	name := [2]string{c.text(), c.text()}
	c.byte()
	columns := make([]described, 0, 16)
	for n := c.uint16(); n > 0 && !c.bad; n-- {
		flags := c.byte()
		columns = append(columns, described{name: c.text(), oid: c.uint32(), modifier: int32(c.uint32()), identity: flags&1 != 0})
	}
	if c.bad {
		return errTuple
	}
	known := s.relations[oid]
	i := slices.IndexFunc(s.tables, func(t *tableInfo) bool { return t.namespace == name[0] && t.name == name[1] })
	if i < 0 { // not ours: someone widened the publication
		s.relations[oid] = nil
		return nil
	}
	if known != nil || !s.tables[i].matches(columns) {
		if err := s.refresh(); err != nil {
			return err
		}
	}
	rel, err := s.bind(s.tables[i], columns)
	if err != nil {
		return err
	}
	if known != nil && slices.Equal(known.schema.Columns, rel.schema.Columns) {
		rel.schema = known.schema
	}
	s.relations[oid] = rel
	return nil
}

// matches reports whether the catalog's columns are those of the message.
func (t *tableInfo) matches(columns []described) bool {
	i := 0
	for j := range t.columns {
		c := &t.columns[j]
		if c.generated {
			continue
		}
		if i == len(columns) || columns[i].name != c.Name || columns[i].oid != c.oid || columns[i].modifier != c.modifier {
			return false
		}
		i++
	}
	return i == len(columns)
}

// refresh reads the catalog again; tables dropped since keep what was known.
func (s *stream) refresh() error {
	q, err := s.cfg.connect(s.ctx)
	if err != nil {
		return err
	}
	defer q.Close(context.WithoutCancel(s.ctx))
	tables, err := s.cfg.loadTables(s.ctx, q)
	if err != nil {
		return s.cfg.fail(s.ctx, "read catalog", err)
	}
	for i, t := range tables {
		if t.oid != 0 {
			s.tables[i] = t
		}
	}
	return nil
}

// bind makes a relation of a table and its columns as the log has them.
func (s *stream) bind(t *tableInfo, columns []described) (*relation, error) {
	rel := &relation{table: t.Table, schema: t.schema, route: -1, covered: true}
	if !t.matches(columns) {
		schema, err := s.historic(t, columns)
		if err != nil {
			return nil, err
		}
		rel.schema = schema
	}
	for _, c := range columns {
		rel.identity = append(rel.identity, c.identity)
	}
	keys := 0
	for i, c := range rel.schema.Columns {
		isRoute := t.Route.Kind != change.Reference && c.Name == t.Route.Column
		if isRoute {
			rel.route = i
		}
		if c.Key {
			keys++
		}
		if c.Key || isRoute {
			rel.watch = append(rel.watch, i)
			rel.covered = rel.covered && rel.identity[i]
		}
	}
	switch {
	case t.Route.Kind != change.Reference && rel.route < 0:
		return nil, s.at(t.Table.Table, t.Route.Column, capture.Unsupported,
			errors.New("the route's column was renamed or dropped"), "correct the mapping, then "+s.cfg.resnapshotHint())
	case keys == 0 || keys != t.keys():
		return nil, s.at(t.Table.Table, "", capture.Unsupported, errors.New("the primary key was changed or dropped"), s.cfg.resnapshotHint())
	}
	return rel, nil
}

func (t *tableInfo) keys() int {
	n := 0
	for i := range t.columns {
		if t.columns[i].Key {
			n++
		}
	}
	return n
}

// historic makes the schema of a table that has been altered since.
func (s *stream) historic(t *tableInfo, columns []described) (*change.Schema, error) {
	q, err := s.cfg.connect(s.ctx)
	if err != nil {
		return nil, err
	}
	defer q.Close(context.WithoutCancel(s.ctx))
	kinds, err := loadTypes(s.ctx, q)
	if err != nil {
		return nil, s.cfg.fail(s.ctx, "read types", err)
	}
	schema := &change.Schema{Table: t.Table.Table}
	for _, d := range columns {
		c := change.Column{Name: d.name, Type: kinds.logical(d.oid), Nullable: true}
		for i := range t.columns {
			if t.columns[i].Name == d.name {
				c.Key, c.Nullable = t.columns[i].Key, t.columns[i].Nullable
			}
		}
		var known bool
		err := q.QueryRow(s.ctx, `SELECT format_type($1, $2), EXISTS (SELECT FROM pg_type WHERE oid = $1)`, d.oid, d.modifier).Scan(&c.Native, &known)
		if err != nil {
			return nil, s.cfg.fail(s.ctx, "read types", err)
		}
		if !known {
			return nil, s.at(t.Table.Table, d.name, capture.Unsupported,
				fmt.Errorf("its type at that time (number %d) has been dropped", d.oid), s.cfg.resnapshotHint())
		}
		schema.Columns = append(schema.Columns, c)
	}
	return schema, nil
}
