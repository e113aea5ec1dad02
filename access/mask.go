package access

import (
	"slices"

	"github.com/tributary-health/tributary/fhir"
)

// What stands where something was hidden. It never depends on what was there, or
// on whether anything was.
const (
	maskedExtension = `{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"masked"}]}`
	maskedConcept   = `{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/data-absent-reason","code":"masked"}]}`
	maskedValues    = `,"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"masked"}]}`

	// redactedMark is the security label of a resource that a policy has been
	// applied to.
	redactedMark = `{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"REDACTED"}`
)

// sectionText stands for the narrative of a document's section, and
// withheldReason for why one without an entry that may be seen is empty.
var (
	sectionText    = []byte(`"text":{"status":"empty","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">The narrative is not shown.</div>"}`)
	withheldReason = []byte(`"emptyReason":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/list-empty-reason","code":"withheld"}]}`)
)

// maxMaskDepth is how deep a placeholder may need placeholders of its own.
const maxMaskDepth = 6

// maskMember returns the member that stands for an element: the data absent
// reason "masked", in what FHIR requires of the element, or in the named parts.
func maskMember(e fhir.Element, parts []string, depth int) []byte {
	if e.Kind != fhir.Primitive {
		return named(e.Name, maskObject(e, parts, depth), e.List)
	}
	about := named("_"+e.Name, []byte(maskedExtension), e.List)
	if e.Codes != nil && e.HasCode(unknownCode) {
		return slices.Concat(named(e.Name, []byte(`"`+unknownCode+`"`), e.List), []byte{','}, about)
	}
	return about
}

// unknownCode stands where FHIR wants a code of its own.
const unknownCode = "unknown"

func named(name string, value []byte, list bool) []byte {
	if list {
		value = slices.Concat([]byte{'['}, value, []byte{']'})
	}
	return slices.Concat([]byte(`"`+name+`":`), value)
}

// maskObject masks what an object must have; one that needs nothing is masked
// itself.
func maskObject(e fhir.Element, parts []string, depth int) []byte {
	out := []byte{'{'}
	seen := map[string]bool{}
	for _, c := range e.Children() {
		wanted := c.Required || slices.Contains(parts, c.Name)
		if !wanted || depth > maxMaskDepth || c.Choice != "" && seen[c.Choice] {
			continue
		}
		seen[c.Choice] = true
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, maskMember(c, nil, depth+1)...)
	}
	if len(out) == 1 {
		return []byte(maskedExtension)
	}
	return append(out, '}')
}
