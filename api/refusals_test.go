package api_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/tributary-health/tributary/api"
)

// Only what disclosed nothing and was looked up nowhere may be recorded with
// others alike: what a partner could otherwise fill the record with.
func TestWhatFolds(t *testing.T) {
	body := `< {"resourceType":"Parameters","parameter":[{"name":"x","valueString":"y"}]}`
	for _, one := range []struct {
		name    string
		line    string
		matcher *fakeMatcher
		shows   bool // policy with all types
		status  int
		folds   bool
	}{
		{"a match", matchLine, &fakeMatcher{patient: "p1"}, true, 200, false},
		{"no match", matchLine, &fakeMatcher{reason: "unknown"}, true, 422, false},
		{"a match not in the store", matchLine, &fakeMatcher{patient: "nobody"}, true, 422, false},
		{"a match that fails", matchLine, &fakeMatcher{err: errors.New("broken")}, true, 500, false},
		{"malformed", matchLine, &fakeMatcher{err: api.ErrMalformed}, true, 400, true},
		{"not ready", matchLine, &fakeMatcher{err: api.ErrNotReady}, true, 503, true},
		{"quota", matchLine, &fakeMatcher{wait: time.Hour}, true, 429, true},
		{"no terms", matchLine, &fakeMatcher{waitErr: api.ErrMayNotMatch}, true, 403, true},
		{"parameters of the match in the address", "POST /fhir/Patient/$hash-match?x=1 " + body, &fakeMatcher{}, true, 400, true},
		{"a type that is hidden", "GET /fhir/MedicationRequest/m1", nil, false, 403, true},
		{"a search of it", "GET /fhir/MedicationRequest?patient=p1", nil, false, 403, true},
		{"a read", "GET /fhir/Patient/p1", nil, false, 200, false},
		{"nothing there", "GET /fhir/Patient/nobody", nil, true, 404, false},
		{"deleted", "GET /fhir/Immunization/i2", nil, true, 410, false},
	} {
		store := newFakeStore()
		store.load(t)
		c, log := recorded(store)
		if !one.shows {
			c.Clients = restricted(t)
		}
		if one.matcher != nil {
			c.Match = one.matcher
		}
		w := serveOne(api.New(c), askRecorded(t, one.line))
		events := log.take()
		if w.Code != one.status || len(events) != 1 || events[0].Folds != one.folds {
			t.Errorf("%s: %d %s, recorded %+v; want %d, folds %t", one.name, w.Code, w.Body, events, one.status, one.folds)
		}
	}
}

// Who is refused too often is told to wait, and nothing else is slowed down: other
// clients, and what the same client may have.
func TestRefusalsAreBounded(t *testing.T) {
	store := newFakeStore()
	store.load(t)
	c, log := recorded(store)
	matcher := &fakeMatcher{wait: time.Hour}
	c.Match = matcher
	c.Refusals = api.Refusals{Burst: 5, PerSecond: 0.001}
	handler := api.New(c)
	asks := func(line string, change func(*http.Request), want int) {
		t.Helper()
		req := askRecorded(t, line)
		if change != nil {
			change(req)
		}
		w := serveOne(handler, req)
		if seconds, err := strconv.Atoi(w.Result().Header.Get("Retry-After")); w.Code != want || want == 429 && (err != nil || seconds < 1) {
			t.Errorf("%s: %d %v %s, want %d", line, w.Code, w.Result().Header, w.Body, want)
		}
	}
	for range 5 {
		asks(matchLine, nil, 429)
	}
	if matcher.turns != 5 {
		t.Fatalf("%d questions reached the matcher", matcher.turns)
	}
	log.take()
	for range 100 {
		asks(matchLine, nil, 429)
	}
	if events := log.take(); matcher.turns != 5 || len(events) != 100 || !events[99].Folds || events[99].Reason != "throttled" {
		t.Errorf("%d questions reached the matcher, %d events, the last %+v", matcher.turns, len(events), events[len(events)-1])
	}
	asks("GET /fhir/Patient/p1", nil, 200)
	matcher.wait, matcher.patient = 0, "p1"
	asks(matchLine, header("Authorization", "Bearer other-key"), 200)

	wrong := header("Authorization", "Bearer of nobody")
	for i := range 20 {
		asks("GET /fhir/Patient/p1", wrong, map[bool]int{true: 401, false: 429}[i < 5])
	}
	asks("GET /fhir/Patient/p1", nil, 200) // a good key from the same address
	asks("GET /fhir/Patient/p1", func(r *http.Request) { wrong(r); r.RemoteAddr = "198.51.100.7:1" }, 401)
	for i := range 10 { // addresses of one /64 are one caller's
		asks("GET /fhir/Patient/p1", func(r *http.Request) { wrong(r); r.RemoteAddr = fmt.Sprintf("[2001:db8::%x]:1", i) }, map[bool]int{true: 401, false: 429}[i < 5])
	}
}

// A client that may not see a type and asks for it all the time still gets the
// others; and who waited is heard again.
func TestRefusedTypeSlowsNoOther(t *testing.T) {
	store := newFakeStore()
	store.load(t)
	c, _ := recorded(store)
	c.Clients = restricted(t)
	c.Refusals = api.Refusals{Burst: 2, PerSecond: 20}
	handler := api.New(c)
	seen := map[int]int{}
	for range 50 {
		seen[serveOne(handler, askRecorded(t, "GET /fhir/MedicationRequest/m1")).Code]++
		if w := serveOne(handler, askRecorded(t, "GET /fhir/Patient/p1")); w.Code != 200 {
			t.Fatalf("what it may see: %d", w.Code)
		}
	}
	if seen[403] < 2 || seen[429] == 0 || seen[403]+seen[429] != 50 {
		t.Errorf("%v", seen)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if w := serveOne(handler, askRecorded(t, "GET /fhir/MedicationRequest/m1")); w.Code == 403 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("who waits is never heard again")
		}
	}
}

// However many addresses ask, what is kept of them is bounded.
func TestAddressesAreBounded(t *testing.T) {
	c, _ := recorded(newFakeStore())
	c.Refusals = api.Refusals{Burst: 1, PerSecond: 0.001}
	handler := api.New(c)
	waits := 0
	for i := range 20000 {
		req := askRecorded(t, "GET /fhir/Patient/p1")
		req.Header.Set("Authorization", "Bearer of nobody")
		req.RemoteAddr = fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255)
		if serveOne(handler, req).Code == 429 {
			waits++
		}
	}
	if waits < 20000-8193-1 {
		t.Errorf("only %d of 20000 addresses had to share: all are kept", waits)
	}
}

func serveOne(handler http.Handler, req *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, req)
	return w
}
