package compose

import (
	"context"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
)

// Record is one record of a landing or tx topic: exactly one of Event and Tx is
// set. Next is the offset after it.
type Record struct {
	From  commit.TopicPartition
	Next  int64
	Event *change.Event
	Tx    *change.TxRecord
	Bytes int // its size on the wire, for the memory budget
}

// Feed delivers the records of all landing and tx partitions, each partition in
// order, partitions among each other in any order, from the offsets it was
// opened with.
type Feed interface {
	// Poll waits for at least one record or ctx. The records belong to the
	// caller.
	Poll(ctx context.Context) ([]Record, error)
}

// Store is what composition needs of a store. One worker uses it, and writes from
// one goroutine; it reads from several, never while it writes. What it staged or
// committed is what it reads back at once.
type Store interface {
	// Frontier returns the frontier as of the last Commit.
	Frontier() commit.Frontier

	// Row returns the row's Body, or nil if there is none. Bodies MUST NOT be
	// modified and stay valid until the next Stage or Commit.
	Row(table change.Table, route, key string) ([]byte, error)

	// Rows calls fn for each row of the table with the route, in key order,
	// until fn returns false.
	Rows(table change.Table, route string, fn func(key string, body []byte) bool) error

	// AllRows does so for the whole table, in the order of (route, key),
	// starting after the given pair ("" and "" for the start).
	AllRows(table change.Table, afterRoute, afterKey string, fn func(route, key string, body []byte) bool) error

	// Routes calls fn for each distinct route of the table, in order, at a cost
	// by routes and not by rows.
	Routes(table change.Table, fn func(route string) bool) error

	// Head returns the resource's newest version's head; ok is false if it never
	// existed.
	Head(id fhir.ResourceID) (head commit.Head, ok bool, err error)

	// HeadOf is Head, and costs least if the resource is there and the member's.
	HeadOf(member string, id fhir.ResourceID) (head commit.Head, ok bool, err error)

	// Resources calls fn for the id of each resource of the member (empty:
	// reference resources) that is not deleted.
	Resources(member string, fn func(fhir.ResourceID) bool) error

	// Newest returns the resource's newest version; ok is false if it never
	// existed. Index may be left out.
	Newest(id fhir.ResourceID) (v fhir.Version, ok bool, err error)

	// Living calls fn for the newest version of each resource of the type that is
	// not deleted, in the order of their ids, starting after the given id (empty:
	// from the first), until fn returns false. Index may be left out.
	Living(resourceType, afterID string, fn func(fhir.Version) bool) error

	// Parked lists the parked roots.
	Parked() ([]commit.Parked, error)

	// Stage writes pieces above the frontier. They are invisible, and gone after
	// a restart, until a Commit moves the frontier over them. It need not be
	// durable when it returns.
	Stage(ctx context.Context, b commit.Batch) error

	// Commit writes the batch and the frontier as one; both, and everything
	// staged below the new frontier, are durable and visible when it returns,
	// and none of it is when it fails. f.Number MUST NOT go back.
	Commit(ctx context.Context, b commit.Batch, f commit.Frontier) error
}
