package fhir

import (
	"slices"
	"strings"
)

// Kind is what a FHIR type is.
type Kind uint8

// The kinds of type. Abstract types (Resource, DomainResource, Element) are not
// instantiated: an element of type Resource holds any resource.
const (
	Primitive Kind = iota + 1
	Complex
	Backbone
	ResourceKind
	Abstract
)

// Element is one element as R4 4.0.1 defines it. Of an element with a choice of
// types there is one Element for each type, under its JSON name:
// "medicationCodeableConcept", never "medication[x]".
//
// Elements share memory with the definitions; their slices MUST NOT be modified.
type Element struct {
	Path     string   // owner's type and name: "MedicationRequest.status", "Coding.system"
	Name     string   // as in JSON
	Type     string   // "code", "CodeableConcept", "MedicationRequest.dispenseRequest"
	Kind     Kind     // what Type is
	List     bool     // a JSON array
	Required bool     // at least one; of a choice, at least one of the group
	Choice   string   // "medication" for medication[x]; empty if there is no choice
	Codes    []string // the codes of a required binding, ascending; nil if none or too many
	Targets  []string // resource types that a Reference or canonical may name; nil if any
}

// Lookup returns the element that the path leads to from a type, usually a
// resource: Lookup("Patient", "name", "given"). Without a path it is the type
// itself. A primitive element's sibling for extensions ("_birthDate") is found
// as an element of type Element. It is safe for concurrent use; the first call
// unpacks the definitions.
func Lookup(typ string, path ...string) (Element, bool) {
	d := definitions().types[typ]
	if d == nil {
		return Element{}, false
	}
	e := Element{Path: typ, Name: typ, Type: typ, Kind: d.kind}
	for _, name := range path {
		child, ok := e.Child(name)
		if !ok {
			return Element{}, false
		}
		e = child
	}
	return e, true
}

// Child returns the named element of e's type.
func (e Element) Child(name string) (Element, bool) {
	d := definitions().types[e.Type]
	if d == nil {
		return Element{}, false
	}
	plain := strings.TrimPrefix(name, "_")
	for i := range d.elements {
		c := &d.elements[i]
		if c.Name != plain {
			continue
		}
		if plain == name {
			return *c, true
		}
		if c.Kind != Primitive || plain == "id" {
			return Element{}, false
		}
		return Element{Path: e.Type + "." + name, Name: name, Type: "Element", Kind: Complex, List: c.List}, true
	}
	return Element{}, false
}

// Children returns the elements of e's type in FHIR's order, without the
// siblings of primitives.
func (e Element) Children() []Element {
	if d := definitions().types[e.Type]; d != nil {
		return d.elements
	}
	return nil
}

// HasCode reports whether the element may hold the code; it is true where the
// definitions do not list the codes.
func (e Element) HasCode(code string) bool {
	if e.Codes == nil {
		return true
	}
	_, found := slices.BinarySearch(e.Codes, code)
	return found
}

// MayName reports whether a reference in the element may lead to a resource of
// the type.
func (e Element) MayName(resourceType string) bool {
	return e.Targets == nil || slices.Contains(e.Targets, resourceType)
}

// IsResource reports whether R4 has a resource type of that name.
func IsResource(name string) bool {
	d := definitions().types[name]
	return d != nil && d.kind == ResourceKind
}

// ResourceTypes returns the names of R4's resource types, ascending.
func ResourceTypes() []string { return definitions().resources }
