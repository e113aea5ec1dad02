package hashmatch_test

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tributary-health/tributary/hashmatch"
)

// Normalising what is normalised changes nothing, and no normalised value has a
// character that joins the values of an input.
func FuzzNormalTwice(f *testing.F) {
	v, _ := readVectors(f)
	for _, all := range v.Fields {
		for _, pair := range all {
			f.Add(pair[0])
		}
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 1000 {
			return
		}
		for field, normal := range normalFields {
			once := normal(s)
			if twice := normal(once); twice != once {
				t.Errorf("%s: %q gives %q, and that %q", field, s, once, twice)
			}
			if strings.Contains(once, "|") || utf8.ValidString(s) && !utf8.ValidString(once) {
				t.Errorf("%s: %q gives %q", field, s, once)
			}
		}
	})
}

// Whatever a person's record holds, it has at most as many inputs as may be
// held, each once, and an order of its own: as a request it fits.
func FuzzRequest(f *testing.F) {
	f.Add("Bill", "Fairley-Abbott", "1951-11-05", "220 Mill Street", "48104", "734-555-0166", "TRB0001", "7788")
	f.Add("María José", "de la Cruz y Ortega", "19880119", "PO Box 9", "78202", "x", "", "1")
	f.Fuzz(func(t *testing.T, given, family, birth, line, zip, phone, member, ssn string) {
		d := hashmatch.Demographics{
			Names:     []hashmatch.Name{{Family: family, Given: []string{given, family}}, {Family: given, Given: []string{family}}},
			BirthDate: birth, Addresses: []hashmatch.Address{{Line: line, ZIP: zip}, {Line: "1" + line, ZIP: zip}},
			Phones: []string{phone, phone + "1"}, MemberIDs: []string{member, member + "A"}, SSN: ssn,
		}
		in := hashmatch.Normalize(d).Inputs()
		seen := map[hashmatch.Input]bool{}
		for _, i := range in {
			plain := hashmatch.Input{Kind: i.Kind, Text: i.Text}
			if seen[plain] {
				t.Errorf("%s twice", i.Kind)
			}
			seen[plain] = true
		}
		r, err := testKey(t).Request(d)
		if (err == nil) != (len(in) > 0) || len(in) > hashmatch.MaxHeld {
			t.Fatalf("%d inputs, %v", len(in), err)
		}
		if err != nil {
			return
		}
		body := r.Encode()
		back, err := hashmatch.DecodeRequest(body)
		if err != nil || !bytes.Equal(back.Encode(), body) {
			t.Fatalf("%v: %s", err, body)
		}
	})
}

// What is decoded is a request that encodes to what decodes to the same, and
// within all limits.
func FuzzDecodeRequest(f *testing.F) {
	v, _ := readVectors(f)
	for _, p := range v.Persons {
		f.Add([]byte(p.Request))
	}
	for _, c := range badRequests {
		f.Add([]byte(c.body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := hashmatch.DecodeRequest(body)
		if err != nil {
			return
		}
		if r.Version != hashmatch.Version || len(r.Tokens) == 0 || len(r.Tokens) > hashmatch.MaxTokens {
			t.Fatalf("%d tokens of version %q", len(r.Tokens), r.Version)
		}
		again, err := hashmatch.DecodeRequest(r.Encode())
		if err != nil || !bytes.Equal(again.Encode(), r.Encode()) {
			t.Fatalf("%v: %s", err, r.Encode())
		}
	})
}

func FuzzFromPatient(f *testing.F) {
	f.Add([]byte(wholePatient))
	f.Add([]byte(`{"resourceType":"Patient","name":null,"identifier":[{"type":{"coding":[{"code":"MB"}]}}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := hashmatch.FromPatient(body)
		if err != nil {
			return
		}
		if n := len(hashmatch.Normalize(d).Inputs()); n > hashmatch.MaxHeld {
			t.Fatalf("%d inputs", n)
		}
	})
}
