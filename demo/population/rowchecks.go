package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// fills compares the fills with their orders: a code that was ordered at the visit,
// and no more of them than were to be dispensed.
func (r *report) fills(files map[string][]row, ours *side) {
	k := line{typ: "MedicationDispense"}
	most := map[string]int{}
	for _, row := range files["medications"] {
		n, _ := strconv.Atoi(row["DISPENSES"])
		k.rows += n
		most[row["PATIENT"]+" "+row["ENCOUNTER"]+" "+row["CODE"]] += n
	}
	got := map[string]int{}
	for _, f := range ours.records["MedicationDispense"] {
		k.resources++
		code := f.values("medicationCodeableConcept.coding")
		rx := ""
		for _, c := range code {
			if s, ok := strings.CutPrefix(c, "http://www.nlm.nih.gov/research/umls/rxnorm|"); ok {
				rx = s
			}
		}
		got[f.first("subject")+" "+f.first("context")+" "+rx]++
	}
	for key := range keys(most, got) {
		k.compared++
		if got[key] > most[key] || most[key] > 0 && got[key] == 0 {
			k.unmatched++
			r.fault(k.typ, "(count)", "fills and dispenses", fmt.Sprintf("%s: %d of %d", key, got[key], most[key]))
			continue
		}
		k.equal++
	}
	r.table = append(r.table, k)
}

// lines compares the lines of each claim with the charges that bill them.
func (r *report) lines(files map[string][]row, ours *side) {
	l := line{typ: "claims' lines"}
	charges := map[string][]string{}
	for _, row := range files["claims_transactions"] {
		if row["TYPE"] == "CHARGE" {
			l.rows++
			charges[row["CLAIMID"]] = append(charges[row["CLAIMID"]], row["PROCEDURECODE"])
		}
	}
	for _, claim := range ours.records["ExplanationOfBenefit"] {
		var codes []string
		for _, c := range claim.values("item.productOrService.coding") {
			codes = append(codes, c[strings.LastIndexByte(c, '|')+1:])
		}
		l.resources += len(codes)
		l.compared++
		billed := charges[rowKey(claim)]
		slices.Sort(billed)
		slices.Sort(codes)
		if !slices.Equal(billed, codes) {
			l.different++
			r.fault("ExplanationOfBenefit", "(lines)", "charges and lines", fmt.Sprintf("%s: %v, %v", rowKey(claim), billed, codes))
			continue
		}
		l.equal++
	}
	r.table = append(r.table, l)
}
