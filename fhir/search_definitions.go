package fhir

import "strings"

const (
	usCoreSearch = "http://hl7.org/fhir/us/core/SearchParameter/us-core-"
	carinSearch  = "http://hl7.org/fhir/us/carin-bb/SearchParameter/"
)

// usCoreParams are the search parameters that US Core 6.1.0 defines, by type;
// carinParams those of CARIN Blue Button 2.0.0 that are not US Core's.
var (
	usCoreParams = map[string]string{
		"AllergyIntolerance": "clinical-status patient",
		"Condition":          "abatement-date asserted-date category clinical-status code encounter onset-date patient recorded-date",
		"Coverage":           "patient",
		"Encounter":          "_id class date discharge-disposition identifier location patient status type",
		"Immunization":       "date patient status",
		"Location":           "address address-city address-postalcode address-state name",
		"MedicationDispense": "patient status type",
		"MedicationRequest":  "authoredon encounter intent patient status",
		"Observation":        "category code date patient status",
		"Organization":       "address name",
		"Patient":            "_id birthdate death-date ethnicity family gender gender-identity given identifier name race",
		"Practitioner":       "_id identifier name",
		"PractitionerRole":   "practitioner specialty",
		"Procedure":          "code date patient status",
	}
	carinParams = map[string]string{
		"Coverage":             "payor",
		"ExplanationOfBenefit": "billable-period-start care-team coverage identifier insurer patient provider service-date service-start-date type",
		"PractitionerRole":     "organization",
	}
)

// definitionOf returns the canonical address of the implementation guides'
// SearchParameter; empty if they have none.
func definitionOf(resourceType, name string) string {
	lower := strings.ToLower(resourceType)
	switch {
	case hasWord(usCoreParams[resourceType], name):
		switch name {
		case "_id":
			name = "id"
		case "race", "ethnicity":
			return usCoreSearch + name
		}
		return usCoreSearch + lower + "-" + name
	case hasWord(carinParams[resourceType], name):
		return carinSearch + lower + "-" + name
	}
	return ""
}

func hasWord(words, word string) bool {
	for w := range strings.FieldsSeq(words) {
		if w == word {
			return true
		}
	}
	return false
}

// IDDefinition is SearchParam.Definition for the type's _id.
func IDDefinition(resourceType string) string { return definitionOf(resourceType, "_id") }
