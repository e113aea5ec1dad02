package api_test

import (
	"net/http"
	"testing"

	"github.com/tributary-health/tributary/access"
	"github.com/tributary-health/tributary/hashmatch"
)

// together makes one request of several people's tokens.
func (h *hashes) together(t testing.TB, people ...hashmatch.Demographics) string {
	t.Helper()
	all, err := h.key.Request(people[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range people[1:] {
		r, err := h.key.Request(d)
		if err != nil {
			t.Fatal(err)
		}
		for _, token := range r.Tokens {
			switch token.Kind { // what a person has once cannot be sent twice
			case "birth-ssn", "sounds-birth-sex":
			default:
				all.Tokens = append(all.Tokens, token)
			}
		}
	}
	return string(all.Encode())
}

// A request asks for one person. What asks for several tells no more than asking
// one by one would, and costs as much.
func TestSeveralPeopleInOneRequest(t *testing.T) {
	h := newHashes(t)
	h.terms = access.QuotaTerms{Misses: 11, MissesPerHit: 1, PerDay: 1000}
	h.member(t, "provider", "m1", person("Oldcastle", 1))
	h.member(t, "provider", "m2", person("Newbridge", 2))
	handler, log := matching(t, h)
	if w := askMatch(handler, h.together(t, person("Oldcastle", 1), stranger(), person("Vale", 9)), key); w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if last := log.events[len(log.events)-1]; last.Reason != "mixed" {
		t.Errorf("reason %q", last.Reason)
	}
	if w := askMatch(handler, h.together(t, person("Oldcastle", 1), person("Newbridge", 2)), key); w.Code != http.StatusUnprocessableEntity {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if w := askMatch(handler, h.body(t, person("Oldcastle", 1)), key); w.Code != http.StatusTooManyRequests {
		t.Errorf("%d: guesses that would lock out one by one do not together", w.Code)
	}
}
