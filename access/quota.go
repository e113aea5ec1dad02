package access

import (
	"slices"
	"time"
)

// Defaults of QuotaTerms, and the most requests a day that a file may allow.
const (
	DefaultPerDay       = 1000
	DefaultMisses       = 50
	DefaultMissesPerHit = 10
	DefaultLockOut      = 24 * time.Hour

	maxPerDay = 1_000_000
)

// window is how far back attempts count.
const window = 24 * time.Hour

// waiting is what a client is told to wait while answers are under way whose
// outcome decides.
const waiting = time.Second

func (t QuotaTerms) withDefaults() QuotaTerms {
	if t.PerDay <= 0 {
		t.PerDay = DefaultPerDay
	}
	if t.Misses <= 0 {
		t.Misses = DefaultMisses
	}
	if t.MissesPerHit <= 0 {
		t.MissesPerHit = DefaultMissesPerHit
	}
	if t.LockOut <= 0 {
		t.LockOut = DefaultLockOut
	}
	return t
}

// Quota counts one client's questions by hash. It makes guessing slow: only so
// many in 24 hours, and a client of whose questions few find a member is locked
// out for a while.
//
// Nothing but the calls changes it, and its clock is theirs: a clock that goes
// back stands still. It keeps nothing outside; after a start the attempts of the
// last day and of the last lock-out are given to Restore. It is not safe for
// concurrent use.
type Quota struct {
	terms    QuotaTerms
	attempts []attempt // in order of time, of the last 24 hours
	pending  int       // allowed, not yet recorded
	now      time.Time
	since    time.Time // misses before are settled by a lock-out
	until    time.Time // of the lock-out; zero for none yet
}

type attempt struct {
	at     time.Time
	misses int // 0: a hit
}

// NewQuota returns a quota of a client that has asked nothing.
func NewQuota(terms QuotaTerms) *Quota { return &Quota{terms: terms.withDefaults()} }

// Attempt is one past question of a client that was answered.
type Attempt struct {
	Time time.Time
	// Misses is how many misses it counts as; 0 for a hit.
	Misses int
	// LockedOut is what Record returned: this one locked the client out.
	LockedOut bool
}

// Reach is how far back attempts must go that Restore is given: what is older
// changes nothing.
func (t QuotaTerms) Reach() time.Duration { return window + t.withDefaults().LockOut }

// Restore sets the state to what it was when these attempts had been recorded.
// They may be in any order. Questions that were refused are none of them.
func (q *Quota) Restore(past []Attempt) {
	past = slices.Clone(past)
	slices.SortStableFunc(past, func(a, b Attempt) int { return a.Time.Compare(b.Time) })
	*q = Quota{terms: q.terms}
	for _, a := range past {
		q.advance(a.Time)
		q.attempts = append(q.attempts, attempt{q.now, a.Misses})
		if a.LockedOut {
			q.lock()
		}
	}
}

// Allow says whether the client may ask now, and if not, when to try again. What
// is allowed takes a place in the day's number at once, so that questions asked
// side by side do not pass the bound together: each MUST be followed by one Record
// or one Cancel.
func (q *Quota) Allow(now time.Time) (ok bool, retryAfter time.Duration) {
	q.advance(now)
	if q.now.Before(q.until) {
		return false, q.until.Sub(q.now)
	}
	if used := len(q.attempts) + q.pending; used >= q.terms.PerDay {
		if len(q.attempts) == 0 {
			return false, waiting
		}
		return false, max(q.attempts[0].at.Add(window).Sub(q.now), waiting)
	}
	hits, misses := q.count()
	if q.tooMany(hits, misses+q.pending+1) && q.pending > 0 {
		return false, waiting // if those under way all miss, it is locked out
	}
	q.pending++
	return true, 0
}

// Record notes the outcome of what was allowed, a hit if it counts as no miss, and
// reports whether it locked the client out. Whoever keeps attempts for Restore
// keeps that too.
func (q *Quota) Record(now time.Time, misses int) (lockedOut bool) {
	q.pending = max(q.pending-1, 0)
	q.advance(now)
	q.attempts = append(q.attempts, attempt{q.now, misses})
	if misses == 0 || q.now.Before(q.until) {
		return false
	}
	if hits, misses := q.count(); !q.tooMany(hits, misses) {
		return false
	}
	q.lock()
	return true
}

// Cancel gives back the place of what was allowed and not answered.
func (q *Quota) Cancel() { q.pending = max(q.pending-1, 0) }

// lock settles the misses so far.
func (q *Quota) lock() {
	q.until = q.now.Add(q.terms.LockOut)
	q.since = q.until
}

// tooMany reports whether the misses lock the client out.
func (q *Quota) tooMany(hits, misses int) bool {
	return misses >= q.terms.Misses && misses > hits*q.terms.MissesPerHit
}

// advance moves the clock, never back, and forgets what is older than a day.
func (q *Quota) advance(now time.Time) {
	if now.After(q.now) {
		q.now = now
	}
	old := 0
	for old < len(q.attempts) && !q.attempts[old].at.After(q.now.Add(-window)) {
		old++
	}
	q.attempts = q.attempts[old:]
}

// count counts what decides on a lock-out: attempts of the last day that no
// earlier lock-out has settled.
func (q *Quota) count() (hits, misses int) {
	for _, a := range q.attempts {
		switch {
		case a.at.Before(q.since):
		case a.misses == 0:
			hits++
		default:
			misses += a.misses
		}
	}
	return hits, misses
}

// QuotaState is what operators see of a client's quota.
type QuotaState struct {
	Used, PerDay int       // in the last 24 hours
	Hits, Misses int       // of those that count towards a lock-out
	LockedUntil  time.Time // zero if the client is not locked out
}

// State returns the state at a time.
func (q *Quota) State(now time.Time) QuotaState {
	q.advance(now)
	s := QuotaState{Used: len(q.attempts) + q.pending, PerDay: q.terms.PerDay}
	s.Hits, s.Misses = q.count()
	if q.now.Before(q.until) {
		s.LockedUntil = q.until
	}
	return s
}
