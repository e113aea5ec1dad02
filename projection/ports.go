package projection

import (
	"context"

	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
)

// Base is the store that is followed. It may be used beside its writer.
type Base interface {
	// Generation names the store's history: no other store has it.
	Generation() string

	// Frontier returns the frontier as of the last commit.
	Frontier() commit.Frontier

	// Changes calls fn for the outbox entries after the given numbers, of all
	// partitions, in commit order and within a commit by sequence, up to the
	// frontier, until fn returns false. An entry that is gone is an error.
	Changes(after []uint64, fn func(partition int32, number uint64, a commit.Announcement) bool) error

	// Dropped returns the partition's last outbox number that is gone.
	Dropped(partition int32) (uint64, error)

	// Current calls fn for every resource that is current and not deleted at the
	// commit number, with its body, until fn returns false.
	Current(number commit.Number, fn func(fhir.Version) bool) error

	// Changed returns a channel that is closed when the frontier next moves.
	Changed() <-chan struct{}
}

// Store is the client's own store. The projection is its only writer.
type Store interface {
	Frontier() commit.Frontier

	// Head returns the head of the resource's newest version, staged or
	// committed; ok is false if it never existed.
	Head(id fhir.ResourceID) (head commit.Head, ok bool, err error)

	// HeadOf is Head, and costs least if the resource is there and the member's.
	HeadOf(member string, id fhir.ResourceID) (head commit.Head, ok bool, err error)

	// Stage writes pieces above the frontier: invisible, and gone after a
	// restart, until a Commit moves the frontier over them.
	Stage(ctx context.Context, b commit.Batch) error

	// Commit writes the batch and the frontier as one, durably, or nothing.
	Commit(ctx context.Context, b commit.Batch, f commit.Frontier) error

	// Note keeps a small value beside the data, durably; Noted returns it, or
	// nil.
	Note(name string, value []byte) error
	Noted(name string) ([]byte, error)
}

// Policy is what the client may see. It is immutable.
type Policy interface {
	// ID names the policy by its meaning: another one shows something else.
	ID() string

	// MaySee reports whether resources of the type are shown at all.
	MaySee(resourceType string) bool

	// MayKnow reports whether the record of the member is shown; an empty one is
	// that of data which all members share.
	MayKnow(member string) bool

	// Redact appends the body without what is hidden. The same body gives the
	// same result. An error MUST NOT hold values of the body.
	Redact(dst []byte, resourceType string, body []byte) ([]byte, error)
}
