package main

import (
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The files of a population, in the order they are written.
var fileNames = []string{
	"organizations", "providers", "payers", "patients", "payer_transitions", "encounters", "conditions", "allergies",
	"immunizations", "procedures", "observations", "medications", "claims", "claims_transactions",
}

// visitColumn names the column that says which visit a row belongs to.
var visitColumn = map[string]string{
	"conditions": "ENCOUNTER", "allergies": "ENCOUNTER", "immunizations": "ENCOUNTER", "procedures": "ENCOUNTER",
	"observations": "ENCOUNTER", "medications": "ENCOUNTER", "claims": "APPOINTMENTID", "claims_transactions": "APPOINTMENTID",
}

// timeColumns are moved with their visit.
var timeColumns = []string{
	"START", "STOP", "DATE", "FROMDATE", "TODATE", "CURRENTILLNESSDATE", "SERVICEDATE", "LASTBILLEDDATE1", "LASTBILLEDDATE2", "LASTBILLEDDATEP",
}

// A kind of column says what becomes of a cell in another member's row.
type kind int

const (
	plain   kind = iota // stays
	key                 // another key
	moment              // another time
	refills             // at most maxRefills
)

// maxRefills keeps orders short: the sample has one of 492 fills.
const maxRefills = 6

// A table is one file of the sample.
type table struct {
	name   string
	header []string
	kinds  []kind
	rows   [][]string
}

func (t *table) column(name string) int {
	return slices.IndexFunc(t.header, func(h string) bool { return strings.EqualFold(h, name) })
}

// A visit is an encounter with every row that was made at it.
type visit struct {
	patient, payer string
	start          time.Time
	rows           map[string][][]string // by file
	size           int                   // rows in the databases, fills included
}

// Sample is what populations are made of.
type Sample struct {
	tables map[string]*table
	visits []*visit
	shared map[string]bool // keys of organizations and providers
	payers []string        // that pay for some visit
}

// longestVisit keeps records fine-grained: longer visits are left out.
const longestVisit = 16

// readSample reads the files and cuts them into visits.
func readSample(data fs.FS) (*Sample, error) {
	s := &Sample{tables: map[string]*table{}, shared: map[string]bool{}}
	for _, name := range fileNames {
		t, err := readTable(data, name)
		if err != nil {
			return nil, fmt.Errorf("read the sample's %s: %w", name, err)
		}
		s.tables[name] = t
	}
	for _, name := range []string{"organizations", "providers"} {
		for _, r := range s.tables[name].rows {
			s.shared[r[0]] = true
		}
	}
	if err := s.cut(); err != nil {
		return nil, err
	}
	if len(s.visits) == 0 || len(s.payers) == 0 {
		return nil, errors.New("the sample has no visit that fits")
	}
	return s, nil
}

func readTable(data fs.FS, name string) (*table, error) {
	f, err := data.Open(name + ".csv.gz")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	t := &table{name: name}
	r := csv.NewReader(z)
	if t.header, err = r.Read(); err != nil {
		return nil, err
	}
	t.kinds = make([]kind, len(t.header))
	for {
		row, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		for i, cell := range row {
			if t.kinds[i] == plain && isKey(cell) {
				t.kinds[i] = key
			}
		}
		t.rows = append(t.rows, row)
	}
	for i, name := range t.header {
		switch {
		case slices.Contains(timeColumns, strings.ToUpper(name)):
			t.kinds[i] = moment
		case name == "DISPENSES":
			t.kinds[i] = refills
		}
	}
	return t, nil
}

// cut puts every row to its visit, and drops visits that are long or that a
// second payer paid for.
func (s *Sample) cut() error {
	enc := s.tables["encounters"]
	patient, payer, start := enc.column("PATIENT"), enc.column("PAYER"), enc.column("START")
	visits := map[string]*visit{}
	for _, r := range enc.rows {
		at, err := time.Parse(time.RFC3339, r[start])
		if err != nil {
			return errors.New("the sample has an encounter without a start")
		}
		visits[r[0]] = &visit{patient: r[patient], payer: r[payer], start: at, rows: map[string][][]string{"encounters": {r}}, size: 1}
	}
	for _, name := range fileNames {
		if visitColumn[name] == "" {
			continue
		}
		t := s.tables[name]
		at, n := t.column(visitColumn[name]), t.column("DISPENSES")
		for _, r := range t.rows {
			v := visits[r[at]]
			if v == nil {
				continue // of no visit
			}
			v.rows[name] = append(v.rows[name], r)
			v.size++
			if n >= 0 {
				v.size += refillsOf(r[n])
			}
		}
	}
	s.keep(visits)
	return nil
}

func (s *Sample) keep(visits map[string]*visit) {
	real, second := map[string]bool{}, s.tables["claims"].column("SECONDARYPATIENTINSURANCEID")
	for _, r := range s.tables["payers"].rows {
		real[r[0]] = r[1] != "NO_INSURANCE"
	}
	for _, r := range s.tables["encounters"].rows { // the file's order, for the same visits every time
		v := visits[r[0]]
		two := slices.ContainsFunc(v.rows["claims"], func(c []string) bool { return real[c[second]] })
		if v.size > longestVisit || two || !real[v.payer] {
			continue
		}
		s.visits = append(s.visits, v)
		if !slices.Contains(s.payers, v.payer) {
			s.payers = append(s.payers, v.payer)
		}
	}
}

// refillsOf is how often an order of a population is filled at most.
func refillsOf(dispenses string) int {
	n, err := strconv.Atoi(dispenses)
	if err != nil {
		return 0
	}
	return min(n, maxRefills)
}

func isKey(s string) bool {
	return len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-'
}
