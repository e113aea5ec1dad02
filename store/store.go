// Package store names what every store promises and the errors they share. A
// store keeps row state, every version of every resource, the search index, the
// outbox and the positions; its sub-packages each keep them in one technology,
// and storetest says whether one keeps the promises:
//
//	S1  A Commit is one write: it is durable and visible as a whole when it
//	    returns, and nothing of it is visible when it fails.
//	S2  What a view at a commit number shows never changes, whatever is staged
//	    or committed meanwhile.
//	S3  What was staged and not committed is gone after a restart: row state,
//	    versions, postings, outbox, all of it.
//	S4  After a restart the store stands at a commit that was begun, at or above
//	    the last one that returned, and nothing between is missing.
//
// Versions are never changed or removed. Current resources, search entries and
// postings are derived from them.
package store

import "errors"

// The errors that a caller may act on. They are found with errors.Is.
var (
	// ErrAbove: the commit number is above the frontier. What it will show is not
	// known yet.
	ErrAbove = errors.New("commit number is above the frontier")

	// ErrLocked: another process, or this one, has the directory open.
	ErrLocked = errors.New("directory is in use by another process")

	// ErrFormat: the directory was written in a format that this program does not
	// know, or holds something else.
	ErrFormat = errors.New("unknown store format")

	// ErrStopped: a write failed, and so the store takes no more. What was
	// committed is safe; open the store again when the cause is gone.
	ErrStopped = errors.New("store stopped after a failed write")

	// ErrOrder: the caller broke the order of commit numbers, versions or outbox
	// numbers. Nothing was written.
	ErrOrder = errors.New("out of order")

	// ErrCorrupt: what is stored contradicts itself.
	ErrCorrupt = errors.New("store is corrupt")
)
