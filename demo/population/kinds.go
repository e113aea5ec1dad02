package main

import (
	"cmp"
	"strings"
)

// A kind says how rows of a file, resources of ours and resources of Synthea's
// export find each other.
type kind struct {
	typ   string
	files []string
	// only drops rows that give no resource of their own; nil takes all.
	only func(r row) bool
	// columns are the key of a row, paths that of a resource: a path with "day " before
	// it is taken to the day, one with "code " without its system.
	columns, paths []string
	// facts are what a row says by itself, where the export has nothing; nil if it has.
	facts func(r row) []fact
}

var kinds = []kind{
	{typ: "Patient", files: []string{"patients"}, columns: []string{"ID"}},
	{typ: "Organization", files: []string{"organizations", "payers"}, columns: []string{"ID"},
		only: func(r row) bool { return r["NAME"] != "NO_INSURANCE" }},
	{typ: "Location", files: []string{"organizations"}, columns: []string{"ID"}, paths: []string{"managingOrganization"}},
	{typ: "Practitioner", files: []string{"providers"}, columns: []string{"ID"}},
	{typ: "PractitionerRole", files: []string{"providers"}, columns: []string{"ID"}, paths: []string{"practitioner"}},
	{typ: "Coverage", files: []string{"payer_transitions"}, columns: []string{"PATIENT", "START_DATE"}, paths: []string{"beneficiary", "period.start"},
		only: func(r row) bool { return r["MEMBERID"] != "" }, facts: coverageFacts},
	{typ: "Encounter", files: []string{"encounters"}, columns: []string{"ID"}},
	{typ: "Condition", files: []string{"conditions"}, columns: []string{"PATIENT", "ENCOUNTER", "CODE", "day START"},
		paths: []string{"subject", "encounter", "code code.coding", "day onsetDateTime"}},
	{typ: "AllergyIntolerance", files: []string{"allergies"}, columns: []string{"PATIENT", "CODE"}, paths: []string{"patient", "code code.coding"}},
	{typ: "Immunization", files: []string{"immunizations"}, columns: []string{"PATIENT", "ENCOUNTER", "CODE", "DATE"},
		paths: []string{"patient", "encounter", "code vaccineCode.coding", "occurrenceDateTime"}},
	{typ: "Procedure", files: []string{"procedures"}, columns: []string{"PATIENT", "ENCOUNTER", "CODE", "START"},
		paths: []string{"subject", "encounter", "code code.coding", "performed"}},
	// The diastolic row is in the resource of the systolic one.
	{typ: "Observation", files: []string{"observations"}, columns: []string{"PATIENT", "ENCOUNTER", "CODE", "DATE"},
		paths: []string{"subject", "encounter", "code code.coding", "effectiveDateTime"},
		only:  func(r row) bool { return r["CODE"] != "8462-4" }},
	{typ: "MedicationRequest", files: []string{"medications"}, columns: []string{"PATIENT", "ENCOUNTER", "CODE", "START"},
		paths: []string{"subject", "encounter", "code medicationCodeableConcept.coding", "authoredOn"}},
	{typ: "ExplanationOfBenefit", files: []string{"claims"}, columns: []string{"ID"}},
}

// key is what a row is found by.
func (k kind) key(r row) string {
	parts := make([]string, len(k.columns))
	for i, column := range k.columns {
		if name, ok := strings.CutPrefix(column, "day "); ok {
			parts[i] = day(r[name])
			continue
		}
		parts[i] = moment(r[column])
		if column == "CODE" && parts[i] == "8480-6" {
			parts[i] = "85354-9" // the panel
		}
	}
	return strings.Join(parts, " ")
}

// of is what a resource is found by. A resource of ours has the row's key in an
// identifier, one of Synthea's as its id.
func (k kind) of(r *record, ours bool) string {
	if k.paths == nil {
		if ours {
			return rowKey(r)
		}
		return r.id
	}
	parts := make([]string, len(k.paths))
	for i, path := range k.paths {
		name, isDay := strings.CutPrefix(path, "day ")
		name, isCode := strings.CutPrefix(name, "code ")
		text := r.first(name)
		if name == "performed" {
			text = cmp.Or(r.first("performedPeriod.start"), r.first("performedDateTime"))
		}
		switch {
		case isDay:
			text = day(text)
		case isCode:
			text = text[strings.LastIndexByte(text, '|')+1:]
		}
		parts[i] = text
	}
	return strings.Join(parts, " ")
}

// coverageFacts are what a span of coverage says; Synthea's export has no Coverage.
func coverageFacts(r row) []fact {
	c := &record{}
	c.add("status", "active")
	c.add("beneficiary", r["PATIENT"])
	c.add("subscriberId", r["MEMBERID"])
	c.add("period.start", moment(r["START_DATE"]))
	c.add("period.end", moment(r["END_DATE"]))
	c.add("payor", r["PAYER"])
	c.add("subscriber.display", r["OWNER_NAME"])
	c.add("relationship.coding", "http://terminology.hl7.org/CodeSystem/subscriber-relationship|"+
		map[string]string{"Self": "self", "Spouse": "spouse", "Guardian": "child"}[r["PLAN_OWNERSHIP"]])
	return c.facts
}
