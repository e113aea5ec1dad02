package api_test

import (
	"crypto/rand"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tributary-health/tributary/access"
	"github.com/tributary-health/tributary/api"
	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/hashmatch"
)

// fakeIndex holds the tokens of members for the client "provider".
type fakeIndex struct {
	held    map[[hashmatch.TokenSize]byte][]string
	lookups int
	open    int
}

func (x *fakeIndex) view() (api.MatchView, error) {
	x.open++
	return x, nil
}

func (x *fakeIndex) Holders(t [hashmatch.TokenSize]byte, fn func(string) bool) error {
	x.lookups++
	for _, member := range x.held[t] {
		if !fn(member) {
			break
		}
	}
	return nil
}

func (x *fakeIndex) Close() error { x.open--; return nil }

// hashes is one partner's key and what the payer indexed with it.
type hashes struct {
	fakeIndex
	key hashmatch.EpochKey
	now time.Time

	terms access.QuotaTerms
}

func newHashes(t testing.TB) *hashes {
	t.Helper()
	key, err := hashmatch.ParseKey([]byte(strings.Repeat("5e", 32)))
	if err != nil {
		t.Fatal(err)
	}
	h := &hashes{now: time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)}
	if h.key, err = key.Derive(hashmatch.EpochOf(h.now)); err != nil {
		t.Fatal(err)
	}
	h.held = map[[hashmatch.TokenSize]byte][]string{}
	return h
}

func person(family string, day int) hashmatch.Demographics {
	return hashmatch.Demographics{
		Names:     []hashmatch.Name{{Given: []string{"Quentin"}, Family: family}},
		BirthDate: fmt.Sprintf("1961-04-%02d", day), Sex: "male", Phones: []string{"617-555-0142"},
		Addresses: []hashmatch.Address{{Line: "12 Mill Road", ZIP: "02139"}},
	}
}

// stranger agrees with nobody.
func stranger() hashmatch.Demographics {
	return hashmatch.Demographics{
		Names:     []hashmatch.Name{{Given: []string{"Roderic"}, Family: "Wimble"}},
		BirthDate: "1987-09-30", Sex: "male", Phones: []string{"415-555-0199"},
		Addresses: []hashmatch.Address{{Line: "77 Pine Way", ZIP: "94110"}},
	}
}

// member indexes a person for the client.
func (h *hashes) member(t testing.TB, client, id string, d hashmatch.Demographics) {
	t.Helper()
	for _, token := range h.key.Tokens(hashmatch.Normalize(d).Inputs()) {
		at := hashmatch.IndexToken(client, h.key.Epoch(), token)
		h.held[at] = append(h.held[at], id)
	}
}

func (h *hashes) body(t testing.TB, d hashmatch.Demographics) string {
	t.Helper()
	r, err := h.key.Request(d)
	if err != nil {
		t.Fatal(err)
	}
	return string(r.Encode())
}

// matching is a handler over the hashes, for clients with terms of matching.
func matching(t testing.TB, h *hashes) (http.Handler, *fakeLog) {
	t.Helper()
	store := newFakeStore()
	for _, id := range []string{"m1", "m2", "m3"} {
		store.write(1, id, fhir.ResourceID{Type: "Patient", ID: id}, fmt.Appendf(nil, `{"resourceType":"Patient","id":%q,"meta":{}}`, id), time.Unix(1e9, 0))
		store.write(1, id, fhir.ResourceID{Type: "Task", ID: "task-" + id}, fmt.Appendf(nil, `{"resourceType":"Task","id":"task-%s","meta":{},"status":"requested"}`, id), time.Unix(1e9, 0))
	}
	c, log := recorded(store)
	client, other := access.NewClient("provider", key), access.NewClient("other", "other-key")
	client.Match, other.Match = &access.MatchTerms{Quota: h.terms}, &access.MatchTerms{}
	c.Clients = access.NewRegistry(client, other, access.NewClient("reader", "reader-key"))
	c.Match = api.NewMatcher(api.MatcherConfig{Index: h.view, Clients: c.Clients.Clients(), Now: func() time.Time { return h.now }})
	return api.New(withTask(c)), log
}

func askMatch(handler http.Handler, body, bearer string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodPost, "/fhir/Patient/$hash-match", strings.NewReader(body))
	req.Host = "fhir.example"
	req.Header.Set("Authorization", "Bearer "+bearer)
	req.Header.Set("Content-Type", hashmatch.ContentType)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, req)
	return w
}

// TestMatcher asks for members and others, over tokens as they are made.
func TestMatcher(t *testing.T) {
	h := newHashes(t)
	h.member(t, "provider", "m1", person("Ashworth", 3))
	h.member(t, "provider", "m2", person("Birkenhead", 9))
	h.member(t, "provider", "m3", person("Birkenhead", 9)) // recorded twice
	h.member(t, "provider", "elsewhere", person("Quimby", 21))
	handler, log := matching(t, h)
	negative := ""
	for _, one := range []struct {
		name, bearer string
		who          hashmatch.Demographics
		status       int
		reason       string
	}{
		{"a member", key, person("Ashworth", 3), 200, ""},
		{"somebody else", key, stranger(), 422, "unknown"},
		{"a member twice", key, person("Birkenhead", 9), 422, "suppressed"},
		{"not in the client's store", key, person("Quimby", 21), 422, "not-in-store"},
		{"another client's tokens", "other-key", person("Ashworth", 3), 422, "unknown"},
		{"a client without terms", "reader-key", person("Ashworth", 3), 403, "no-terms"},
	} {
		h.lookups = 0
		w := askMatch(handler, h.body(t, one.who), one.bearer)
		events := log.take()
		if w.Code != one.status || len(events) != 1 || events[0].Reason != one.reason {
			t.Errorf("%s: %d %s, events %+v", one.name, w.Code, w.Body, events)
		}
		if one.status != 403 && h.lookups != hashmatch.MaxTokens {
			t.Errorf("%s: %d lookups", one.name, h.lookups)
		}
		if one.status == 422 {
			got := fmt.Sprint(w.Result().Header, w.Body)
			if negative == "" {
				negative = got
			}
			if got != negative {
				t.Errorf("%s: %s, want %s", one.name, got, negative)
			}
		}
		if one.status == 200 && !strings.Contains(w.Body.String(), `"id":"task-m1"`) {
			t.Errorf("no task in %s", w.Body)
		}
	}
	if h.open != 0 {
		t.Errorf("%d views are not closed", h.open)
	}
	old := h.body(t, person("Ashworth", 3))
	h.now = h.now.AddDate(0, 6, 0)
	for _, body := range []string{old, "{", "[]", strings.Replace(old, "Parameters", "Patient", 1), old + old, "null"} {
		if w := askMatch(handler, body, key); w.Code != http.StatusBadRequest {
			t.Errorf("%.60s: %d %s", body, w.Code, w.Body)
		}
	}
	if h.lookups != 0 {
		t.Error("a malformed request is looked up")
	}
}

// TestNegativesTakeOneTime asks again and again, in turn, for nobody and for a
// member whom the client's store has not, and compares the two samples by their
// ranks. A miss that is answered early stands out by far; a machine that is busy
// does not, because it is busy with both.
func TestNegativesTakeOneTime(t *testing.T) {
	h := newHashes(t)
	h.terms = access.QuotaTerms{PerDay: 1e6, Misses: 1e6}
	h.member(t, "provider", "elsewhere", person("Quimby", 21))
	for i := range 2000 { // an index in which a lookup has something to do
		var token [hashmatch.TokenSize]byte
		_, _ = rand.Read(token[:])
		h.held[token] = []string{fmt.Sprint("x", i)}
	}
	handler, log := matching(t, h)
	near := person("Quimby", 21)
	bodies := []string{h.body(t, near), h.body(t, stranger())}
	if a, b := strings.Count(bodies[0], "kind"), strings.Count(bodies[1], "kind"); a != b {
		t.Fatalf("%d and %d tokens: the test compares two of one size", a, b)
	}
	var samples [2][]float64
	const rounds = 1500
	for i := range 2 * (rounds + 100) {
		which := i % 2
		if i/2%2 == 1 { // in turn who is first
			which = 1 - which
		}
		started := time.Now()
		w := askMatch(handler, bodies[which], key)
		took := time.Since(started)
		if w.Code != http.StatusUnprocessableEntity {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if i >= 200 {
			samples[which] = append(samples[which], float64(took))
		}
		log.take()
	}
	effect := superiority(samples[0], samples[1])
	slices.Sort(samples[0])
	slices.Sort(samples[1])
	a, b := samples[0][rounds/2], samples[1][rounds/2]
	t.Logf("medians %v and %v; one is slower than the other in %.1f%% of pairs", time.Duration(a), time.Duration(b), 100*effect)
	if math.Abs(effect-0.5) > 0.15 && math.Abs(a-b)/min(a, b) > 0.10 {
		t.Error("the time tells the two apart")
	}
}

// superiority is how often a value of a is above one of b (Mann and Whitney's U,
// as a share).
func superiority(a, b []float64) float64 {
	b = slices.Sorted(slices.Values(b))
	sum := 0.0
	for _, x := range a {
		below, _ := slices.BinarySearch(b, x)
		upto, _ := slices.BinarySearch(b, math.Nextafter(x, math.Inf(1)))
		sum += float64(below) + float64(upto-below)/2
	}
	return sum / float64(len(a)) / float64(len(b))
}

func BenchmarkMatch(b *testing.B) {
	h := newHashes(b)
	h.terms = access.QuotaTerms{PerDay: 1e9}
	h.member(b, "provider", "m1", person("Ashworth", 3))
	handler, log := matching(b, h)
	body := h.body(b, person("Ashworth", 3))
	b.ReportAllocs()
	for b.Loop() {
		if w := askMatch(handler, body, key); w.Code != http.StatusOK {
			b.Fatal(w.Code, w.Body)
		}
		log.take()
	}
}

// TestQuotaLastsOverARestart locks a client out and starts again from the record.
func TestQuotaLastsOverARestart(t *testing.T) {
	h := newHashes(t)
	h.terms = access.QuotaTerms{Misses: 5, LockOut: time.Hour}
	h.member(t, "provider", "m1", person("Ashworth", 3))
	handler, log := matching(t, h)
	miss, hit := h.body(t, stranger()), h.body(t, person("Ashworth", 3))
	for i, want := range []int{422, 422, 400, 422, 422, 422, 429, 429} {
		body := miss
		if want == 400 {
			body = "{}"
		}
		if w := askMatch(handler, body, key); w.Code != want {
			t.Fatalf("question %d: %d %s, want %d", i, w.Code, w.Body, want)
		}
	}
	w := askMatch(handler, hit, key)
	if w.Code != 429 || w.Result().Header.Get("Retry-After") != "3600" {
		t.Errorf("locked out: %d %v", w.Code, w.Result().Header)
	}
	client := access.NewClient("provider", key)
	client.Match = &access.MatchTerms{Quota: h.terms}
	past := map[string][]access.Attempt{}
	for _, e := range log.take() {
		e.Time = h.now
		if attempt, ok := api.MatchAttempt(e); ok {
			past[e.Client] = append(past[e.Client], attempt)
		}
	}
	if len(past["provider"]) != 5 {
		t.Errorf("%d attempts on the record", len(past["provider"]))
	}
	m := api.NewMatcher(api.MatcherConfig{Index: h.view, Clients: []access.Client{client}, Past: past, Now: func() time.Time { return h.now }})
	if s := m.Quotas()["provider"]; !s.LockedUntil.Equal(h.now.Add(time.Hour)) {
		t.Errorf("after a restart: %+v", s)
	}
	h.now = h.now.Add(61 * time.Minute)
	if w := askMatch(handler, hit, key); w.Code != 200 {
		t.Errorf("after the lock-out: %d %s", w.Code, w.Body)
	}
}
