package demo

import (
	_ "embed"
	"strings"
)

//go:embed crosswalk/condition-icd10cm.tsv
var icdTable string

//go:embed crosswalk/condition-icd10cm-supplement.tsv
var icdSupplement string

//go:embed crosswalk/procedure-hcpcs.tsv
var hcpcsTable string

//go:embed crosswalk/procedure-hcpcs-supplement.tsv
var hcpcsSupplement string

// claimCodes translate the rows' clinical codes into those that claims are billed with. Each table is what Synthea itself knows,
// then a supplement of this project's; the last resorts below stand for the rest.
type claimCodes struct{ icd, hcpcs map[string]string }

const (
	unspecifiedIllness = "R69"   // ICD-10-CM: illness, unspecified
	clinicVisit        = "T1015" // HCPCS: clinic visit, all-inclusive
	hospitalVisit      = "G0463" // HCPCS: hospital outpatient clinic visit
	otherVaccine       = "J3590" // HCPCS: unclassified biologics
	otherDrug          = "J3490" // HCPCS: unclassified drugs
)

func readClaimCodes() (*claimCodes, error) {
	icd, err := readCrosswalk("condition-icd10cm", icdTable, icdSupplement)
	if err != nil {
		return nil, err
	}
	hcpcs, err := readCrosswalk("procedure-hcpcs", hcpcsTable, hcpcsSupplement)
	if err != nil {
		return nil, err
	}
	return &claimCodes{icd, hcpcs}, nil
}

// readCrosswalk reads the first two columns of a table and its supplement; the table goes first.
func readCrosswalk(name string, table, supplement string) (map[string]string, error) {
	known := map[string]string{}
	for suffix, text := range map[string]string{"": table, "-supplement": supplement} {
		for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
			f := strings.Split(strings.TrimRight(line, "\r"), "\t")
			if len(f) < 2 || f[0] == "" || f[1] == "" {
				return nil, &cellError{"crosswalk/" + name + suffix + ".tsv", i + 1, "", "not a code and its translation"}
			}
			if i == 0 {
				continue
			}
			if _, twice := known[f[0]]; twice {
				return nil, &cellError{"crosswalk/" + name + suffix + ".tsv", i + 1, "", "a code that was translated before"}
			}
			known[f[0]] = f[1]
		}
	}
	return known, nil
}

func (c *claimCodes) diagnosis(snomed string) string {
	if snomed == "" {
		return ""
	}
	if icd, ok := c.icd[snomed]; ok {
		return icd
	}
	return unspecifiedIllness
}

// procedure is the HCPCS Level II code of a line's SNOMED CT, CVX or RxNorm code. An inpatient's line without one is billed under
// its revenue code alone.
func (c *claimCodes) procedure(code, class string, drug bool) string {
	hcpcs, ok := c.hcpcs[code]
	switch {
	case drug:
		return otherDrug
	case ok:
		return hcpcs
	case isVaccine(code):
		return otherVaccine
	}
	switch class {
	case "inpatient", "snf":
		return ""
	case "emergency", "hospice", "home", "virtual", "outpatient":
		return hospitalVisit
	}
	return clinicVisit
}

// isVaccine tells a CVX code, of two or three digits, from a SNOMED CT one, of six or more.
func isVaccine(code string) bool { return code != "" && len(code) <= 3 }

// placeCodes are CMS's two digits for the places where encounters of a class happen; an office when the class is none of them.
var placeCodes = map[string]string{
	"wellness": "11", "ambulatory": "11", "outpatient": "22", "urgentcare": "20", "emergency": "23", "inpatient": "21", "snf": "31",
	"hospice": "34", "home": "12", "virtual": "02",
}

func placeCode(class string) string {
	if place, ok := placeCodes[class]; ok {
		return place
	}
	return "11"
}

// visitRevenue are the revenue codes of a stay or visit itself.
var visitRevenue = map[string]string{
	"inpatient": "0120", "snf": "0191", "hospice": "0651", "home": "0550", "emergency": "0450", "urgentcare": "0456", "virtual": "0780",
}

// revenueWords find a service's revenue code by what its line says, the first that fits.
var revenueWords = []struct{ word, code string }{
	{"dialysis", "0821"}, {"anesthesia", "0370"}, {"transfusion", "0391"}, {"chemotherapy", "0331"}, {"radiation", "0333"},
	{"magnetic resonance", "0610"}, {"tomography", "0350"}, {"mammogra", "0401"}, {"ultraso", "0402"}, {"echocardio", "0483"},
	{"electrocardio", "0730"}, {"x-ray", "0320"}, {"radiograph", "0320"}, {"angiography", "0323"}, {"education", "0942"},
	{"oxygen", "0410"}, {"spirometry", "0460"}, {"colonoscopy", "0750"}, {"biopsy", "0360"}, {"transplant", "0362"}, {"ectomy", "0360"},
	{"operation", "0360"}, {"antigen", "0300"}, {"antibody", "0300"}, {"culture", "0306"}, {"hemogram", "0305"}, {"urin", "0307"},
	{"measurement", "0301"}, {" test", "0300"}, {"dental", "0512"}, {"teeth", "0512"}, {"tooth", "0512"},
}

// revenueCode is the NUBC revenue code of a line: of the visit itself, of a vaccine, of a drug, or of a service by its words; other
// services are therapeutic ones in general.
func revenueCode(v visitKind, code, words string, drug bool) string {
	switch {
	case drug:
		return "0250"
	case code == v.code:
		if revenue, ok := visitRevenue[v.class]; ok {
			return revenue
		}
		return "0510" // clinic
	case isVaccine(code):
		return "0771"
	}
	words = strings.ToLower(words)
	for _, r := range revenueWords {
		if strings.Contains(words, r.word) {
			return r.code
		}
	}
	return "0940"
}
