package fhir_test

import (
	"bufio"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tributary-health/tributary/fhir"
)

// publishedParam is one line of testdata/search-parameters.txt.
type publishedParam struct {
	typ, name, by, kind, definition, expression string
}

func publishedParams(t *testing.T) []publishedParam {
	t.Helper()
	file, err := os.Open("testdata/search-parameters.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var all []publishedParam
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if f := strings.Split(lines.Text(), "\t"); len(f) == 6 {
			all = append(all, publishedParam{f[0], f[1], f[2], f[3], f[4], f[5]})
		}
	}
	if len(all) < 250 || lines.Err() != nil {
		t.Fatalf("%d parameters, %v", len(all), lines.Err())
	}
	return all
}

// TestGuidesAreCovered wants every parameter of the guides, and no other
// meaning under a name that is published.
func TestGuidesAreCovered(t *testing.T) {
	guides := 0
	published := map[string]publishedParam{}
	for _, p := range publishedParams(t) {
		published[p.typ+"?"+p.name] = p
		if p.by == "R4" {
			continue
		}
		guides++
		definition := fhir.IDDefinition(p.typ)
		if p.name != "_id" {
			mine := fhir.FindParam(p.typ, p.name)
			if mine == nil {
				t.Errorf("%s of %s is missing: %s", p.name, p.typ, p.by)
				continue
			}
			definition = mine.Definition
		}
		if definition != p.definition {
			t.Errorf("%s of %s is defined by %s, want %s", p.name, p.typ, definition, p.definition)
		}
	}
	if guides < 70 {
		t.Errorf("only %d parameters of guides", guides)
	}
	for _, typ := range fhir.SearchTypes() {
		for _, p := range fhir.SearchParams(typ) {
			official, ok := published[typ+"?"+p.Name]
			switch {
			case p.Note != "":
			case !ok:
				t.Errorf("%s of %s is nobody's, and has no note", p.Name, typ)
			case official.kind != string(p.Kind):
				t.Errorf("%s of %s is a %s, want %s", p.Name, typ, p.Kind, official.kind)
			}
			if p.Definition != "" && official.by == "R4" {
				t.Errorf("%s of %s names a definition that the guides do not have", p.Name, typ)
			}
		}
	}
}

// TestPathsAreElements wants each path to lead to an element that its kind of
// parameter reads.
func TestPathsAreElements(t *testing.T) {
	reads := map[fhir.ParamKind][]string{
		fhir.TokenParam:     {"code", "boolean", "Coding", "CodeableConcept", "Identifier", "ContactPoint", "string", "uri"},
		fhir.StringParam:    {"string", "markdown"},
		fhir.DateParam:      {"date", "dateTime", "instant", "Period"},
		fhir.ReferenceParam: {"Reference"},
		fhir.QuantityParam:  {"Quantity"},
	}
	for _, typ := range fhir.SearchTypes() {
		for _, p := range fhir.SearchParams(typ) {
			for _, path := range p.Paths {
				e, ok := fhir.Lookup(typ, strings.Split(path, ".")...)
				if !ok || !slices.Contains(reads[p.Kind], e.Type) {
					t.Errorf("%s of %s: %s is %q", p.Name, typ, path, e.Type)
				}
				if (p.System != "") != (e.Type == "code") {
					t.Errorf("%s of %s: %s is a %s, and its system %q", p.Name, typ, path, e.Type, p.System)
				}
			}
		}
	}
}
