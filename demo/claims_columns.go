package demo

import "strconv"

// The columns that the loader adds to claims.
var claimColumns = map[string]added{
	"claim_number": func(_ *survey, c *csvFile, _ row) (string, error) { return claimNumber(c.cell("ID")), nil },
	"coverage":     func(s *survey, c *csvFile, _ row) (string, error) { return s.book.coverage(c), nil },
	"network": func(_ *survey, c *csvFile, _ row) (string, error) {
		return network(c.cell("PRIMARYPATIENTINSURANCEID"), c.cell("PROVIDERID")), nil
	},
	"icd1": addedDiagnosis("DIAGNOSIS1"), "icd2": addedDiagnosis("DIAGNOSIS2"),
	"icd3": addedDiagnosis("DIAGNOSIS3"), "icd4": addedDiagnosis("DIAGNOSIS4"),
	"icd5": addedDiagnosis("DIAGNOSIS5"), "icd6": addedDiagnosis("DIAGNOSIS6"),
	"icd7": addedDiagnosis("DIAGNOSIS7"), "icd8": addedDiagnosis("DIAGNOSIS8"),

	"prescription": addedOfOrder(func(o *rxOrder) string { return o.id }, ""),
	"days_supply":  addedOfOrder(func(o *rxOrder) string { return strconv.Itoa(max(1, o.days)) }, "30"),
	// A claim is for an order's first fill: later ones are not in the files.
	"refill_number":      addedOfOrder(func(*rxOrder) string { return "0" }, "0"),
	"refills_authorized": addedOfOrder(func(o *rxOrder) string { return strconv.Itoa(o.refillsAuthorized()) }, "0"),
	"daw":                addedOfOrder(func(*rxOrder) string { return "0" }, "0"), // nobody asked for the brand
}

func addedDiagnosis(column string) added {
	return func(s *survey, c *csvFile, _ row) (string, error) { return s.book.codes.diagnosis(c.cell(column)), nil }
}

// addedOfOrder is what a pharmacy's claim says about the order it is for; other is said when no order is left for it.
func addedOfOrder(get func(o *rxOrder) string, other string) added {
	return func(s *survey, c *csvFile, _ row) (string, error) {
		f := s.book.claims[c.cell("ID")]
		switch {
		case !f.drug():
			return "", nil
		case f.order == nil:
			return other, nil
		}
		return get(f.order), nil
	}
}

// The columns that the loader adds to claims_transactions.
var transactionColumns = map[string]added{
	"line_number":  addedLine,
	"paid_by":      addedPayer,
	"hcpcs":        addedProcedure,
	"ndc":          addedLineNDC,
	"revenue_code": addedRevenue,
	"place_code":   addedPlace,
}

func addedLine(s *survey, c *csvFile, _ row) (string, error) {
	charge, err := chargeID(c)
	f := s.book.claims[c.cell("CLAIMID")]
	if err != nil || f == nil || f.line(charge) == 0 {
		return "", err
	}
	return strconv.Itoa(f.line(charge)), nil
}

// addedPayer says who made a payment: payers pay by electronic check, people otherwise.
func addedPayer(s *survey, c *csvFile, _ row) (string, error) {
	if c.cell("TYPE") != "PAYMENT" {
		return "", nil
	}
	if c.cell("METHOD") != "ECHECK" {
		return "patient", nil
	}
	charge, err := chargeID(c)
	if f := s.book.claims[c.cell("CLAIMID")]; err == nil && f != nil && f.second(charge) {
		return "secondary", nil
	}
	return "primary", err
}

// isDrug tells whether a line's code is that of a drug ordered at the same encounter.
func (b *claimBook) isDrug(c *csvFile) bool {
	return b.orders[digest("order", c.cell("APPOINTMENTID"), c.cell("PROCEDURECODE"))] != nil
}

// addedProcedure is empty on pharmacies' claims, which know drugs by NDC.
func addedProcedure(s *survey, c *csvFile, _ row) (string, error) {
	if c.cell("TYPE") != "CHARGE" || s.book.claims[c.cell("CLAIMID")].drug() {
		return "", nil
	}
	return s.book.codes.procedure(c.cell("PROCEDURECODE"), s.book.visits[c.cell("APPOINTMENTID")].class, s.book.isDrug(c)), nil
}

func addedLineNDC(s *survey, c *csvFile, _ row) (string, error) {
	if c.cell("TYPE") != "CHARGE" || !s.book.isDrug(c) {
		return "", nil
	}
	return s.ndc(c.cell("PROCEDURECODE")), nil
}

func addedRevenue(s *survey, c *csvFile, _ row) (string, error) {
	if c.cell("TYPE") != "CHARGE" || s.book.claims[c.cell("CLAIMID")].drug() {
		return "", nil
	}
	return revenueCode(s.book.visits[c.cell("APPOINTMENTID")], c.cell("PROCEDURECODE"), c.cell("NOTES"), s.book.isDrug(c)), nil
}

func addedPlace(s *survey, c *csvFile, _ row) (string, error) {
	if c.cell("TYPE") != "CHARGE" || s.book.claims[c.cell("CLAIMID")].drug() {
		return "", nil
	}
	return placeCode(s.book.visits[c.cell("APPOINTMENTID")].class), nil
}
