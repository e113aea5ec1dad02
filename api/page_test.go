package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tributary-health/tributary/api"
	"github.com/tributary-health/tributary/fhir"
)

// got is the part of a Bundle that the tests look at.
type got struct {
	Type  string
	Total *int
	Link  []struct{ Relation, URL string }
	Entry []struct {
		FullURL  string
		Resource struct {
			ResourceType, ID, Status string
			Meta                     struct{ VersionID string }
		}
		Search struct{ Mode string }
	}
	Issue []struct{ Code, Diagnostics string }
}

func (g got) link(relation string) string {
	for _, l := range g.Link {
		if l.Relation == relation {
			return l.URL
		}
	}
	return ""
}

func fetch(t testing.TB, url, bearer string) (got, *http.Response) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	resp, err := plainClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var g got
	if err := json.NewDecoder(resp.Body).Decode(&g); err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	return g, resp
}

func request(n int, status string) []byte {
	return fmt.Appendf(nil, `{"resourceType":"MedicationRequest","id":"r%03d","meta":{},"status":%q,"identifier":[{"value":"same"}],"subject":{"reference":"Patient/p%d"},"authoredOn":"2026-01-%02d"}`, n, status, n%7, n%28+1)
}

func orders(n int) *fakeStore {
	s := newFakeStore()
	for i := range n {
		id := fhir.ResourceID{Type: "MedicationRequest", ID: fmt.Sprintf("r%03d", i)}
		s.write(1, fmt.Sprintf("p%d", i%7), id, request(i, "active"), time.Unix(1e9, 0))
	}
	return s
}

// TestPagesStandStill pages through each source of candidates while a writer
// keeps changing, adding and deleting: every page shows the commit of the first.
func TestPagesStandStill(t *testing.T) {
	for _, query := range []string{"status=active", "identifier=same", "patient=p3", "patient=p1,p5,p3", "_sort=-date", "status=active&_sort=_lastUpdated,date&_total=accurate", "_id=" + ids(40)} {
		t.Run(query, func(t *testing.T) {
			store := orders(100)
			server := serve(t, testConfig(store))
			page, _ := fetch(t, server.URL+"/fhir/MedicationRequest?_count=7&"+query, key)
			whole, _ := fetch(t, server.URL+"/fhir/MedicationRequest?_count=1000&"+query, key)
			want := entryIDs(t, whole)
			stop, done := make(chan struct{}), make(chan struct{})
			go churn(store, stop, done)
			var found []string
			for {
				found = append(found, entryIDs(t, page)...)
				next := page.link("next")
				if next == "" {
					break
				}
				page, _ = fetch(t, next, key)
			}
			close(stop)
			<-done
			if len(want) == 0 || !slices.Equal(found, want) {
				t.Errorf("pages give %v\nwant %v", found, want)
			}
		})
	}
}

func ids(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("r%03d", i*2))
	}
	return strings.Join(all, ",")
}

func entryIDs(t testing.TB, g got) []string {
	t.Helper()
	var all []string
	for _, e := range g.Entry {
		if !strings.HasSuffix(e.FullURL, "/fhir/"+e.Resource.ResourceType+"/"+e.Resource.ID) {
			t.Errorf("fullUrl %s of %s", e.FullURL, e.Resource.ID)
		}
		all = append(all, e.Resource.ID+"/"+e.Resource.Meta.VersionID)
	}
	return all
}

// churn writes commits until stop: each stops an order, deletes one, adds one.
func churn(s *fakeStore, stop, done chan struct{}) {
	defer close(done)
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		s.mu.Lock()
		commit := s.frontier + 1
		s.mu.Unlock()
		at := time.Unix(1e9+int64(n), 0)
		id := func(i int) fhir.ResourceID {
			return fhir.ResourceID{Type: "MedicationRequest", ID: fmt.Sprintf("r%03d", i)}
		}
		a, b, c := n*13%100, n*29%100, 100+n%300
		s.stage(commit, fmt.Sprintf("p%d", a%7), id(a), request(a, "stopped"), at)
		s.stage(commit, fmt.Sprintf("p%d", b%7), id(b), nil, at)
		s.stage(commit, fmt.Sprintf("p%d", c%7), id(c), request(c, "active"), at)
		s.show(commit)
	}
}

func TestPageLinkIsBound(t *testing.T) {
	store := orders(30)
	server := serve(t, testConfig(store))
	page, _ := fetch(t, server.URL+"/fhir/MedicationRequest?identifier=same&_count=5", key)
	next := page.link("next")
	if next == "" || strings.Contains(next, "same") || strings.Contains(next, "identifier") {
		t.Fatalf("next link is %q: want one that shows nothing of the query", next)
	}
	if _, resp := fetch(t, next, key); resp.StatusCode != http.StatusOK {
		t.Fatalf("the link itself: %s", resp.Status)
	}
	refuse := func(name, url, bearer string) {
		t.Helper()
		g, resp := fetch(t, url, bearer)
		if resp.StatusCode != http.StatusBadRequest || len(g.Issue) != 1 || !strings.Contains(g.Issue[0].Diagnostics, "_page") {
			t.Errorf("%s: %s %+v", name, resp.Status, g)
		}
	}
	refuse("another caller", next, "other-key")
	refuse("another type", strings.Replace(next, "/MedicationRequest?", "/Coverage?", 1), key)
	refuse("another path", strings.Replace(next, "/MedicationRequest?", "/MedicationRequest/r001/_history?", 1), key)
	refuse("with more", next+"&status=active", key)
	at := strings.Index(next, "_page=") + len("_page=")
	for i := at; i < len(next)-1; i++ { // the last character has bits that do not count
		changed := byte('A')
		if next[i] == 'A' {
			changed = 'B'
		}
		if g, resp := fetch(t, next[:i]+string(changed)+next[i+1:], key); resp.StatusCode == http.StatusOK {
			t.Fatalf("changed at %d: %s %+v", i-at, resp.Status, g.Link)
		}
	}
	other := testConfig(store)
	other.PageKey = []byte("another")
	g, resp := fetch(t, strings.Replace(next, server.URL, serve(t, other).URL, 1), key)
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("another server: %s %+v", resp.Status, g)
	}
	small := testConfig(newFakeStore())
	if _, resp = fetch(t, strings.Replace(next, server.URL, serve(t, small).URL, 1), key); resp.StatusCode != http.StatusGone {
		t.Errorf("rebuilt store: %s", resp.Status)
	}
}

func TestHistoryPages(t *testing.T) {
	store := newFakeStore()
	id := fhir.ResourceID{Type: "MedicationRequest", ID: "r001"}
	for n := range uint64(10) {
		store.write(n+1, "p1", id, request(1, "active"), time.Unix(1e9+int64(n), 0))
	}
	server := serve(t, testConfig(store))
	page, _ := fetch(t, server.URL+"/fhir/MedicationRequest/r001/_history?_count=3", key)
	store.write(11, "p1", id, nil, time.Unix(2e9, 0))
	var versions []string
	for {
		for _, e := range page.Entry {
			versions = append(versions, e.Resource.Meta.VersionID)
		}
		if *page.Total != 10 {
			t.Errorf("total %d", *page.Total)
		}
		next := page.link("next")
		if next == "" {
			break
		}
		page, _ = fetch(t, next, key)
	}
	if got := strings.Join(versions, " "); got != "10 9 8 7 6 5 4 3 2 1" {
		t.Errorf("versions %s", got)
	}
}

// TestManyCandidates has more candidates than are held at once, in an order
// unlike that of results, half of them stale.
func TestManyCandidates(t *testing.T) {
	store := newFakeStore()
	const n = 36_000
	for i := range n {
		id := fhir.ResourceID{Type: "Patient", ID: fmt.Sprintf("p%05d", i*7919%n)}
		store.write(1, id.ID, id, fmt.Appendf(nil, `{"resourceType":"Patient","id":%q,"meta":{},"name":[{"family":"A%d"},{"given":["Ab"]}],"gender":"%s"}`, id.ID, i, []string{"male", "female"}[i%2]), time.Unix(1e9, 0))
	}
	server := serve(t, testConfig(store))
	page, _ := fetch(t, server.URL+"/fhir/Patient?name=a&gender=male&_count=1000&_total=accurate", key)
	seen, last := 0, ""
	for {
		for _, e := range page.Entry {
			if e.Resource.ID <= last {
				t.Fatalf("%s after %s", e.Resource.ID, last)
			}
			last = e.Resource.ID
			seen++
		}
		if *page.Total != n/2 {
			t.Fatalf("total %d", *page.Total)
		}
		next := page.link("next")
		if next == "" {
			break
		}
		page, _ = fetch(t, next, key)
	}
	if seen != n/2 {
		t.Errorf("%d patients, want %d", seen, n/2)
	}
}

func FuzzSearch(f *testing.F) {
	for _, s := range []string{"name=a", "_count=5&_sort=-birthdate", "_page=AAAA", "a=%zz", "_include=*&_total=accurate", "birthdate=ge1970,2000&name:exact=\\,", ";&&=&",
		"_summary=true&_revinclude=Coverage:patient", "_elements=name,birthDate&_revinclude:iterate=Composition:author", "race:not=a|b&phone=1&_summary=text", "start=2020&end=2021&_type=Patient,Coverage&_since=2020"} {
		f.Add(s)
	}
	var once sync.Once
	var handler http.Handler
	f.Fuzz(func(t *testing.T, query string) {
		once.Do(func() {
			store := newFakeStore()
			store.load(t)
			c := testConfig(store)
			c.Failed = func(route string, err error) { panic(fmt.Sprint(route, err)) }
			handler = api.New(c)
		})
		for _, path := range []string{"/fhir/Patient", "/fhir/Patient/p1/$everything"} {
			req := httptest.NewRequest(http.MethodGet, path, nil)
			req.URL.RawQuery = query
			req.Header.Set("Authorization", "Bearer "+key)
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, req)
			var body map[string]any
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
				t.Fatalf("%q: %v in %s", query, err, w.Body)
			}
			if w.Code != 200 && body["resourceType"] != "OperationOutcome" {
				t.Fatalf("%q: %d %s", query, w.Code, w.Body)
			}
		}
	})
}

// A resource that moved to another member's record has a posting in both; it is
// found once, before and after, at every commit number.
func TestMovedIsFoundOnce(t *testing.T) {
	s := newFakeStore()
	id := fhir.ResourceID{Type: "MedicationDispense", ID: "d1"}
	content := func(member string) []byte {
		return []byte(`{"resourceType":"MedicationDispense","id":"d1","meta":{},"identifier":[{"system":"urn:f","value":"f1"}],"status":"completed","subject":{"reference":"Patient/` + member + `"}}`)
	}
	at := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	s.write(1, "b", id, content("b"), at)
	s.stage(2, "b", id, nil, at)
	s.write(2, "a", id, content("a"), at)
	s.write(3, "c", id, content("c"), at)
	srv := serve(t, testConfig(s))
	for _, query := range []string{"identifier=f1", "identifier=urn:f|f1", "identifier=f1&_summary=count", "_id=d1"} {
		g, _ := fetch(t, srv.URL+"/fhir/MedicationDispense?_total=accurate&"+query, key)
		if g.Total == nil || *g.Total != 1 || !strings.Contains(query, "count") && len(g.Entry) != 1 {
			t.Errorf("%s: total %v, %d entries", query, g.Total, len(g.Entry))
		}
	}
}

// TestPageLinkWithFormat follows links as clients do that put their _format to
// every address.
func TestPageLinkWithFormat(t *testing.T) {
	store := newFakeStore()
	store.load(t)
	server := serve(t, testConfig(store))
	for _, path := range []string{"/fhir/MedicationRequest?patient=p1&_count=1", "/fhir/Patient/p1/$everything?_count=1", "/fhir/MedicationRequest/m3/_history?_count=1"} {
		first, _ := fetch(t, server.URL+path, key)
		next := first.link("next")
		if next == "" {
			t.Fatalf("%s has one page: the test needs two", path)
		}
		plain, _ := fetch(t, next, key)
		with, resp := fetch(t, next+"&_format=application/fhir%2Bjson&_pretty=false", key)
		if resp.StatusCode != http.StatusOK || len(with.Entry) != 1 || with.Entry[0].FullURL != plain.Entry[0].FullURL {
			t.Errorf("%s: %d, %+v, want %+v", path, resp.StatusCode, with, plain)
		}
	}
}
