package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/tributary-health/tributary/access"
	"github.com/tributary-health/tributary/api"
	"github.com/tributary-health/tributary/audit"
	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/store/pebble"
)

const (
	benchKey    = "key-of-the-benchmark"
	connections = 32
	distinct    = 4000 // requests that are asked for, at most
)

// views makes a pebble.DB an api.Store.
type views struct{ *pebble.DB }

func (v views) At(number uint64) (api.View, error) {
	view, err := v.DB.At(number)
	if err != nil {
		return nil, err
	}
	return view, nil
}

// forget is a record that keeps nothing.
func forget(context.Context, audit.Event) error { return nil }

// handler serves the composed store to one client that sees everything.
func (c *composed) handler(record func(context.Context, audit.Event) error) http.Handler {
	return api.New(api.Config{
		Clients: access.NewRegistry(access.NewClient("bench", benchKey)), Audit: record,
		Views: func(access.Caller) (api.Store, error) { return views{c.db}, nil },
	})
}

// reads measures the real handler over the store that compose has filled.
func (l *lab) reads(ctx context.Context, c *composed) error {
	c.forget()
	runtime.GC()
	ours, stop, err := serve(c.handler(forget))
	if err != nil {
		return err
	}
	defer stop()
	for _, kind := range []struct {
		name, title string
		paths       []string
		expected    float64
	}{
		{"read", "Read of one resource by id", c.instances(), 0.5},
		{"search", "Search: a member's orders, a page of 20", c.patients("/fhir/MedicationRequest?patient=%s&_count=20"), 0},
		{"profile", "Medication profile as a document", c.patients("/fhir/Patient/%s/$medication-profile"), 0},
	} {
		b := Benchmark{Name: kind.name, Title: kind.title, Unit: "answers/s", Baseline: "a bare gin handler that finds the same bytes in a map", Expected: kind.expected}
		if b.Expected > 0 {
			b.Aim = 0.7
		}
		if err := l.readPair(ctx, ours, kind.paths, b); err != nil {
			return fmt.Errorf("%s: %w", kind.name, err)
		}
	}
	return nil
}

func (l *lab) readPair(ctx context.Context, ours string, paths []string, about Benchmark) error {
	rand.New(rand.NewPCG(7, 7)).Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
	paths = paths[:min(len(paths), distinct)]
	bodies, kind, size, err := fetch(ours, paths)
	if err != nil {
		return err
	}
	bare, stop, err := serve(bareHandler(bodies, kind))
	if err != nil {
		return err
	}
	defer stop()
	about.Data = fmt.Sprintf("%d addresses in random order, %d B an answer on average, not compressed, %d connections", len(paths), size/len(paths), connections)
	return l.loadPair(ctx, about, paths, connections, bare, ours)
}

// loadPair asks the baseline and ours the same, turn by turn.
func (l *lab) loadPair(ctx context.Context, about Benchmark, requests []string, connections int, base, ours string) error {
	file := filepath.Join(l.work, about.Name+".requests")
	if err := os.WriteFile(file, []byte(strings.Join(requests, "\n")), 0o600); err != nil {
		return err
	}
	b := l.report.add(about)
	var mine, others [2][]float64 // medians and 99 of 100, in microseconds
	for turn := range l.turns {
		theirs, err := load(ctx, base, file, connections, l.seconds)
		if err != nil {
			return err
		}
		var our loadResult
		if err := l.profiled(about.Name, turn, func() error {
			our, err = load(ctx, ours, file, connections, l.seconds)
			return err
		}); err != nil {
			return err
		}
		b.turn(float64(theirs.Requests)/theirs.Seconds, float64(our.Requests)/our.Seconds)
		mine[0], mine[1] = append(mine[0], our.P50), append(mine[1], our.P99)
		others[0], others[1] = append(others[0], theirs.P50), append(others[1], theirs.P99)
	}
	b.note("Half of the answers within %.2f ms and 99 of 100 within %.1f ms, the baseline's within %.2f and %.1f ms.",
		median(mine[0])/1000, median(mine[1])/1000, median(others[0])/1000, median(others[1])/1000)
	return nil
}

// bareHandler is the least that gin can do to send these bytes.
func bareHandler(bodies map[string][]byte, kind string) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.GET("/fhir/*rest", func(c *gin.Context) {
		body := bodies[c.Request.RequestURI]
		c.Writer.Header()["Content-Length"] = []string{fmt.Sprint(len(body))}
		c.Data(http.StatusOK, kind, body)
	})
	return e
}

// fetch asks for every path once, for the baseline to send.
func fetch(addr string, paths []string) (bodies map[string][]byte, kind string, size int, err error) {
	bodies = make(map[string][]byte, len(paths))
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	for _, p := range paths {
		req, err := http.NewRequest(http.MethodGet, "http://"+addr+p, nil)
		if err != nil {
			return nil, "", 0, err
		}
		req.Header.Set("Authorization", "Bearer "+benchKey)
		resp, err := transport.RoundTrip(req)
		if err != nil {
			return nil, "", 0, err
		}
		body, err := io.ReadAll(bufio.NewReader(resp.Body))
		if err = errors.Join(err, resp.Body.Close()); err != nil {
			return nil, "", 0, err
		}
		if resp.StatusCode != http.StatusOK {
			return nil, "", 0, fmt.Errorf("answered %s", resp.Status)
		}
		bodies[p], kind = body, resp.Header.Get("Content-Type")
		size += len(body)
	}
	if len(paths) == 0 {
		return nil, "", 0, errors.New("nothing to ask for")
	}
	return bodies, kind, size, nil
}

// serve listens on a free port; stop waits for the server's end.
func serve(h http.Handler) (addr string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	srv := &http.Server{Handler: h}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	return l.Addr().String(), func() { _ = srv.Close(); <-done }, nil
}

// instances are the addresses of all resources of all members.
func (c *composed) instances() []string {
	var all []string
	for _, m := range c.members {
		_ = c.db.Resources(m, func(id fhir.ResourceID) bool {
			all = append(all, "/fhir/"+id.Type+"/"+id.ID)
			return true
		})
	}
	return all
}

// patients are the addresses that a form gives for each member.
func (c *composed) patients(form string) []string {
	all := make([]string, len(c.members))
	for i, m := range c.members {
		all[i] = fmt.Sprintf(form, m)
	}
	return all
}
