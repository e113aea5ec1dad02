package demo

import (
	"encoding/base32"
	"io/fs"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// A claims system knows more of a claim than Synthea writes: its number, the coverage it was adjudicated under, whether the
// provider belongs to the payer's network, billing codes, which line a payment is for and who paid. The book finds or invents it
// from the rows' own keys, before the first row is written.

// claimBook is what all files say about the claims.
type claimBook struct {
	codes  *claimCodes
	visits map[string]visitKind    // by encounter id
	orders map[[32]byte][]*rxOrder // by encounter and code
	spans  map[string][]span       // by patient
	claims map[string]*claimFacts  // by claim id
}

// visitKind is what decides a claim's codes.
type visitKind struct{ class, code string }

// rxOrder is an order that a pharmacy claim can be for. Each is claimed once.
type rxOrder struct {
	id, start string
	claimed   bool
	days      int // of the first fill
	refills   int // that followed within a year
}

// span is a span of coverage, from start up to but not including end; a zero end is open.
type span struct {
	id, payer  string
	start, end time.Time
}

// claimFacts are a claim's lines: the CHARGEID of each CHARGE opens one, and what follows belongs to it.
type claimFacts struct {
	charges   []int // CHARGEIDs
	transfers []int // CHARGEIDs of what was transferred to the second payer
	others    int   // charges that are no drug
	order     *rxOrder
}

// drug tells whether all of a claim's charges are drugs: a pharmacy's claim.
func (f *claimFacts) drug() bool { return f != nil && len(f.charges) > 0 && f.others == 0 }

// line is the number, from 1, of the line that a transaction belongs to; 0 when it stands before the first charge.
func (f *claimFacts) line(charge int) int {
	return sort.SearchInts(f.charges, charge+1)
}

// second tells whether a payment comes after its line went to the second payer.
func (f *claimFacts) second(charge int) bool {
	at := sort.SearchInts(f.transfers, charge) - 1
	return at >= 0 && f.line(f.transfers[at]) == f.line(charge)
}

func (s *survey) claimBook(data fs.FS) (err error) {
	b := &claimBook{visits: map[string]visitKind{}, orders: map[[32]byte][]*rxOrder{}, spans: map[string][]span{}, claims: map[string]*claimFacts{}}
	s.book = b
	if b.codes, err = readClaimCodes(); err != nil {
		return err
	}
	err = each(data, "encounters", func(c *csvFile) error {
		b.visits[strings.Clone(c.cell("ID"))] = visitKind{strings.Clone(c.cell("ENCOUNTERCLASS")), strings.Clone(c.cell("CODE"))}
		return nil
	})
	if err != nil {
		return err
	}
	for _, step := range []func(fs.FS, *survey) error{b.readOrders, b.readSpans, b.readLines} {
		if err := step(data, s); err != nil {
			return err
		}
	}
	return nil
}

func tableNamed(name string) *table {
	return tables[slices.IndexFunc(tables, func(t *table) bool { return t.name == name })]
}

func (b *claimBook) readOrders(data fs.FS, s *survey) error {
	return tableNamed("medications").each(data, s, func(c *csvFile, r row) error {
		o := &rxOrder{id: r.id, start: strings.Clone(c.cell("START"))}
		var first time.Time
		err := s.fills(c, func(f fill) error {
			if f.number == 0 {
				first, o.days = f.dispensed, f.days
			} else if f.dispensed.Before(first.AddDate(1, 0, 0)) {
				o.refills++
			}
			return nil
		})
		key := digest("order", c.cell("ENCOUNTER"), c.cell("CODE"))
		b.orders[key] = append(b.orders[key], o)
		return err
	})
}

func (b *claimBook) readSpans(data fs.FS, s *survey) error {
	return tableNamed("payer_transitions").each(data, s, func(c *csvFile, r row) error {
		if c.cell("MEMBERID") == "" || !s.realPayer[c.cell("PAYER")] {
			return nil // an uninsured span
		}
		sp := span{id: r.id, payer: strings.Clone(c.cell("PAYER"))}
		var ok bool
		if sp.start, ok = parseTime(c.cell("START_DATE")); !ok {
			return c.bad("START_DATE", "not a time (YYYY-MM-DDThh:mm:ssZ)")
		}
		if c.cell("END_DATE") != "" {
			if sp.end, ok = parseTime(c.cell("END_DATE")); !ok {
				return c.bad("END_DATE", "not a time (YYYY-MM-DDThh:mm:ssZ)")
			}
		}
		patient := strings.Clone(c.cell("PATIENT"))
		b.spans[patient] = append(b.spans[patient], sp)
		return nil
	})
}

// readLines reads which transactions open lines, and finds the order that a drug's charge is for.
func (b *claimBook) readLines(data fs.FS, _ *survey) error {
	err := each(data, "claims_transactions", func(c *csvFile) error {
		kind := c.cell("TYPE")
		if kind != "CHARGE" && !(kind == "TRANSFERIN" && c.cell("TRANSFERTYPE") == "2") {
			return nil
		}
		charge, err := chargeID(c)
		if err != nil {
			return err
		}
		f := b.claims[c.cell("CLAIMID")]
		if f == nil {
			f = &claimFacts{}
			b.claims[strings.Clone(c.cell("CLAIMID"))] = f
		}
		if kind != "CHARGE" {
			f.transfers = append(f.transfers, charge)
			return nil
		}
		f.charges = append(f.charges, charge)
		candidates := b.orders[digest("order", c.cell("APPOINTMENTID"), c.cell("PROCEDURECODE"))]
		if candidates == nil {
			f.others++
		} else if f.order == nil {
			f.order = claimOrder(candidates, c.cell("FROMDATE"))
		}
		return nil
	})
	for _, f := range b.claims {
		slices.Sort(f.charges)
		slices.Sort(f.transfers)
	}
	return err
}

// claimOrder takes the order that starts when the drug was handed out, or else the first of the same drug, each once.
func claimOrder(candidates []*rxOrder, from string) *rxOrder {
	var found *rxOrder
	for _, o := range candidates {
		if !o.claimed && (found == nil || found.start != from && o.start == from) {
			found = o
		}
	}
	if found != nil {
		found.claimed = true
	}
	return found
}

func chargeID(c *csvFile) (int, error) {
	n, err := strconv.ParseInt(c.cell("CHARGEID"), 10, 32)
	if err != nil {
		return 0, c.bad("CHARGEID", "not a whole number that the column holds")
	}
	return int(n), nil
}

// claimNumber is what the payer calls a claim: C and twelve letters and digits.
func claimNumber(claim string) string {
	sum := digest("claim", claim)
	return "C" + base32.StdEncoding.EncodeToString(sum[:10])[:12]
}

// coverage is the span of the claim's payer that covers its service date.
func (b *claimBook) coverage(c *csvFile) string {
	at, ok := parseTime(c.cell("SERVICEDATE"))
	if !ok {
		return "" // the column's own check says so
	}
	for _, sp := range b.spans[c.cell("PATIENTID")] {
		if sp.payer == c.cell("PRIMARYPATIENTINSURANCEID") && !at.Before(sp.start) && (sp.end.IsZero() || at.Before(sp.end)) {
			return sp.id
		}
	}
	return ""
}

// network says whether the claim's provider has a contract with its payer, which fifteen of sixteen have: in, out, or none when no payer is named.
func network(payer, provider string) string {
	if payer == "" {
		return "none"
	}
	if digest("network", payer, provider)[0]%16 == 0 {
		return "out"
	}
	return "in"
}

// refillsAuthorized is never more than a year's.
func (o *rxOrder) refillsAuthorized() int { return min(o.refills, 11) }
