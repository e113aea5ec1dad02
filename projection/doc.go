// Package projection keeps the store of what one client's policy shows. It
// follows the base store's commits in their order, takes out of each version
// what the policy hides, and commits what is left, if it differs from what the
// client's store has, as versions of that store. So reads, searches, totals,
// histories and the client's topic are served from a store in which hidden data
// never was.
//
//	P1  The client's store is a function of what the policy shows. Commit
//	    numbers, versions and outbox numbers count what is shown and nothing
//	    else; positions and tokens of sources are left empty.
//	P2  Each shown change is there once, in commit order, whatever is killed:
//	    the place in the base store's outbox is in the frontier, and moves with
//	    the data in one commit.
//	P3  A commit of the base store is shown whole or not yet.
//	P4  What cannot be redacted is neither shown nor left out: the projection
//	    stops, and says at which resource. Others go on.
//
// # What is told of time
//
// A version's lastUpdated and a commit's time are those of the base store's
// commit. A commit of which nothing is shown has no trace.
//
// How fresh the sources are must be said, and a source's newest transaction may
// be hidden. So a source is told to be applied up to a point on a grid of ten
// seconds, at least ten seconds ago: see freshness.go.
//
// # When the policy changes
//
// A store belongs to one policy and one base store (Identity, noted in it). For
// others New is ErrOther: open an empty store with the next build number, let it
// catch up, and serve nothing meanwhile. The members' list is a part of the
// policy: a client whose list changed gets another Policy.ID, and a new build.
package projection
