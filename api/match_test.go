package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tributary-health/tributary/access"
	"github.com/tributary-health/tributary/api"
	"github.com/tributary-health/tributary/audit"
	"github.com/tributary-health/tributary/fhir"
)

// fakeMatcher finds whom it is told to.
type fakeMatcher struct {
	patient, reason string
	err             error
	wait            time.Duration
	waitErr         error
	turns           int
	ended           []string
}

func (f *fakeMatcher) Allow(access.Caller) (api.Turn, time.Duration, error) {
	f.turns++
	return f, f.wait, f.waitErr
}

func (f *fakeMatcher) Record(misses int) bool {
	f.turns--
	f.ended = append(f.ended, map[bool]string{true: "hit", false: "miss"}[misses == 0])
	return false
}

func (f *fakeMatcher) Cancel() {
	f.turns--
	f.ended = append(f.ended, "cancelled")
}

func (f *fakeMatcher) Match(context.Context, access.Caller, []byte) (string, string, error) {
	return f.patient, f.reason, f.err
}

const matchLine = `POST /fhir/Patient/$hash-match < {"resourceType":"Parameters","parameter":[{"name":"x","valueString":"MARKER"}]}`

func withTasks() *fakeStore {
	s := newFakeStore()
	put := func(typ, id, rest string) {
		s.stage(4, "p1", fhir.ResourceID{Type: typ, ID: id}, fmt.Appendf(nil, `{"resourceType":%q,"id":%q,"meta":{},%s}`, typ, id, rest), time.Unix(1e9, 0))
	}
	put("Patient", "p1", `"gender":"female"`)
	for i := range 150 {
		put("Task", fmt.Sprintf("t%03d", i), fmt.Sprintf(`"status":%q,"for":{"reference":"Patient/p1"}`, []string{"completed", "cancelled", "requested", "ready", "in-progress"}[i%5]))
	}
	s.stage(4, "gone", fhir.ResourceID{Type: "Patient", ID: "gone"}, []byte(`{"resourceType":"Patient","id":"gone","meta":{}}`), time.Unix(1e9, 0))
	s.stage(4, "gone", fhir.ResourceID{Type: "Patient", ID: "gone"}, nil, time.Unix(1e9, 0))
	s.show(4)
	return s
}

func withTask(c api.Config) api.Config {
	c.Types = append(fhir.SearchTypes(), "Task")
	slices.Sort(c.Types)
	c.Types = slices.Compact(c.Types)
	return c
}

func TestMatchGivesTheTaskProfile(t *testing.T) {
	store := withTasks()
	c, log := recorded(store)
	w := httptest.NewRecorder()
	api.New(withTask(c)).ServeHTTP(w, askRecorded(t, matchLine))
	h := w.Result().Header
	if w.Code != http.StatusOK || h.Get("Cache-Control") != "no-store" || h.Get("Tributary-Commit") != "4" || h.Get("Etag") != "" {
		t.Fatalf("%d %v", w.Code, h)
	}
	text := w.Body.String()
	if !strings.HasPrefix(text, `{"resourceType":"Bundle","type":"collection","entry":[{"fullUrl":"http://fhir.example/fhir/Patient/p1","resource":{"resourceType":"Patient","id":"p1"`) {
		t.Errorf("begins with %.200s", text)
	}
	if n := strings.Count(text, `"resourceType":"Task"`); n != 100 {
		t.Errorf("%d tasks", n)
	}
	if last, done := strings.LastIndex(text, `"status":"ready"`), strings.Index(text, `"status":"completed"`); done < last {
		t.Error("what is done comes before what is to be done")
	}
	events := log.take()
	if len(events) != 1 || events[0].Outcome != "ok" || len(events[0].Subjects) != 1 || len(events[0].Subjects[0].Resources) != 101 {
		t.Errorf("events %v", events)
	}
	wantShown(t, matchLine, w.Body.Bytes(), events[0])
}

// counting notes what is asked of a store.
type counting struct {
	*fakeStore
	asked string
}

func (s *counting) At(number uint64) (api.View, error) {
	v, err := s.fakeStore.At(number)
	s.asked += fmt.Sprintf(" at %d", number)
	return countingView{v, s}, err
}

type countingView struct {
	api.View
	s *counting
}

func (v countingView) Read(id fhir.ResourceID) (fhir.Version, bool, error) {
	v.s.asked += " read " + id.Type
	return v.View.Read(id)
}

func (v countingView) Scan(typ, member string, all bool, afterMember, afterID string, fn func(fhir.Version) bool) error {
	v.s.asked += " scan " + typ
	return v.View.Scan(typ, member, all, afterMember, afterID, fn)
}

// negatives are the reasons for which there is no match.
var negatives = map[string]fakeMatcher{
	"nobody":        {reason: "no-match"},
	"several":       {reason: "ambiguous"},
	"not the right": {reason: "not-a-member"},
	"not in store":  {patient: "elsewhere"},
	"deleted":       {patient: "gone"},
}

// TestNegativesAreOneAnswer compares whole answers: status, headers, bytes; and
// what the client's store is asked for them.
func TestNegativesAreOneAnswer(t *testing.T) {
	store := &counting{fakeStore: withTasks()}
	var want string
	reasons := map[string]bool{}
	for name, m := range negatives {
		c, log := recorded(store)
		c.Match = &m
		for _, header := range []string{"", " [Tributary-Commit: 1]", " [Tributary-Commit: 99]"} {
			w := httptest.NewRecorder()
			store.asked = ""
			api.New(withTask(c)).ServeHTTP(w, askRecorded(t, strings.Replace(matchLine, " <", header+" <", 1)))
			got := fmt.Sprintln(w.Code, w.Result().Header, w.Body)
			if store.asked != " at 0 read Patient scan Task" {
				t.Errorf("%s: the store is asked:%s", name, store.asked)
			}
			if m.turns != 0 || !slices.Equal(m.ended, []string{"miss"}) {
				t.Errorf("%s: turns %d, ended as %v", name, m.turns, m.ended)
			}
			m.ended = nil
			if want == "" {
				want = got
			}
			if got != want || w.Code != http.StatusUnprocessableEntity || strings.Contains(got, "Tributary") {
				t.Errorf("%s:\n%s, want\n%s", name, got, want)
			}
			events := log.take()
			if len(events) != 1 || events[0].Outcome != "refused" || events[0].Reason == "" || len(events[0].Subjects) != 0 {
				t.Errorf("%s: events %v", name, events)
			}
			reasons[events[0].Reason] = true
		}
	}
	if len(reasons) != 4 {
		t.Errorf("the record tells apart only %v", reasons)
	}
}

func TestMatchRefusals(t *testing.T) {
	store := withTasks()
	deep := `POST /fhir/Patient/$hash-match < {"resourceType":"Parameters","parameter":` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + `}`
	for _, one := range []struct {
		line   string
		m      api.Matcher
		status int
		retry  string
		reason string
	}{
		{matchLine, nil, 403, "", "no-terms"},
		{matchLine, &fakeMatcher{waitErr: api.ErrMayNotMatch}, 403, "", "no-terms"},
		{matchLine, &fakeMatcher{wait: 90*time.Second - 1}, 429, "90", "quota"},
		{matchLine, &fakeMatcher{waitErr: errors.New("disk: MARKER")}, 500, "", "error"},
		{matchLine, &fakeMatcher{err: fmt.Errorf("token 3: %w", api.ErrMalformed)}, 400, "", "malformed"},
		{matchLine, &fakeMatcher{err: errors.New("disk: MARKER")}, 500, "", "error"},
		{deep, &fakeMatcher{patient: "p1"}, 400, "", "malformed"},
		{`POST /fhir/Patient/$hash-match`, &fakeMatcher{patient: "p1"}, 400, "", "malformed"},
		{`POST /fhir/Patient/$hash-match?token=MARKER < {}`, &fakeMatcher{patient: "p1"}, 400, "", "invalid"},
		{`POST /fhir/Patient/$hash-match < a=MARKER`, &fakeMatcher{patient: "p1"}, 415, "", "invalid"},
	} {
		c, log := recorded(store)
		c.Match = one.m
		w := httptest.NewRecorder()
		api.New(withTask(c)).ServeHTTP(w, askRecorded(t, one.line))
		events := log.take()
		if w.Code != one.status || w.Result().Header.Get("Retry-After") != one.retry || strings.Contains(w.Body.String(), "MARKER") {
			t.Errorf("%s, %+v: %d %v %s", one.line, one.m, w.Code, w.Result().Header, w.Body)
		}
		if m, ok := one.m.(*fakeMatcher); ok && m.wait == 0 && m.waitErr == nil && (m.turns != 0 || !slices.Equal(m.ended, []string{"cancelled"})) {
			t.Errorf("%s: turns %d, ended as %v", one.line, m.turns, m.ended)
		}
		if len(events) != 1 || events[0].Reason != one.reason || events[0].Kind != "match" || len(events[0].Subjects) != 0 || strings.Contains(events[0].Request, "MARKER") {
			t.Errorf("%s, %+v: events %+v, want the reason %s", one.line, one.m, events, one.reason)
		}
	}
	for _, line := range []string{`POST /fhir/Coverage/$hash-match < {}`, `GET /fhir/Patient/$hash-match`} {
		c, _ := recorded(store)
		w := httptest.NewRecorder()
		api.New(withTask(c)).ServeHTTP(w, askRecorded(t, line))
		if w.Code != 404 {
			t.Errorf("%s: %d", line, w.Code)
		}
	}
}

// An attempt is on the record even if its caller hangs up at once.
func TestMatchCountsWithoutItsCaller(t *testing.T) {
	c, _ := recorded(withTasks())
	var asked error
	log := &fakeLog{}
	c.Audit = func(ctx context.Context, e audit.Event) error {
		asked = ctx.Err()
		return log.append(ctx, e)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	api.New(withTask(c)).ServeHTTP(httptest.NewRecorder(), askRecorded(t, matchLine).WithContext(ctx))
	if asked != nil || len(log.take()) != 1 {
		t.Errorf("not recorded: %v", asked)
	}
}

func TestMatchDefinition(t *testing.T) {
	c, _ := recorded(withTasks())
	server := serve(t, c)
	resp, body := send(t, "GET", server.URL+"/fhir/OperationDefinition/hash-match", nil)
	if resp.StatusCode != 200 || !strings.Contains(string(body), `"code":"hash-match"`) {
		t.Errorf("%s %s", resp.Status, body)
	}
	if _, body = send(t, "GET", server.URL+"/fhir/metadata", nil); !strings.Contains(string(body), `"name":"hash-match","definition":"`+server.URL+`/fhir/OperationDefinition/hash-match"`) {
		t.Error("the CapabilityStatement does not name it")
	}
	c.Match = nil
	server = serve(t, c)
	if resp, _ = send(t, "GET", server.URL+"/fhir/OperationDefinition/hash-match", nil); resp.StatusCode != 404 {
		t.Errorf("without a matcher: %s", resp.Status)
	}
}
