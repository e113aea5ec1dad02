package access

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tributary-health/tributary/fhir"
	"golang.org/x/tools/txtar"
)

var rewrite = flag.Bool("rewrite", false, "write what the cases give into their files")

// TestRedactCases runs testdata/redact: a client's lines, resources, and what the
// client sees of each.
func TestRedactCases(t *testing.T) {
	files, _ := filepath.Glob("testdata/redact/*.txtar")
	if len(files) == 0 {
		t.Fatal("no cases")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var policy *Policy
			out := &txtar.Archive{Comment: archive.Comment}
			want := map[string]string{}
			for _, f := range archive.Files {
				if name, ok := strings.CutPrefix(f.Name, "seen "); ok {
					want[name] = string(f.Data)
				}
			}
			cases := 0
			for _, f := range archive.Files {
				if strings.HasPrefix(f.Name, "seen ") {
					continue
				}
				out.Files = append(out.Files, f)
				if f.Name == "client" {
					policy = policyOf(t, strings.TrimSpace(string(f.Data)))
					continue
				}
				cases++
				got := seen(policy, f.Data)
				out.Files = append(out.Files, txtar.File{Name: "seen " + f.Name, Data: []byte(got)})
				if !*rewrite && got != want[f.Name] {
					t.Errorf("%s: the client sees\n%swant\n%s", f.Name, got, want[f.Name])
				}
			}
			if cases == 0 {
				t.Fatal("no resource in the case")
			}
			if *rewrite {
				if err := os.WriteFile(file, txtar.Format(out), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func seen(p *Policy, body []byte) string {
	typ, _ := fhir.Text(fhir.Member(body, "resourceType"))
	out, err := p.Redact(nil, typ, body)
	if err != nil {
		return err.Error() + "\n"
	}
	var indented bytes.Buffer
	_ = json.Indent(&indented, out, "", "  ")
	return indented.String() + "\n"
}

// TestSamples: what comes out of every sample resource is JSON that R4 defines,
// has what R4 requires, is marked, and comes out of itself again.
func TestSamples(t *testing.T) {
	for _, lines := range []string{
		careManagement,
		"types: [Patient, Composition, MedicationRequest, Observation, ExplanationOfBenefit, Encounter]\nhide: [names, birth-date, photo, race-ethnicity, sex]",
		"types: all\nhide: [amounts, third-persons]",
		"types: all\nmembers: {list: x}",
	} {
		p := policyOf(t, lines)
		for _, s := range samples(t) {
			if !p.MaySee(s.typ) {
				if _, err := p.Redact(nil, s.typ, s.body); !errors.Is(err, ErrHidden) {
					t.Errorf("%s: %v", s.name, err)
				}
				continue
			}
			out := redact(t, p, s.typ, s.body)
			if !fhir.ValidJSON([]byte(out)) || !json.Valid([]byte(out)) {
				t.Fatalf("%s: not JSON: %s", s.name, out)
			}
			e, _ := fhir.Lookup(s.typ)
			checkDefined(t, s.name, e, json.RawMessage(out))
			if again := redact(t, p, s.typ, []byte(out)); again != out {
				t.Errorf("%s: redacted again it is\n%s\nand was\n%s", s.name, again, out)
			}
			if marked := strings.Contains(out, `"code":"REDACTED"`); marked != p.hides {
				t.Errorf("%s: marked %t", s.name, marked)
			}
			stamped := fhir.Stamp(nil, []byte(out), 3, testTime)
			if string(fhir.Unstamp(stamped)) != out {
				t.Errorf("%s: cannot be stamped", s.name)
			}
		}
	}
}

// checkDefined holds a value against R4: every member is defined and of its shape,
// nothing is empty, and what is required is there.
func checkDefined(t *testing.T, name string, e fhir.Element, raw json.RawMessage) {
	t.Helper()
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		t.Errorf("%s: %s: %v", name, e.Path, err)
		return
	}
	if len(members) == 0 && e.Type != "Meta" {
		t.Errorf("%s: %s is empty", name, e.Path)
	}
	for _, c := range e.Children() {
		if c.Required && c.Choice == "" && members[c.Name] == nil && members["_"+c.Name] == nil {
			t.Errorf("%s: %s is required and missing", name, c.Path)
		}
	}
	for n, v := range members {
		if n == "resourceType" {
			continue
		}
		c, ok := e.Child(n)
		if !ok {
			t.Errorf("%s: %s has no element %s", name, e.Type, n)
			continue
		}
		items := []json.RawMessage{v}
		if c.List {
			items = nil
			if err := json.Unmarshal(v, &items); err != nil || len(items) == 0 {
				t.Errorf("%s: %s: want a list with items", name, c.Path)
			}
		}
		for _, item := range items {
			if c.Kind != fhir.Primitive && c.Type != "Resource" && string(item) != "null" {
				checkDefined(t, name, c, item)
			}
		}
	}
}

func TestRedactEverything(t *testing.T) {
	for _, s := range samples(t) {
		if out := redact(t, Everything(), s.typ, s.body); out != string(s.body) {
			t.Errorf("%s: changed", s.name)
		}
	}
}

// TestRedactRefuses: what is no resource gives an error and nothing else.
func TestRedactRefuses(t *testing.T) {
	p := policyOf(t, careManagement)
	deep := strings.Repeat(`{"extension":[`, 200) + strings.Repeat(`]}`, 200)
	deepShown := strings.Repeat(`{"linkId":"1","item":[`, 100) + `{"linkId":"2"}` + strings.Repeat(`]}`, 100)
	for _, c := range []struct{ typ, body string }{
		{"Patient", ``}, {"Patient", `[]`}, {"Patient", `{"resourceType":"Patient"`}, {"Patient", `{"resourceType":"Patient"}x`},
		{"Patient", `{"resourceType":"Observation"}`}, {"Patient", `{}`}, {"Nothing", `{"resourceType":"Nothing"}`},
		{"Patient", `{"resourceType":"Patient","resourceType":"Observation"}`}, {"Patient", `{"resourceType":"Patient","id":}`},
		{"Patient", strings.Repeat(`{"a":`, 1000)},
		{"QuestionnaireResponse", `{"resourceType":"QuestionnaireResponse","item":[` + deepShown + `]}`},
	} {
		before := []byte("before")
		out, err := p.Redact(before, c.typ, []byte(c.body))
		if err == nil || string(out) != "before" {
			t.Errorf("%.60s: got %.60q, %v", c.body, out, err)
		}
		if err != nil && strings.Contains(err.Error(), "Patient") {
			t.Errorf("the error quotes the body: %v", err)
		}
	}
	// Depth in what is left out anyway does not matter.
	redact(t, p, "Patient", []byte(`{"resourceType":"Patient","extension":[`+deep+`]}`))
}

// TestOddJSON: ways to write a member that a reader of names alone would miss.
func TestOddJSON(t *testing.T) {
	p := policyOf(t, careManagement)
	const secret = "SECRET"
	for _, body := range []string{
		`{"resourceType":"Patient","addr\u0065ss":[{"text":"SECRET"}]}`,
		`{"resourceType":"Patient","address":[{"text":"a"}],"address":[{"text":"SECRET"}]}`,
		`{"resourceType":"Patient","Address":[{"text":"SECRET"}]}`,
		`{"resourceType":"Patient"," address":[{"text":"SECRET"}]}`,
		`{"resourceType":"Patient","gender":{"text":"SECRET"}}`,
		`{"resourceType":"Patient","gender":["SECRET"]}`,
		`{"resourceType":"Patient","name":"SECRET"}`,
		`{"resourceType":"Patient","name":[["SECRET"],"SECRET"]}`,
		`{"resourceType":"Patient","name":[{"family":{"a":"SECRET"},"given":[["SECRET"],{"x":"SECRET"}]}]}`,
		`{"resourceType":"Patient","_birthDate":{"extension":[{"url":"http://x","valueAddress":{"text":"SECRET"}}]}}`,
		`{"resourceType":"Patient","_birthDate":{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/patient-birthPlace","valueAddress":{"text":"SECRET"}}]}}`,
		`{"resourceType":"Patient","extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueContactPoint":{"value":"SECRET"}}]}`,
		`{"resourceType":"Patient","extension":[{"url":"SECRET"}]}`,
		`{"resourceType":"Patient","extension":[{"valueString":"SECRET"}]}`,
		`{"resourceType":"Patient","modifierExtension":[{"url":"http://x","valueString":"SECRET"}]}`,
		`{"resourceType":"Patient","managingOrganization":{"identifier":{"value":"SECRET"},"display":"x"}}`,
		`{"resourceType":"Patient","managingOrganization":{"reference":"Organization?identifier=SECRET"}}`,
		`{"resourceType":"Patient","managingOrganization":{"reference":"https://SECRET/Organization/1"}}`,
		`{"resourceType":"Patient","managingOrganization":{"reference":["SECRET"]}}`,
		`{"resourceType":"Patient","meta":{"source":"SECRET","project":"SECRET","author":{"display":"SECRET"}}}`,
		`{"resourceType":"Patient","contained":[{"resourceType":"Location","id":"l","address":{"text":"SECRET"}},{"resourceType":"Nothing","id":"SECRET"},{"id":"SECRET"}]}`,
		`{"resourceType":"Patient","contained":[{"resourceType":"Patient","resourceType":"Basic","id":"SECRET"}]}`,
		`{"resourceType":"Patient","text":{"status":"generated","div":"<div>SECRET</div>"}}`,
		`{"resourceType":"Patient","contact":[{"address":{"text":"SECRET"},"telecom":[{"value":"SECRET"}]}]}`,
		`{"resourceType":"Patient","photo":[{"contentType":"image/png","data":"SECRET","url":"http://SECRET","title":"SECRET"}]}`,
	} {
		out := redact(t, p, "Patient", []byte(body))
		if strings.Contains(out, secret) {
			t.Errorf("%s\nleaks: %s", body, out)
		}
		checkDefined(t, body, mustLookup("Patient"), json.RawMessage(out))
	}
	for _, code := range []string{
		`{"coding":[{"system":"http://loinc.org","code":"56799-0"}]}`, `{"coding":[{"code":"56799-0"}]}`, `{"coding":[{"system":"http://loinc.org","code":"5\u00367\u00399-0"}]}`,
		`{"coding":[{"code":"x"},{"system":"http://other","system":"http://loinc.org","code":"1","code":"56799-0"}]}`, `{},"code":{"coding":[{"system":"http://loinc.org","code":"56799-0"}]},"code":{}`,
	} {
		out := redact(t, p, "Observation", []byte(`{"resourceType":"Observation","status":"final","valueString":"SECRET","component":[{"valueString":"SECRET"}],"code":`+code+`}`))
		if strings.Contains(out, secret) || !strings.Contains(out, `"dataAbsentReason"`) {
			t.Errorf("%s\nleaks: %s", code, out)
		}
	}
}

func mustLookup(typ string) fhir.Element {
	e, ok := fhir.Lookup(typ)
	if !ok {
		panic(typ)
	}
	return e
}

// FuzzRedact: whatever the body, there is an error and nothing, or a resource
// that has nothing of what was planted.
func FuzzRedact(f *testing.F) {
	p := policyOf(f, careManagement)
	types := policyOf(f, "types: [Patient, Composition, Observation]\nhide: [names]\nmembers: {list: x}")
	for _, s := range samples(f) {
		f.Add(s.body)
	}
	f.Add([]byte(`{"resourceType":"Patient","name":[{"given":["a",null,"b"],"_given":[null,{"id":"x"}]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		typ, _ := fhir.Text(fhir.Member(body, "resourceType"))
		for _, p := range []*Policy{p, types} {
			out, err := p.Redact([]byte("x"), typ, body)
			if err != nil {
				if string(out) != "x" {
					t.Fatalf("an error and %q", out)
				}
				continue
			}
			out = out[1:]
			if !fhir.ValidJSON(out) {
				t.Fatalf("not JSON: %s", out)
			}
			for _, name := range []string{`"valueAddress":`, `"postalCode":`, `"authorString":`} {
				if p.hidden["Address"] && bytes.Contains(out, []byte(name)) {
					t.Fatalf("%s in %s", name, out)
				}
			}
			again, err := p.Redact(nil, typ, out)
			if err != nil || !bytes.Equal(again, out) {
				t.Fatalf("redacted again: %v\n%s\nwas\n%s", err, again, out)
			}
		}
	})
}

// TestConcurrent: a policy compiles its types while it is used.
func TestConcurrent(t *testing.T) {
	p, err := NewPolicy(Terms{Hide: []string{"address", "telephone", "identifiers", "notes"}})
	if err != nil {
		t.Fatal(err)
	}
	if again := policyOf(t, careManagement); again.ID() != p.ID() {
		t.Error("the same terms have another id in a clients file")
	}
	all := samples(t)
	want := make([]string, len(all))
	for i, s := range all {
		want[i] = redact(t, policyOf(t, careManagement), s.typ, s.body)
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for i, s := range all {
				if out, err := p.Redact(nil, s.typ, s.body); err != nil || string(out) != want[i] {
					t.Errorf("%s: %v, another result", s.name, err)
				}
			}
		})
	}
	group.Wait()
}

func TestNewPolicyRefuses(t *testing.T) {
	for _, terms := range []Terms{{Types: []string{"Patiant"}}, {Hide: []string{"adress"}}, {Hide: []string{"Patient.adress"}}, {Hide: []string{"Patient"}}, {Hide: []string{""}}} {
		if p, err := NewPolicy(terms); err == nil || p != nil {
			t.Errorf("%v: no error", terms)
		}
	}
	p, _ := NewPolicy(Terms{Types: []string{}, Members: []string{}})
	if p.MaySee("Patient") || p.MayKnow("p1") || !p.MayKnow("") || p.Whole() {
		t.Error("empty lists are not all")
	}
}

func BenchmarkRedact(b *testing.B) {
	p := policyOf(b, careManagement)
	byType := map[string][]byte{}
	for _, s := range samples(b) {
		if len(s.body) > len(byType[s.typ]) {
			byType[s.typ] = s.body
		}
	}
	for _, typ := range []string{"Patient", "Observation", "ExplanationOfBenefit", "Composition"} {
		b.Run(typ, func(b *testing.B) {
			body := byType[typ]
			var out []byte
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				out, _ = p.Redact(out[:0], typ, body)
			}
		})
	}
}
