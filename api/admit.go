package api

import (
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
)

// What bounds a request before anything is read of it. The form and the search
// have bounds of their own: search.go.
const (
	maxURL = 8 << 10 // an address that a caller makes
	// maxPageURL is for a page link, which carries what was sent by POST.
	maxPageURL   = 2 * maxForm
	maxSegment   = 128 // characters between two slashes of a path
	maxHeaders   = 100 // lines
	maxHeaderAll = 16 << 10
	maxDepth     = 8   // of JSON in a body: Parameters hold simple values
	maxPairs     = 256 // parameters of any kind
)

var (
	challenge     = []string{`Bearer realm="tributary"`}
	soon          = []string{"1"}
	notAcceptable = problem{status: http.StatusNotAcceptable, code: "not-supported", text: "answers are application/fhir+json only"}
	keyInQuery    = problem{status: http.StatusBadRequest, code: "security", text: "a key belongs into the Authorization header, never into an address: have it replaced"}
	twoKeys       = problem{status: http.StatusBadRequest, code: "security", text: "more than one Authorization header"}
	tooManyBytes  = problem{status: http.StatusRequestHeaderFieldsTooLarge, code: "too-long", text: "the headers are too many or too long"}
	longSegment   = problem{status: http.StatusNotFound, code: "not-found", text: "no such path"}
	tooManyOwn    = problem{status: http.StatusTooManyRequests, code: "throttled", text: "the client has too many requests in flight", retry: soon}
	tooManyAll    = problem{status: http.StatusServiceUnavailable, code: "throttled", text: "too many requests are in flight", retry: soon}
)

// admit decides whether the request is heard at all.
func (r *request) admit() error {
	if err := r.bounded(); err != nil {
		return err
	}
	if r.who == probes {
		return nil
	}
	r.inside = true
	if r.inFlight.Add(1) > int64(r.InFlight) {
		return tooManyAll
	}
	if r.who == clients {
		if err := r.authenticate(); err != nil {
			return err
		}
	}
	q := r.c.Request
	accepted := false
	if format := formatOf(q.URL); format != "" { // stands above the header
		accepted = acceptsFormat(format)
	} else {
		accepted = acceptsJSON(first(q.Header["Accept"]))
	}
	if !accepted {
		return notAcceptable
	}
	if r.BaseURL == "" && !plainHost(q.Host) {
		return problem{status: http.StatusBadRequest, code: "invalid", text: "the Host header is not a host"}
	}
	if err := r.enter(); err != nil {
		return err
	}
	r.heard = true
	return nil
}

// bounded refuses what is too long, and a key where logs would keep it.
func (r *request) bounded() error {
	q := r.c.Request
	limit := maxURL
	if strings.HasPrefix(q.URL.RawQuery, pageParam+"=") {
		limit = maxPageURL
	}
	if len(q.RequestURI) > limit || len(q.URL.Path)+len(q.URL.RawQuery) > limit {
		return problem{status: http.StatusRequestURITooLong, code: "too-long", text: "the address is too long: use POST [type]/_search"}
	}
	segment := 0
	for i := range len(q.URL.Path) {
		if segment++; q.URL.Path[i] == '/' {
			segment = 0
		}
		if segment > maxSegment {
			return longSegment
		}
	}
	lines, bytes := 0, 0
	for name, values := range q.Header {
		for _, value := range values {
			lines++
			bytes += len(name) + len(value)
		}
	}
	if lines > maxHeaders || bytes > maxHeaderAll {
		return tooManyBytes
	}
	if hasKey(q.URL.RawQuery) {
		return keyInQuery
	}
	return nil
}

// hasKey says whether a key is sent in a query, as OAuth once had it.
func hasKey(query string) bool {
	for part := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(part, "=")
		if strings.Contains(name, "%") {
			name, _ = url.QueryUnescape(name) // one that is no name is refused later
		}
		if name == "access_token" {
			return true
		}
	}
	return false
}

// authenticate finds who asks, and makes sure that it does not ask too much at a
// time.
func (r *request) authenticate() error {
	keys := r.c.Request.Header["Authorization"]
	if len(keys) > 1 {
		return twoKeys
	}
	caller, err := r.Clients.Authenticate(first(keys))
	if err != nil {
		if err := r.slowed(); err != nil {
			return err
		}
		r.header()["Www-Authenticate"] = challenge
		return problem{status: http.StatusUnauthorized, code: "login", text: "unknown client: send Authorization: Bearer and a valid key"}
	}
	r.caller = caller
	slot, ok := r.slots.Load(caller.ClientID)
	if !ok {
		slot, _ = r.slots.LoadOrStore(caller.ClientID, new(atomic.Int64)) // one for each known client
	}
	r.slot = slot.(*atomic.Int64)
	if r.slot.Add(1) > int64(r.PerClient) {
		return tooManyOwn
	}
	return r.slowed()
}

// leave gives back what admit took.
func (r *request) leave() {
	if r.turn != nil {
		r.turn.Cancel()
	}
	if r.inside {
		r.inFlight.Add(-1)
	}
	if r.slot != nil {
		r.slot.Add(-1)
	}
	r.hold.release()
}
