// Package publish carries committed versions from the store's outbox to the
// change topic, each once, each member's in order.
package publish

import (
	"context"

	"github.com/tributary-health/tributary/commit"
)

// Outbox is the store as the publisher sees it. It may be used beside the
// composing worker.
type Outbox interface {
	// Announcements calls fn for the entries of the partition after the given
	// number, in order, up to the visible frontier, until fn returns false. What
	// fn gets is its own.
	Announcements(partition int32, after uint64, fn func(number uint64, a commit.Announcement) bool) error

	// Published records that the partition's topic durably holds every number up
	// to and including number. Entries at or below it may be dropped.
	Published(ctx context.Context, partition int32, number uint64) error

	// Mark returns the last number that Published recorded for the partition.
	Mark(partition int32) (uint64, error)

	// Changed returns a channel that is closed when the frontier next moves.
	Changed() <-chan struct{}
}

// Topic is the change topic, as package kafka writes it.
type Topic interface {
	// Last returns the outbox number in the header of the partition's last
	// record, and the partition's end offset; zero and zero for an empty one. An
	// error that wraps ErrGeneration is final.
	Last(ctx context.Context, partition int32) (number uint64, end int64, err error)

	// Append writes the records and returns when all are durable, or none may be
	// counted on.
	Append(ctx context.Context, partition int32, records []Record) error
}

// Transactional is a Topic of which a reader of committed records sees all that
// was written in one transaction, or nothing of it. Then each source transaction
// is written in one.
type Transactional interface {
	Topic

	// Transact calls fn, which writes records through write, and returns nil
	// when all of them are durable and committed; otherwise all are or none, and
	// Last tells, which is called before the next Transact. An error that wraps
	// ErrFenced is final: another publisher took over.
	Transact(ctx context.Context, fn func(write func(partition int32, r Record) error) error) error
}

// Header is one record header.
type Header struct {
	Key   string
	Value string
}

// Record is one record of the change topic: the resource as served, or nil for a
// deletion.
type Record struct {
	Key     []byte
	Value   []byte
	Headers []Header
}
