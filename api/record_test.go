package api_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/tributary-health/tributary/access"
	"github.com/tributary-health/tributary/api"
	"github.com/tributary-health/tributary/audit"
)

// fakeLog is an audit log in memory.
type fakeLog struct {
	mu     sync.Mutex
	events []audit.Event
	fault  error
}

func (l *fakeLog) append(_ context.Context, e audit.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fault == nil {
		l.events = append(l.events, e)
	}
	return l.fault
}

// take returns the events so far and forgets them.
func (l *fakeLog) take() []audit.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	events := l.events
	l.events = nil
	return events
}

// recorded is testConfig with a log.
func recorded(s api.Store) (api.Config, *fakeLog) {
	l := &fakeLog{}
	c := testConfig(s)
	c.Audit = l.append
	c.Match = &fakeMatcher{patient: "p1"}
	return c, l
}

// askRecorded sends a line of testdata/record/events.txt: method, path, headers
// as [Name: value], and a body behind "<".
func askRecorded(t testing.TB, line string) *http.Request {
	t.Helper()
	line, body, hasBody := strings.Cut(line, " < ")
	method, rest, _ := strings.Cut(line, " ")
	path, headers, _ := strings.Cut(rest, " [")
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	req.Host = "fhir.example"
	req.Header.Set("Authorization", "Bearer "+key)
	if hasBody {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if strings.HasPrefix(body, "{") {
			req.Header.Set("Content-Type", "application/fhir+json")
		}
	}
	if name, value, ok := strings.Cut(strings.TrimSuffix(headers, "]"), ": "); ok {
		req.Header.Set(name, value)
	}
	return req
}

// firstByte is a ResponseWriter that wants the answer on the record before any of
// it leaves.
type firstByte struct {
	*httptest.ResponseRecorder
	t    *testing.T
	log  *fakeLog
	line string
}

func (f *firstByte) check() {
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	if len(f.log.events) == 0 {
		f.t.Errorf("%s: a byte leaves before the record", f.line)
	}
}

func (f *firstByte) WriteHeader(status int) {
	f.check()
	f.ResponseRecorder.WriteHeader(status)
}

func (f *firstByte) Write(b []byte) (int, error) {
	f.check()
	return f.ResponseRecorder.Write(b)
}

const recordFile = "testdata/record/events.txt"

// recordCases are the requests of the file, by line.
func recordCases(t testing.TB) []string {
	t.Helper()
	text, err := os.ReadFile(recordFile)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimRight(line, "\n"); line != "" && line[0] != '#' && line[0] != '\t' {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		t.Fatal("no case")
	}
	return lines
}

// TestEveryAnswerIsOnTheRecord asks what the file asks and compares the events;
// all that a body holds is in its event, and the event comes first.
func TestEveryAnswerIsOnTheRecord(t *testing.T) {
	store := newFakeStore()
	store.load(t)
	c, log := recorded(store)
	handler := api.New(c)
	text, err := os.ReadFile(recordFile)
	if err != nil {
		t.Fatal(err)
	}
	real, err := audit.Open(t.TempDir(), audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := real.Close(); err != nil {
			t.Error(err)
		}
	}()
	kinds := map[string]bool{}
	var out strings.Builder
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "\t") {
			continue
		}
		out.WriteString(line + "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		w := &firstByte{httptest.NewRecorder(), t, log, line}
		handler.ServeHTTP(w, askRecorded(t, line))
		events := log.take()
		if len(events) != 1 {
			t.Errorf("%s: %d, and %d events", line, w.Code, len(events))
			continue
		}
		if err := real.Append(t.Context(), events[0]); err != nil {
			t.Errorf("%s: the log does not take it: %v", line, err)
		}
		kinds[events[0].Kind] = true
		out.WriteString("\t" + printEvent(w.Code, events[0]) + "\n")
		if w.Code == http.StatusOK {
			wantShown(t, line, w.Body.Bytes(), events[0])
		}
	}
	for _, route := range clientRoutes(t) {
		if !kinds[route] {
			t.Errorf("no case of the route %q in %s", route, recordFile)
		}
	}
	if *rewrite {
		if err := os.WriteFile(recordFile, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if out.String() != string(text) {
		t.Errorf("%s: got\n%s\nrun with -rewrite and look at what changes", recordFile, out.String())
	}
}

func printEvent(status int, e audit.Event) string {
	text := fmt.Sprintf("%d %s %s %s", status, e.Kind, e.Client, e.Outcome)
	if e.Reason != "" {
		text += "(" + e.Reason + ")"
	}
	text += fmt.Sprintf(" %q", e.Request)
	if e.Generation != "" {
		text += fmt.Sprintf(" at %s/%d", e.Generation, e.Commit)
	}
	for _, s := range e.Subjects {
		text += " " + s.Patient + ":" + strings.Join(s.Resources, ",")
	}
	return text
}

// wantShown wants each resource of the body in the event, by version, and nothing
// else.
func wantShown(t *testing.T, line string, body []byte, e audit.Event) {
	t.Helper()
	type resource struct {
		ResourceType, ID string
		Meta             struct{ VersionID string }
		Entry            []struct {
			Resource *resource
			Request  struct{ URL string }
			Response struct{ ETag string }
		}
	}
	var r resource
	if err := json.Unmarshal(body, &r); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	var want, got []string
	if r.ResourceType != "Bundle" {
		want = append(want, r.ResourceType+"/"+r.ID+"/_history/"+r.Meta.VersionID)
	}
	for _, e := range r.Entry {
		if e.Resource == nil {
			want = append(want, e.Request.URL+"/_history/"+strings.Trim(e.Response.ETag, `W/"`))
			continue
		}
		want = append(want, e.Resource.ResourceType+"/"+e.Resource.ID+"/_history/"+e.Resource.Meta.VersionID)
	}
	for _, s := range e.Subjects {
		got = append(got, s.Resources...)
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%s shows %v\nthe record has %v", line, want, got)
	}
}

// clientRoutes are the names of the routes that answer clients, from the source.
func clientRoutes(t *testing.T) (names []string) {
	t.Helper()
	eachCall(t, func(_ string, call *ast.CallExpr) {
		f, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || f.Sel.Name != "handle" || len(call.Args) != 3 {
			return
		}
		if who, ok := call.Args[1].(*ast.Ident); !ok || who.Name != "clients" {
			return
		}
		switch name := call.Args[0].(type) {
		case *ast.BasicLit:
			names = append(names, strings.Trim(name.Value, `"`))
		case *ast.Ident:
			names = append(names, map[string]string{"matchRoute": "match"}[name.Name])
		}
	})
	if len(names) < 8 {
		t.Fatalf("only the routes %v: the test looks in the wrong place", names)
	}
	return names
}

// eachFile parses the package's own files.
func eachFile(t *testing.T, fn func(name string, f *ast.File)) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal("no files")
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(gotoken.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		fn(name, f)
	}
}

func eachCall(t *testing.T, fn func(file string, call *ast.CallExpr)) {
	t.Helper()
	eachFile(t, func(name string, f *ast.File) {
		ast.Inspect(f, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				fn(name, call)
			}
			return true
		})
	})
}

// TestOneWayOut wants the response to be touched in send.go alone, behind the
// record: elsewhere a handler has of gin's context the request and the path.
func TestOneWayOut(t *testing.T) {
	looked := 0
	eachFile(t, func(name string, f *ast.File) {
		ast.Inspect(f, func(n ast.Node) bool {
			outer, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			inner, field := outer.X.(*ast.SelectorExpr)
			id, variable := outer.X.(*ast.Ident)
			if !(field && inner.Sel.Name == "c" || variable && id.Name == "c" && name == "server.go") {
				return true
			}
			looked++
			switch outer.Sel.Name {
			case "Request", "Param":
			case "Writer":
				if name != "send.go" {
					t.Errorf("%s touches the response", name)
				}
			default:
				if field {
					t.Errorf("%s uses %s of gin's context", name, outer.Sel.Name)
				}
			}
			return true
		})
	})
	eachCall(t, func(name string, call *ast.CallExpr) {
		f, ok := call.Fun.(*ast.SelectorExpr)
		if ok && f.Sel.Name == "write" && name != "request.go" {
			t.Errorf("%s writes an answer past the record", name)
		}
	})
	if looked < 10 {
		t.Fatalf("only %d places looked at", looked)
	}
}

const notKept = `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"transient","diagnostics":"the answer could not be recorded, and so is not given"}]}`

// TestNothingLeavesUnrecorded lets the log fail: no request gets more than that.
func TestNothingLeavesUnrecorded(t *testing.T) {
	store := newFakeStore()
	store.load(t)
	c, log := recorded(store)
	log.fault = errors.New("disk full")
	told := 0
	c.Failed = func(_ string, err error) {
		if told++; !errors.Is(err, log.fault) {
			t.Errorf("told %v", err)
		}
	}
	handler := api.New(c)
	for _, line := range recordCases(t) {
		told = 0
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, askRecorded(t, line))
		h := w.Result().Header
		if w.Code != http.StatusServiceUnavailable || w.Body.String() != notKept || told != 1 || h.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s, told %d times", line, w.Code, w.Body, told)
		}
		for _, name := range []string{"Etag", "Last-Modified", "Tributary-Commit", "Tributary-Source"} {
			if h.Get(name) != "" {
				t.Errorf("%s: %s is sent", line, name)
			}
		}
	}
	if store.opened != 0 {
		t.Errorf("%d views are not closed", store.opened)
	}
}

// TestNoRouteIsForgotten walks what the router knows, so that a route made past
// handle is found.
func TestNoRouteIsForgotten(t *testing.T) {
	store := newFakeStore()
	store.load(t)
	c, log := recorded(store)
	log.fault = errors.New("disk full")
	engine, ok := api.New(c).(*gin.Engine)
	if !ok {
		t.Fatal("the handler is no gin engine: walk its routes in another way")
	}
	open := []string{"/healthz", "/readyz"}
	for _, route := range engine.Routes() {
		for _, id := range []string{"p1", "_search", "$hash-match"} {
			for _, what := range []string{"$everything", "$medication-profile", "_history", "$document"} {
				path := strings.NewReplacer(":type", "Patient", ":id", id, ":what", what, ":version", "1").Replace(route.Path)
				w := httptest.NewRecorder()
				req := askRecorded(t, route.Method+" "+path)
				engine.ServeHTTP(w, req)
				if w.Code < 400 && !slices.Contains(open, path) {
					t.Errorf("%s %s answers %d without a record", route.Method, path, w.Code)
				}
			}
		}
	}
}

// TestViewsOfTheCaller gives each client a store of its own.
func TestViewsOfTheCaller(t *testing.T) {
	mine, other := orders(3), newFakeStore()
	other.show(1)
	c, log := recorded(mine)
	fault := error(nil)
	c.Views = func(caller access.Caller) (api.Store, error) {
		if caller.ClientID == "other" {
			return other, fault
		}
		return mine, nil
	}
	server := serve(t, c)
	if _, resp := fetch(t, server.URL+"/fhir/MedicationRequest/r000", key); resp.StatusCode != http.StatusOK {
		t.Errorf("mine: %s", resp.Status)
	}
	if _, resp := fetch(t, server.URL+"/fhir/MedicationRequest/r000", "other-key"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("other: %s", resp.Status)
	}
	log.take()
	fault = fmt.Errorf("projection of other: %w", api.ErrNotReady)
	for _, path := range []string{"/MedicationRequest/r000", "/MedicationRequest", "/Patient/p1/$everything"} {
		resp, body := send(t, "GET", server.URL+"/fhir"+path, nil, "Authorization", "Bearer other-key")
		want := `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"transient","diagnostics":"the records are not there yet: try again"}]}`
		if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || string(body) != want || resp.Header.Get("Tributary-Commit") != "" {
			t.Errorf("not ready: %s %v %s", resp.Status, resp.Header, body)
		}
	}
	if resp, _ := send(t, "GET", server.URL+"/fhir/metadata", nil, "Authorization", "Bearer other-key"); resp.StatusCode != http.StatusOK {
		t.Errorf("metadata: %s", resp.Status)
	}
	if events := log.take(); len(events) != 0 {
		t.Errorf("recorded without a store: %v", events)
	}
}

// restricted returns a registry of one client that may see Patients and Tasks
// alone.
func restricted(t *testing.T) *access.Registry {
	t.Helper()
	file := filepath.Join(t.TempDir(), "clients.yaml")
	sum := sha256.Sum256([]byte(key))
	text := fmt.Sprintf("version: 1\nclients:\n  - id: provider\n    key_sha256: %x\n    types: [Patient, Task]\n    members: all\n", sum)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	clients, problems := access.LoadClients(file)
	if access.Failed(problems) {
		t.Fatal(problems)
	}
	return access.NewRegistry(clients...)
}

// TestForbiddenIsRecorded asks for types that the client may not see: a refusal
// that no store was asked for, and that is on the record.
func TestForbiddenIsRecorded(t *testing.T) {
	store := newFakeStore()
	store.load(t)
	c, log := recorded(store)
	c.Clients = restricted(t)
	handler := api.New(c)
	for _, line := range recordCases(t) {
		if !strings.Contains(line, "/MedicationRequest") && !strings.Contains(line, "/Composition") && !strings.Contains(line, "$medication-profile") || strings.Contains(line, "$everything") {
			continue
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, askRecorded(t, line))
		events := log.take()
		if w.Code != http.StatusForbidden || len(events) != 1 || events[0].Outcome != "refused" || events[0].Reason != "forbidden" || len(events[0].Subjects) != 0 || events[0].Generation != "" {
			t.Errorf("%s: %d %s, events %+v", line, w.Code, w.Body, events)
		}
	}
	if len(store.viewed) != 0 {
		t.Error("a store was asked")
	}
	for _, path := range []string{"/fhir/Patient/p1/$everything", "/fhir/Patient?_id=p1&_revinclude=MedicationRequest:patient&_revinclude=Coverage:patient"} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, askRecorded(t, "GET "+path))
		if w.Code != http.StatusOK || strings.Count(w.Body.String(), `"resourceType"`) != 2 {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestNewWantsARecord(t *testing.T) {
	s := newFakeStore()
	views := func(access.Caller) (api.Store, error) { return s, nil }
	log := (&fakeLog{}).append
	for name, c := range map[string]api.Config{
		"nothing":         {Clients: access.NewRegistry()},
		"no record":       {Clients: access.NewRegistry(), Views: views},
		"nothing to read": {Clients: access.NewRegistry(), Audit: log},
		"nobody to know":  {Views: views, Audit: log},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: New takes it", name)
				}
			}()
			api.New(c)
		}()
	}
}
