package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tributary-health/tributary/api"
)

// fhirBase is where the FHIR interactions begin.
const fhirBase = "/fhir"

// listen takes the address; a taken one names the flag.
func listen(addr, flagName string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w (choose another address with %s)", err, flagName) // err names the address
	}
	return l, nil
}

// handler is everything served over HTTP: FHIR, health, metrics, status, and
// the schema registry where it is the process's own.
func (p *pipeline) handler() http.Handler {
	fhir := api.New(api.Config{
		Clients: p.clients, Views: p.view, Audit: p.audit.Append, Match: p.match, BasePath: fhirBase, Types: p.types(),
		Name: "Tributary", Version: version, Ready: p.ready, PageKey: p.pageKey, AnswerBytes: p.cfg.AnswerMiB << 20,
		Failed: func(route string, err error) { p.log.Error("api", "route", route, "error", err) },
		Observe: func(route string, status int, took time.Duration) {
			p.observe.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
			p.observe.latency.WithLabelValues(route).Observe(took.Seconds())
		}})
	operator := func(next http.HandlerFunc) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			caller, err := p.clients.Authenticate(r.Header.Get("Authorization"))
			switch {
			case err != nil:
				w.Header().Set("WWW-Authenticate", `Bearer realm="tributary"`)
				http.Error(w, "an operator's key is needed", http.StatusUnauthorized)
			case !caller.Operator():
				http.Error(w, "the key is not an operator's", http.StatusForbidden)
			default:
				next(w, r)
			}
		})
	}
	paths := map[string]http.Handler{
		"/metrics":       p.metrics(operator),
		"/status":        operator(p.serveStatus),
		"/status/commit": operator(p.serveCommit),
	}
	if p.local != nil {
		paths["/registry/"] = http.StripPrefix("/registry", p.local.Handler())
	}
	return muxFirst(paths, p.untilComposed(fhir))
}

// metrics answers an operator, and whoever asks from this machine without a key.
// Counters move with every change, and so with those that a client may not know
// of.
func (p *pipeline) metrics(operator func(http.HandlerFunc) http.Handler) http.Handler {
	all := promhttp.HandlerFor(p.observe.registry, promhttp.HandlerOpts{})
	guarded := operator(all.ServeHTTP)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" && !beyondLoopback(r.RemoteAddr) {
			all.ServeHTTP(w, r)
			return
		}
		guarded.ServeHTTP(w, r)
	})
}

// untilComposed answers 503 for what would be half a record: before the first
// composition is visible, no resource is there, and "not found" would be a lie.
func (p *pipeline) untilComposed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.Path, fhirBase)
		if path == r.URL.Path || path == "/metadata" || p.store.Frontier().Composed {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/fhir+json; charset=utf-8")
		w.Header().Set("Retry-After", "5")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(`{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"transient","diagnostics":"the first snapshot is not composed yet"}]}`))
	})
}

// serve answers until ctx ends, then lets what it began finish for a while. Without
// settings it speaks plain HTTP.
func (p *pipeline) serve(ctx context.Context, l net.Listener, settings *tls.Config) error {
	// A caller that sends or takes a few bytes now and then holds its connection
	// and its answer for so long and no longer.
	srv := &http.Server{
		Handler: p.handler(), IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 256 << 10,
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 5 * time.Minute,
		ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelDebug), // broken handshakes and the like: anybody can make them
	}
	listen := srv.Serve
	if settings != nil {
		srv.TLSConfig = settings
		listen = func(l net.Listener) error { return srv.ServeTLS(l, "", "") }
	}
	failed := make(chan error, 1)
	go func() { failed <- listen(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("api: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := srv.Shutdown(drain)
	if serveErr := <-failed; !errors.Is(serveErr, http.ErrServerClosed) {
		return serveErr
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return srv.Close()
	}
	return err
}

// ready waits until everything that the sources had committed when it was called
// is applied, or ctx ends. A source that cannot be asked does not make a
// process unready that has composed: what it serves says how fresh it is.
func (p *pipeline) ready(ctx context.Context) error {
	if !p.store.Frontier().Composed {
		return errors.New("the first snapshot is not composed yet")
	}
	for _, s := range p.sources {
		asking, cancel := context.WithTimeout(ctx, 2*time.Second)
		head, err := s.head(asking)
		cancel()
		if err != nil {
			continue
		}
		for {
			changed := p.store.Changed()
			if p.store.Frontier().Sources[s.name].Position.Ordinal >= head {
				break
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return fmt.Errorf("source %s: not everything committed so far is applied", s.name)
			}
		}
	}
	return p.clientsReady(ctx)
}

// types are the resource types that the mappings make: a type added by a mapping
// is served without further ado.
func (p *pipeline) types() []string {
	var types []string
	for _, r := range p.set.Resources() {
		if !slices.Contains(types, r.Type) {
			types = append(types, r.Type)
		}
	}
	return types
}
