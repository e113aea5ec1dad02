// Package capture turns a source's log into change events, in order. Its
// sub-packages each know one technology; what they promise alike is here.
//
// A reader's life: it opens the Log, which says where the log stands; it takes a
// new incarnation; if nothing durable is there it takes a consistent snapshot
// and writes it as Read events, ended by SnapshotEnded; it streams from the
// snapshot's point or from the durable mark, always from a commit boundary; it
// confirms upstream only what Log.Durable reports. Any stop, however it comes,
// is followed by the same steps.
package capture

import (
	"context"
	"time"

	"github.com/tributary-health/tributary/change"
)

// Log is where a source's changes land. One reader uses it, from one goroutine;
// Durable alone may be called from any.
type Log interface {
	// Resume says where the log stands, from what is durably in it.
	Resume() Resume

	// Start begins the next incarnation. It returns when the Started record is
	// durable in every partition. The incarnation, mark and history are those of
	// rec; Incarnation MUST be Resume().Incarnation + 1.
	Start(ctx context.Context, rec change.TxRecord) error

	// Append takes one row event, with the route's text that decides its
	// partition. It may block while too much is unacknowledged. The Log does not
	// keep ev or its values after it returns.
	Append(ctx context.Context, route string, ev *change.Event) error

	// End closes the transaction whose rows were appended since the last End,
	// Snapshot end or Start. The Log fills in Incarnation, Source, Previous,
	// Durable, Partitions, Counts and EventCount. A transaction without rows
	// writes nothing but moves Durable on when all before it is durable.
	End(ctx context.Context, rec change.TxRecord) error

	// SnapshotEnd writes SnapshotEnded to every partition; tables are all that
	// the snapshot covered. It returns when everything written is durable.
	SnapshotEnd(ctx context.Context, rec change.TxRecord, tables []change.Table) error

	// Watermark says that the source's log holds nothing unseen at or below the
	// mark. It goes through the same queue as rows, after them. It MUST NOT be
	// called within a transaction.
	Watermark(ctx context.Context, mark change.Mark, at time.Time) error

	// Durable returns the largest mark at or below which everything appended was
	// acknowledged by the broker on every partition, and which the log itself
	// states, so that a Log opened later resumes there or after it. Only this may
	// be confirmed to the source. The zero Mark means nothing yet.
	Durable() change.Mark

	// Err returns the error that stopped the Log for good, or nil.
	Err() error
}

// Resume is where a source's log stands when it is opened. Durable is the mark
// to go on after; zero if no snapshot was ever finished. Incarnation is the
// largest that was started, zero for none.
type Resume struct {
	Durable     change.Mark
	Incarnation change.Incarnation
	History     string
}

// Table is one table to capture and its route.
type Table struct {
	Table change.Table
	Route change.Route
}

// Hooks tell an observer what happens; any may be nil. They MUST return quickly
// and carry no state that the reader depends on.
type Hooks struct {
	SnapshotTable func(table change.Table, rows, estimate int64, done bool)
	Rows          func(n int) // row events appended
	Transaction   func(mark change.Mark, committed time.Time)
	Head          func(mark change.Mark, at time.Time) // the source's own end of log, as last heard
}
