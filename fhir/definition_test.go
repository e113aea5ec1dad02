package fhir_test

import (
	"testing"

	"github.com/tributary-health/tributary/fhir"
)

func TestLookup(t *testing.T) {
	for _, c := range []struct {
		typ      string
		path     []string
		wantType string
		kind     fhir.Kind
		list     bool
	}{
		{"MedicationRequest", nil, "MedicationRequest", fhir.ResourceKind, false},
		{"MedicationRequest", []string{"status"}, "code", fhir.Primitive, false},
		{"MedicationRequest", []string{"medicationCodeableConcept", "coding", "system"}, "uri", fhir.Primitive, false},
		{"Patient", []string{"name"}, "HumanName", fhir.Complex, true},
		{"Patient", []string{"name", "given"}, "string", fhir.Primitive, true},
		{"Patient", []string{"contact"}, "Patient.contact", fhir.Backbone, true},
		{"Patient", []string{"_birthDate", "extension", "valueDateTime"}, "dateTime", fhir.Primitive, false},
		{"Patient", []string{"contained"}, "Resource", fhir.Abstract, true},
		{"Bundle", []string{"entry", "link", "url"}, "uri", fhir.Primitive, false},
		{"Composition", []string{"section", "section", "section", "title"}, "string", fhir.Primitive, false},
		{"Extension", []string{"valueCoding", "code"}, "code", fhir.Primitive, false},
	} {
		e, ok := fhir.Lookup(c.typ, c.path...)
		if !ok || e.Type != c.wantType || e.Kind != c.kind || e.List != c.list {
			t.Errorf("Lookup(%s, %v) = %+v, %v", c.typ, c.path, e, ok)
		}
	}
	for _, c := range [][]string{
		{"MedicationRequest", "medication"}, {"MedicationRequest", "medication[x]"}, {"Nothing"}, {""},
		{"Patient", "_name"}, {"Patient", "_"}, {"Patient", "birthdate"}, {"Patient", "_id"},
	} {
		if e, ok := fhir.Lookup(c[0], c[1:]...); ok {
			t.Errorf("Lookup(%v) found %+v", c, e)
		}
	}
}

func TestElementFacts(t *testing.T) {
	status, _ := fhir.Lookup("MedicationRequest", "status")
	if !status.Required || !status.HasCode("stopped") || status.HasCode("ended") || len(status.Codes) != 8 {
		t.Errorf("status: %+v", status)
	}
	gender, _ := fhir.Lookup("Patient", "gender")
	if gender.Required || !gender.HasCode("male") || gender.HasCode("M") {
		t.Errorf("gender: %+v", gender)
	}
	medication, _ := fhir.Lookup("MedicationRequest", "medicationReference")
	if medication.Choice != "medication" || !medication.Required || !medication.MayName("Medication") || medication.MayName("Patient") {
		t.Errorf("medicationReference: %+v", medication)
	}
	focus, _ := fhir.Lookup("Observation", "focus")
	if !focus.MayName("Patient") {
		t.Error("Observation.focus names any resource")
	}
	language, _ := fhir.Lookup("Patient", "language")
	if !language.HasCode("anything") {
		t.Error("a binding that is not required must not bind")
	}
}

func TestResourceTypes(t *testing.T) {
	if n := len(fhir.ResourceTypes()); n != 146 {
		t.Errorf("%d resource types, R4 has 146", n)
	}
	if !fhir.IsResource("ExplanationOfBenefit") || fhir.IsResource("Resource") || fhir.IsResource("HumanName") {
		t.Error("IsResource")
	}
}

func TestEveryTypeIsReachable(t *testing.T) {
	seen := map[string]bool{}
	var visit func(e fhir.Element)
	visit = func(e fhir.Element) {
		if seen[e.Type] {
			return
		}
		seen[e.Type] = true
		for _, c := range e.Children() {
			if c.Type == "" || c.Kind == 0 {
				t.Errorf("%s: %+v", e.Type, c)
			}
			visit(c)
		}
	}
	for _, name := range fhir.ResourceTypes() {
		e, _ := fhir.Lookup(name)
		visit(e)
	}
	if len(seen) < 600 {
		t.Errorf("only %d types", len(seen))
	}
}

func BenchmarkLookup(b *testing.B) {
	fhir.Lookup("Patient")
	for b.Loop() {
		fhir.Lookup("Patient", "name", "given")
	}
}
