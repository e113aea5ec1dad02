package fhir_test

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/tributary-health/tributary/fhir"
)

const base = "https://tributary.example/fhir"

// indexedVersion makes the version that a store would hold of a body.
func indexedVersion(t testing.TB, body string) fhir.Version {
	t.Helper()
	typ, _ := fhir.Text(fhir.Member([]byte(body), "resourceType"))
	id, _ := fhir.Text(fhir.Member([]byte(body), "id"))
	return fhir.Version{
		ResourceID: fhir.ResourceID{Type: typ, ID: id}, Number: 1,
		Updated: time.Date(2026, 11, 20, 10, 0, 0, 5e6, time.UTC),
		Body:    []byte(body), Index: fhir.AppendIndex(nil, typ, []byte(body)),
	}
}

// TestSearchCases holds each resource of testdata/search/*.txtar against the
// queries that must find it, must not find it, and must be refused. Where
// postings can answer, one of the resource's must lie in the ranges whenever the
// resource matches.
func TestSearchCases(t *testing.T) {
	entries, err := os.ReadDir("testdata/search")
	if err != nil || len(entries) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, entry := range entries {
		t.Run(strings.TrimSuffix(entry.Name(), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile("testdata/search/" + entry.Name())
			if err != nil {
				t.Fatal(err)
			}
			parts := map[string]string{}
			for _, f := range archive.Files {
				parts[f.Name] = strings.TrimSpace(string(f.Data))
			}
			v := indexedVersion(t, parts["resource"])
			if len(v.Index) == 0 || parts["finds"] == "" || parts["finds not"] == "" {
				t.Fatal("needs resource, finds and finds not")
			}
			for _, want := range []string{"finds", "finds not", "refused"} {
				for line := range strings.SplitSeq(parts[want], "\n") {
					if line != "" {
						checkQuery(t, v, line, want)
					}
				}
			}
		})
	}
}

func checkQuery(t *testing.T, v fhir.Version, line, want string) {
	t.Helper()
	name, value, _ := strings.Cut(line, "=")
	c, err := fhir.ParseCriterion(v.Type, name, value, base)
	switch {
	case want == "refused" && err == nil:
		t.Errorf("%s: not refused", line)
	case want == "refused":
		if len(value) > 3 && strings.Contains(err.Error(), value) {
			t.Errorf("%s: the error repeats the value: %v", line, err)
		}
	case err != nil:
		t.Errorf("%s: %v", line, err)
	case c.Match(v) != (want == "finds"):
		t.Errorf("%s: Match is %v", line, c.Match(v))
	case want == "finds":
		if ranges, ok := c.PostingRanges(); ok && !postedIn(v, ranges) {
			t.Errorf("%s: no posting of the resource is in %q", line, ranges)
		}
	}
}

func postedIn(v fhir.Version, ranges []fhir.PostingRange) bool {
	for _, p := range fhir.Postings(v.Type, v.Body) {
		for _, r := range ranges {
			if p.Param == r.Param && bytes.Compare(p.Value, r.Low) >= 0 && bytes.Compare(p.Value, r.High) < 0 {
				return true
			}
		}
	}
	return false
}

func TestPostings(t *testing.T) {
	body := `{"resourceType":"Patient","id":"x","identifier":[{"system":"s","value":"1"},{"system":"s","value":"1"},{"value":"2"}],
		"name":[{"family":"Ünal","given":["A","Ünal"]}],"birthDate":"1970-05","gender":"male"}`
	var got []string
	for _, p := range fhir.Postings("Patient", []byte(body)) {
		got = append(got, p.Param+" "+strings.ToValidUTF8(string(p.Value), "?"))
	}
	if want := []string{"identifier 1\x00s", "identifier 2\x00", "name unal", "name a"}; !slices.Equal(got[1:], want) || !strings.HasPrefix(got[0], "birthdate ") {
		t.Fatalf("got %q", got)
	}
}

func TestSortKey(t *testing.T) {
	bodies := []string{
		`{"resourceType":"MedicationRequest","id":"b","authoredOn":"2026-03"}`,
		`{"resourceType":"MedicationRequest","id":"a","authoredOn":"2026-01-02"}`,
		`{"resourceType":"MedicationRequest","id":"c"}`,
	}
	for _, c := range []struct {
		param      string
		descending bool
		want       string
	}{{"date", false, "abc"}, {"authoredon", true, "bac"}, {"_id", false, "abc"}, {"_id", true, "cba"}} {
		var versions []fhir.Version
		for _, b := range bodies {
			versions = append(versions, indexedVersion(t, b))
		}
		key := func(v fhir.Version) string {
			k, ok := fhir.SortKey([]byte("x"), v, c.param, c.descending)
			if !ok {
				t.Fatalf("%s is no sort", c.param)
			}
			return string(k)
		}
		slices.SortFunc(versions, func(a, b fhir.Version) int { return strings.Compare(key(a), key(b)) })
		if got := versions[0].ID + versions[1].ID + versions[2].ID; got != c.want {
			t.Errorf("by %s, descending %v: %s, want %s", c.param, c.descending, got, c.want)
		}
	}
}

func TestEveryTypeHasItsSearches(t *testing.T) {
	generic := map[string]string{
		"Patient": "identifier name birthdate gender", "Practitioner": "identifier name gender", "Organization": "identifier name",
		"Coverage": "identifier patient subject status date", "MedicationRequest": "identifier patient subject code status date",
		"MedicationDispense": "identifier patient subject code status date", "AllergyIntolerance": "identifier patient subject code status date",
		"Immunization": "identifier patient subject code status date", "Composition": "identifier patient subject status date",
	}
	if len(fhir.SearchTypes()) < len(generic) {
		t.Fatalf("types: %v", fhir.SearchTypes())
	}
	for typ, names := range generic {
		for name := range strings.FieldsSeq(names) {
			if !slices.ContainsFunc(fhir.SearchParams(typ), func(p fhir.SearchParam) bool { return p.Name == name }) {
				t.Errorf("%s has no %s", typ, name)
			}
		}
	}
	for _, typ := range fhir.SearchTypes() {
		last := ""
		for _, p := range fhir.SearchParams(typ) {
			if p.Name <= last {
				t.Errorf("%s: %s comes twice or out of order", typ, p.Name)
			}
			last = p.Name
		}
	}
}

func FuzzIndex(f *testing.F) {
	for _, s := range jsonSeeds {
		f.Add([]byte(s), "name", "a", []byte{1, 4, 'n', 'a', 'm', 'e', 2, 1, 1})
	}
	f.Add([]byte(`{"identifier":[{"system":"s","value":"v"}],"birthDate":"1970","beneficiary":{"reference":"Patient/1"},"period":{"start":"2020"}}`), "birthdate", "gt1960", []byte(nil))
	f.Fuzz(func(t *testing.T, body []byte, param, value string, index []byte) {
		for _, typ := range fhir.SearchTypes() {
			made := fhir.AppendIndex(nil, typ, body)
			if again := fhir.AppendIndex([]byte("x"), typ, body); string(again) != "x"+string(made) {
				t.Fatalf("two indexes of one body: %q and %q", made, again)
			}
			fhir.Postings(typ, body)
			fhir.References(index, typ, "*")
			c, err := fhir.ParseCriterion(typ, param, value, base)
			if err != nil {
				continue
			}
			id := fhir.ResourceID{Type: typ, ID: "x"}
			c.Match(fhir.Version{ResourceID: id, Index: index})
			v := fhir.Version{ResourceID: id, Index: made, Body: body}
			if ranges, ok := c.PostingRanges(); ok && c.Match(v) && !postedIn(v, ranges) {
				t.Fatalf("%s?%s=%q finds %q, and no posting of it is in %q", typ, param, value, body, ranges)
			}
			c.Members()
			c.IDs()
		}
	})
}

func BenchmarkAppendIndex(b *testing.B) {
	body := []byte(`{"resourceType":"MedicationRequest","id":"m1","meta":{"versionId":"1","lastUpdated":"2026-11-20T10:00:00.001Z"},"status":"active","intent":"order","medicationCodeableConcept":{"coding":[{"system":"http://www.nlm.nih.gov/research/umls/rxnorm","code":"314076"}],"text":"x"},"subject":{"reference":"Patient/p1"},"authoredOn":"2026-01-02","requester":{"reference":"Practitioner/pr1"},"dispenseRequest":{"quantity":{"value":30.5}}}`)
	var index []byte
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		index = fhir.AppendIndex(index[:0], "MedicationRequest", body)
	}
}
