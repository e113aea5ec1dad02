package postgres

import (
	"fmt"
	"strings"

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/change"
)

// row handles an Insert, Update or Delete message after its relation.
func (s *stream) row(kind byte, c *cursor, rel *relation) error {
	s.ev.Schema, s.ev.Before, s.ev.After = rel.schema, nil, nil
	switch kind {
	case 'I':
		if c.byte() != 'N' {
			return errTuple
		}
		s.ev.Op = change.Create
		if err := s.new.tuple(c, rel.schema, nil); err != nil {
			return err
		}
		s.ev.After = s.new.values
		return s.append(rel, &s.ev)
	case 'U':
		return s.update(c, rel)
	default:
		s.ev.Op = change.Delete
		old := c.byte()
		if err := s.oldTuple(old, c, rel); err != nil {
			return err
		}
		if i := s.unknown(rel, s.old.values); i >= 0 {
			return s.hidden(rel, i)
		}
		s.ev.Before = s.old.values
		return s.append(rel, &s.ev)
	}
}

// oldTuple reads an old row: whole, or only its replica identity.
func (s *stream) oldTuple(kind byte, c *cursor, rel *relation) error {
	switch kind {
	case 'O':
		return s.old.tuple(c, rel.schema, nil)
	case 'K':
		return s.old.tuple(c, rel.schema, rel.identity)
	}
	return fmt.Errorf("%w: old row kind %q", errTuple, kind)
}

func (s *stream) update(c *cursor, rel *relation) error {
	s.ev.Op = change.Update
	kind := c.byte()
	sent := kind != 'N'
	if sent {
		if err := s.oldTuple(kind, c, rel); err != nil {
			return err
		}
		kind = c.byte()
	}
	if kind != 'N' {
		return errTuple
	}
	if err := s.new.tuple(c, rel.schema, nil); err != nil {
		return err
	}
	s.ev.After = s.new.values
	if sent {
		s.ev.Before = s.old.values
	} else {
		s.ev.Before = s.sameIdentity(rel)
	}
	for i := range s.ev.After {
		if s.ev.After[i].State == change.Unchanged {
			s.ev.After[i] = s.ev.Before[i]
		}
	}
	if i := s.unknown(rel, s.ev.Before); i >= 0 {
		return s.hidden(rel, i)
	}
	for _, i := range rel.watch {
		if s.ev.Before[i] != s.ev.After[i] {
			return s.move(rel)
		}
	}
	return s.append(rel, &s.ev)
}

// sameIdentity is the old row of an Update for which the server sent none: no
// column of the replica identity has changed, and the others are unknown.
func (s *stream) sameIdentity(rel *relation) []change.Value {
	s.derived = s.derived[:0]
	for i, v := range s.ev.After {
		if !rel.identity[i] {
			v = change.Value{State: change.Unchanged}
		}
		s.derived = append(s.derived, v)
	}
	return s.derived
}

// unknown returns the first watched column that an old row lacks, or -1.
func (s *stream) unknown(rel *relation, old []change.Value) int {
	for _, i := range rel.watch {
		if old[i].State == change.Unchanged {
			return i
		}
	}
	return -1
}

// move sends an Update of key or route as what it is to the partitions.
func (s *stream) move(rel *relation) error {
	s.ev.Position.Sequence++ // for the error's place; append numbers them itself
	evs, err := capture.Split(rel.table.Route, &s.ev)
	s.ev.Position.Sequence--
	if err != nil {
		return err
	}
	for i := range evs {
		if err := s.append(rel, &evs[i]); err != nil {
			return err
		}
	}
	return nil
}

// append gives an event its place and hands it to the Log.
func (s *stream) append(rel *relation, ev *change.Event) error {
	s.ev.Position.Sequence++
	ev.Position = s.ev.Position
	route := ""
	if rel.route >= 0 {
		route = ev.Row()[rel.route].Text
	}
	if err := s.log.Append(s.ctx, route, ev); err != nil {
		return logFailure{err}
	}
	if s.pending++; s.pending >= s.cfg.ProgressEvery {
		s.tellRows()
	}
	return nil
}

// hidden is the error for an old row that does not say whose it was.
func (s *stream) hidden(rel *relation, column int) error {
	name := rel.schema.Columns[column].Name
	table := rel.table.Table.Name
	if !strings.Contains(table, ".") {
		table = quote(table)
	}
	return s.at(rel.table.Table, name, capture.Configuration,
		fmt.Errorf("an old row came without it: the replica identity was changed"),
		"ALTER TABLE "+table+" REPLICA IDENTITY FULL; then tributary run --resnapshot "+s.cfg.Source)
}
