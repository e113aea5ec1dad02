package fhir_test

import (
	"testing"

	"github.com/tributary-health/tributary/fhir"
)

// FuzzBodyCriterion wants no body and no value to break a criterion, and nothing
// to satisfy one that the index tells does not.
func FuzzBodyCriterion(f *testing.F) {
	for _, s := range jsonSeeds {
		f.Add([]byte(s), "identifier:of-type", "s|c|a")
	}
	f.Add([]byte(`{"identifier":[{"type":{"coding":[{"system":"s","code":"c"}]},"value":"a"}]}`), "identifier:of-type", "s|c|A")
	f.Add([]byte(`{"identifier":{"type":{"coding":{"system":"s","code":"c"}},"value":"a"}}`), "identifier:of-type", `s|c|\a,s|c|a`)
	f.Add([]byte(`{"subject":{"identifier":{"value":"a"}},"code":{"coding":[{"display":"A"}],"text":1}}`), "subject:identifier", "|a")
	f.Add([]byte(`{"code":{"coding":[{"display":"A"},null],"text":1},"extension":[{"url":[]},{"url":"x"}]}`), "code:text", "a,\\")
	f.Fuzz(func(t *testing.T, body []byte, param, value string) {
		for _, typ := range fhir.SearchTypes() {
			c, ok, err := fhir.ParseBodyCriterion(typ, param, value)
			if !ok || err != nil {
				continue
			}
			in, told := c.InIndex()
			v := fhir.Version{ResourceID: fhir.ResourceID{Type: typ, ID: "x"}, Index: fhir.AppendIndex(nil, typ, body)}
			if c.Match(body) && told && !in.Match(v) {
				t.Fatalf("%s?%s=%q finds %q, and its index does not", typ, param, value, body)
			}
		}
	})
}
