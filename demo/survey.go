package demo

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// A survey is what must be known of all files before the first row is written.
type survey struct {
	last      time.Time           // the newest time of encounters and medications
	visits    map[string]visit    // by encounter id
	insured   map[string]bool     // patients that any payer paid for
	npi       map[string]string   // by provider id
	rows      map[string]int64    // by table
	ndc       func(string) string // RxNorm to NDC
	realPayer map[string]bool     // payers that pay
	pressures map[[32]byte]int    // blood pressure rows by code and measurement
	book      *claimBook          // what the claims lack
}

// A visit is what an encounter adds to the orders made there.
type visit struct{ provider, organization string }

// required are the files without which the others' rows have nothing to point at.
var required = []string{"patients", "organizations", "providers", "encounters", "payers"}

// noInsurance is the name of the payer that pays nothing.
const noInsurance = "NO_INSURANCE"

// look reads what is needed beforehand, and counts every table's rows.
func look(data fs.FS) (*survey, error) {
	s := &survey{
		visits: map[string]visit{}, insured: map[string]bool{}, npi: map[string]string{},
		rows: map[string]int64{}, realPayer: map[string]bool{}, pressures: map[[32]byte]int{},
	}
	for _, name := range required {
		f, file, err := openText(data, name)
		if err != nil {
			return nil, err
		}
		if f == nil {
			return nil, fmt.Errorf("demo: the data folder has neither %s.csv nor %s.csv.gz (hint: --data names a folder of Synthea CSV files)", name, name)
		}
		if err := f.Close(); err != nil {
			return nil, fmt.Errorf("demo: read %s: %w", file, err)
		}
	}
	var err error
	if s.ndc, err = drugCodes(); err != nil {
		return nil, err
	}
	for _, step := range []func(fs.FS) error{s.payers, s.providers, s.encounters, s.coverage, s.claims, s.medications, s.bloodPressures, s.claimBook, s.count} {
		if err := step(data); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *survey) payers(data fs.FS) error {
	return each(data, "payers", func(c *csvFile) error {
		if c.cell("NAME") != noInsurance {
			s.realPayer[strings.Clone(c.cell("ID"))] = true
		}
		return nil
	})
}

// providers gives every provider an NPI of its own: the file's, where it has that column, or an invented one.
func (s *survey) providers(data fs.FS) error {
	taken := map[string]bool{}
	return each(data, "providers", func(c *csvFile) error {
		npi := strings.TrimSpace(c.cell("NPI"))
		if npi != "" && !validNPI(npi) {
			return c.bad("NPI", "not ten digits with a right check digit")
		}
		for try := 0; npi == "" || c.cell("NPI") == "" && taken[npi]; try++ {
			npi = nationalProvider(c.cell("ID"), try)
		}
		taken[npi] = true
		s.npi[strings.Clone(c.cell("ID"))] = npi
		return nil
	})
}

func (s *survey) encounters(data fs.FS) error {
	return each(data, "encounters", func(c *csvFile) error {
		s.visits[strings.Clone(c.cell("ID"))] = visit{strings.Clone(c.cell("PROVIDER")), strings.Clone(c.cell("ORGANIZATION"))}
		s.paid(c.cell("PATIENT"), c.cell("PAYER"))
		return s.newest(c)
	})
}

func (s *survey) coverage(data fs.FS) error {
	return each(data, "payer_transitions", func(c *csvFile) error {
		s.paid(c.cell("PATIENT"), c.cell("PAYER"))
		return nil
	})
}

func (s *survey) claims(data fs.FS) error {
	return each(data, "claims", func(c *csvFile) error {
		s.paid(c.cell("PATIENTID"), c.cell("PRIMARYPATIENTINSURANCEID"))
		s.paid(c.cell("PATIENTID"), c.cell("SECONDARYPATIENTINSURANCEID"))
		return nil
	})
}

func (s *survey) medications(data fs.FS) error {
	return each(data, "medications", func(c *csvFile) error {
		s.paid(c.cell("PATIENT"), c.cell("PAYER"))
		return s.newest(c)
	})
}

// paid notes that a payer paid for a patient.
func (s *survey) paid(patient, payer string) {
	if s.realPayer[payer] && !s.insured[patient] {
		s.insured[strings.Clone(patient)] = true
	}
}

// newest moves the last day on.
func (s *survey) newest(c *csvFile) error {
	for _, name := range []string{"START", "STOP"} {
		text := c.cell(name)
		if text == "" {
			continue
		}
		t, ok := parseTime(text)
		if !ok {
			return c.bad(name, "not a time (YYYY-MM-DDThh:mm:ssZ)")
		}
		if t.After(s.last) {
			s.last = t
		}
	}
	return nil
}

// count fills rows; fills can be counted only now that the last day is known.
func (s *survey) count(data fs.FS) error {
	for _, t := range tables {
		if t.file == "" {
			continue
		}
		n, err := countRecords(data, t.file)
		if err != nil {
			return err
		}
		s.rows[t.name] = n
	}
	return each(data, "medications", func(c *csvFile) error {
		return s.fills(c, func(fill) error { s.rows["fills"]++; return nil })
	})
}

// fills calls each for the fills of the current record of medications.
func (s *survey) fills(c *csvFile, each func(fill) error) error {
	if c.cell("DISPENSES") == "" {
		return nil
	}
	n, err := strconv.ParseUint(c.cell("DISPENSES"), 10, 31)
	if err != nil {
		return c.bad("DISPENSES", "not a whole number that the column holds")
	}
	start, ok := parseTime(c.cell("START"))
	if !ok {
		return c.bad("START", "not a time (YYYY-MM-DDThh:mm:ssZ)")
	}
	var stop time.Time
	if c.cell("STOP") != "" {
		if stop, ok = parseTime(c.cell("STOP")); !ok {
			return c.bad("STOP", "not a time (YYYY-MM-DDThh:mm:ssZ)")
		}
	}
	return monthly(start, stop, s.last, int(n), each)
}
