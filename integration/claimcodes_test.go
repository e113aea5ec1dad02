package integration

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"
)

var (
	icd10  = regexp.MustCompile(`^[A-Z][0-9][0-9A-Z](\.[0-9A-Z]{1,4})?$`)
	hcpcs  = regexp.MustCompile(`^[A-Z][0-9]{4}$`)
	ndc11  = regexp.MustCompile(`^[0-9]{11}$`)
	number = regexp.MustCompile(`^[0-9]{2,4}$`)
)

// codesAgree: what the profiles ask for is there, in the codes' own forms, and only where it belongs.
func (d *demoRun) codesAgree(t *testing.T, served map[string]*claim) {
	for id, c := range served {
		kind := c.Type.first()
		numbers := map[int]bool{}
		for _, g := range c.Diagnosis {
			numbers[g.Sequence] = true
			if !icd10.MatchString(g.Concept.of("http://hl7.org/fhir/sid/icd-10-cm")) || g.Concept.of("http://snomed.info/sct") == "" {
				t.Errorf("claim %s: diagnosis %+v", id, g.Concept)
			}
		}
		if (kind == "pharmacy") != (len(c.Diagnosis) == 0) {
			t.Errorf("claim %s of kind %s has %d diagnoses", id, kind, len(c.Diagnosis))
		}
		for _, i := range c.Item {
			for _, n := range i.DiagnosisSequence {
				if !numbers[n] {
					t.Errorf("claim %s line %d points at a diagnosis that is not there", id, i.Sequence)
				}
			}
			billed := i.ProductOrService.of("https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets")
			drug := i.ProductOrService.of("http://hl7.org/fhir/sid/ndc")
			absent := i.ProductOrService.of("http://terminology.hl7.org/CodeSystem/data-absent-reason")
			revenue := i.Revenue.of("https://www.nubc.org/CodeSystem/RevenueCodes")
			place := i.Location.of("https://www.cms.gov/Medicare/Coding/place-of-service-codes/Place_of_Service_Code_Set")
			ok := false
			switch kind {
			case "pharmacy":
				ok = ndc11.MatchString(drug) && billed+absent+revenue+place == ""
			case "professional":
				ok = hcpcs.MatchString(billed) && number.MatchString(place) && drug+absent+revenue == ""
			case "institutional":
				ok = (hcpcs.MatchString(billed) || absent == "not-applicable" && c.SubType.first() == "inpatient") && number.MatchString(revenue) && drug+place == ""
			}
			if !ok {
				t.Errorf("claim %s line %d of kind %s: HCPCS %q, NDC %q, absent %q, revenue %q, place %q", id, i.Sequence, kind, billed, drug, absent, revenue, place)
			}
		}
	}
}

// claimReferences: every reference is to a resource of the right type that is served.
func (d *demoRun) claimReferences(t *testing.T, served map[string]*claim) {
	types := map[string]string{
		"patient": "Patient", "insurer": "Organization", "provider": "Organization", "prescription": "MedicationRequest",
		"careTeam.provider": "Practitioner", "insurance.coverage": "Coverage", "item.encounter": "Encounter",
	}
	known := map[string]bool{}
	for typ := range map[string]bool{"Patient": true, "Organization": true, "MedicationRequest": true, "Practitioner": true, "Coverage": true, "Encounter": true} {
		for _, raw := range d.all("/" + typ + "?_count=500") {
			var r struct{ ID string }
			if err := json.Unmarshal(raw, &r); err != nil {
				t.Fatal(err)
			}
			known[typ+"/"+r.ID] = true
		}
	}
	seen := map[string]int{}
	for id, c := range served {
		var whole any
		if err := json.Unmarshal(c.raw, &whole); err != nil {
			t.Fatal(err)
		}
		eachReference("", whole, func(path, to string) {
			seen[path]++
			if !known[to] || !strings.HasPrefix(to, types[path]+"/") || types[path] == "" {
				t.Errorf("claim %s: %s refers to %s", id, path, to)
			}
		})
	}
	for path := range types {
		if seen[path] == 0 {
			t.Errorf("no claim has a reference in %s", path)
		}
	}
}

// eachReference calls f for every reference in a resource, with the names above it.
func eachReference(path string, v any, f func(path, to string)) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			eachReference(path, item, f)
		}
	case map[string]any:
		for name, item := range v {
			if to, ok := item.(string); ok && name == "reference" {
				f(path, to)
				continue
			}
			eachReference(strings.TrimPrefix(path+"."+name, "."), item, f)
		}
	}
}

// claimChanges: a payment that comes late goes to its line; a visit whose class is corrected changes the claim's kind, not its id;
// a claim whose visit is gone is no resource until it is back.
func (d *demoRun) claimChanges(t *testing.T, served map[string]*claim) {
	late := column(t, d.maria, `SELECT claimid FROM claims_transactions WHERE type = 'CHARGE' AND revenue_code IS NOT NULL GROUP BY claimid HAVING count(*) > 3 ORDER BY claimid LIMIT 1`)[0]
	exec1(t, d.maria, `INSERT INTO claims_transactions (id, claimid, chargeid, patientid, type, method, payments, procedurecode, line_number, paid_by)
		SELECT '00000000-0000-8000-8000-00000000c1a1', claimid, max(chargeid) + 1, patientid, 'PAYMENT', 'CASH', 1.23, procedurecode, 2, 'patient'
		FROM claims_transactions WHERE claimid = ?`, late)
	path := "/ExplanationOfBenefit/" + served[late].ID
	read := func() *claim {
		c := &claim{}
		if _, _, body := d.get(path); json.Unmarshal(body, c) != nil {
			t.Fatalf("%.300s", body)
		}
		return c
	}
	want := sumsOf(served[late].Item[1].Adjudication)
	add(want, "paidbypatient", "1.23")
	d.await("the late payment", 30*time.Second, func() bool { return printed(sumsOf(read().Item[1].Adjudication)) == printed(want) })
	if got, want := len(read().Item), len(served[late].Item); got != want {
		t.Errorf("%d lines after the late payment, %d before", got, want)
	}
	visit := column(t, d.maria, "SELECT appointmentid FROM claims WHERE id = ?", late)[0]
	exec1(t, d.pg, "UPDATE encounters SET encounterclass = 'inpatient' WHERE id = $1::uuid", visit)
	d.await("the claim of a stay", 30*time.Second, func() bool { return read().SubType.first() == "inpatient" })
	exec1(t, d.pg, "UPDATE encounters SET encounterclass = 'dreamt' WHERE id = $1::uuid", visit)
	d.await("the claim to go", 30*time.Second, func() bool {
		code, _, _ := d.get(path)
		return code == 410
	})
	exec1(t, d.pg, "UPDATE encounters SET encounterclass = 'wellness' WHERE id = $1::uuid", visit)
	d.await("the claim to be back", 30*time.Second, func() bool {
		code, _, _ := d.get(path)
		return code == 200
	})
}
