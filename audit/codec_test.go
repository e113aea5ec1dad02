package audit_test

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tributary-health/tributary/audit"
)

// What is decoded is encoded to the same bytes, and holds nothing that an event
// may not hold.
func FuzzDecodeEntry(f *testing.F) {
	for i := range 3 {
		e := audit.Entry{Number: uint64(i), Event: event(i)}
		e.Subjects = append(e.Subjects, audit.Subject{}, audit.Subject{Patient: "x", Resources: []string{"Claim/a", "Claim/b/_history/9"}})
		if i == 1 {
			e.Part, e.Parts, e.Reason = 1, 3, "not-found"
		}
		if i == 2 {
			e.Subjects = nil
		}
		f.Add(e.AppendJSON(nil))
	}
	many := audit.Entry{Number: 9, Event: refusal("quota", 0)}
	many.Folds, many.Count, many.First = false, 1234, noon
	f.Add(many.AppendJSON(nil))
	f.Add([]byte(`{"n":1,"time":"2026-03-01T12:00:00.000000Z","kind":"read","client":"","policy":"","outcome":"refused","reason":"","request":"","generation":"","commit":0,"subjects":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := audit.DecodeEntry(b)
		if err != nil {
			return
		}
		if again := e.AppendJSON(nil); !bytes.Equal(again, b) {
			t.Errorf("%s became %s", b, again)
		}
		if err := audit.Check(e.Event); err != nil {
			t.Error(err)
		}
	})
}

func TestDecodeEncode(t *testing.T) {
	e := audit.Entry{Number: 7, Part: 2, Parts: 2, Event: event(3)}
	e.Subjects = append(e.Subjects, audit.Subject{Patient: "q"})
	got, err := audit.DecodeEntry(e.AppendJSON(nil))
	if err != nil || !reflect.DeepEqual(got, e) {
		t.Errorf("%+v, %v", got, err)
	}
}

// What has no place in the record is refused, the error names no value, and the
// log goes on.
func TestWhatIsRefused(t *testing.T) {
	l := open(t, t.TempDir(), audit.Options{ID: func(id string) bool { return !strings.Contains(id, "1957") }})
	secret := "Smith-1957"
	for name, change := range map[string]func(*audit.Event){
		"no time":              func(e *audit.Event) { e.Time = time.Time{} },
		"year":                 func(e *audit.Event) { e.Time = time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC) },
		"folds, of an answer":  func(e *audit.Event) { e.Folds = true },
		"folds, of a member":   func(e *audit.Event) { e.Folds, e.Outcome = true, audit.Refused },
		"count of an answer":   func(e *audit.Event) { e.Count, e.First, e.Subjects = 2, noon, nil },
		"count without a time": func(e *audit.Event) { e.Count, e.Outcome, e.Subjects = 2, audit.Refused, nil },
		"time without a count": func(e *audit.Event) { e.First, e.Outcome, e.Subjects = noon, audit.Refused, nil },
		"kind":                 func(e *audit.Event) { e.Kind = secret },
		"outcome":              func(e *audit.Event) { e.Outcome = secret },
		"client":               func(e *audit.Event) { e.Client = "smith john" },
		"nobody":               func(e *audit.Event) { e.Client = "" },
		"client quote":         func(e *audit.Event) { e.Client = `a","kind":"read` },
		"policy":               func(e *audit.Event) { e.Policy = secret },
		"reason digits":        func(e *audit.Event) { e.Reason = "born-1957" },
		"reason words":         func(e *audit.Event) { e.Reason = "no such member" },
		"reason long":          func(e *audit.Event) { e.Reason = strings.Repeat("a", 65) },
		"value":                func(e *audit.Event) { e.Request = "GET Patient name=Smith" },
		"id in path":           func(e *audit.Event) { e.Request = "GET Patient/p1957" },
		"date":                 func(e *audit.Event) { e.Request = "GET Patient birthdate,1957-05-01" },
		"escape":               func(e *audit.Event) { e.Request = "GET Patient na%20me" },
		"newline":              func(e *audit.Event) { e.Request = "GET Patient name\n" },
		"no method":            func(e *audit.Event) { e.Request = "Patient name" },
		"generation":           func(e *audit.Event) { e.Generation = "a b" },
		"patient":              func(e *audit.Event) { e.Subjects[0].Patient = "p 1" },
		"patient of the site":  func(e *audit.Event) { e.Subjects[0].Patient = secret },
		"resource":             func(e *audit.Event) { e.Subjects[0].Resources[0] = "Observation/o 1/_history/1" },
		"resource of the site": func(e *audit.Event) { e.Subjects[0].Resources[0] = "Observation/" + secret + "/_history/1" },
		"no type":              func(e *audit.Event) { e.Subjects[0].Resources[0] = "o1/_history/1" },
		"no version":           func(e *audit.Event) { e.Subjects[0].Resources[0] = "Observation/o1/_history/" },
		"query":                func(e *audit.Event) { e.Subjects[0].Resources[0] = "Observation/o1?name=x" },
		"long id":              func(e *audit.Event) { e.Subjects[0].Patient = strings.Repeat("a", 65) },
	} {
		e := event(1)
		change(&e)
		err := l.Append(t.Context(), e)
		if !errors.Is(err, audit.ErrRefused) || strings.Contains(err.Error(), "1957") || strings.Contains(strings.ToLower(err.Error()), "smith") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, request := range []string{"", "GET Patient/[id]/$everything _count,_type", "POST Patient/_search name:exact,birthdate", "GET [type]/[id]/_history/[version]",
		"POST Patient/$hash-match", "GET Observation _has:Observation:patient:code,subject:Patient.name,?,code:?"} {
		e := event(1)
		e.Request = request
		add(t, l, e)
	}
	sent := event(2)
	sent.Kind, sent.Request = audit.Delivery, "SEND fhir.changes.care-2"
	add(t, l, sent)
}
