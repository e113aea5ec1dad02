package demo

import (
	"io/fs"
	"strconv"
	"strings"
)

// A table is one table of the sources: its file, and what the file lacks.
type table struct {
	name   string
	pharma bool     // in MariaDB, else in PostgreSQL
	file   string   // name of its file without endings; "" for fills, which come from another's
	key    []string // natural key of a table whose file has no Id column
	added  map[string]added
}

// An added column's value for a row; "" is NULL.
type added func(s *survey, c *csvFile, r row) (string, error)

// A row is what is known of a row beside its cells.
type row struct {
	id   string
	nth  int // its place among the rows with the same natural key, from 0
	fill fill
}

// tables are all the sources' tables, each after those it refers to.
var tables = []*table{
	{name: "organizations", file: "organizations"},
	{name: "providers", file: "providers", added: map[string]added{"npi": addedNPI}},
	{name: "patients", file: "patients", added: map[string]added{
		"phone": addedPhone, "email": addedEmail, "member_number": addedMember, "deceased": addedDeceased}},
	{name: "encounters", file: "encounters"},
	{name: "conditions", file: "conditions", key: []string{"PATIENT", "ENCOUNTER", "CODE", "START"}},
	{name: "allergies", file: "allergies", key: []string{"PATIENT", "CODE"}},
	{name: "immunizations", file: "immunizations", key: []string{"PATIENT", "ENCOUNTER", "CODE", "DATE"}},
	{name: "procedures", file: "procedures", key: []string{"PATIENT", "ENCOUNTER", "CODE", "START"}},
	{name: "observations", file: "observations", key: observationKey, added: map[string]added{"paired": addedPaired}},
	{name: "payers", file: "payers", pharma: true},
	{name: "payer_transitions", file: "payer_transitions", pharma: true, key: []string{"PATIENT", "START_DATE"}},
	{name: "medications", file: "medications", pharma: true, key: medicationKey, added: map[string]added{"prescriber": addedPrescriber}},
	{name: "fills", pharma: true, key: medicationKey, added: map[string]added{
		"medication": addedOrder, "organization": addedOrganization, "dispensed": addedDispensed, "refill_number": addedRefill,
		"days_supply": addedDays, "quantity": addedQuantity, "daw": addedDAW, "ndc": addedNDC}},
	{name: "claims", file: "claims", pharma: true, added: claimColumns},
	{name: "claims_transactions", file: "claims_transactions", pharma: true, added: transactionColumns},
}

var medicationKey = []string{"PATIENT", "ENCOUNTER", "CODE", "START"}

// each calls f for every row of the table, in the file's order.
func (t *table) each(data fs.FS, s *survey, f func(c *csvFile, r row) error) error {
	seen := map[[32]byte]int{}
	id := func(table string, c *csvFile) row {
		if t.key == nil {
			return row{id: c.cell("ID")}
		}
		texts := make([]string, len(t.key))
		for i, name := range t.key {
			texts[i] = c.cell(name)
		}
		sum := digest("seen", texts...)
		seen[sum]++
		nth := seen[sum] - 1
		return row{id: surrogate(table, nth, texts...), nth: nth}
	}
	if t.file != "" {
		return each(data, t.file, func(c *csvFile) error { return f(c, id(t.name, c)) })
	}
	return each(data, "medications", func(c *csvFile) error {
		order := id("medications", c)
		return s.fills(c, func(fl fill) error { return f(c, row{id: order.id, fill: fl}) })
	})
}

// value is the text of a column for a row; ok is false when neither the file nor the loader has the column.
func (t *table) value(name string) (get added, ok bool) {
	if get, ok = t.added[name]; ok {
		return get, true
	}
	switch {
	case name == "id" && t.file == "":
		return func(_ *survey, _ *csvFile, r row) (string, error) {
			return surrogate("fills", 0, r.id, strconv.Itoa(r.fill.number)), nil
		}, true
	case name == "id" && t.key != nil:
		return func(_ *survey, _ *csvFile, r row) (string, error) { return r.id, nil }, true
	}
	return nil, false
}

func addedNPI(s *survey, c *csvFile, _ row) (string, error) { return s.npi[c.cell("ID")], nil }

func addedPhone(_ *survey, c *csvFile, _ row) (string, error) { return phoneNumber(c.cell("ID")), nil }

func addedEmail(_ *survey, c *csvFile, _ row) (string, error) {
	return emailAddress(c.cell("ID"), c.cell("FIRST"), c.cell("LAST")), nil
}

func addedMember(s *survey, c *csvFile, _ row) (string, error) {
	if !s.insured[c.cell("ID")] {
		return "", nil
	}
	return memberNumber(c.cell("ID")), nil
}

func addedDeceased(_ *survey, c *csvFile, _ row) (string, error) {
	return strconv.FormatBool(c.cell("DEATHDATE") != ""), nil
}

func addedPrescriber(s *survey, c *csvFile, _ row) (string, error) {
	v, ok := s.visits[c.cell("ENCOUNTER")]
	if !ok {
		return "", c.bad("ENCOUNTER", "no such row in the encounters")
	}
	return v.provider, nil
}

func addedOrganization(s *survey, c *csvFile, _ row) (string, error) {
	v, ok := s.visits[c.cell("ENCOUNTER")]
	if !ok {
		return "", c.bad("ENCOUNTER", "no such row in the encounters")
	}
	return v.organization, nil
}

func addedOrder(_ *survey, _ *csvFile, r row) (string, error) { return r.id, nil }

func addedDispensed(_ *survey, _ *csvFile, r row) (string, error) {
	return r.fill.dispensed.Format("2006-01-02T15:04:05Z"), nil
}

func addedRefill(_ *survey, _ *csvFile, r row) (string, error) {
	return strconv.Itoa(r.fill.number), nil
}

func addedDays(_ *survey, _ *csvFile, r row) (string, error) { return strconv.Itoa(r.fill.days), nil }

func addedQuantity(_ *survey, _ *csvFile, r row) (string, error) { return r.fill.quantity(), nil }

// addedDAW says that nobody asked for the brand ("dispense as written" is off).
func addedDAW(*survey, *csvFile, row) (string, error) { return "0", nil }

func addedNDC(s *survey, c *csvFile, _ row) (string, error) { return s.ndc(c.cell("CODE")), nil }

// A rowWriter turns a table's rows into the text format that PostgreSQL's COPY and MariaDB's LOAD DATA share: tabs, line feeds,
// backslashes before both and themselves, \N for NULL.
type rowWriter struct {
	table   *table
	columns []column
	buf     []byte
	rows    int
}

// add appends one row.
func (w *rowWriter) add(s *survey, c *csvFile, r row) error {
	for i := range w.columns {
		col := &w.columns[i]
		var text string
		name := strings.ToUpper(col.name)
		if get, ok := w.table.value(col.name); ok {
			var err error
			if text, err = get(s, c, r); err != nil {
				return err
			}
		} else {
			text = c.cell(name)
		}
		if i > 0 {
			w.buf = append(w.buf, '\t')
		}
		if text == "" {
			if _, has := c.header[name]; !col.null && !has {
				return &cellError{c.name, 1, name, "no such column in the header, and it is needed"}
			}
			if !col.null {
				return c.bad(name, "empty, and it must have a value")
			}
			w.buf = append(w.buf, `\N`...)
			continue
		}
		out, reason := col.check(text)
		if reason != "" {
			return c.bad(name, reason)
		}
		if out == "" && !col.null {
			return c.bad(name, "no value, and it must have one")
		}
		if out == "" {
			w.buf = append(w.buf, `\N`...)
			continue
		}
		w.buf = escape(w.buf, out)
	}
	w.buf = append(w.buf, '\n')
	w.rows++
	return nil
}

func escape(dst []byte, text string) []byte {
	for i := range len(text) {
		switch b := text[i]; b {
		case '\\':
			dst = append(dst, `\\`...)
		case '\t':
			dst = append(dst, `\t`...)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		default:
			dst = append(dst, b)
		}
	}
	return dst
}
