package fhir_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/tributary-health/tributary/fhir"
)

var jsonSeeds = []string{
	`{}`, `[]`, `null`, `-0.50e+10`, `"a\u00e9\ud83d\ude00\n"`, `{"a":{"b":[1,2,{"c":null}]},"a":2}`, `[`, `{"a"}`, `01`, `"\u12g4"`, `1.`, `tru`,
	` { "meta" : { "x" : 1 } } `, `{"a":"\ud800"}`, `"` + "\x01" + `"`, `{"resourceType":"Patient","id":"x","meta":{},"name":[{"family":"A"}]}`,
}

func FuzzJSON(f *testing.F) {
	for _, s := range jsonSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		deep := bytes.Count(text, []byte("["))+bytes.Count(text, []byte("{")) > 500
		valid := fhir.ValidJSON(text)
		if valid != json.Valid(text) && !deep {
			t.Fatalf("ValidJSON is %v for %q", valid, text)
		}
		var names []string
		err := fhir.EachMember(text, func(name, value []byte) bool {
			if !fhir.ValidJSON(value) {
				t.Fatalf("member %q has malformed value %q", name, value)
			}
			names = append(names, string(name))
			fhir.Text(value)
			return true
		})
		_ = fhir.EachItem(text, func([]byte) bool { return true })
		if trimmed := bytes.TrimSpace(text); valid && len(trimmed) > 0 && trimmed[0] == '{' {
			checkNames(t, trimmed, names, err)
		}
		var want string
		if got, ok := fhir.Text(text); ok && (json.Unmarshal(text, &want) != nil || strings.ToValidUTF8(got, "\ufffd") != strings.ToValidUTF8(want, "\ufffd")) && json.Valid(text) {
			if bytes.Equal(bytes.ToValidUTF8(text, nil), text) {
				t.Fatalf("Text of %q is %q, want %q", text, got, want)
			}
		}
	})
}

func checkNames(t *testing.T, object []byte, names []string, err error) {
	t.Helper()
	var want map[string]json.RawMessage
	if json.Unmarshal(object, &want) != nil || !bytes.Equal(bytes.ToValidUTF8(object, nil), object) {
		return
	}
	if err != nil {
		t.Fatalf("EachMember of %q: %v", object, err)
	}
	distinct := map[string]bool{}
	for _, n := range names {
		distinct[n] = true
		if _, ok := want[n]; !ok {
			t.Fatalf("member %q is not in %q", n, object)
		}
	}
	if len(distinct) != len(want) {
		t.Fatalf("%d members of %q, want %d", len(distinct), object, len(want))
	}
}

func TestSyntaxErrorQuotesNothing(t *testing.T) {
	err := fhir.EachMember([]byte(`{"ssn":"999-11-2222"`), func(_, _ []byte) bool { return true })
	if err == nil || strings.Contains(err.Error(), "999") || !strings.Contains(err.Error(), "byte 20") {
		t.Fatalf("got %v", err)
	}
}

func TestValidJSONBoundsDepth(t *testing.T) {
	if fhir.ValidJSON([]byte(strings.Repeat("[", 1e6) + strings.Repeat("]", 1e6))) {
		t.Fatal("a million levels pass")
	}
}
