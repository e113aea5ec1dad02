package fhir_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/tributary-health/tributary/fhir"
)

// FuzzSubset wants what is left of a well-formed resource to be well-formed, to
// hold only members of the resource, each unchanged or smaller, and the mark.
func FuzzSubset(f *testing.F) {
	for _, s := range jsonSeeds {
		f.Add([]byte(s))
	}
	f.Add([]byte(`{"resourceType":"Patient","id":"x","meta":{"tag":[{"code":"a"}]},"text":{},"link":[{"other":{"reference":"Patient/y"},"_type":null,"type":"seealso","x":1}],"_birthDate":{"id":"1"},"a\"b":1}`))
	f.Add([]byte(`{"meta":{}}`))
	f.Add([]byte(`{"meta":{ "tag" : [ ] , "x":1}}`))
	subsets := map[string]*fhir.Subset{"true": fhir.SummarySubset("Patient"), "text": fhir.TextSubset("Patient"), "data": fhir.DataSubset()}
	subsets["elements"], _ = fhir.ElementsSubset("Patient", []string{"name", "deceased"})
	f.Fuzz(func(t *testing.T, body []byte) {
		var whole map[string]any
		if !fhir.ValidJSON(body) || json.Unmarshal(body, &whole) != nil || whole == nil {
			return
		}
		for name, s := range subsets {
			text := s.Append([]byte("x"), body)[1:]
			var part map[string]any
			if err := json.Unmarshal(text, &part); err != nil {
				t.Fatalf("%s of %q: %v in %q", name, body, err, text)
			}
			for member, value := range part {
				if member == "meta" || member == "link" {
					continue
				}
				if _, twice := whole[member]; !twice || !reflect.DeepEqual(value, whole[member]) {
					t.Fatalf("%s of %q changes %s: %q", name, body, member, text)
				}
			}
			_, inWhole := whole["text"]
			if _, has := part["text"]; has != (inWhole && name == "text") {
				t.Fatalf("%s of %q: %q", name, body, text)
			}
		}
	})
}

// TestSummariesAreElements wants every path of the table to lead to an element
// of its type, and every type to have its line.
func TestSummariesAreElements(t *testing.T) {
	for _, typ := range fhir.ResourceTypes() {
		e, _ := fhir.Lookup(typ)
		body := `{"resourceType":"` + typ + `","id":"x"`
		for _, c := range e.Children() {
			if c.Name != "id" && c.Name != "meta" {
				body += `,"` + c.Name + `":[{"id":"1"}]`
			}
		}
		kept := fhir.SummarySubset(typ).Append(nil, []byte(body+"}"))
		var part map[string]any
		if err := json.Unmarshal(kept, &part); err != nil {
			t.Fatalf("%s: %v", typ, err)
		}
		for _, c := range e.Children() {
			if _, ok := part[c.Name]; c.Required && !ok {
				t.Errorf("%s loses %s, which it must have", typ, c.Name)
			}
		}
		if len(part) < 4 && typ != "Parameters" {
			t.Errorf("%s keeps only %s", typ, kept)
		}
		if _, has := part["contained"]; has {
			t.Errorf("%s keeps what it contains", typ)
		}
	}
}
