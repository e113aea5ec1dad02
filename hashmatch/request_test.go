package hashmatch_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tributary-health/tributary/hashmatch"
)

const (
	headParameters = `{"name":"version","valueString":"1"},{"name":"epoch","valueString":"2026Q4"}`
	oneValue       = "00112233445566778899aabbccddeeff"
)

func tokenParameter(kind, value string) string {
	return fmt.Sprintf(`{"name":"token","part":[{"name":"kind","valueCode":%q},{"name":"value","valueString":%q}]}`, kind, value)
}

func body(parameters ...string) string {
	return `{"resourceType":"Parameters","parameter":[` + strings.Join(parameters, ",") + `]}`
}

// manyTokens are n different tokens.
func manyTokens(n int) []string {
	all := []string{headParameters}
	for i := range n {
		kind := []string{"name-birth", "sounds-ssn", "sounds-birth-sex", "name-year-phone"}[i%4] // of each as many as a person may have
		all = append(all, tokenParameter(kind, fmt.Sprintf("%032x", i)))
	}
	return all
}

var badRequests = []struct{ name, body string }{
	{"nothing", ``},
	{"no JSON", `Parameters`},
	{"null", `null`},
	{"a list", `[]`},
	{"another resource", `{"resourceType":"Patient"}`},
	{"no version", body(`{"name":"epoch","valueString":"2026Q4"}`, tokenParameter("birth-ssn", oneValue))},
	{"no epoch", body(`{"name":"version","valueString":"1"}`, tokenParameter("birth-ssn", oneValue))},
	{"another version", body(`{"name":"version","valueString":"2"},{"name":"epoch","valueString":"2026Q4"}`, tokenParameter("birth-ssn", oneValue))},
	{"version twice", body(headParameters, `{"name":"version","valueString":"1"}`, tokenParameter("birth-ssn", oneValue))},
	{"epoch twice", body(headParameters, `{"name":"epoch","valueString":"2026Q4"}`, tokenParameter("birth-ssn", oneValue))},
	{"no such quarter", body(`{"name":"version","valueString":"1"},{"name":"epoch","valueString":"2026Q5"}`, tokenParameter("birth-ssn", oneValue))},
	{"epoch with more", body(`{"name":"version","valueString":"1"},{"name":"epoch","valueString":"2026Q4 "}`, tokenParameter("birth-ssn", oneValue))},
	{"no token", body(headParameters)},
	{"a token twice", body(headParameters, tokenParameter("birth-ssn", oneValue), tokenParameter("birth-ssn", oneValue))},
	{"too many tokens", body(manyTokens(hashmatch.MaxTokens + 1)...)},
	{"unknown kind", body(headParameters, tokenParameter("all", oneValue))},
	{"upper case", body(headParameters, tokenParameter("birth-ssn", strings.ToUpper(oneValue)))},
	{"short value", body(headParameters, tokenParameter("birth-ssn", oneValue[2:]))},
	{"long value", body(headParameters, tokenParameter("birth-ssn", oneValue+"00"))},
	{"no digits", body(headParameters, tokenParameter("birth-ssn", strings.Repeat("z", 32)))},
	{"kind as string", body(headParameters, strings.Replace(tokenParameter("birth-ssn", oneValue), "valueCode", "valueString", 1))},
	{"no kind", body(headParameters, `{"name":"token","part":[{"name":"value","valueString":"`+oneValue+`"}]}`)},
	{"two values", body(headParameters, `{"name":"token","part":[{"name":"kind","valueCode":"birth-ssn"},{"name":"value","valueString":"`+oneValue+`"},{"name":"value","valueString":"`+oneValue+`"}]}`)},
	{"another parameter", body(headParameters, tokenParameter("birth-ssn", oneValue), `{"name":"family","valueString":"SECRETNAME"}`)},
	{"unknown member", `{"resourceType":"Parameters","id":"a","parameter":[` + headParameters + `,` + tokenParameter("birth-ssn", oneValue) + `]}`},
	{"member in another case", `{"ResourceType":"Parameters","parameter":[` + headParameters + `,` + tokenParameter("birth-ssn", oneValue) + `]}`},
	{"member twice", `{"resourceType":"Parameters","parameter":[],"parameter":[` + headParameters + `,` + tokenParameter("birth-ssn", oneValue) + `]}`},
	{"more behind", body(headParameters, tokenParameter("birth-ssn", oneValue)) + `{}`},
	{"deep", strings.Repeat(`{"part":[`, 1000)},
	{"two of what a person has once", body(headParameters, tokenParameter("birth-ssn", oneValue), tokenParameter("birth-ssn", strings.Replace(oneValue, "0", "1", 1)))},
	{"large", `{"resourceType":"Parameters","parameter":[` + strings.Repeat(" ", hashmatch.MaxRequest) + `]}`},
}

func TestDecodeRequestRefuses(t *testing.T) {
	for _, c := range badRequests {
		_, err := hashmatch.DecodeRequest([]byte(c.body))
		switch {
		case err == nil:
			t.Errorf("%s: taken", c.name)
		case strings.Contains(err.Error(), oneValue[:16]), strings.Contains(err.Error(), "SECRETNAME"):
			t.Errorf("%s: the error shows what was sent: %v", c.name, err)
		}
	}
}

func TestDecodeRequestTakesTheLargest(t *testing.T) {
	r, err := hashmatch.DecodeRequest([]byte(body(manyTokens(hashmatch.MaxTokens)...)))
	if err != nil || len(r.Tokens) != hashmatch.MaxTokens || r.Epoch != "2026Q4" {
		t.Fatalf("%d tokens, %v", len(r.Tokens), err)
	}
}

// A request of the longest kinds fits the limit of its size.
func TestLargestRequestFits(t *testing.T) {
	r := hashmatch.Request{Version: hashmatch.Version, Epoch: "2026Q4"}
	kinds := hashmatch.Kinds()
	longest := kinds[0]
	for _, k := range kinds {
		if len(k) > len(longest) {
			longest = k
		}
	}
	for range hashmatch.MaxTokens {
		r.Tokens = append(r.Tokens, hashmatch.Token{Kind: longest})
	}
	if n := len(r.Encode()); n > hashmatch.MaxRequest {
		t.Errorf("%d bytes, above the %d that are read", n, hashmatch.MaxRequest)
	}
}
