// Package commit is the vocabulary between composition, store and publishing:
// the unit that is applied at once, and the frontier that makes it visible.
//
//	U1  Commit numbers are dense from 1; one source transaction takes one, and
//	    so does the first composition as a whole.
//	U2  A Unit is visible when the frontier's Number is at or above its Number,
//	    and not before: not to a read, a search, a history or the publisher.
//	U3  What was staged above the frontier is gone after a restart, as if it had
//	    never been written.
//	U4  Outbox numbers are dense from 1 in each partition of the change topic, in
//	    commit order.
//	U5  A resource's match tokens change with the commit that says so: a view at a
//	    number shows those of the last TokenSet at or below it, and no others. Who
//	    holds one and may not be found by it is still counted, without a name.
package commit

import (
	"errors"
	"fmt"
	"time"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/fhir"
)

// Number is the place of an applied transaction in the store's one order.
type Number uint64

// Row is one change of row state. Rows are found by table and route (the text of
// the table's route column; empty for reference tables), then by key
// (change.Schema.Key). Body is composition's own encoding, opaque to the store.
// Deleted removes the row; removing what is not there is no error. New says that
// the store has no such row, which spares it to look; it MUST NOT be set where it
// may have one. Grouped says that the table's rows are read together with those
// of other such tables that have the same route: a store may keep them in one
// place. It is a property of the table: its first row decides.
type Row struct {
	Table   change.Table
	Route   string
	Key     string
	Deleted bool
	New     bool
	Grouped bool
	Body    []byte
}

// Posting makes a resource findable across members by one search parameter.
// Value is what package fhir made of it; the store compares it bytewise. A
// posting that a later version no longer has may stay: readers check candidates
// against the version's own Index.
type Posting struct {
	Param string
	Value []byte
}

// Op is what a version did to its resource.
type Op string

// The operations, as the change topic's header says them.
const (
	Create Op = "create"
	Update Op = "update"
	Delete Op = "delete"
)

// Version is one resource version to be written, with its record for the change
// topic. Partition and Outbox are its place there; Sequence is its place among
// the Unit's versions, from 0. Hash is of the content without versionId and
// lastUpdated: a composition with the current Hash makes no version.
type Version struct {
	fhir.Version
	Op        Op
	Hash      [16]byte
	Postings  []Posting
	Partition int32
	Outbox    uint64
	Sequence  uint32
}

// Parked is a root whose last composition failed: a member by its key, or a
// reference row by table and key. Reason names operation, mapping, element and
// table, never a value.
type Parked struct {
	Root     string
	Since    time.Time
	Attempts int
	Reason   string
	Cleared  bool // the root is composed again: remove its entry
}

// Token is one keyed hash of some of a member's demographics, bound to who may
// ask for it.
type Token [16]byte

// MaxTokens is how many tokens one resource may have.
const MaxTokens = 65536

// TokenSet replaces the match tokens of a resource. Member is who is found by
// them. An empty one holds them and is found by nothing: a token that it shares
// with somebody must not seem to be that one's alone. None, and they are not held
// at all.
type TokenSet struct {
	Resource fhir.ResourceID
	Member   string
	Tokens   []Token
}

// Check returns an error that wraps ErrTokens if there are too many.
func (s *TokenSet) Check() error {
	if len(s.Tokens) > MaxTokens {
		return fmt.Errorf("%s has %d: %w", s.Resource, len(s.Tokens), ErrTokens)
	}
	return nil
}

// The errors of the match index.
var (
	// ErrTokens: a resource has more than MaxTokens match tokens.
	ErrTokens = fmt.Errorf("more than %d match tokens", MaxTokens)

	// ErrMatching: the view is at a commit at which the match index is not whole.
	ErrMatching = errors.New("match index is not whole")
)

// Unit is what one commit number does. A large one is written in pieces: the
// same Number in several Batches, the last of which moves the frontier.
type Unit struct {
	Number    Number
	Source    string // empty for the first composition and for retries
	Position  change.Position
	Token     string
	Committed time.Time
	Rows      []Row
	Versions  []Version
	Parked    []Parked
	// Tokens are applied in order: of two sets of one resource the later one
	// holds.
	Tokens []TokenSet
	// Count is how many versions the whole unit has; known in its last piece.
	Count uint32
	// Sources is how far every source was applied once this unit is.
	Sources []change.Freshness
}

// Info is what the store keeps of a Unit: the recorded order of commits.
type Info struct {
	Number    Number
	Source    string
	Position  change.Position
	Committed time.Time
	Count     uint32
	Sources   []change.Freshness
}

// Batch is what is written in one step: Units in ascending order of Number.
type Batch struct {
	Units []Unit
}

// TopicPartition names a partition of a landing or tx topic.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// Progress is how far one source was applied. Extra is composition's own state
// of the source (an open snapshot's counts), opaque to the store.
type Progress struct {
	change.Freshness
	Extra []byte
}

// Frontier is the one small record that makes everything visible. It is
// replaced as a whole. Offsets holds, per landing and tx partition, the first
// offset that is not yet applied. Outbox holds the last outbox number of each
// partition of the change topic. Composed says that the first composition is
// done. Generation is the store's: a rebuilt store has another.
type Frontier struct {
	Number     Number
	Generation string
	Composed   bool
	Sources    map[string]Progress
	Offsets    map[TopicPartition]int64
	Outbox     []uint64
	Extra      []byte // composition's own: table schemas by id
	// Matching is the commit number from which on the match index is whole: every
	// member that may be matched has its tokens, all made in one way. Zero: it is
	// not. A view below it cannot be asked who holds a token, for a token that two
	// members share could seem to be one's alone.
	Matching Number
}

// Head is what must be known of a resource's newest version to write the next.
type Head struct {
	Number  uint64
	Hash    [16]byte
	Updated time.Time
	Deleted bool
	Member  string
}

// UpdatedAt is the lastUpdated of the version after h in a unit committed then: to
// the millisecond, and never before h's, even if the source's clock went back.
func (h Head) UpdatedAt(committed time.Time) time.Time {
	t := committed.UTC().Truncate(time.Millisecond)
	if t.Before(h.Updated) {
		return h.Updated
	}
	return t
}

// Announcement is one outbox entry with what the change topic's record needs.
type Announcement struct {
	Version    Version
	Info       Info
	Generation string
}
