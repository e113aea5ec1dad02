package access

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tributary-health/tributary/fhir"
)

// Every element of R4 that may hold something of a person in its own words or
// numbers is decided on: it is under a datum of the catalogue, or opaque, or in
// testdata/shown.txt with the reason why it is neither.

// typeData are the data types that are a datum wherever they stand.
var typeData = map[string]string{
	"Address": "address", "ContactPoint": "telephone", "Identifier": "identifiers", "HumanName": "names", "Annotation": "notes", "Money": "amounts", "Age": "birth-date",
}

// decided are the types of which each element is decided on by itself.
var decided = []string{
	"string", "markdown", "base64Binary", "url", "uri", "oid", "uuid", "id", // words and numbers
	"Range", "Quantity", "decimal", "integer", "unsignedInt", "positiveInt", // ages, amounts
	"Attachment", "SampledData", "Signature",
}

// named are the words in an element's name that make it a datum's, whatever type it has.
var tellingNames = []struct{ word, datum string }{
	{"birthDate", "birth-date"}, {"born", "birth-date"}, {"gender", "sex"}, {"photo", "photo"}, {"noteNumber", "notes"}, {"processNote", "notes"},
}

// shownElements reads testdata/shown.txt: a reason on a line that begins with #,
// then the elements that are shown for it. "Type.*" stands for all of a type and of
// the elements within it, and "*.name" for an element of that name in any type.
func shownElements(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("testdata/shown.txt")
	if err != nil {
		t.Fatal(err)
	}
	all, reason := map[string]string{}, ""
	for line := range strings.Lines(string(text)) {
		if rest, isReason := strings.CutPrefix(line, "#"); isReason {
			reason = strings.TrimSpace(rest)
			continue
		}
		for _, element := range strings.Fields(line) {
			if reason == "" {
				t.Fatalf("%s has no reason", element)
			}
			if all[element] != "" {
				t.Errorf("%s stands in testdata/shown.txt twice", element)
			}
			all[element] = reason
		}
	}
	if len(all) < 50 {
		t.Fatal("testdata/shown.txt is all but empty")
	}
	return all
}

// eachElement calls fn with R4's elements, each once, and the data that hide it or
// what it stands in. What is within a data type that is a datum is left out.
func eachElement(fn func(owner, e fhir.Element, data []string)) {
	seen := map[string]bool{}
	var walk func(e fhir.Element, within []string)
	walk = func(e fhir.Element, within []string) {
		isDatum := slices.ContainsFunc(known().names, func(name string) bool { return slices.Contains(known().data[name].types, e.Type) })
		if seen[e.Type] || isDatum {
			return
		}
		seen[e.Type] = true
		for _, c := range e.Children() {
			data := slices.Concat(within, dataOf(e, c))
			switch fn(e, c, data); c.Kind {
			case fhir.Backbone:
				walk(c, data)
			case fhir.Complex:
				walk(c, nil)
			}
		}
	}
	for _, typ := range fhir.ResourceTypes() {
		walk(mustLookup(typ), nil)
	}
}

// dataOf are the data that hide the element without a condition; "opaque" is among
// them if it is.
func dataOf(owner, e fhir.Element) (all []string) {
	hides := func(r rule) bool {
		return r.where == nil && r.owner == owner.Type && len(r.steps) == 1 && (r.steps[0] == e.Name || r.steps[0] == e.Choice)
	}
	for _, name := range known().names {
		d := known().data[name]
		if slices.Contains(d.types, e.Type) || slices.ContainsFunc(d.rules, hides) {
			all = append(all, name)
		}
	}
	if slices.ContainsFunc(known().opaque, hides) {
		all = append(all, "opaque")
	}
	return all
}

// shownAs is the entry of the list that shows the element.
func shownAs(shown map[string]string, owner, e fhir.Element) string {
	candidates := []string{owner.Type + "." + e.Name, "*." + e.Name}
	for at := owner.Type; ; {
		candidates = append(candidates, at+".*")
		dot := strings.LastIndexByte(at, '.')
		if dot < 0 {
			break
		}
		at = at[:dot]
	}
	for _, c := range candidates {
		if shown[c] != "" {
			return c
		}
	}
	return ""
}

// TestEveryElementIsDecidedOn walks R4's elements. An element that somebody adds to
// neither the catalogue nor the list would be shown to everybody.
func TestEveryElementIsDecidedOn(t *testing.T) {
	shown, used, n := shownElements(t), map[string]bool{}, 0
	eachElement(func(owner, e fhir.Element, data []string) {
		path := owner.Type + "." + e.Name
		if datum := typeData[e.Type]; datum != "" {
			if n++; !slices.Contains(data, datum) {
				t.Errorf("%s is of the type %s and is not under %s", path, e.Type, datum)
			}
			return
		}
		as := shownAs(shown, owner, e)
		for _, one := range tellingNames {
			if (e.Name == one.word || e.Choice == one.word) && !slices.Contains(data, one.datum) && as == "" {
				t.Errorf("%s is not under %s, and testdata/shown.txt does not say why", path, one.datum)
			}
		}
		if !slices.Contains(decided, e.Type) || e.Name == "id" && e.Type != "uri" {
			if as == path {
				used[as] = true
			}
			return
		}
		n++
		switch {
		case len(data) > 0 && as == path:
			t.Errorf("%s is under %v: testdata/shown.txt says that it is shown", path, data)
		case len(data) == 0 && as == "":
			t.Errorf("%s, of the type %s, is under no datum, and testdata/shown.txt does not say why", path, e.Type)
		}
		used[as] = true
	})
	for element := range shown {
		if !used[element] {
			t.Errorf("testdata/shown.txt: %s is no element that is to be decided on", element)
		}
	}
	if n < 1000 {
		t.Errorf("only %d elements were looked at", n)
	}
}

// TestAttachmentsShowNothing: an element of the type Attachment may stand anywhere,
// since what an attachment holds is opaque.
func TestAttachmentsShowNothing(t *testing.T) {
	for typ, names := range map[string][]string{"Attachment": {"data", "url", "title", "size", "hash"}, "Signature": {"data"}, "SampledData": {"data"}} {
		for _, name := range names {
			if e := mustLookup(typ); !slices.Contains(dataOf(e, mustChild(e, name)), "opaque") {
				t.Errorf("%s.%s is not opaque", typ, name)
			}
		}
	}
}
