package mapping

import "testing"

func TestDidYouMean(t *testing.T) {
	tables := []string{"emr.a", "emr.patients", "emr.encounters", "emr.observations", "pharmacy.claims", "pharmacy.claims_transactions", "pharmacy.payers"}
	columns := []string{"id", "start_date", "end_date", "patientid", "birthdate", "deathdate", "reasoncode", "reasondescription", "description1", "zip"}
	elements := []string{"active", "address", "birthDate", "medicationReference", "medicationCodeableConcept", "multipleBirthInteger", "onsetDateTime", "subject"}
	targets := []string{"Condition from emr.conditions", "Organization from emr.organizations", "Organization from pharmacy.payers"}
	for _, c := range []struct {
		name  string
		known []string
		want  string
	}{
		{"emr.patint", tables, "emr.patients"},
		{"emr.patient", tables, "emr.patients"},
		{"EMR.Patients", tables, "emr.patients"},
		{"patients", tables, "emr.patients"},
		{"pharmacy.patients", tables, "emr.patients"},
		{"emr.zz", tables, ""},         // not emr.a
		{"emr.procedures", tables, ""}, // nor another table of the source
		{"pharmacy.fills", tables, ""}, // nor pharmacy.claims
		{"pharmacy.claim", tables, "pharmacy.claims"},
		{"patient", columns, "patientid"},
		{"start", columns, "start_date"},
		{"reason", columns, ""}, // the beginning of two, and of neither most
		{"date", columns, "end_date"},
		{"brithdate", columns, "birthdate"},
		{"deadthdate", columns, "deathdate"},
		{"ix", columns, ""},
		{"zipp", columns, "zip"},
		{"description", columns, "description1"},
		{"sujbect", elements, "subject"},
		{"medication", elements, "medicationReference"},
		{"birthdate", elements, "birthDate"},
		{"colour", elements, ""},
		{"Condition from emr.condition", targets, "Condition from emr.conditions"},
		{"Observation from emr.observations", targets, ""},
		{"Organization from emr.payers", targets, ""},
		{"", elements, ""},
	} {
		if got := nearest(c.name, c.known); got != c.want {
			t.Errorf("nearest(%q) = %q, want %q", c.name, got, c.want)
		}
	}
}
