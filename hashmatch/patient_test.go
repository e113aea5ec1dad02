package hashmatch_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/tributary-health/tributary/hashmatch"
)

const wholePatient = `{"resourceType":"Patient","id":"p1","identifier":[
 {"type":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v2-0203","code":"MB"}]},"system":"urn:a","value":"M-1000"},
 {"type":{"coding":[{"system":"urn:other","code":"MB"}]},"value":"not-one"},
 {"type":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v2-0203","code":"MR"}]},"value":"chart7"},
 {"type":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v2-0203","code":"MB"}]},"use":"old","value":"M-0999"},
 {"system":"http://hl7.org/fhir/sid/us-ssn","value":"543217788"}],
 "name":[{"use":"maiden","family":"Fairley","given":["June"]},{"use":"anonymous","family":"Hidden","given":["Not"]},
  {"use":"official","family":"Abbott","given":["June","Rae"],"suffix":["Jr"],"_given":[null,{"id":"x"}]}],
 "telecom":[{"system":"email","value":"june@example.org"},{"system":"phone","value":"919-555-0115","use":"home"},
  {"system":"phone","value":"919-555-0116","use":"old"},{"system":"phone","value":"919-555-0117","period":{"end":"2020-01-01"}}],
 "gender":"female","birthDate":"1986-12-12",
 "address":[{"use":"home","line":["52 Garnet Court","Apt 4"],"city":"Raleigh","postalCode":"27601"},
  {"use":"old","line":["1 Past Road"],"postalCode":"27602"},{"line":["2 Past Road"],"postalCode":"27603","period":{"start":"2010-01-01","end":"2012-01-01"}},
  {"postalCode":"27604"}]}`

func TestFromPatient(t *testing.T) {
	got, err := hashmatch.FromPatient([]byte(wholePatient))
	if err != nil {
		t.Fatal(err)
	}
	want := hashmatch.Demographics{
		Names:     []hashmatch.Name{{Family: "Abbott", Given: []string{"June", "Rae"}}, {Family: "Fairley", Given: []string{"June"}}},
		BirthDate: "1986-12-12", Sex: "female",
		Addresses: []hashmatch.Address{{Line: "52 Garnet Court", ZIP: "27601"}},
		Phones:    []string{"919-555-0115"}, MemberIDs: []string{"M-1000", "M-0999"}, SSN: "543217788",
	}
	want.Addresses = append(want.Addresses, hashmatch.Address{ZIP: "27604"})
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestFromPatientRefuses(t *testing.T) {
	for _, body := range []string{"", "null", "{}", `{"resourceType":"Person"}`, `{"resourceType":"Patient","birthDate":["SECRETNAME"]}`, wholePatient[:400]} {
		if _, err := hashmatch.FromPatient([]byte(body)); err == nil || strings.Contains(err.Error(), "SECRET") || strings.Contains(err.Error(), "1000") {
			t.Errorf("%.40s: %v", body, err)
		}
	}
}

// Members and partners make the same tokens of one person.
func TestPatientAndRowAgree(t *testing.T) {
	d, err := hashmatch.FromPatient([]byte(wholePatient))
	if err != nil {
		t.Fatal(err)
	}
	p := newPanel(testKey(t))
	p.add("p1", d)
	row := hashmatch.Demographics{Names: []hashmatch.Name{{Family: "ABBOTT", Given: []string{"JUNE RAE"}}}, BirthDate: "12/12/1986",
		Addresses: []hashmatch.Address{{Line: "52 GARNET CT #4", ZIP: "27601-0001"}}}
	if got := p.ask(t, row); got.Member != "p1" {
		t.Errorf("%+v", got)
	}
}
