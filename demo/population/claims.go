package main

import (
	"slices"
	"strings"
)

// Of claims only what both sides have is compared: Synthea's Claim and
// ExplanationOfBenefit together say what ours says, and ours says it in CARIN's
// terms.

// servedClaim are the facts of one of our ExplanationOfBenefits.
func servedClaim(r *record) []fact {
	c := &record{}
	for _, path := range []string{"status", "use", "outcome", "type.coding", "patient", "provider", "created", "billablePeriod.start",
		"careTeam.provider", "insurer.display", "insurance.coverage.display"} {
		for _, v := range r.values(path) {
			c.add(path, v)
		}
	}
	for _, v := range r.values("item.productOrService.coding") {
		if clinical(v) {
			c.add("item.productOrService.coding", v)
		}
	}
	for _, v := range r.values("diagnosis.diagnosisCodeableConcept.coding") {
		if clinical(v) && !slices.Contains(c.values("diagnosis"), v) { // a claim may name one twice
			c.add("diagnosis", v)
		}
	}
	for _, v := range r.values("item.encounter") {
		c.add("item.encounter", v)
	}
	return c.facts
}

// clinical tells a code of the source's own systems from one for billing.
func clinical(code string) bool {
	for _, system := range []string{"http://snomed.info/sct|", "http://www.nlm.nih.gov/research/umls/rxnorm|", "http://hl7.org/fhir/sid/cvx|"} {
		if strings.HasPrefix(code, system) {
			return true
		}
	}
	return false
}

// exportedClaim are the facts of Synthea's Claim, with those of the
// ExplanationOfBenefit that belongs to it.
func exportedClaim(claim, eob *record, conditions map[string]string) *record {
	c := &record{typ: "ExplanationOfBenefit", id: claim.id}
	for _, path := range []string{"status", "use", "type.coding", "patient", "provider", "created", "billablePeriod.start",
		"insurance.coverage.display", "item.productOrService.coding", "item.encounter"} {
		for _, v := range claim.values(path) {
			c.add(path, v)
		}
	}
	for _, v := range claim.values("diagnosis.diagnosisReference") {
		if code := conditions[strings.TrimPrefix(v, "@urn:uuid:")]; !slices.Contains(c.values("diagnosis"), code) {
			c.add("diagnosis", code)
		}
	}
	if eob != nil {
		for _, path := range []string{"outcome", "careTeam.provider", "insurer.display"} {
			for _, v := range eob.values(path) {
				c.add(path, v)
			}
		}
	}
	return c
}
