package hashmatch

import (
	"encoding/json"
	"errors"
	"strings"
)

const (
	identifierTypes = "http://terminology.hl7.org/CodeSystem/v2-0203"
	ssnSystem       = "http://hl7.org/fhir/sid/us-ssn"
)

// What is read of a FHIR Patient.
type (
	patient struct {
		ResourceType string       `json:"resourceType"`
		Identifier   []identifier `json:"identifier"`
		Name         []humanName  `json:"name"`
		Telecom      []telecom    `json:"telecom"`
		Gender       string       `json:"gender"`
		BirthDate    string       `json:"birthDate"`
		Address      []address    `json:"address"`
	}
	period struct {
		End string `json:"end"`
	}
	identifier struct {
		Type struct {
			Coding []struct{ System, Code string } `json:"coding"`
		} `json:"type"`
		Use    string `json:"use"`
		System string `json:"system"`
		Value  string `json:"value"`
	}
	humanName struct {
		Use    string   `json:"use"`
		Family string   `json:"family"`
		Given  []string `json:"given"`
	}
	telecom struct {
		System string `json:"system"`
		Use    string `json:"use"`
		Value  string `json:"value"`
		Period period `json:"period"`
	}
	address struct {
		Use    string   `json:"use"`
		Line   []string `json:"line"`
		ZIP    string   `json:"postalCode"`
		Period period   `json:"period"`
	}
)

var errNotPatient = errors.New("hash match: not a FHIR Patient resource in JSON")

// FromPatient reads the demographics of a FHIR R4 Patient. Of names it takes all
// but the anonymous, the official and usual ones first; of addresses and phones
// those that are not marked as old and have no end; as member ids the identifiers
// of type MB, former ones too, for a partner may have an old card. It keeps
// nothing of body. Its error shows nothing of it.
func FromPatient(body []byte) (Demographics, error) {
	var p patient
	if err := json.Unmarshal(body, &p); err != nil || p.ResourceType != "Patient" {
		return Demographics{}, errNotPatient
	}
	d := Demographics{Names: p.names(), BirthDate: p.BirthDate, Sex: p.Gender}
	for _, a := range p.Address {
		if a.Use == "old" || a.Period.End != "" {
			continue
		}
		d.Addresses = append(d.Addresses, Address{strings.Join(a.Line[:min(1, len(a.Line))], ""), a.ZIP})
	}
	for _, t := range p.Telecom {
		if (t.System == "phone" || t.System == "sms") && t.Use != "old" && t.Period.End == "" {
			d.Phones = append(d.Phones, t.Value)
		}
	}
	for _, id := range p.Identifier {
		switch {
		case id.is("MB"):
			d.MemberIDs = append(d.MemberIDs, id.Value)
		case d.SSN == "" && id.Use != "old" && (id.System == ssnSystem || id.is("SS")):
			d.SSN = id.Value
		}
	}
	return d, nil
}

// names has the present names before the others.
func (p *patient) names() []Name {
	var present, other []Name
	for _, n := range p.Name {
		name := Name{Family: n.Family, Given: n.Given}
		switch n.Use {
		case "anonymous":
		case "", "official", "usual":
			present = append(present, name)
		default:
			other = append(other, name)
		}
	}
	return append(present, other...)
}

// is reports whether the identifier has a type of HL7's table 0203. A coding
// without system is taken for one of it.
func (id *identifier) is(code string) bool {
	for _, c := range id.Type.Coding {
		if c.Code == code && (c.System == identifierTypes || c.System == "") {
			return true
		}
	}
	return false
}
