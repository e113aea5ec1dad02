package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What is served and what Synthea exports of one visit's diagnosis; the cases
// change the one or the other.
const (
	servedCondition = `{"resourceType":"Condition","id":"x","identifier":[{"system":"urn:tributary:sample:condition","value":"k1"}],
		"clinicalStatus":{"coding":[{"system":"s","code":"active"}]},
		"code":{"coding":[{"system":"http://snomed.info/sct","code":"59621000"}],"text":"Hypertension  essential"},
		"subject":{"reference":"p1"},"encounter":{"reference":"e1"},"onsetDateTime":"2020-01-02"}`
	exportedCondition = `{"resourceType":"Condition","id":"y",
		"clinicalStatus":{"coding":[{"system":"s","code":"active"}]},
		"code":{"coding":[{"system":"http://snomed.info/sct","code":"59621000","display":"words"}],"text":"Hypertension, essential"},
		"subject":{"reference":"p1"},"encounter":{"reference":"e1"},"onsetDateTime":"2020-01-02T23:30:00+00:00"}`
)

func TestCompare(t *testing.T) {
	for _, c := range []struct {
		name         string
		ours, export string // what to change: "old -> new"
		rows         int
		want         []string // type, path and what
	}{
		{"equal but for what is documented", "", "", 1, nil},
		{"another code", "59621000 -> 59621001", "", 1, []string{"(count) rows and resources", "(resource) Synthea's export has none", "(resource) we have none"}},
		{"another system", "http://snomed.info/sct -> Unknown", "", 1, []string{"code.coding differs"}},
		{"another status", "active -> resolved", "", 1, []string{"clinicalStatus.coding differs"}},
		{"a day later", "", "01-02T23:30:00+00:00 -> 01-02T23:30:00-01:00", 1, []string{"(resource) Synthea's export has none", "(resource) we have none"}},
		{"other words", "Hypertension -> Hypotension", "", 1, []string{"code.text differs"}},
		{"an element too few", `"clinicalStatus":{"coding":[{"system":"s","code":"active"}]}, -> `, "", 1, []string{"clinicalStatus.coding only Synthea's"}},
		{"a row too many", "", "", 2, []string{"(count) rows and resources"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ours, theirs := change(t, servedCondition, c.ours), change(t, exportedCondition, c.export)
			files := map[string][]row{}
			for range c.rows {
				files["conditions"] = append(files["conditions"], row{"PATIENT": "p1", "ENCOUNTER": "e1", "CODE": "59621000", "START": "2020-01-02"})
			}
			known, err := parseDeviations(knownDeviations)
			if err != nil {
				t.Fatal(err)
			}
			r := newReport(known, 1)
			r.compare(kindOfType(t, "Condition"), files, ours, theirs)
			var got []string
			for name := range r.faults {
				got = append(got, strings.ReplaceAll(strings.TrimPrefix(name, "Condition\t"), "\t", " "))
			}
			slices.Sort(got)
			slices.Sort(c.want)
			if !slices.Equal(got, c.want) {
				t.Errorf("found %q, want %q", got, c.want)
			}
			if equal := r.print(new(strings.Builder)); equal != (len(c.want) == 0) {
				t.Errorf("print says %v", equal)
			}
		})
	}
}

func kindOfType(t *testing.T, typ string) kind {
	t.Helper()
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.typ == typ })
	if i < 0 {
		t.Fatalf("no kind %s", typ)
	}
	return kinds[i]
}

// change reads a resource as one side, after a change.
func change(t *testing.T, text, by string) *side {
	t.Helper()
	if from, to, ok := strings.Cut(by, " -> "); ok {
		changed := strings.Replace(text, from, to, 1)
		if changed == text {
			t.Fatalf("%q is not there", from)
		}
		text = changed
	}
	top, err := decode(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	s := &side{map[string][]*record{"Condition": {newRecord(top)}}}
	s.resolve(func(ref string) string { return ref })
	return s
}

func TestRounded(t *testing.T) {
	known, err := parseDeviations("Observation\tvalueQuantity\trounded\t.*\t.*\tx\nObservation\tvalueQuantity\trounded\t\\[pH\\]\tpH\ty\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		ours, export string
		want         bool
	}{
		{"94.5 mg/dL", "94.51 mg/dL", true},
		{"94.5 mg/dL", "94.56 mg/dL", false},
		{"94.5 mg/dL", "94.51 mg/L", false},
		{"5.2 [pH]", "5.2293 pH", true},
		{"5.2 [pH]", "5.4 pH", false},
		{"5.2 pH", "5.2 [pH]", false},
	} {
		got := slices.ContainsFunc(known, func(d *deviation) bool { return d.pair(c.ours, c.export) })
		if got != c.want {
			t.Errorf("%s and %s: %v, want %v", c.ours, c.export, got, c.want)
		}
	}
}

func TestDeviations(t *testing.T) {
	known, err := parseDeviations(knownDeviations)
	if err != nil || len(known) < 50 {
		t.Fatalf("%d deviations, %v", len(known), err)
	}
	for _, bad := range []string{"Patient\tname\tours\t.*\t.*\t ", "Patient\tname\tours\t.*\t.*", "Patient\tname\tnever\t.*\t.*\tx", "Patient\tname\tours\t(\t.*\tx"} {
		if _, err := parseDeviations(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// A panel of the export is taken apart into its answers; a blood pressure is not.
func TestReadExport(t *testing.T) {
	folder := t.TempDir()
	bundle := `{"resourceType":"Bundle","entry":[
		{"resource":{"resourceType":"Observation","id":"a","code":{"coding":[{"system":"http://loinc.org","code":"93025-5"}]},
			"component":[{"code":{"coding":[{"system":"http://loinc.org","code":"1-8"}]},"valueString":"x"},
				{"code":{"coding":[{"system":"http://loinc.org","code":"2-6"}]},"valueString":"y"}]}},
		{"resource":{"resourceType":"Observation","id":"b","code":{"coding":[{"system":"http://loinc.org","code":"85354-9"}]},
			"component":[{"code":{"coding":[{"system":"http://loinc.org","code":"8480-6"}]},"valueQuantity":{"value":120,"code":"mm[Hg]"}}]}},
		{"resource":{"resourceType":"Practitioner","id":"d1","identifier":[{"system":"http://hl7.org/fhir/sid/us-npi","value":"99"}]}},
		{"resource":{"resourceType":"Encounter","id":"e1","participant":[{"individual":{"reference":"Practitioner?identifier=http://hl7.org/fhir/sid/us-npi|99"}}]}}]}`
	if err := os.WriteFile(filepath.Join(folder, "x.json"), []byte(bundle), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := readExport(folder)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range s.records["Observation"] {
		got = append(got, o.first("code.coding")+" "+o.first("valueString")+o.first("component(8480-6).valueQuantity"))
	}
	if want := []string{"http://loinc.org|1-8 x", "http://loinc.org|2-6 y", "http://loinc.org|85354-9 120 mm[Hg]"}; !slices.Equal(got, want) {
		t.Errorf("observations %q, want %q", got, want)
	}
	if who := s.records["Encounter"][0].first("participant.individual"); who != "d1" {
		t.Errorf("the performer is %q, want the row's key", who)
	}
	if _, err := readExport(t.TempDir()); err == nil {
		t.Error("an empty folder is taken for an export")
	}
}
