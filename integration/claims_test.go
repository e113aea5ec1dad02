package integration

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every claim is served once, of the kind, with the lines and with the totals that SQL computes from its rows.
func TestClaims(t *testing.T) {
	t.Parallel()
	d := composedDemo(t)
	d.start()
	d.ready()
	served := d.claimsServed(t)
	t.Run("kinds", func(t *testing.T) { d.kindsAgree(t, served) })
	t.Run("amounts", func(t *testing.T) { d.amountsAgree(t, served) })
	t.Run("coverage", func(t *testing.T) { d.coverageAgrees(t, served) })
	t.Run("codes", func(t *testing.T) { d.codesAgree(t, served) })
	t.Run("references", func(t *testing.T) { d.claimReferences(t, served) })
	t.Run("a changed claim", func(t *testing.T) { d.claimChanges(t, served) })
}

const claimSystem = "urn:tributary:sample:claim"

// claim is what the tests look at of an ExplanationOfBenefit.
type claim struct {
	ID   string
	Meta struct{ Profile []string }

	Identifier []struct{ System, Value string }
	Type       concept
	SubType    concept
	Outcome    string
	Patient    reference
	Insurer    reference
	Provider   reference
	CareTeam   []struct {
		Provider reference
		Role     concept
	}
	Diagnosis []struct {
		Sequence int
		Concept  concept `json:"diagnosisCodeableConcept"`
		Type     []concept
	}
	Insurance []struct {
		Focal    bool
		Coverage reference
	}
	Item []struct {
		Sequence          int
		DiagnosisSequence []int
		Revenue           concept
		ProductOrService  concept
		Location          concept `json:"locationCodeableConcept"`
		ServicedDate      string
		Adjudication      []adjudication
	}
	Adjudication []adjudication
	Total        []adjudication

	raw []byte
}

type concept struct {
	Coding []struct{ System, Code string }
}

// of is the code in a system.
func (c concept) of(system string) string {
	for _, k := range c.Coding {
		if k.System == system {
			return k.Code
		}
	}
	return ""
}

func (c concept) first() string {
	if len(c.Coding) == 0 {
		return ""
	}
	return c.Coding[0].Code
}

type reference struct{ Reference, Display string }

type adjudication struct {
	Category concept
	Reason   concept
	Amount   *struct{ Value json.Number }
}

func (d *demoRun) claimsServed(t *testing.T) map[string]*claim {
	t.Helper()
	served := map[string]*claim{}
	for _, raw := range d.all("/ExplanationOfBenefit?_count=500") {
		c := &claim{raw: raw}
		if err := json.Unmarshal(raw, c); err != nil {
			t.Fatal(err)
		}
		id := ""
		for _, i := range c.Identifier {
			if i.System == claimSystem {
				id = i.Value
			}
		}
		if id == "" || served[id] != nil {
			t.Fatalf("a claim without its own number, or served twice: %.300s", raw)
		}
		served[id] = c
	}
	if len(served) == 0 {
		t.Fatal("no claim is served")
	}
	return served
}

// pairsOf reads rows of two columns.
func pairsOf(t *testing.T, db *sql.DB, query string) map[string]string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	found := map[string]string{}
	for rows.Next() {
		var k string
		var v sql.NullString
		if err := rows.Scan(&k, &v); err != nil {
			t.Fatal(err)
		}
		found[k] = v.String
	}
	if err := rows.Err(); err != nil || len(found) == 0 {
		t.Fatalf("%d rows, %v: %s", len(found), err, query)
	}
	return found
}

// kindOf is the kind of claim by the class of its visit, as the mapping notes have it.
var kindOf = map[string]string{
	"ambulatory": "Professional-NonClinician", "outpatient": "Professional-NonClinician",
	"wellness": "Professional-NonClinician", "urgentcare": "Professional-NonClinician",
	"inpatient": "Inpatient-Institutional", "snf": "Inpatient-Institutional",
	"emergency": "Outpatient-Institutional", "hospice": "Outpatient-Institutional",
	"home": "Outpatient-Institutional", "virtual": "Outpatient-Institutional",
}

// kindsAgree: a claim of ordered drugs only is the pharmacy's, another's kind is its visit's. Each claims its profile, unless nobody ever
// covered the patient.
func (d *demoRun) kindsAgree(t *testing.T, served map[string]*claim) {
	drug := pairsOf(t, d.maria, `SELECT t.claimid, min(EXISTS (SELECT 1 FROM medications m WHERE m.encounter = t.appointmentid AND m.code = t.procedurecode))
		FROM claims_transactions t WHERE t.type = 'CHARGE' GROUP BY t.claimid`)
	visit := pairsOf(t, d.maria, "SELECT id, appointmentid FROM claims")
	patient := pairsOf(t, d.maria, "SELECT id, patientid FROM claims")
	class := pairsOf(t, d.pg, "SELECT id::text, encounterclass FROM encounters")
	number := pairsOf(t, d.pg, "SELECT id::text, member_number FROM patients")
	if len(visit) != len(served) {
		t.Errorf("%d claims, %d served", len(visit), len(served))
	}
	count := map[string]int{}
	for id := range visit {
		c := served[id]
		if c == nil {
			t.Errorf("claim %s is not served", id)
			continue
		}
		kind := kindOf[class[visit[id]]]
		if drug[id] == "1" {
			kind = "Pharmacy"
		}
		want := []string{"http://hl7.org/fhir/us/carin-bb/StructureDefinition/C4BB-ExplanationOfBenefit-" + kind + "|2.0.0"}
		if number[patient[id]] == "" {
			want, kind = nil, kind+" of a person without a member number"
		}
		if !slices.Equal(c.Meta.Profile, want) {
			t.Errorf("claim %s has the profiles %v, want %v", id, c.Meta.Profile, want)
		}
		count[kind]++
	}
	t.Log(count)
	for kind := range map[string]bool{"Pharmacy": true, "Professional-NonClinician": true, "Inpatient-Institutional": true, "Outpatient-Institutional": true} {
		if count[kind] == 0 {
			t.Errorf("the sample has no claim of kind %s", kind)
		}
	}
}

// add adds decimals by the words of their categories, exactly.
func add(sums map[string]*big.Rat, category, amount string) {
	r, ok := new(big.Rat).SetString(amount)
	if !ok {
		return
	}
	if sums[category] == nil {
		sums[category] = new(big.Rat)
	}
	sums[category].Add(sums[category], r)
}

func printed(sums map[string]*big.Rat) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(sums)) {
		fmt.Fprintf(&b, "%s %s, ", k, sums[k].FloatString(2))
	}
	return b.String()
}

// amountsAgree walks each claim's transactions in the order of CHARGEID, knowing of lines only that a CHARGE opens one, and of payers
// only how they pay.
func (d *demoRun) amountsAgree(t *testing.T, served map[string]*claim) {
	rows, err := d.maria.QueryContext(t.Context(), `SELECT claimid, type, coalesce(method, ''), coalesce(transfertype, ''), coalesce(amount, ''), coalesce(payments, '')
		FROM claims_transactions ORDER BY claimid, chargeid`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	totals, lines, second := map[string]map[string]*big.Rat{}, map[string][]map[string]*big.Rat{}, map[string]bool{}
	for rows.Next() {
		var id, kind, method, transfer, amount, payments string
		if err := rows.Scan(&id, &kind, &method, &transfer, &amount, &payments); err != nil {
			t.Fatal(err)
		}
		if totals[id] == nil {
			totals[id] = map[string]*big.Rat{}
		}
		if kind == "CHARGE" {
			lines[id] = append(lines[id], map[string]*big.Rat{})
			second[id] = false
		}
		category, value := "", amount
		switch {
		case kind == "CHARGE":
			category = "submitted"
		case kind == "PAYMENT" && method != "ECHECK":
			category, value = "paidbypatient", payments
		case kind == "PAYMENT" && second[id]:
			category, value = "priorpayerpaid", payments
		case kind == "PAYMENT":
			category, value = "paidtoprovider", payments
		case kind == "TRANSFERIN" && transfer == "2":
			second[id] = true
		}
		for _, sums := range []map[string]*big.Rat{totals[id], lines[id][len(lines[id])-1]} {
			add(sums, category, value)
			if transfer == "p" {
				add(sums, "memberliability", amount)
			}
			delete(sums, "")
		}
	}
	if rows.Err() != nil || len(totals) != len(served) {
		t.Fatalf("%v; %d claims have transactions, %d are served", rows.Err(), len(totals), len(served))
	}
	for id, want := range totals {
		c := served[id]
		if got := printed(sumsOf(c.Total)); got != printed(want) {
			t.Errorf("claim %s: totals %s, want %s", id, got, printed(want))
		}
		if len(c.Item) != len(lines[id]) {
			t.Errorf("claim %s: %d lines, want %d", id, len(c.Item), len(lines[id]))
			continue
		}
		for i, item := range c.Item {
			if got := printed(sumsOf(item.Adjudication)); got != printed(lines[id][i]) || item.Sequence != i+1 {
				t.Errorf("claim %s line %d: %s, want %s", id, item.Sequence, got, printed(lines[id][i]))
			}
		}
	}
}

var twoDigits = regexp.MustCompile(`"amount":\{"value":\d+\.\d\d,`)

func sumsOf(adjudications []adjudication) map[string]*big.Rat {
	sums := map[string]*big.Rat{}
	for _, a := range adjudications {
		if a.Amount != nil {
			add(sums, a.Category.first(), a.Amount.Value.String())
		}
	}
	return sums
}

// coverageAgrees: the coverage is the one span of the claim's payer on its date; without one, names only.
func (d *demoRun) coverageAgrees(t *testing.T, served map[string]*claim) {
	spans := pairsOf(t, d.maria, `SELECT c.id, group_concat(t.id) FROM claims c LEFT JOIN payer_transitions t ON t.patient = c.patientid
		AND t.payer = c.primarypatientinsuranceid AND t.memberid IS NOT NULL AND t.start_date <= c.servicedate AND (t.end_date IS NULL OR c.servicedate < t.end_date)
		GROUP BY c.id`)
	payers := pairsOf(t, d.maria, "SELECT c.id, p.name FROM claims c LEFT JOIN payers p ON p.id = c.primarypatientinsuranceid")
	ids := map[string]string{}
	for _, raw := range d.all("/Coverage?_count=500") {
		var c struct {
			ID         string
			Identifier []struct{ System, Value string }
		}
		if err := json.Unmarshal(raw, &c); err != nil {
			t.Fatal(err)
		}
		for _, i := range c.Identifier {
			if i.System == "urn:tributary:sample:coverage-span" {
				ids[i.Value] = "Coverage/" + c.ID
			}
		}
	}
	var covered, uncovered, self int
	for id, c := range served {
		name, want := payers[id], reference{Display: payers[id]}
		switch {
		case name == "":
			want.Display = "None (self-pay)"
			self++
		case spans[id] == "":
			uncovered++
		default:
			want.Reference = ids[spans[id]]
			covered++
		}
		if len(c.Insurance) == 0 || c.Insurance[0].Coverage != want || !c.Insurance[0].Focal {
			t.Errorf("claim %s: coverage %+v, want %+v", id, c.Insurance, want)
		}
		if c.Insurer.Display != want.Display || (c.Insurer.Reference == "") != (want.Reference == "") {
			t.Errorf("claim %s: insurer %+v", id, c.Insurer)
		}
		if !twoDigits.Match(c.raw) {
			t.Errorf("claim %s: an amount lost its digits", id)
		}
	}
	if covered == 0 || uncovered == 0 || self == 0 {
		t.Errorf("%d claims with coverage, %d without, %d without a payer: the sample lacks one of them", covered, uncovered, self)
	}
}
