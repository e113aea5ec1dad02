package hashmatch_test

import (
	"os"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/tributary-health/tributary/hashmatch"
)

// caseFile holds who is a member, who is asked about, and the answer.
const caseFile = "testdata/cases.yaml"

type matchCase struct {
	Name    string
	Members map[string]casePerson
	Asks    []struct {
		Ask          casePerson
		Want, Reason string
	}
}

type casePerson struct {
	Given, Middle, Family, Former, Other, Birth, Sex, Address, ZIP, Phone, Member, SSN string
}

func (p casePerson) demographics() hashmatch.Demographics {
	given := []string{p.Given}
	if p.Middle != "" {
		given = append(given, p.Middle)
	}
	d := hashmatch.Demographics{
		Names:     []hashmatch.Name{{Family: p.Family, Given: given}},
		BirthDate: p.Birth, Sex: p.Sex, SSN: p.SSN,
		Addresses: []hashmatch.Address{{Line: p.Address, ZIP: p.ZIP}},
		Phones:    []string{p.Phone}, MemberIDs: []string{p.Member},
	}
	if p.Former != "" {
		d.Names = append(d.Names, hashmatch.Name{Family: p.Former, Given: given})
	}
	if p.Other != "" {
		d.Names = append(d.Names, hashmatch.Name{Given: []string{p.Other}})
	}
	return d
}

func readCases(t testing.TB) []matchCase {
	t.Helper()
	text, err := os.ReadFile(caseFile)
	if err != nil {
		t.Fatal(err)
	}
	var all []matchCase
	if err := yaml.UnmarshalWithOptions(text, &all, yaml.Strict()); err != nil {
		t.Fatalf("%s: %v", caseFile, err)
	}
	asks := 0
	for _, c := range all {
		asks += len(c.Asks)
	}
	if len(all) < 20 || asks < 70 {
		t.Fatalf("%s: only %d cases with %d askings", caseFile, len(all), asks)
	}
	return all
}

func TestCases(t *testing.T) {
	for _, c := range readCases(t) {
		t.Run(c.Name, func(t *testing.T) {
			p := newPanel(testKey(t))
			for id, m := range c.Members {
				p.add(id, m.demographics())
			}
			for i, a := range c.Asks {
				reason := hashmatch.Reason(a.Reason)
				if a.Want != "" {
					reason = hashmatch.Matched
				}
				got := p.ask(t, a.Ask.demographics())
				if got.Member != a.Want || got.Reason != reason || got.Agreeing == 0 && got.Member != "" {
					t.Errorf("asking %d: %+v, want %q, %q", i+1, got, a.Want, reason)
				}
			}
		})
	}
}

// Asked when the one who is meant is no member, the answer is never somebody.
func TestCasesWithoutTheMember(t *testing.T) {
	for _, c := range readCases(t) {
		for i, a := range c.Asks {
			if a.Want == "" {
				continue
			}
			p := newPanel(testKey(t))
			for id, m := range c.Members {
				if id != a.Want {
					p.add(id, m.demographics())
				}
			}
			got := p.ask(t, a.Ask.demographics())
			if got.Member != "" && c.Name != "one person who is a member twice" {
				t.Errorf("%s, asking %d: %s is named in place of %s, who is no member", c.Name, i+1, got.Member, a.Want)
			}
		}
	}
}
