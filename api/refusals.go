package api

import (
	"math"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// Refusals bounds how often one caller is refused before it is only told to wait.
// Who asks for what it may have is not slowed down by it.
type Refusals struct {
	// Burst is how many come at once, and PerSecond how many after these: 1000 and
	// 20. They count for each client, route and resource type, and for each address
	// (of IPv6 the /64) that sends no valid key.
	Burst     int
	PerSecond float64
}

// refusals are the buckets of those who were refused lately. What is taken of a
// bucket comes back with time; a full one is forgotten.
type refusals struct {
	Refusals
	now func() time.Time

	mu      sync.Mutex
	buckets map[refused]bucket
	swept   time.Time
}

// refused is who is refused, and where: a client at a route and type, or an
// address.
type refused struct{ client, route, typ, address string }

type bucket struct {
	left float64
	at   time.Time
}

// maxBuckets bounds the memory. Beyond it all who are new share one.
const maxBuckets = 8192

func newRefusals(r Refusals) *refusals {
	if r.Burst <= 0 {
		r.Burst = 1000
	}
	if r.PerSecond <= 0 {
		r.PerSecond = 20
	}
	return &refusals{Refusals: r, now: time.Now, buckets: map[refused]bucket{}}
}

// wait is how long the caller is to wait before it is heard again; zero if it is
// heard.
func (r *refusals) wait(who refused) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.buckets[r.place(who)]
	if !ok {
		return 0
	}
	if b = r.filled(b); b.left >= 1 {
		return 0
	}
	return time.Duration((1 - b.left) / r.PerSecond * float64(time.Second))
}

// count takes one of the caller's.
func (r *refusals) count(who refused) {
	r.mu.Lock()
	defer r.mu.Unlock()
	who = r.place(who)
	b, ok := r.buckets[who]
	if !ok {
		b = bucket{float64(r.Burst), r.now()}
	}
	b = r.filled(b)
	b.left = max(b.left-1, 0)
	r.buckets[who] = b
}

func (r *refusals) filled(b bucket) bucket {
	now := r.now()
	if passed := now.Sub(b.at); passed > 0 {
		b.left, b.at = min(b.left+passed.Seconds()*r.PerSecond, float64(r.Burst)), now
	}
	return b
}

// place is the caller's own bucket, or the one that all share where there is no
// room for more.
func (r *refusals) place(who refused) refused {
	if _, ok := r.buckets[who]; ok || len(r.buckets) < maxBuckets {
		return who
	}
	if now := r.now(); now.Sub(r.swept) < time.Second { // looking through all for each caller would be work for nothing
		return refused{}
	}
	r.swept = r.now()
	for one, b := range r.buckets {
		if r.filled(b).left >= float64(r.Burst) {
			delete(r.buckets, one)
		}
	}
	if len(r.buckets) < maxBuckets {
		return who
	}
	return refused{}
}

// refusedHere is who the request is refused as.
func (r *request) refusedHere() refused {
	if r.caller.ClientID == "" {
		return refused{address: addressOf(r.c.Request.RemoteAddr)}
	}
	who := refused{client: r.caller.ClientID, route: r.route}
	if typ := r.c.Param("type"); r.types[typ] {
		who.typ = typ
	}
	return who
}

// addressOf is the network that one caller is taken to have.
func addressOf(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if addr = addr.Unmap().WithZone(""); addr.Is6() {
		if net64, err := addr.Prefix(64); err == nil {
			return net64.String()
		}
	}
	return addr.String()
}

// slowed refuses who was refused too often.
func (r *request) slowed() error {
	wait := r.refusals.wait(r.refusedHere())
	if wait <= 0 {
		return nil
	}
	p := problem{status: http.StatusTooManyRequests, code: "throttled", text: "too many requests were refused: wait"}
	p.retry = []string{strconv.Itoa(int(math.Ceil(max(wait, time.Second).Seconds())))}
	return p
}

// idle says that the answer discloses nothing and that nothing was looked up for
// it, neither in a store nor in the match index: a refusal.
func (r *request) idle(a answer, shows *disclosure) bool {
	return a.status >= http.StatusBadRequest && r.store == nil && !r.worked &&
		(shows == nil || len(shows.versions) == 0 && len(shows.members) == 0)
}

// countRefusal counts what was refused for who asks or for what it asks for, and not
// for how much it asks at a time. Of a match that is all that is not answered.
func (r *request) countRefusal(a answer) {
	if r.who != clients || r.store != nil || r.worked {
		return
	}
	switch a.status {
	case http.StatusUnauthorized:
	case http.StatusForbidden:
	case http.StatusBadRequest, http.StatusTooManyRequests:
		if r.route != matchRoute || !r.heard {
			return
		}
	default:
		return
	}
	r.refusals.count(r.refusedHere())
}
