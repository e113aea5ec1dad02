package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tributary-health/tributary/api"
	"github.com/tributary-health/tributary/audit"
	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/fhir"
)

// ask sends a request as askRecorded writes it, and lets change it.
func ask(t testing.TB, handler http.Handler, line string, change func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	req := askRecorded(t, line)
	if change != nil {
		change(req)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, req)
	return w
}

func header(name string, values ...string) func(*http.Request) {
	return func(r *http.Request) { r.Header[http.CanonicalHeaderKey(name)] = values }
}

// TestBoundsOfRequests holds each bound from both sides.
func TestBoundsOfRequests(t *testing.T) {
	store := newFakeStore()
	store.load(t)
	c, _ := recorded(store)
	handler := api.New(c)
	parameters := func(n int) string {
		return `POST /fhir/Patient/p1/$everything < {"resourceType":"Parameters","parameter":[` + strings.TrimSuffix(strings.Repeat(`{"name":"_type","valueCode":"Coverage"},`, n), ",") + `]}`
	}
	nested := func(n int) string {
		return `POST /fhir/Patient/p1/$everything < {"resourceType":"Parameters","x":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}`
	}
	repeat := func(s string, n int) string { return strings.TrimSuffix(strings.Repeat(s, n), s[len(s)-1:]) }
	for _, one := range []struct {
		name   string
		line   string
		change func(*http.Request)
		want   int
	}{
		{"address", "GET /fhir/Patient?name=" + strings.Repeat("x", 8000), nil, 200},
		{"longer address", "GET /fhir/Patient?name=" + strings.Repeat("x", 8200), nil, 414},
		{"page link that is none", "GET /fhir/Patient?_page=" + strings.Repeat("x", 8200), nil, 400},
		{"longest page link", "GET /fhir/Patient?_page=" + strings.Repeat("x", 140_000), nil, 414},
		{"segment", "GET /fhir/Patient/" + strings.Repeat("x", 128), nil, 404},
		{"longer segment", "GET /fhir/metadata/" + strings.Repeat("x", 129), nil, 404},
		{"header lines", "GET /fhir/Patient/p1", header("X-Many", slices.Repeat([]string{"x"}, 90)...), 200},
		{"more header lines", "GET /fhir/Patient/p1", header("X-Many", slices.Repeat([]string{"x"}, 101)...), 431},
		{"header bytes", "GET /fhir/Patient/p1", header("X-Long", strings.Repeat("x", 15_000)), 200},
		{"more header bytes", "GET /fhir/Patient/p1", header("X-Long", strings.Repeat("x", 17_000)), 431},
		{"more header bytes for a probe", "GET /healthz", header("X-Long", strings.Repeat("x", 17_000)), 431},
		{"parameters", "GET /fhir/Patient/p1?" + repeat("_format=json&", 256), nil, 200},
		{"more parameters", "GET /fhir/Patient/p1/$everything?" + repeat("_format=json&", 257), nil, 400},
		{"criteria", "GET /fhir/Patient?" + repeat("name=x&", 64), nil, 200},
		{"more criteria", "GET /fhir/Patient?" + repeat("name=x&", 65), nil, 400},
		{"includes", "GET /fhir/MedicationRequest?" + repeat("_include=MedicationRequest:patient&", 32), nil, 200},
		{"more includes", "GET /fhir/MedicationRequest?" + repeat("_include=MedicationRequest:patient&", 33), nil, 400},
		{"elements", "GET /fhir/Patient?_elements=" + repeat("name,", 100), nil, 200},
		{"more elements", "GET /fhir/Patient?_elements=" + repeat("name,", 101), nil, 400},
		{"sorts", "GET /fhir/Patient?_sort=" + repeat("birthdate,", 5), nil, 200},
		{"more sorts", "GET /fhir/Patient?_sort=" + repeat("birthdate,", 6), nil, 400},
		{"parameters in a body", parameters(256), nil, 200},
		{"more parameters in a body", parameters(257), nil, 400},
		{"nested body", nested(7), nil, 200},
		{"body nested deeper", nested(8), nil, 400},
		{"body", "POST /fhir/Patient/_search < name=" + strings.Repeat("x", 65_000), nil, 200},
		{"larger body", "POST /fhir/Patient/_search < name=" + strings.Repeat("x", 66_000), nil, 413},
		{"text behind a body", parameters(1) + "x", nil, 400},
		{"two bodies", parameters(1) + `{"resourceType":"Parameters"}`, nil, 400},
		{"two keys", "GET /fhir/Patient/p1", header("Authorization", "Bearer "+key, "Bearer "+key), 400},
		{"key in the address", "GET /fhir/Patient/p1?access_token=" + key, header("Authorization"), 400},
		{"key in the address of anyone's", "GET /fhir/metadata?a=b&access%5Ftoken=" + key, nil, 400},
		{"key in a form", "POST /fhir/Patient/_search < access_token=" + key, nil, 400},
		{"another method by header", "POST /fhir/Patient/p1", header("X-HTTP-Method-Override", "GET"), 405},
		{"another method for a form", "POST /fhir/Patient/_search < name=x", header("X-HTTP-Method-Override", "DELETE"), 200},
		{"TRACE", "TRACE /fhir/Patient/p1", nil, 405},
		{"unclean path", "GET //fhir//Patient", nil, 404},
		{"path with dots", "GET /fhir/Coverage/../Patient/p1", nil, 404},
		{"slash behind", "GET /fhir/Patient/", nil, 404},
		{"host", "GET /fhir/Patient/p1", func(r *http.Request) { r.Host = "evil.example/\r\nX: y" }, 400},
		{"HTTP/1.0", "GET /fhir/Patient/p1", func(r *http.Request) { r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.0", 1, 0 }, 200},
		{"HTTP/1.0 without a host", "GET /fhir/Patient/p1", func(r *http.Request) { r.Host, r.ProtoMinor = "", 0 }, 400},
	} {
		w := ask(t, handler, one.line, one.change)
		if w.Code != one.want {
			t.Errorf("%s: %d %.200s, want %d", one.name, w.Code, w.Body, one.want)
		}
		if w.Code >= 400 && !strings.HasPrefix(w.Body.String(), `{"resourceType":"OperationOutcome"`) {
			t.Errorf("%s: %.200s", one.name, w.Body)
		}
	}
}

// slow is a store whose views open only when they are let.
type slow struct {
	*fakeStore
	entered chan struct{}
	let     chan struct{}
}

func (s *slow) At(number uint64) (api.View, error) {
	s.entered <- struct{}{}
	<-s.let
	return s.fakeStore.At(number)
}

// TestInFlight fills the places and asks for one more, of the client and of all.
func TestInFlight(t *testing.T) {
	store := &slow{orders(1), make(chan struct{}), make(chan struct{})}
	c, _ := recorded(store)
	c.PerClient, c.InFlight = 2, 3
	handler := api.New(c)
	line := "GET /fhir/MedicationRequest/r000"
	other := header("Authorization", "Bearer other-key")
	var wg sync.WaitGroup
	begin := func(change func(*http.Request)) {
		wg.Go(func() {
			if w := ask(t, handler, line, change); w.Code != http.StatusOK {
				t.Errorf("one that is let in: %d", w.Code)
			}
		})
		<-store.entered
	}
	refused := func(change func(*http.Request), want int) {
		t.Helper()
		w := ask(t, handler, line, change)
		if w.Code != want || w.Result().Header.Get("Retry-After") == "" {
			t.Errorf("%d %v %s, want %d", w.Code, w.Result().Header, w.Body, want)
		}
	}
	begin(nil)
	begin(nil)
	refused(nil, http.StatusTooManyRequests)
	refused(nil, http.StatusTooManyRequests) // a refused one leaves its place
	begin(other)
	refused(other, http.StatusServiceUnavailable)
	if w := ask(t, handler, "GET /healthz", nil); w.Code != http.StatusOK {
		t.Errorf("a probe: %d", w.Code)
	}
	close(store.let)
	wg.Wait()
	go func() {
		for range store.entered {
		}
	}()
	for range 5 {
		if w := ask(t, handler, line, nil); w.Code != http.StatusOK {
			t.Errorf("afterwards: %d", w.Code)
		}
	}
	close(store.entered)
}

// endless is a store whose scans go on until they are told to stop.
type endless struct{ *fakeStore }

func (s endless) At(number uint64) (api.View, error) {
	v, err := s.fakeStore.At(number)
	return endlessView{v}, err
}

type endlessView struct{ api.View }

func (v endlessView) Scan(typ, member string, all bool, _, _ string, fn func(fhir.Version) bool) error {
	for fn(fhir.Version{ResourceID: fhir.ResourceID{Type: typ, ID: "x"}, Member: "p1"}) {
	}
	return nil
}

func TestRequestTime(t *testing.T) {
	c, log := recorded(endless{orders(1)})
	c.RequestTime = 20 * time.Millisecond
	c.Audit = func(_ context.Context, e audit.Event) error { return log.append(context.Background(), e) }
	handler := api.New(c)
	for _, line := range []string{"GET /fhir/MedicationRequest?status=stopped", "GET /fhir/MedicationRequest?patient=p1&status=stopped"} {
		w := ask(t, handler, line, nil)
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `"too-costly"`) {
			t.Errorf("%s: %d %s", line, w.Code, w.Body)
		}
		if events := log.take(); len(events) != 1 || events[0].Outcome != "failed" {
			t.Errorf("%s: events %+v", line, events)
		}
	}
}

const marker = "Marker1970"

// marked are requests that hold the marker wherever something can be.
func marked() map[string]func(*http.Request) {
	all := map[string]func(*http.Request){}
	for _, path := range []string{
		"/fhir/Patient/M", "/fhir/M", "/fhir/M/p1", "/M", "/fhir/Patient/p1/_history/M", "/fhir/Patient/M/_history/1", "/fhir/Patient/M/_history", "/fhir/Patient/p1/M", "/fhir/Patient/p1/$M",
		"/fhir/Patient/M/$everything", "/fhir/Patient/M/$medication-profile", "/fhir/Composition/M/$document", "/fhir/OperationDefinition/M", "/fhir/Patient/p1/_history/1/M",
		"/fhir/Patient?M=1", "/fhir/Patient?name:M=1", "/fhir/Patient?M:exact=1", "/fhir/Patient?birthdate=M", "/fhir/Patient?_count=M", "/fhir/Patient?_sort=M", "/fhir/Patient?_include=M", "/fhir/Patient?_include=Patient:M",
		"/fhir/Patient?_revinclude=M:patient", "/fhir/Patient?_revinclude=Coverage:patient:M", "/fhir/Patient?_elements=M", "/fhir/Patient?_summary=M", "/fhir/Patient?_total=M", "/fhir/Patient?_page=M", "/fhir/Patient?_format=M",
		"/fhir/Patient?name=%zzM", "/fhir/Patient?%zzM=1", "/fhir/Patient?_has:Coverage:patient:M=1", "/fhir/Coverage?patient.M=1", "/fhir/Coverage?patient=M/x", "/fhir/Coverage?patient:M=p1", "/fhir/Patient?gender:missing=M",
		"/fhir/Patient?_lastUpdated=M", "/fhir/Patient?_id=M%20x", "/fhir/Observation?value-quantity=M", "/fhir/Observation?value-quantity=5|M", "/fhir/Patient?identifier=M|M", "/fhir/Patient?name=M", "/fhir/Patient?_id=M",
		"/fhir/Patient/p1?_elements=M", "/fhir/Patient/p1/_history?M=1", "/fhir/Patient/p1/_history?_since=M", "/fhir/Patient/p1/$everything?_type=M", "/fhir/Patient/p1/$everything?start=M", "/fhir/Patient/p1/$everything?M=M",
		"/fhir/Patient/p1/$medication-profile?M=1", "/fhir/Patient/p1?access_token=M",
	} {
		all["GET "+path] = func(r *http.Request) {
			path, query, _ := strings.Cut(strings.ReplaceAll(path, "M", marker), "?")
			path = strings.ReplaceAll(path, marker+"edication", "Medication")
			r.URL = &url.URL{Path: path, RawQuery: query}
			r.RequestURI = r.URL.String()
		}
	}
	for _, name := range []string{"Accept", "Prefer", "If-None-Match", "Tributary-Commit", "Authorization", "Content-Type", "Accept-Encoding", "X-Forwarded-Host", "Cookie", "Referer", "User-Agent"} {
		all["header "+name] = header(name, marker)
	}
	all["key"] = header("Authorization", "Bearer "+marker)
	all["host"] = func(r *http.Request) { r.Host = marker + "/" }
	all["method"] = func(r *http.Request) { r.Method = strings.ToUpper(marker) }
	for _, one := range [][3]string{
		{"/fhir/Patient/_search", "application/x-www-form-urlencoded", "M=1"}, {"/fhir/Patient/_search", "application/x-www-form-urlencoded", "birthdate=M"}, {"/fhir/Patient/_search", "M/M", "x"},
		{"/fhir/Patient/_search", "application/x-www-form-urlencoded", "name=M"},
		{"/fhir/Patient/p1/$everything", "application/json", `{"M":`}, {"/fhir/Patient/p1/$everything", "application/json", `{"resourceType":"M"}`},
		{"/fhir/Patient/p1/$everything", "application/json", `{"resourceType":"Parameters","parameter":[{"name":"M","valueString":"M"}]}`},
		{"/fhir/Patient/p1/$everything", "application/json", `{"resourceType":"Parameters","parameter":[{"name":"M"}]}`},
		{"/fhir/Patient/p1/$everything", "application/json", `{"resourceType":"Parameters","parameter":[{"name":"_since","valueDate":"M"}]}`},
		{"/fhir/Patient/$hash-match", "application/json", `{"resourceType":"Parameters","M":"M"}`}, {"/fhir/Patient/$hash-match?M=M", "application/json", `{}`}, {"/fhir/M/$hash-match", "application/json", `{}`},
	} {
		all["POST "+strings.Join(one[:], " ")] = func(r *http.Request) {
			path, query, _ := strings.Cut(strings.ReplaceAll(one[0], "/M", "/"+marker), "?")
			r.Method, r.URL = http.MethodPost, &url.URL{Path: path, RawQuery: strings.ReplaceAll(query, "M", marker)}
			r.RequestURI = r.URL.String()
			r.Header.Set("Content-Type", strings.ReplaceAll(one[1], "M", marker))
			text := strings.ReplaceAll(one[2], "M", marker)
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
		}
	}
	return all
}

// TestErrorsRepeatNothing plants a marker in every place of a request, over a
// store that is well, one that fails, one that panics, and a log that fails: no
// error's body or headers, nothing that is logged and no label has it.
func TestErrorsRepeatNothing(t *testing.T) {
	errorsSeen, logged := 0, 0
	for _, state := range []string{"well", "fails", "panics", "panics with an error", "log fails", "no match"} {
		store := newFakeStore()
		store.load(t)
		c, log := recorded(store)
		switch state {
		case "fails":
			store.fault = errors.New("disk: cause")
		case "panics":
			store.panics = "value of " + marker
		case "panics with an error":
			store.panics = fmt.Errorf("value of %s", marker)
		case "log fails":
			log.fault = errors.New("disk full")
		case "no match":
			c.Match = &fakeMatcher{reason: "unknown"}
		}
		name := ""
		c.Failed = func(route string, err error) {
			logged++
			if text := route + err.Error(); strings.Contains(text, marker) || strings.Contains(text, strings.ToUpper(marker)) {
				t.Errorf("%s, %s: logged: %s", state, name, text)
			}
		}
		c.Observe = func(route string, _ int, _ time.Duration) {
			if strings.Contains(strings.ToLower(route), "marker") {
				t.Errorf("%s, %s: label %s", state, name, route)
			}
		}
		handler := api.New(c)
		for what, change := range marked() {
			name = what
			w := ask(t, handler, "GET /fhir/Patient/p1", change)
			if w.Code < 400 {
				continue
			}
			errorsSeen++
			text := strings.ToLower(fmt.Sprint(w.Result().Header, w.Body))
			if strings.Contains(text, strings.ToLower(marker)) || strings.Contains(text, "goroutine") || strings.Contains(text, "cause") {
				t.Errorf("%s, %s: answered: %d %s", state, name, w.Code, text)
			}
		}
		for _, e := range log.take() {
			for _, s := range e.Subjects {
				e.Request += fmt.Sprint(s)
			}
			if text := fmt.Sprint(e.Kind, e.Reason, e.Outcome, e.Request); strings.Contains(text, marker) {
				t.Errorf("%s: recorded: %s", state, text)
			}
		}
		if store.opened != 0 {
			t.Errorf("%s: %d views are not closed", state, store.opened)
		}
	}
	if errorsSeen < 200 || logged < 50 {
		t.Errorf("only %d errors and %d log lines looked at", errorsSeen, logged)
	}
}

// TestPageLinksAreTheSameBytes asks the same of two servers with one key.
func TestPageLinksAreTheSameBytes(t *testing.T) {
	a, _ := recorded(orders(30))
	b, _ := recorded(orders(30))
	first, second := api.New(a), api.New(b)
	links := map[string]bool{}
	for _, line := range []string{
		"GET /fhir/MedicationRequest?_count=5", "GET /fhir/MedicationRequest?_count=6", "GET /fhir/MedicationRequest?status=active&_count=5",
		"POST /fhir/MedicationRequest/_search < _count=7&status=active",
	} {
		x, y, again := ask(t, first, line, nil), ask(t, second, line, nil), ask(t, first, line, nil)
		if x.Body.String() != y.Body.String() || x.Body.String() != again.Body.String() {
			t.Errorf("%s: %s\nand %s", line, x.Body, y.Body)
		}
		if other := ask(t, first, line, header("Authorization", "Bearer other-key")); other.Body.String() == x.Body.String() {
			t.Errorf("%s: another client has the same link", line)
		}
		var g got
		if err := json.Unmarshal(x.Body.Bytes(), &g); err != nil || g.link("next") == "" || links[g.link("next")] {
			t.Errorf("%s: %v %+v", line, err, g.Link)
		}
		links[g.link("next")] = true
	}
}

// placeless is a store that does not know where its sources are.
type placeless struct{ *fakeStore }

func (s placeless) At(number uint64) (api.View, error) {
	v, err := s.fakeStore.At(number)
	return placelessView{v}, err
}

type placelessView struct{ api.View }

func (v placelessView) Freshness() []change.Freshness {
	sources := v.View.Freshness()
	for i := range sources {
		sources[i].Position = change.Position{}
	}
	return sources
}

func TestFreshnessWithoutPosition(t *testing.T) {
	c, _ := recorded(placeless{orders(1)})
	w := ask(t, api.New(c), "GET /fhir/MedicationRequest/r000", nil)
	want := []string{`emr; committed="2026-11-20T09:59:59.000000Z"`, `pharmacy; committed="2026-11-20T09:59:59.000000Z"`}
	if got := w.Result().Header["Tributary-Source"]; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// FuzzSurface sends anything: the answer is FHIR, and never that something broke.
func FuzzSurface(f *testing.F) {
	for what, change := range marked() {
		req := httptest.NewRequest(http.MethodGet, "/fhir/Patient/p1", nil)
		change(req)
		body, err := io.ReadAll(req.Body)
		if err != nil {
			f.Fatal(what, err)
		}
		f.Add(req.Method, req.URL.Path, req.URL.RawQuery, "Content-Type", req.Header.Get("Content-Type"), body)
	}
	for _, line := range recordCases(f) {
		req := askRecorded(f, line)
		body, err := io.ReadAll(req.Body)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(req.Method, req.URL.Path, req.URL.RawQuery, "Prefer", "handling=lenient", body)
	}
	f.Add("GET", "/fhir/Patient/p1", "", "If-None-Match", `*, W/"1`, []byte(nil))
	f.Add("GET", "/fhir/Patient", "_count=1", "Tributary-Commit", "18446744073709551616", []byte(nil))
	var once sync.Once
	var handler http.Handler
	var log *fakeLog
	f.Fuzz(func(t *testing.T, method, path, query, name, value string, body []byte) {
		once.Do(func() {
			store := newFakeStore()
			store.load(t)
			var c api.Config
			c, log = recorded(store)
			c.Failed = func(route string, err error) { panic(fmt.Sprint(route, err)) }
			handler = api.New(c)
		})
		req := &http.Request{
			Method: method, URL: &url.URL{Path: path, RawQuery: query}, Host: "fhir.example", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{"Authorization": {"Bearer " + key}}, Body: io.NopCloser(strings.NewReader(string(body))), ContentLength: int64(len(body)),
		}
		if name != "Host" {
			req.Header[http.CanonicalHeaderKey(name)] = []string{value}
		}
		req.RequestURI = req.URL.RequestURI()
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, req)
		events := log.take()
		switch {
		case w.Code >= 500:
			t.Fatalf("%d %s", w.Code, w.Body)
		case w.Code < 400 && w.Result().Header.Get("Tributary-Commit") != "" && len(events) != 1:
			t.Fatalf("%d without a record", w.Code)
		case strings.HasPrefix(w.Result().Header.Get("Content-Type"), "application/fhir") && w.Result().Header.Get("Content-Encoding") == "" && !json.Valid(w.Body.Bytes()):
			t.Fatalf("no JSON: %s", w.Body)
		}
	})
}
