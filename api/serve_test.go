package api_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tributary-health/tributary/api"
	"github.com/tributary-health/tributary/fhir"
)

func send(t testing.TB, method, url string, body io.Reader, headers ...string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := plainClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, b
}

func TestReadGivesStoredBytes(t *testing.T) {
	store := newFakeStore()
	content := "{\"resourceType\":\"Patient\",\"id\":\"x\",\"meta\":{ \"profile\" :[]},\n\t\"unknown\":{\"b\":1.500,\"a\":1E+2},\"_birthDate\":null,\"name\":[{\"family\":\"\\u00e9<&>\"}]}"
	id := fhir.ResourceID{Type: "Patient", ID: "x"}
	store.write(1, "x", id, []byte(content), time.Unix(1e9, 0))
	server := serve(t, testConfig(store))
	want := store.versions[id][0].Body
	if _, got := send(t, "GET", server.URL+"/fhir/Patient/x", nil); !bytes.Equal(got, want) {
		t.Errorf("read gives\n%s, want\n%s", got, want)
	}
	for _, path := range []string{"/fhir/Patient?_id=x", "/fhir/Patient?gender:missing=true", "/fhir/Patient/x/_history"} {
		if _, got := send(t, "GET", server.URL+path, nil); !bytes.Contains(got, append([]byte(`"resource":`), want...)) {
			t.Errorf("%s has not the stored bytes: %s", path, got)
		}
	}
}

func TestGzip(t *testing.T) {
	store := orders(50)
	server := serve(t, testConfig(store))
	for _, path := range []string{"/fhir/MedicationRequest", "/fhir/metadata"} {
		_, plain := send(t, "GET", server.URL+path, nil)
		for accept, zipped := range map[string]bool{"gzip": true, "br, gzip;q=0.5": true, "*": true, "gzip;q=0": false, "identity": false} {
			resp, got := send(t, "GET", server.URL+path, nil, "Accept-Encoding", accept)
			if (resp.Header.Get("Content-Encoding") == "gzip") != zipped || resp.Header.Get("Vary") != "Accept-Encoding" {
				t.Errorf("%s, Accept-Encoding %s: %v", path, accept, resp.Header)
			}
			if zipped {
				r, err := gzip.NewReader(bytes.NewReader(got))
				if err != nil {
					t.Fatal(err)
				}
				if got, err = io.ReadAll(r); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(got, plain) {
				t.Errorf("%s, Accept-Encoding %s: another body", path, accept)
			}
		}
	}
	if resp, _ := send(t, "GET", server.URL+"/fhir/MedicationRequest/r001", nil, "Accept-Encoding", "gzip"); resp.Header.Get("Content-Encoding") != "" {
		t.Error("a small body is compressed")
	}
	resp, body := send(t, "HEAD", server.URL+"/fhir/MedicationRequest", nil)
	if full, want := send(t, "GET", server.URL+"/fhir/MedicationRequest", nil); len(body) != 0 || resp.ContentLength != int64(len(want)) || full.StatusCode != resp.StatusCode {
		t.Errorf("HEAD: %d bytes, Content-Length %d", len(body), resp.ContentLength)
	}
}

func TestFailuresTellNothing(t *testing.T) {
	store := orders(3)
	c := testConfig(store)
	var mu sync.Mutex
	var failed []string
	var observed []string
	c.Failed = func(route string, err error) {
		mu.Lock()
		defer mu.Unlock()
		failed = append(failed, route+": "+err.Error())
	}
	c.Observe = func(route string, status int, took time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		observed = append(observed, fmt.Sprint(route, " ", status, " ", took > 0))
	}
	server := serve(t, c)
	internal := func(path string) {
		t.Helper()
		resp, body := send(t, "GET", server.URL+path, nil)
		if want := `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"exception","diagnostics":"internal error"}]}`; resp.StatusCode != 500 || string(body) != want {
			t.Errorf("%s: %s %s", path, resp.Status, body)
		}
	}
	store.fault = errors.New("disk: cause")
	for _, path := range []string{"/r001", "/r001/_history", "/r001/_history/1", "", "?identifier=same", "?_id=r001", "?patient=p1"} {
		internal("/fhir/MedicationRequest" + path)
	}
	store.fault, store.panics = nil, "secret value"
	internal("/fhir/MedicationRequest/r001")
	store.panics = nil
	mu.Lock()
	defer mu.Unlock()
	if len(failed) != 8 || !strings.Contains(failed[0], "cause") || strings.Contains(failed[7], "secret") || !strings.Contains(failed[7], "panic with a string") {
		t.Errorf("failed hook got %q", failed)
	}
	if len(observed) != 8 || observed[0] != "read 500 true" || observed[3] != "search 500 true" {
		t.Errorf("observe hook got %q", observed)
	}
	if store.opened != 0 {
		t.Errorf("%d views not closed", store.opened)
	}
}

func TestTooMuch(t *testing.T) {
	server := serve(t, testConfig(orders(1)))
	resp, _ := send(t, "GET", server.URL+"/fhir/Patient?name="+strings.Repeat("x", 9000), nil)
	if resp.StatusCode != http.StatusRequestURITooLong {
		t.Errorf("long address: %s", resp.Status)
	}
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	resp, _ = send(t, "POST", server.URL+"/fhir/Patient/_search", strings.NewReader("name="+strings.Repeat("x", 70_000)), form...)
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("large form: %s", resp.Status)
	}
	resp, _ = send(t, "POST", server.URL+"/fhir/Patient/_search", strings.NewReader("identifier="+strings.Repeat("x,", 1500)+"x"), form...)
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("many values: %s", resp.Status)
	}
	req, _ := http.NewRequest("GET", server.URL+"/fhir/metadata", nil)
	req.Host = `a"b`
	if resp, err := plainClient.Do(req); err == nil {
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("odd host: %s", resp.Status)
		}
	}
}

func TestReadyAndExtra(t *testing.T) {
	c := testConfig(orders(1))
	var reason error
	c.Ready = func(ctx context.Context) error {
		if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > 5*time.Second {
			t.Error("no deadline of five seconds")
		}
		return reason
	}
	c.Extra = map[string]http.Handler{"/metrics": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "metrics") })}
	c.BasePath = "/r4/"
	c.BaseURL = "https://payer.example/r4/"
	c.Types = []string{"MedicationRequest"}
	server := serve(t, c)
	if resp, body := send(t, "GET", server.URL+"/readyz", nil); resp.StatusCode != 200 {
		t.Errorf("%s %s", resp.Status, body)
	}
	reason = errors.New("first snapshot is not done")
	if resp, body := send(t, "GET", server.URL+"/readyz", nil); resp.StatusCode != 503 || !strings.Contains(string(body), reason.Error()) {
		t.Errorf("%s %s", resp.Status, body)
	}
	if _, body := send(t, "GET", server.URL+"/metrics", nil); string(body) != "metrics" {
		t.Errorf("metrics: %s", body)
	}
	if g, _ := fetch(t, server.URL+"/r4/MedicationRequest", key); len(g.Entry) != 1 || g.Entry[0].FullURL != "https://payer.example/r4/MedicationRequest/r000" {
		t.Errorf("got %+v", g)
	}
	if resp, _ := send(t, "GET", server.URL+"/r4/Patient", nil); resp.StatusCode != 404 {
		t.Errorf("a type that is not served: %s", resp.Status)
	}
}

// TestDocumentIsOfOneCommit polls a profile while orders are swapped: one is
// active in every commit, and the document lists exactly it.
func TestDocumentIsOfOneCommit(t *testing.T) {
	store := newFakeStore()
	put := func(commit uint64, typ, id, rest string) {
		store.stage(commit, "p1", fhir.ResourceID{Type: typ, ID: id}, fmt.Appendf(nil, `{"resourceType":%q,"id":%q,"meta":{},%s}`, typ, id, rest), time.Unix(1e9+int64(commit), 0))
	}
	swap := func(commit uint64) {
		status := []string{"active", "stopped"}
		put(commit, "MedicationRequest", "a", `"status":"`+status[commit%2]+`"`)
		put(commit, "MedicationRequest", "b", `"status":"`+status[(commit+1)%2]+`"`)
		put(commit, "Composition", "k", fmt.Sprintf(`"type":{"coding":[{"system":"http://loinc.org","code":"56445-0"}]},"subject":{"reference":"Patient/p1"},"date":"2026","section":[{"entry":[{"reference":"MedicationRequest/%s"}]}]`, []string{"a", "b"}[commit%2]))
		store.show(commit)
	}
	put(1, "Patient", "p1", `"gender":"male"`)
	swap(2)
	server := serve(t, testConfig(store))
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for commit := uint64(3); ; commit++ {
			select {
			case <-stop:
				return
			default:
				swap(commit)
			}
		}
	}()
	for range 300 {
		g, resp := fetch(t, server.URL+"/fhir/Patient/p1/$medication-profile", key)
		if resp.StatusCode != 200 || len(g.Entry) != 3 || g.Entry[2].Resource.Status != "active" {
			t.Fatalf("%s %+v", resp.Status, g)
		}
	}
	close(stop)
	<-done
}

func TestCapabilitiesListWhatIsServed(t *testing.T) {
	server := serve(t, testConfig(orders(1)))
	_, body := send(t, "GET", server.URL+"/fhir/metadata", nil)
	var s struct {
		FHIRVersion string
		Rest        []struct {
			Resource []struct {
				Type        string
				SearchParam []struct{ Name string }
			}
		}
	}
	if err := json.Unmarshal(body, &s); err != nil || s.FHIRVersion != "4.0.1" || len(s.Rest) != 1 || len(s.Rest[0].Resource) != len(fhir.SearchTypes()) {
		t.Fatalf("%v %s", err, body)
	}
	for _, r := range s.Rest[0].Resource {
		for _, p := range r.SearchParam {
			resp, body := send(t, "GET", server.URL+"/fhir/"+r.Type+"?"+p.Name+"=2026", nil)
			if resp.StatusCode != 200 {
				t.Errorf("%s?%s: %s %s", r.Type, p.Name, resp.Status, body)
			}
		}
	}
}

var _ api.Store = (*fakeStore)(nil)
