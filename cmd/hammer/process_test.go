package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fake is a process whose server answers with texts by path.
func fake(t *testing.T, answers map[string]string) *process {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := answers[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = w.Write([]byte(text))
	}))
	t.Cleanup(server.Close)
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = out.Close() })
	return &process{http: server.Client(), env: map[string]string{"FHIR": server.URL + "/fhir"}, done: make(chan error, 1), out: out}
}

func TestMetricsAddUpLabels(t *testing.T) {
	p := fake(t, map[string]string{"/metrics": "# HELP a b 3\na{source=\"x y\"} 2\na{source=\"z\"} 3.5\nb 1e+06\n"})
	got, err := p.metrics(context.Background())
	if err != nil || got["a"] != 5.5 || got["b"] != 1e6 || len(got) != 2 {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := fake(t, nil).metrics(context.Background()); err == nil {
		t.Error("no error of a server that gives no metrics")
	}
}

func TestStatus(t *testing.T) {
	p := fake(t, map[string]string{"/status": `{"sources":[{"rows":{"a":2,"b":3}},{"rows":{"c":4}}],"change_topic":[{"committed":5,"announced":5},{"committed":6,"announced":5}]}`})
	s, err := p.status(context.Background())
	if err != nil || s.rows() != 9 || s.announced() {
		t.Errorf("got %d rows, all announced %v, %v", s.rows(), s.announced(), err)
	}
	s.Topic[1].Announced = 6
	if !s.announced() {
		t.Error("all is announced, and it does not say so")
	}
	if _, err := fake(t, nil).status(context.Background()); err == nil {
		t.Error("no error of a server without status")
	}
}

// Whoever waits for a process that has ended is told so, with its last words.
func TestUntilTheProcessEnds(t *testing.T) {
	p := fake(t, nil)
	if _, err := p.out.WriteString("the last words"); err != nil {
		t.Fatal(err)
	}
	p.done <- errors.New("exit status 3")
	err := p.until(context.Background(), time.Minute, time.Millisecond, func() (bool, error) { return false, nil })
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "the last words") {
		t.Errorf("error %v", err)
	}
}

// The orders that are read by id come from searches; an identifier from the
// patient. An answer that is no 200 is an error: no load is measured that fails.
func TestLookUp(t *testing.T) {
	p := fake(t, map[string]string{
		"/fhir/Patient/p1":        `{"resourceType":"Patient","identifier":[{"system":"a","value":"1"},{"system":"urn:b","value":"2 3"}]}`,
		"/fhir/MedicationRequest": `{"entry":[{"resource":{"resourceType":"MedicationRequest","id":"m1"}},{"resource":{"resourceType":"MedicationRequest","id":"m2"}}]}`,
		"/fhir/Observation":       `{"resourceType":"Bundle"}`,
	})
	l := &lab{process: p, growthFlags: growthFlags{connections: 2}}
	for path, want := range map[string]string{"Patient/p1": "urn%3Ab%7C2+3", "MedicationRequest?x=y": "MedicationRequest/m2", "Observation?x=y": ""} {
		if got, err := l.lookUp(context.Background(), path); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", path, got, err, want)
		}
	}
	if _, err := l.lookUp(context.Background(), "Patient/p2"); err == nil {
		t.Error("no error of a resource that is not there")
	}
	if _, err := l.hits(context.Background(), []string{"Patient/p1", "Patient/p2"}, time.Millisecond); err == nil {
		t.Error("a load that fails was measured")
	}
}

func TestMillis(t *testing.T) {
	sorted := []time.Duration{1 * time.Millisecond, 2 * time.Millisecond, 3 * time.Millisecond, 4 * time.Millisecond}
	if millis(sorted, 0.5) != 3 || millis(sorted, 0.99) != 4 || millis(nil, 0.5) != 0 {
		t.Errorf("got %v, %v, %v", millis(sorted, 0.5), millis(sorted, 0.99), millis(nil, 0.5))
	}
}
