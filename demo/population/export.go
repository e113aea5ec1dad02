package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// An exporter collects Synthea's own FHIR resources.
type exporter struct {
	side
	alias      map[string]string // what a reference may say: the row's key
	concepts   map[string][]fact // of Medications, by id
	conditions map[string]string // codes, by id
	claims     []*record
	eobs       map[string]*record // by claim
}

// readExport reads the Bundles of a folder.
func readExport(folder string) (*side, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no FHIR export in %s (hint: Synthea makes it with --exporter.fhir.export=true)", folder)
	}
	x := &exporter{side: side{map[string][]*record{}}, alias: map[string]string{}, concepts: map[string][]fact{},
		conditions: map[string]string{}, eobs: map[string]*record{}}
	for _, file := range files {
		if err := x.file(file); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(file), err)
		}
	}
	for _, c := range x.claims {
		x.records["ExplanationOfBenefit"] = append(x.records["ExplanationOfBenefit"], exportedClaim(c, x.eobs[c.id], x.conditions))
	}
	x.medications()
	x.resolve(func(ref string) string {
		ref = strings.TrimPrefix(ref, "urn:uuid:")
		if key, ok := x.alias[ref]; ok {
			return key
		}
		return ref
	})
	return &x.side, nil
}

func (x *exporter) file(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	bundle, err := decode(f)
	if err != nil {
		return err
	}
	for _, e := range list(bundle["entry"]) {
		x.resource(object(object(e)["resource"]))
	}
	return nil
}

func (x *exporter) resource(top map[string]any) {
	switch typ := str(top["resourceType"]); typ {
	case "Observation":
		x.observation(top)
	case "Claim":
		x.claims = append(x.claims, newRecord(top))
	case "ExplanationOfBenefit":
		r := newRecord(top)
		x.eobs[r.rows["https://bluebutton.cms.gov/resources/variables/clm_id"]] = r
	case "Medication":
		r := newRecord(top)
		for _, f := range r.facts {
			if rest, ok := strings.CutPrefix(f.path, "code."); ok {
				x.concepts[r.id] = append(x.concepts[r.id], fact{"medicationCodeableConcept." + rest, f.value})
			}
		}
	default:
		if !slices.Contains(types, typ) {
			return
		}
		r := newRecord(top)
		byReference(r)
		x.records[typ] = append(x.records[typ], r)
		x.note(r, top)
	}
}

// note keeps what other resources refer to by.
func (x *exporter) note(r *record, top map[string]any) {
	switch r.typ {
	case "Practitioner":
		npi := "http://hl7.org/fhir/sid/us-npi"
		x.alias["Practitioner?identifier="+npi+"|"+r.rows[npi]] = r.id
	case "Organization":
		x.alias["Organization?identifier=https://github.com/synthetichealth/synthea|"+r.id] = r.id
	case "Location":
		org := str(object(object(top["managingOrganization"])["identifier"])["value"])
		x.alias["Location?identifier=https://github.com/synthetichealth/synthea|"+r.id] = org
	case "Condition":
		x.conditions[r.id] = r.first("code.coding")
	}
}

// byIdentifier are the references that Synthea makes by identifier only.
var byIdentifier = map[string]string{
	"practitioner.identifier":         "Practitioner",
	"organization.identifier":         "Organization",
	"managingOrganization.identifier": "Organization",
	"location.identifier":             "Location",
}

// byReference writes references by identifier like the others.
func byReference(r *record) {
	for i, f := range r.facts {
		if typ, ok := byIdentifier[f.path]; ok {
			r.facts[i] = fact{strings.TrimSuffix(f.path, ".identifier"), "@" + typ + "?identifier=" + f.value}
		}
	}
}

// observation takes a panel apart into its answers: the files have a row for each.
// A blood pressure stays a panel.
func (x *exporter) observation(top map[string]any) {
	components := list(top["component"])
	if len(components) == 0 || firstCode(top["code"]) == "85354-9" {
		x.records["Observation"] = append(x.records["Observation"], newRecord(top))
		return
	}
	for _, c := range components {
		one := map[string]any{}
		for name, v := range top {
			if name != "component" && name != "meta" {
				one[name] = v
			}
		}
		for name, v := range object(c) {
			one[name] = v
		}
		r := newRecord(one)
		r.add("(panel)", firstCode(top["code"]))
		x.records["Observation"] = append(x.records["Observation"], r)
	}
}

// medications puts a Medication's code where it is referred to.
func (x *exporter) medications() {
	for _, r := range x.records["MedicationRequest"] {
		for i, f := range r.facts {
			if f.path == "medicationReference" {
				r.facts = slices.Delete(r.facts, i, i+1)
				r.facts = append(r.facts, x.concepts[strings.TrimPrefix(f.value, "@urn:uuid:")]...)
				break
			}
		}
		r.sort()
	}
}
