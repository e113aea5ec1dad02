// Package api serves the store by FHIR's REST interactions. It composes nothing:
// it finds, filters and wraps stored bytes. What a caller may not see is not in
// the store that it reads, and what it was shown is on the record before it has it.
package api

import (
	"errors"
	"time"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/fhir"
)

// Store gives views. It may be used concurrently.
type Store interface {
	// At returns a view at the commit number, or at the frontier when it is
	// zero. A number above the frontier is an error. Close the view.
	At(number uint64) (View, error)

	// FirstVersion is the number with which resources' versions begin.
	FirstVersion() uint64

	// Generation names the store's history, for the record: commit numbers of
	// two generations have nothing to do with each other.
	Generation() string
}

// ErrNotReady says that a caller's store is not fit to be read yet.
var ErrNotReady = errors.New("api: the client's store is not ready")

// View reads at one commit number: what it shows never changes. It may be used
// by one goroutine. What it hands out stays valid after Close and MUST NOT be
// modified.
type View interface {
	Number() uint64

	// Read returns the version current at Number; ok is false if there is none
	// yet. A deleted resource is ok, with Deleted.
	Read(id fhir.ResourceID) (v fhir.Version, ok bool, err error)

	// VRead returns one version by its number, if its commit is at or below
	// Number.
	VRead(id fhir.ResourceID, version uint64) (v fhir.Version, ok bool, err error)

	// History calls fn for the versions at or below Number, newest first,
	// starting below the version number before (0: from the newest).
	History(id fhir.ResourceID, before uint64, fn func(v fhir.Version) bool) error

	// Scan calls fn for the current, not deleted resources of the type in one
	// member's record, or of all when member is empty and all is true, in the
	// order of (member, id), starting after the given pair. An empty member
	// without all means the resources of no member. Body is left out (Read gets
	// it); Index is there. fn may read and scan in the same view.
	Scan(resourceType, member string, all bool, afterMember, afterID string, fn func(v fhir.Version) bool) error

	// Postings calls fn for the candidates whose posting of the parameter has a
	// value in [low, high), in the order of value. A candidate may be stale or
	// come twice: the caller checks it against the resource's Index.
	Postings(resourceType, param string, low, high []byte, fn func(member, id string) bool) error

	// Freshness lists how far each source was applied at Number: never further
	// than what the view shows.
	Freshness() []change.Freshness

	// Committed is the source's commit time of Number's transaction.
	Committed() time.Time

	Close() error
}
