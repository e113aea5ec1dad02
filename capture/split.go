package capture

import (
	"errors"

	"github.com/tributary-health/tributary/change"
)

// RouteText returns the route's text of the event's row, which decides its
// partition: that of After, or of Before for a Delete. A value that the source
// did not resend is taken from Before. Reference rows, and rows whose route
// column is NULL, have the empty text. It is an error when the table lacks the
// column or the value is nowhere in the event.
func RouteText(route change.Route, schema *change.Schema, ev *change.Event) (string, error) {
	if route.Kind == change.Reference {
		return "", nil
	}
	i := schema.Column(route.Column)
	if i < 0 {
		return "", splitError("route", schema, ev, route.Column, errors.New("the table has no such column"))
	}
	v, ok := known(ev, i)
	if !ok {
		return "", splitError("route", schema, ev, route.Column, errUnsent)
	}
	return v.Text, nil
}

// Moved reports whether ev is an Update that changed the row's route text or
// primary key. It is an error when the event does not say so either way.
func Moved(route change.Route, ev *change.Event) (bool, error) {
	if ev.Op != change.Update {
		return false, nil
	}
	for i := range ev.Schema.Columns {
		c := &ev.Schema.Columns[i]
		if !c.Key && (route.Kind == change.Reference || c.Name != route.Column) {
			continue
		}
		after, before := at(ev.After, i), at(ev.Before, i)
		if after.State == change.Unchanged {
			if before.State == change.Unchanged {
				return false, splitError("split", ev.Schema, ev, c.Name, errUnsent)
			}
			continue
		}
		if before.State == change.Unchanged {
			return false, splitError("split", ev.Schema, ev, c.Name, errUnsent)
		}
		if before != after {
			return true, nil
		}
	}
	return false, nil
}

// Split returns what ev travels as: for an Update that changed the row's route
// text or primary key, a Delete of the old row and a Create of the new one; for
// all else ev itself. The new row is whole: what the source did not resend is
// filled from Before, and it is an error, naming table and column, when that is
// not possible. The caller gives the events their sequences: both have ev's.
// The results share ev's values except for the After that was filled.
func Split(route change.Route, ev *change.Event) ([]change.Event, error) {
	moved, err := Moved(route, ev)
	if err != nil {
		return nil, err
	}
	if !moved {
		return []change.Event{*ev}, nil
	}
	gone, made := *ev, *ev
	gone.Op, gone.After = change.Delete, nil
	made.Op, made.Before = change.Create, nil
	made.After = make([]change.Value, len(ev.Schema.Columns))
	for i := range made.After {
		v, ok := known(ev, i)
		if !ok {
			return nil, splitError("split", ev.Schema, ev, ev.Schema.Columns[i].Name, errUnsent)
		}
		made.After[i] = v
	}
	return []change.Event{gone, made}, nil
}

var errUnsent = errors.New("the source did not send the value")

// known returns column i of the event's row, from Before where After lacks it.
func known(ev *change.Event, i int) (change.Value, bool) {
	v := at(ev.Row(), i)
	if v.State == change.Unchanged {
		v = at(ev.Before, i)
	}
	return v, v.State != change.Unchanged
}

// at returns column i of row; of a row that is not there, Unchanged.
func at(row []change.Value, i int) change.Value {
	if i >= len(row) {
		return change.Value{State: change.Unchanged}
	}
	return row[i]
}

func splitError(op string, s *change.Schema, ev *change.Event, column string, err error) error {
	return &Error{
		Op: op, Kind: Unsupported, Source: s.Table.Source, Table: s.Table.Name, Column: column,
		Position: ev.Position.String(), Err: err,
		Hint: "the source must log whole old rows: REPLICA IDENTITY FULL, or binlog_row_image=FULL",
	}
}
