package access

import (
	"strings"
	"testing"
)

// A condition holds however the code system is written, or if it is null.
func TestConditionHoldsHoweverItIsWritten(t *testing.T) {
	p, err := NewPolicy(Terms{Hide: []string{"address"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, coding := range []string{
		`{"system":"http://loinc.org","code":"56799-0"}`, `{"system":null,"code":"56799-0"}`, `{"code":"56799-0"}`,
		`{"system":"https://loinc.org/","code":"56799-0"}`, `{"system":"HTTP://LOINC.ORG","code":" 56799-0 "}`,
		`{"system":"urn:oid:2.16.840.1.113883.6.1","code":"56799-0"}`,
	} {
		body := `{"resourceType":"Observation","meta":{},"status":"final","code":{"coding":[` + coding + `]},"valueString":"12 Mill Road"}`
		out, err := p.Redact(nil, "Observation", []byte(body))
		if err != nil || strings.Contains(string(out), "Mill") {
			t.Errorf("%s: %s, %v", coding, out, err)
		}
	}
	out, err := p.Redact(nil, "Observation", []byte(`{"resourceType":"Observation","meta":{},"status":"final","code":{"coding":[{"system":"http://example.org","code":"56799-0"}]},"valueString":"12 Mill Road"}`))
	if err != nil || !strings.Contains(string(out), "Mill") {
		t.Errorf("another system's code: %s, %v", out, err)
	}
}
