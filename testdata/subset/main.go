// Subset cuts the sample out of a folder of Synthea CSV files: all rows of the chosen members, and the organizations, providers
// and payers they name. The same input gives the same files, byte for byte.
//
//	go run ./testdata/subset -from DIR -to testdata/synthea
package main

import (
	"compress/gzip"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// members are the beginnings of the chosen patients' Ids, each with what it is chosen for.
var members = []string{
	"837570f5", // died at 14; claims name a payer, but there are no payer_transitions
	"63fd1d57", // died in 1989; five orders stop before they start; two orders share their natural key
	"653330dd", // born 1932: 501 orders, uninsured spans among three payers, allergies
	"433eb64e", // died in 2025: 565 orders, 2,770 fills, 11,447 observations; a secondary payer
	"6e6188d8", // eleven allergies, some of category medication; three payers
	"d67c7fe5", // two orders share their natural key; allergies of both kinds; a secondary payer
	"533ed970", // born 2025, with allergies and open orders
	"6cdd91b0", // two plans side by side, and eleven uninsured spans
	"fbf5996e", // Hispanic; three payers; two orders share their natural key
	"f8c203c2", // eight allergies, none of category medication
	"7bece195", // never insured: nobody paid, so no member number
}

// rowsOf names the column that says whose a table's rows are.
var rowsOf = []struct{ table, column string }{
	{"patients", "Id"}, {"encounters", "PATIENT"}, {"conditions", "PATIENT"}, {"allergies", "PATIENT"},
	{"immunizations", "PATIENT"}, {"procedures", "PATIENT"}, {"observations", "PATIENT"}, {"payer_transitions", "PATIENT"},
	{"medications", "PATIENT"}, {"claims", "PATIENTID"}, {"claims_transactions", "PATIENTID"},
}

func main() {
	from := flag.String("from", "", "folder of Synthea CSV files, gzipped")
	to := flag.String("to", "testdata/synthea", "folder to write")
	flag.Parse()
	if err := run(*from, *to); err != nil {
		fmt.Fprintln(os.Stderr, "subset:", err)
		os.Exit(1)
	}
}

func run(from, to string) error {
	named := map[string]bool{} // every cell of a chosen row
	note := func(row []string) {
		for _, cell := range row {
			named[cell] = true
		}
	}
	for _, t := range rowsOf {
		kept, err := filter(from, to, t.table, t.column, chosen, note)
		if err != nil {
			return err
		}
		if t.table == "patients" && kept != len(members) {
			return fmt.Errorf("%d of the %d members are in %s", kept, len(members), from)
		}
	}
	referred := func(id string) bool { return named[id] }
	for _, table := range []string{"payers", "providers", "organizations"} { // a provider names its organization
		if _, err := filter(from, to, table, "Id", referred, note); err != nil {
			return err
		}
	}
	return nil
}

func chosen(id string) bool {
	for _, m := range members {
		if strings.HasPrefix(id, m) {
			return true
		}
	}
	return false
}

// filter copies a table's rows whose column passes keep, and returns their number.
func filter(from, to, table, column string, keep func(string) bool, note func([]string)) (n int, err error) {
	in, err := os.Open(filepath.Join(from, table+".csv.gz"))
	if err != nil {
		return 0, err
	}
	defer in.Close()
	text, err := gzip.NewReader(in)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", table, err)
	}
	out, err := os.Create(filepath.Join(to, table+".csv.gz"))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	zip, err := gzip.NewWriterLevel(out, gzip.BestCompression)
	if err != nil {
		return 0, err
	}
	n, err = copyRows(csv.NewReader(text), csv.NewWriter(zip), column, keep, note)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", table, err)
	}
	return n, zip.Close()
}

func copyRows(r *csv.Reader, w *csv.Writer, column string, keep func(string) bool, note func([]string)) (n int, err error) {
	at := -1
	for {
		row, err := r.Read()
		if err == io.EOF {
			w.Flush()
			return n, w.Error()
		}
		if err != nil {
			return 0, err
		}
		if at < 0 {
			for i, name := range row {
				if name == column {
					at = i
				}
			}
			if at < 0 {
				return 0, fmt.Errorf("no column %s", column)
			}
		} else if !keep(row[at]) {
			continue
		} else {
			n++
			note(row)
		}
		if err := w.Write(row); err != nil {
			return 0, err
		}
	}
}
