package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tributary-health/tributary/access"
	"github.com/tributary-health/tributary/fhir"
)

// audience says whom a route answers.
type audience uint8

const (
	clients audience = iota // authenticated callers only
	open                    // anyone: nothing of a member is shown
	probes                  // anyone, in plain text
)

// request is one request on its way. It is used by one goroutine.
type request struct {
	*server
	c      *gin.Context
	ctx    context.Context // ends with the caller's patience, or RequestTime
	route  string
	who    audience
	caller access.Caller
	sent   []pair // the parameters, in the order sent, once they are read
	store  Store  // the caller's own, once it is asked for
	view   View
	commit uint64        // the view's number, for the record
	turn   Turn          // of a match, until it is ended
	heard  bool          // admitted
	worked bool          // something was looked up in the match index
	inside bool          // counted as in flight
	slot   *atomic.Int64 // the caller's requests in flight, if this one is counted
	hold   hold          // of the memory for answers
}

// handle is the one place that every request passes: it authenticates the
// caller, runs fn, turns its error into an OperationOutcome, closes the view,
// records what the answer shows and only then writes it.
func (s *server) handle(route string, who audience, fn func(*request) (answer, error)) gin.HandlerFunc {
	return func(c *gin.Context) {
		started := time.Now()
		ctx, cancel := context.WithTimeout(c.Request.Context(), s.RequestTime)
		defer cancel()
		r := &request{server: s, c: c, ctx: ctx, route: route, who: who}
		defer r.leave()
		status := r.write(r.answered(fn)) // nothing here keeps the body while it is sent
		s.Observe(route, status, time.Since(started))
	}
}

// answered is what is said to the request, on the record.
func (r *request) answered(fn func(*request) (answer, error)) answer {
	err := r.admit()
	var a answer
	if err == nil {
		a, err = r.guarded(fn)
	}
	if err == nil {
		err = r.complete(a)
	}
	if r.view != nil {
		// What the view gave stays good; a caller that takes its time does not
		// hold it.
		if err := r.view.Close(); err != nil {
			r.Failed(r.route, fmt.Errorf("api: close view: %w", err))
		}
	}
	if err != nil {
		if a.from != nil {
			a.from.release()
		}
		a = r.failure(err)
	}
	r.settled(a)
	r.endTurn(a, err)
	r.countRefusal(a)
	if err := r.record(a, err); err != nil {
		if a.from != nil {
			a.from.release()
		}
		clear(r.header())
		a = r.failure(err)
	}
	return a
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// guarded runs fn; a panic becomes an error that names its place and, unless the
// runtime raised it, only the type of its value.
func (r *request) guarded(fn func(*request) (answer, error)) (a answer, err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case runtime.Error:
			err = fmt.Errorf("api: panic: %w\n%s", p, debug.Stack())
		default:
			if e, ok := p.(error); ok && errors.Is(e, http.ErrAbortHandler) {
				panic(p)
			}
			err = fmt.Errorf("api: panic with a %T\n%s", p, debug.Stack())
		}
	}()
	return fn(r)
}

// acceptsJSON reports whether an Accept header lets us answer at all.
func acceptsJSON(accept string) bool {
	if accept == "" || accept == "*/*" {
		return true
	}
	for _, one := range strings.Split(accept, ",") {
		media, parameters, _ := strings.Cut(one, ";")
		switch strings.ToLower(strings.TrimSpace(media)) {
		case "*/*", "application/*", "application/fhir+json", "application/json", "text/json", "application/json+fhir":
			if q := strings.ReplaceAll(parameters, " ", ""); q != "q=0" && q != "q=0.0" {
				return true
			}
		}
	}
	return false
}

// formatOf returns the _format of an address, empty if it has none.
func formatOf(u *url.URL) string {
	if u.RawQuery == "" || !strings.Contains(u.RawQuery, "format") {
		return ""
	}
	return u.Query().Get("_format")
}

// acceptsFormat does so for _format, which may be a short word and where a form
// decoder has made a blank of the plus sign.
func acceptsFormat(format string) bool {
	media, _, _ := strings.Cut(strings.ReplaceAll(format, " ", "+"), ";")
	return media == "json" || acceptsJSON(media)
}

// plainHost keeps out of our links what cannot be in a host and port.
func plainHost(host string) bool {
	for _, c := range []byte(host) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte(".-:[]_", c) >= 0) {
			return false
		}
	}
	return host != ""
}

// base is the absolute address of BasePath for this request.
func (r *request) base() string {
	if r.BaseURL != "" {
		return r.BaseURL
	}
	scheme := "http://"
	if r.c.Request.TLS != nil {
		scheme = "https://"
	}
	return scheme + r.c.Request.Host + r.BasePath
}

// resourceType returns the type in the path, once it is known that it is served
// and that the caller may see it.
func (r *request) resourceType() (string, error) {
	name := r.c.Param("type")
	if !r.types[name] {
		return "", problem{status: http.StatusNotFound, code: "not-supported", text: "resource type " + typeWord(name) + "is not served"}
	}
	return name, r.mayRead(name)
}

// typeWord quotes what looks like a type's name, and leaves out anything else:
// an address is not echoed.
func typeWord(name string) string {
	if len(name) > 64 || strings.ContainsFunc(name, func(c rune) bool { return (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') }) {
		return ""
	}
	return strconv.Quote(name) + " "
}

func (r *request) mayRead(resourceType string) error {
	if !r.caller.MayRead(resourceType) {
		return problem{status: http.StatusForbidden, code: "forbidden", text: "the client may not see " + resourceType}
	}
	return nil
}

// resourceID returns the type and id in the path.
func (r *request) resourceID() (fhir.ResourceID, error) {
	typ, err := r.resourceType()
	if err != nil {
		return fhir.ResourceID{}, err
	}
	id := fhir.ResourceID{Type: typ, ID: r.c.Param("id")}
	if !fhir.ValidID(id.ID) {
		return fhir.ResourceID{}, notFound
	}
	return id, nil
}

// noCommit answers a Tributary-Commit header that names no visible commit.
var noCommit = problem{status: http.StatusBadRequest, code: "value", text: "the header Tributary-Commit names no visible commit"}

// open opens the request's view at the commit number, 0 for the one that the
// request's Tributary-Commit header pins or else the frontier, and puts its
// freshness into the answer's headers. Several requests that pin one number see
// one state.
func (r *request) open(number uint64) (View, error) {
	pinned := first(r.c.Request.Header["Tributary-Commit"])
	if number == 0 && pinned != "" {
		var err error
		if number, err = strconv.ParseUint(pinned, 10, 64); err != nil || number == 0 {
			return nil, noCommit
		}
	} else {
		pinned = ""
	}
	view, err := r.openAt(number)
	switch {
	case err != nil && pinned != "" && r.store != nil:
		return nil, noCommit
	case err != nil:
		return nil, err
	}
	r.stamp(view)
	return view, nil
}

// openAt opens the request's view in the caller's own store.
func (r *request) openAt(number uint64) (View, error) {
	store, err := r.ownStore()
	if err != nil {
		return nil, err
	}
	view, err := store.At(number)
	if err != nil {
		return nil, fmt.Errorf("api: open view: %w", err)
	}
	r.view, r.commit = view, view.Number()
	return view, nil
}

// stamp puts the view's number and freshness into the answer's headers.
func (r *request) stamp(view View) {
	h := r.header()
	if lines := r.freshLines(view); len(lines) > 0 {
		h["Tributary-Source"] = lines
	}
	h["Tributary-Commit"] = []string{strconv.FormatUint(r.commit, 10)}
}

// ownStore is the store that the caller reads: one in which nothing is that it
// may not see.
func (r *request) ownStore() (Store, error) {
	if r.store != nil {
		return r.store, nil
	}
	store, err := r.Views(r.caller)
	switch {
	case errors.Is(err, ErrNotReady):
		return nil, notReady
	case err != nil:
		return nil, fmt.Errorf("api: the client's store: %w", err)
	}
	r.store = store
	return store, nil
}

// queryPairs are the parameters in the address.
func (r *request) queryPairs() ([]pair, error) {
	pairs, err := parsePairs(r.c.Request.URL.RawQuery)
	r.sent = pairs
	return pairs, err
}
