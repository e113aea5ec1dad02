package main

import (
	"context"
	"crypto/sha256"
	"encoding/csv"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tributary-health/tributary/testdata"
)

func population(members int) *Population {
	return &Population{Members: members, Seed: 1, Median: 4, Sigma: 1.5, Largest: 20_000}
}

func write(t *testing.T, p *Population) (string, *Made) {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "csv")
	made, err := p.Write(context.Background(), folder)
	if err != nil {
		t.Fatal(err)
	}
	return folder, made
}

// read returns a file's rows by column name.
func read(t *testing.T, folder, name string) []map[string]string {
	t.Helper()
	f, err := os.Open(filepath.Join(folder, name+".csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]string
	for _, cells := range all[1:] {
		row := map[string]string{}
		for i, h := range all[0] {
			row[strings.ToUpper(h)] = cells[i]
		}
		rows = append(rows, row)
	}
	return rows
}

func sums(t *testing.T, folder string) (all [][32]byte) {
	t.Helper()
	for _, name := range fileNames {
		text, err := os.ReadFile(filepath.Join(folder, name+".csv"))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, sha256.Sum256(text))
	}
	return all
}

func TestSameFlagsSameBytes(t *testing.T) {
	one, _ := write(t, population(300))
	two, _ := write(t, population(300))
	if !slices.Equal(sums(t, one), sums(t, two)) {
		t.Error("two populations of the same flags differ")
	}
	other := population(300)
	other.Seed = 2
	three, _ := write(t, other)
	if slices.Equal(sums(t, one)[3:], sums(t, three)[3:]) {
		t.Error("another seed makes the same members")
	}
}

// A population is the beginning of every larger one: that is what lets the same
// members be read at every size.
func TestPrefix(t *testing.T) {
	few, a := write(t, population(600))
	many, b := write(t, population(1200))
	if !slices.Equal(a.Members, b.Members[:600]) {
		t.Fatal("the first 600 of 1200 members are not the 600")
	}
	for _, name := range fileNames {
		small, err := os.ReadFile(filepath.Join(few, name+".csv"))
		if err != nil {
			t.Fatal(err)
		}
		large, err := os.ReadFile(filepath.Join(many, name+".csv"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(large), string(small)) {
			t.Errorf("%s does not begin as that of fewer members", name)
		}
	}
}

func TestSkew(t *testing.T) {
	p := population(20_000)
	r := dice(1)
	var logs []float64
	most := 0
	for range p.Members {
		n := p.rows(r)
		most = max(most, n)
		if n > 0 {
			logs = append(logs, math.Log(float64(n)))
		}
	}
	if most < 500 || most > p.Largest {
		t.Errorf("the longest of %d records is meant to have %d rows", p.Members, most)
	}
	slices.Sort(logs)
	if median := math.Exp(logs[len(logs)/2]); median < 3 || median > 6 {
		t.Errorf("the median is %.1f rows, not about 4", median)
	}
	_, made := write(t, population(3000))
	if q := made.quantile(0.5); q < 8 || q > 25 {
		t.Errorf("half of the members have %d rows or fewer", q)
	}
	if half, most := made.quantile(0.5), made.quantile(1); most < 20*half {
		t.Errorf("no skew: the median is %d rows, the most are %d", half, most)
	}
	sum := 0
	for _, m := range made.Members {
		sum += m.Rows
	}
	if shared := made.ByFile["organizations"] + made.ByFile["providers"] + made.ByFile["payers"]; sum+shared != made.Rows {
		t.Errorf("%d rows of members and %d shared ones are not the %d of the files", sum, shared, made.Rows)
	}
}

// pick prefers long records: by their share of the rows.
func TestPick(t *testing.T) {
	_, made := write(t, population(1000))
	longest := slices.MaxFunc(made.Members, func(a, b Member) int { return a.Rows - b.Rows })
	rows := 0
	for _, m := range made.Members {
		rows += m.Rows
	}
	r, hits := dice(2), 0
	const draws = 100_000
	for range draws {
		if made.pick(r, len(made.Members)).ID == longest.ID {
			hits++
		}
	}
	want := float64(draws) * float64(longest.Rows) / float64(rows)
	if math.Abs(float64(hits)-want) > 6*math.Sqrt(want) {
		t.Errorf("the longest record was drawn %d times, want about %.0f", hits, want)
	}
	for range 1000 {
		if m := made.pick(r, 10); !slices.Contains(made.Members[:10], m) {
			t.Fatal("picked beyond the first ten")
		}
	}
}

// Every reference of the files leads to a row, of the same member where it is a
// member's; no key comes twice.
func TestReferences(t *testing.T) {
	folder, _ := write(t, population(1200))
	ids := map[string]map[string]map[string]string{}
	for _, name := range []string{"organizations", "providers", "payers", "patients", "encounters", "claims", "claims_transactions"} {
		ids[name] = map[string]map[string]string{}
		for _, row := range read(t, folder, name) {
			if ids[name][row["ID"]] != nil {
				t.Fatalf("%s has a key twice", name)
			}
			ids[name][row["ID"]] = row
		}
	}
	refers := []struct{ from, column, to string }{
		{"providers", "ORGANIZATION", "organizations"}, {"payer_transitions", "PATIENT", "patients"}, {"payer_transitions", "PAYER", "payers"},
		{"encounters", "PATIENT", "patients"}, {"encounters", "ORGANIZATION", "organizations"}, {"encounters", "PROVIDER", "providers"}, {"encounters", "PAYER", "payers"},
		{"claims", "PATIENTID", "patients"}, {"claims", "APPOINTMENTID", "encounters"}, {"claims", "PROVIDERID", "providers"}, {"claims", "PRIMARYPATIENTINSURANCEID", "payers"},
		{"claims_transactions", "CLAIMID", "claims"}, {"claims_transactions", "PATIENTID", "patients"}, {"claims_transactions", "APPOINTMENTID", "encounters"},
		{"claims_transactions", "PLACEOFSERVICE", "organizations"}, {"claims_transactions", "PROVIDERID", "providers"},
	}
	for _, name := range []string{"conditions", "allergies", "immunizations", "procedures", "observations", "medications"} {
		refers = append(refers, struct{ from, column, to string }{name, "PATIENT", "patients"}, struct{ from, column, to string }{name, "ENCOUNTER", "encounters"})
	}
	patient := func(row map[string]string) string { return row["PATIENT"] + row["PATIENTID"] }
	for _, ref := range refers {
		rows := read(t, folder, ref.from)
		if len(rows) == 0 {
			t.Errorf("%s is empty", ref.from)
		}
		for _, row := range rows {
			to := ids[ref.to][row[ref.column]]
			if to == nil {
				t.Fatalf("%s.%s leads nowhere in %s", ref.from, ref.column, ref.to)
			}
			if mine, theirs := patient(row), patient(to); ref.to != "patients" && mine != "" && theirs != "" && mine != theirs {
				t.Fatalf("%s.%s leads to another member's row", ref.from, ref.column)
			}
		}
	}
}

// Visits keep their inner distances, lie in the ten years, and come after birth.
func TestTimes(t *testing.T) {
	folder, _ := write(t, population(600))
	born := map[string]string{}
	for _, p := range read(t, folder, "patients") {
		born[p["ID"]] = p["BIRTHDATE"]
		if p["DEATHDATE"] != "" {
			t.Fatal("a member is dead")
		}
	}
	starts := map[string]time.Time{}
	for _, e := range read(t, folder, "encounters") {
		start, err := time.Parse(time.RFC3339, e["START"])
		if err != nil {
			t.Fatal(err)
		}
		if start.Before(firstDay) || start.After(lastDay.AddDate(0, 0, 1)) || e["START"][:10] < born[e["PATIENT"]] {
			t.Fatalf("a visit on %s", e["START"][:10])
		}
		starts[e["ID"]] = start
	}
	for _, c := range read(t, folder, "claims_transactions") {
		if at, err := time.Parse(time.RFC3339, c["FROMDATE"]); err != nil || at.Sub(starts[c["APPOINTMENTID"]]).Abs() > 5*366*24*time.Hour {
			t.Fatal("a charge lies years away from its visit")
		}
	}
}

// Nobody of the sample is in a population, under whatever name.
func TestNobodyOfTheSample(t *testing.T) {
	s, err := readSample(testdata.Synthea())
	if err != nil {
		t.Fatal(err)
	}
	folder, _ := write(t, population(600))
	taken := map[string]bool{}
	for _, name := range []string{"patients", "encounters"} {
		for _, row := range s.tables[name].rows {
			taken[row[0]] = true
		}
	}
	for _, name := range fileNames {
		for _, row := range read(t, folder, name) {
			for column, cell := range row {
				if taken[cell] {
					t.Fatalf("%s.%s names a patient or a visit of the sample", name, column)
				}
			}
		}
	}
}

func TestRefusesAFullFolder(t *testing.T) {
	folder, _ := write(t, population(1))
	if _, err := population(1).Write(context.Background(), folder); err == nil {
		t.Error("a second population was written over the first")
	}
}

func TestSizes(t *testing.T) {
	got, err := sizes("1000, 20")
	if err != nil || !slices.Equal(got, []int{1000, 20}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"", "x", "0", "1,,2"} {
		if _, err := sizes(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
