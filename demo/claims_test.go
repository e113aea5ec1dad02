package demo

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	icdForm    = regexp.MustCompile(`^[A-Z][0-9][0-9A-Z](\.[0-9A-Z]{1,4})?$`)
	hcpcsForm  = regexp.MustCompile(`^[A-CE-HJ-V][0-9]{4}$`) // D codes are the dentists' own
	ndcForm    = regexp.MustCompile(`^[0-9]{11}$`)
	numberForm = regexp.MustCompile(`^C[A-Z2-7]{12}$`)
)

// addedRows computes what the loader adds to a table of the sample: by row id, then by column.
func addedRows(t *testing.T, name string) map[string]map[string]string {
	t.Helper()
	data := os.DirFS("../testdata/synthea")
	s, err := look(data)
	if err != nil {
		t.Fatal(err)
	}
	tab, rows := tableNamed(name), map[string]map[string]string{}
	err = tab.each(data, s, func(c *csvFile, r row) error {
		values := map[string]string{}
		for _, column := range []string{"CLAIMID", "CHARGEID", "TYPE", "METHOD", "TRANSFERTYPE", "DIAGNOSIS1", "DIAGNOSIS8", "PRIMARYPATIENTINSURANCEID"} {
			values[column] = strings.Clone(c.cell(column))
		}
		for column, get := range tab.added {
			if values[column], err = get(s, c, r); err != nil {
				return err
			}
		}
		rows[strings.Clone(r.id)] = values
		return nil
	})
	if err != nil || len(rows) == 0 {
		t.Fatalf("%d rows of %s, %v", len(rows), name, err)
	}
	return rows
}

// What claims lack is added in its right form, to every row that needs it and to no other.
func TestClaimColumns(t *testing.T) {
	numbers, orders, networks := map[string]bool{}, map[string]bool{}, map[string]int{}
	for id, r := range addedRows(t, "claims") {
		if !numberForm.MatchString(r["claim_number"]) || numbers[r["claim_number"]] {
			t.Errorf("claim %s: number %q is of another form, or another's", id, r["claim_number"])
		}
		numbers[r["claim_number"]] = true
		for _, n := range []string{"1", "8"} {
			if icd := r["icd"+n]; (icd == "") != (r["DIAGNOSIS"+n] == "") || icd != "" && !icdForm.MatchString(icd) {
				t.Errorf("claim %s: diagnosis %s has the ICD-10-CM code %q", id, n, icd)
			}
		}
		payer := r["PRIMARYPATIENTINSURANCEID"]
		networks[r["network"]]++
		if (r["network"] == "none") != (payer == "") || payer == "" && r["coverage"] != "" {
			t.Errorf("claim %s: network %q, coverage %q", id, r["network"], r["coverage"])
		}
		if order := r["prescription"]; order != "" {
			if orders[order] || r["days_supply"] == "" || r["refills_authorized"] == "" || r["refill_number"] != "0" || r["daw"] != "0" {
				t.Errorf("claim %s: its order is another's, or its fill is not whole", id)
			}
			orders[order] = true
		} else if r["days_supply"]+r["refills_authorized"]+r["refill_number"]+r["daw"] != "" {
			t.Errorf("claim %s: a fill without an order", id)
		}
	}
	if networks["in"] == 0 || networks["out"] == 0 || networks["none"] == 0 {
		t.Errorf("networks %v: the sample lacks one", networks)
	}
	want, err := countRecords(os.DirFS("../testdata/synthea"), "medications")
	if err != nil || int64(len(orders)) != want {
		t.Errorf("%d orders are claimed, %d are there: %v", len(orders), want, err)
	}
}

// Lines are numbered from 1 without a gap, one for each CHARGE; payments know who paid.
func TestTransactionColumns(t *testing.T) {
	lines, charges, payers := map[string][]string{}, map[string]int{}, map[string]int{}
	for id, r := range addedRows(t, "claims_transactions") {
		charge, payment := r["TYPE"] == "CHARGE", r["TYPE"] == "PAYMENT"
		if charge {
			lines[r["CLAIMID"]] = append(lines[r["CLAIMID"]], fmt.Sprintf("%6s", r["line_number"]))
			charges[r["CLAIMID"]]++
		}
		payers[r["paid_by"]]++
		if (r["paid_by"] != "") != payment || payment && (r["paid_by"] == "patient") != (r["METHOD"] != "ECHECK") {
			t.Errorf("%s of type %s and method %s is paid by %q", id, r["TYPE"], r["METHOD"], r["paid_by"])
		}
		drug := r["ndc"] != ""
		switch {
		case !charge:
			if r["ndc"]+r["hcpcs"]+r["revenue_code"]+r["place_code"] != "" {
				t.Errorf("%s is no charge and has codes", id)
			}
		case drug && (!ndcForm.MatchString(r["ndc"]) || r["hcpcs"]+r["revenue_code"]+r["place_code"] != ""):
			t.Errorf("%s: a drug with %v", id, r)
		case !drug && (r["hcpcs"] != "" && !hcpcsForm.MatchString(r["hcpcs"]) || len(r["revenue_code"]) != 4 || len(r["place_code"]) != 2):
			t.Errorf("%s: a service with %v", id, r)
		}
		if r["line_number"] == "" {
			t.Errorf("%s belongs to no line", id)
		}
	}
	for claim, numbers := range lines {
		slices.Sort(numbers)
		for i, n := range numbers {
			if n != fmt.Sprintf("%6d", i+1) {
				t.Errorf("claim %s: line %s at place %d of %d", claim, n, i+1, len(numbers))
			}
		}
	}
	if payers["primary"] == 0 || payers["secondary"] == 0 || payers["patient"] == 0 {
		t.Errorf("payers %v: the sample lacks one", payers)
	}
}

// The same rows get the same values, on every machine: what is written here was computed once.
func TestClaimColumnsStay(t *testing.T) {
	const claim, provider = "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-00000000000b"
	if got := claimNumber(claim); got != "CZHT4EG2WHR6F" {
		t.Errorf("claim number %s", got)
	}
	out := 0
	for i := range 1600 {
		if network(fmt.Sprint("payer ", i), provider) == "out" {
			out++
		}
	}
	if out != 92 {
		t.Errorf("%d of 1600 payers have no contract with a provider", out)
	}
}

// The crosswalks are whole, and what they lack gets the codes of last resort.
func TestClaimCodes(t *testing.T) {
	c, err := readClaimCodes()
	if err != nil {
		t.Fatal(err)
	}
	if len(c.icd) < 200 || len(c.hcpcs) < 80 {
		t.Errorf("%d diagnoses and %d procedures", len(c.icd), len(c.hcpcs))
	}
	for snomed, icd := range c.icd {
		if !icdForm.MatchString(icd) {
			t.Errorf("diagnosis %s: %q", snomed, icd)
		}
	}
	for code, hcpcs := range c.hcpcs {
		if !hcpcsForm.MatchString(hcpcs) {
			t.Errorf("procedure %s: %q", code, hcpcs)
		}
	}
	for _, k := range []struct {
		code, class string
		drug        bool
		want        string
	}{
		{"314076", "ambulatory", true, "J3490"}, {"140", "wellness", false, "G0008"}, {"999", "inpatient", false, "J3590"},
		{"1", "wellness", false, "J3590"}, {"", "wellness", false, "T1015"}, {"424242424", "ambulatory", false, "T1015"},
		{"424242424", "emergency", false, "G0463"}, {"424242424", "inpatient", false, ""}, {"410620009", "inpatient", false, "S0302"},
	} {
		if got := c.procedure(k.code, k.class, k.drug); got != k.want {
			t.Errorf("%+v: %q", k, got)
		}
	}
	if got := c.diagnosis("424242424"); got != "R69" {
		t.Errorf("an unknown diagnosis is %q", got)
	}
	for _, bad := range []string{"a\tb\nc", "a\tb\n1\t", "a\tb\n1\tx\n1\ty"} {
		if _, err := readCrosswalk("x", bad, "a\tb"); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
