package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tributary-health/tributary/access"
	"github.com/tributary-health/tributary/audit"
	"github.com/tributary-health/tributary/fhir"
)

// Config is what New needs. Clients, Views and Audit are required; the rest has
// working defaults.
type Config struct {
	Clients *access.Registry

	// Views gives the store that a caller reads: its own, in which nothing is that
	// it may not see. An error that wraps ErrNotReady is answered with 503. It is
	// called for every request that reads.
	Views func(access.Caller) (Store, error)

	// Audit puts an event on the record and returns once it is durable there. It is
	// called when an answer is made and before its first byte leaves; if it fails,
	// the answer is not given. It may be called concurrently. One that is marked to
	// fold is of a refusal, which disclosed nothing and for which nothing was looked
	// up: of many alike, one entry may tell afterwards.
	Audit func(ctx context.Context, e audit.Event) error

	// Match answers $hash-match; nil refuses it.
	Match Matcher

	// BasePath is where the FHIR interactions begin: "/fhir".
	BasePath string

	// BaseURL is the server's address as callers know it, BasePath included, for
	// the links in answers. Empty: taken from each request's Host header. Set it
	// behind a proxy; forwarding headers are not trusted.
	BaseURL string

	// Types are the resource types served; the default is all that have search
	// parameters.
	Types []string

	// Ready answers /readyz: nil when ready, else the reason, which is shown and
	// so MUST NOT hold anything of a member. It has five seconds. Nil: always
	// ready.
	Ready func(ctx context.Context) error

	// Name and Version of the software, for the CapabilityStatement.
	Name    string
	Version string

	// PageKey seals page links. Links stay good for as long as the key and the
	// store do; the default is a key of this process.
	PageKey []byte

	// PerClient and InFlight are how many requests one client, and all of them, may
	// have in flight at a time: 64 and 1024. What is above is refused at once.
	PerClient int
	InFlight  int

	// Refusals bounds how often who may not have what it asks for is told so.
	Refusals Refusals

	// RequestTime is how long one answer may take to make: 60 seconds.
	RequestTime time.Duration

	// AnswerBytes bounds what answers hold in memory, of all callers together, until
	// they are taken: 256 MiB. One client may hold half of it. What is above waits a
	// second and is refused before any work.
	AnswerBytes int64

	// Stall is how long a caller may take nothing of its answer, SendTime how long it
	// may take for all of it: 30 seconds and 5 minutes. Then it is cut off.
	Stall    time.Duration
	SendTime time.Duration

	// Observe is called after every answer. Route is a fixed word ("read",
	// "search"), never an address.
	Observe func(route string, status int, took time.Duration)

	// Failed is called with the cause of every answer of 500 and more, which the
	// caller is not told. The cause holds no value of the request or of a resource,
	// as far as the store's errors hold none.
	Failed func(route string, err error)

	// Extra is mounted beside BasePath by exact path ("/metrics"), without
	// authentication.
	Extra map[string]http.Handler
}

// server is what the handlers share. It is immutable but for the atomics.
type server struct {
	Config
	types   map[string]bool
	seal    *pageSeal
	started time.Time
	fresh   sync.Map // client's id to *freshHeaders: as many as there are clients

	refusals *refusals
	room     *room
	inFlight atomic.Int64
	slots    sync.Map // client's id to *atomic.Int64: its requests in flight
}

// New returns the handler of the whole service: the FHIR interactions below
// BasePath, /healthz, /readyz and Extra. It may be used concurrently, starts
// nothing and keeps nothing but what its requests hold. It panics if the Config
// does not say what callers read, or that what they are shown is recorded.
func New(c Config) http.Handler {
	if c.Clients == nil || c.Views == nil || c.Audit == nil {
		panic("api: a Config needs Clients, Views and Audit")
	}
	s := &server{Config: withDefaults(c), types: make(map[string]bool), started: time.Now().UTC().Truncate(time.Second)}
	s.seal = newSeal(s.PageKey)
	s.refusals, s.room = newRefusals(s.Config.Refusals), newRoom(s.AnswerBytes)
	for _, t := range s.Types {
		s.types[t] = true
	}
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.RedirectTrailingSlash = false
	e.RedirectFixedPath = false
	e.HandleMethodNotAllowed = true
	e.NoRoute(s.handle("none", open, noPath))
	e.NoMethod(s.handle("none", open, noMethod))
	s.routes(e)
	return e
}

func withDefaults(c Config) Config {
	if c.BasePath == "" {
		c.BasePath = "/fhir"
	}
	c.BasePath = "/" + strings.Trim(c.BasePath, "/")
	c.BaseURL = strings.TrimRight(c.BaseURL, "/")
	if c.Types == nil {
		c.Types = fhir.SearchTypes()
	}
	c.Types = slices.Clone(c.Types)
	slices.Sort(c.Types)
	if c.PerClient <= 0 {
		c.PerClient = 64
	}
	if c.InFlight <= 0 {
		c.InFlight = 1024
	}
	if c.RequestTime <= 0 {
		c.RequestTime = time.Minute
	}
	if c.AnswerBytes <= 0 {
		c.AnswerBytes = 256 << 20
	}
	if c.Stall <= 0 {
		c.Stall = 30 * time.Second
	}
	if c.SendTime <= 0 {
		c.SendTime = 5 * time.Minute
	}
	if c.Name == "" {
		c.Name = "Tributary"
	}
	if c.Observe == nil {
		c.Observe = func(string, int, time.Duration) {}
	}
	if c.Failed == nil {
		c.Failed = func(string, error) {}
	}
	if c.Ready == nil {
		c.Ready = func(context.Context) error { return nil }
	}
	return c
}

// routes is every path the service answers. Below BasePath the path's parts are
// told apart here and not by the router: a fixed part beside a parameter
// ("Patient" beside any type) would hide the parameter's other routes.
func (s *server) routes(e *gin.Engine) {
	get := func(path string, h gin.HandlerFunc) {
		e.GET(path, h)
		e.HEAD(path, h)
	}
	get("/healthz", s.handle("healthz", probes, s.health))
	get("/readyz", s.handle("readyz", probes, s.ready))
	for path, h := range s.Extra {
		e.Any(path, gin.WrapH(h))
	}
	var (
		capabilities    = s.handle("capabilities", open, s.capabilities)
		operation       = s.handle("capabilities", open, s.operationDefinition)
		matchDefinition = s.handle("capabilities", open, s.matchDefinition)
		search          = s.handle("search", clients, s.search)
		read            = s.handle("read", clients, s.read)
		vread           = s.handle("vread", clients, s.vread)
		history         = s.handle("history", clients, s.history)
		everything      = s.handle("everything", clients, s.everything)
		profile         = s.handle("medication-profile", clients, s.medicationProfile)
		document        = s.handle("document", clients, s.document)
		nothing         = s.handle("none", open, noPath)
	)
	b := s.BasePath
	get(b+"/:type", func(c *gin.Context) {
		if c.Param("type") == "metadata" {
			capabilities(c)
			return
		}
		search(c)
	})
	get(b+"/:type/:id", func(c *gin.Context) {
		if c.Param("type") == "OperationDefinition" {
			switch c.Param("id") {
			case profileOperation:
				operation(c)
				return
			case matchID:
				matchDefinition(c)
				return
			}
		}
		read(c)
	})
	get(b+"/:type/:id/:what", func(c *gin.Context) {
		switch what, typ := c.Param("what"), c.Param("type"); {
		case what == "_history":
			history(c)
		case what == "$medication-profile" && typ == "Patient":
			profile(c)
		case what == "$everything" && typ == "Patient":
			everything(c)
		case what == "$document" && typ == "Composition":
			document(c)
		default:
			nothing(c)
		}
	})
	get(b+"/:type/:id/:what/:version", func(c *gin.Context) {
		if c.Param("what") != "_history" {
			nothing(c)
			return
		}
		vread(c)
	})
	s.routesByPost(e, everything)
}

func (s *server) routesByPost(e *gin.Engine, everything gin.HandlerFunc) {
	var (
		search  = s.handle("search", clients, s.searchForm)
		match   = s.handle(matchRoute, clients, s.hashMatch)
		nothing = s.handle("none", open, noPath)
		others  = s.handle("none", open, func(r *request) (answer, error) {
			r.header()["Allow"] = []string{"GET, HEAD"}
			return noMethod(r)
		})
	)
	e.POST(s.BasePath+"/:type/_search", search)
	e.POST(s.BasePath+"/:type/"+matchOperation, func(c *gin.Context) {
		if c.Param("type") == "Patient" {
			match(c)
			return
		}
		nothing(c)
	})
	e.POST(s.BasePath+"/:type/:id/:what", func(c *gin.Context) {
		if c.Param("what") == "$everything" && c.Param("type") == "Patient" {
			everything(c)
			return
		}
		others(c)
	})
}

func noPath(*request) (answer, error) {
	return answer{}, problem{status: http.StatusNotFound, code: "not-found", text: "no such path"}
}

func noMethod(*request) (answer, error) {
	return answer{}, problem{status: http.StatusMethodNotAllowed, code: "not-supported", text: "the path does not take this method"}
}
