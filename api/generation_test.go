package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/tributary-health/tributary/access"
	"github.com/tributary-health/tributary/api"
)

// built is a store of a certain build.
type built struct {
	*fakeStore
	generation string
}

func (b built) Generation() string { return b.generation }

// A link of a former build of what the client reads is gone, also where its commit
// number exists in the new one: that is another state, of another policy.
func TestLinksOfFormerBuildsAreGone(t *testing.T) {
	for _, line := range []string{
		"GET /fhir/MedicationRequest?_count=2",
		"GET /fhir/Patient/p1/$everything?_count=2",
		"GET /fhir/MedicationRequest/m3/_history?_count=1",
	} {
		old, anew := newFakeStore(), newFakeStore()
		old.load(t)
		anew.load(t)
		anew.show(50)
		reads := built{old, "one"}
		c, _ := recorded(old)
		c.Views = func(access.Caller) (api.Store, error) { return reads, nil }
		handler := api.New(c)
		link := nextOf(t, serveOne(handler, askRecorded(t, line)).Body.Bytes())
		if w := serveOne(handler, askRecorded(t, "GET "+link)); w.Code != http.StatusOK {
			t.Fatalf("%s: the link: %d %s", line, w.Code, w.Body)
		}
		reads = built{anew, "two"}
		anew.viewed = nil
		w := serveOne(handler, askRecorded(t, "GET "+link))
		if w.Code != http.StatusGone || !strings.Contains(w.Body.String(), `"OperationOutcome"`) || !strings.Contains(w.Body.String(), "start again") {
			t.Errorf("%s: a link of the former build: %d %s", line, w.Code, w.Body)
		}
		if len(anew.viewed) != 0 {
			t.Errorf("%s: the new build was read", line)
		}
		link = nextOf(t, serveOne(handler, askRecorded(t, line)).Body.Bytes())
		if w := serveOne(handler, askRecorded(t, "GET "+link)); w.Code != http.StatusOK {
			t.Errorf("%s: a link of the new build: %d %s", line, w.Code, w.Body)
		}
	}
}

// nextOf is the path of the Bundle's next link.
func nextOf(t *testing.T, body []byte) string {
	t.Helper()
	var b struct {
		Link []struct{ Relation, URL string }
	}
	if err := json.Unmarshal(body, &b); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	for _, l := range b.Link {
		if l.Relation == "next" {
			return l.URL[strings.Index(l.URL, "/fhir/"):]
		}
	}
	t.Fatalf("no next link: %s", body)
	return ""
}
