package change

import "time"

// State says what is known of a column's value.
type State uint8

// The zero Value is Null. Unchanged means that the source did not resend the
// value (TOAST, minimal row image): the reader MUST take it from its own row
// state and MUST NOT treat it as Null.
const (
	Null State = iota
	Unchanged
	Set
)

// Value is one column of one row as the source sent it; Text has the form that
// the column's Type describes and is empty unless State is Set.
type Value struct {
	State State
	Text  string
}

// Of returns a Set value.
func Of(text string) Value { return Value{Set, text} }

// Op is what happened to a row, in Debezium's letters.
type Op byte

// The operations. Read is a row of a snapshot.
const (
	Read   Op = 'r'
	Create Op = 'c'
	Update Op = 'u'
	Delete Op = 'd'
)

// Event is one row change. Before and After are aligned with Schema.Columns;
// Before is nil for Read and Create, After is nil for Delete. An Update keeps
// its primary key and its route: a change of either travels as a Delete of the
// old row and a Create of the new, whole one, under one transaction (see
// capture.Split). Before of an Update or Delete holds at least the primary key
// and the route column; what the source did not send in it is Unchanged.
//
// For Read, Position is the snapshot's consistent point with a Sequence that
// grows over the whole snapshot. Committed is the source's commit time (for
// Read, the source's clock at the snapshot), in UTC, to the microsecond.
type Event struct {
	Position    Position
	Incarnation Incarnation
	Op          Op
	Schema      *Schema
	Before      []Value
	After       []Value
	Committed   time.Time
}

// Row returns After, or Before of a Delete: the row the event is about.
func (e *Event) Row() []Value {
	if e.After != nil {
		return e.After
	}
	return e.Before
}
