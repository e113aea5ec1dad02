// Package change says what happened to one row at the source, and where in
// the source's log it happened. Everything downstream is derived from a
// sequence of Events and Ends and can be rebuilt from it.
//
//	C1  Events of one source are totally ordered by Position.
//	C2  An Event is never modified once published; a correction is a new Event.
//	C3  A Value is Null only if the source said NULL.
//	C4  A transaction is complete when, for every partition its END names, the
//	    distinct sequences of the END's own incarnation are all there.
//	C5  Transactions of one source are chained: an END names the ordinal of the
//	    transaction before it. One may be applied when it is complete and its
//	    Previous is at or below what was applied.
//
// Values keep the source's digits as text; the text form of each Type is
// described at the Type.
package change
