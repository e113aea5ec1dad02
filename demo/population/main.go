// Command population compares what a running demo serves with the Synthea
// population that it was started on: the CSV files that were loaded, and the FHIR
// resources that Synthea itself made of the same people.
//
// Of every type it counts rows and resources, finds for each resource the one of
// Synthea's export (by patient, encounter, code and time where the files have no
// id), and compares the two element by element. What may differ stands in a list
// with its reason; any other difference fails. It is an HTTP client like any
// other and imports nothing of the server.
package main

import (
	"context"
	_ "embed"
	"flag"
	"fmt"
	"os"
	"os/signal"
)

//go:embed deviations.txt
var knownDeviations string

func main() {
	fhir := flag.String("fhir", "", "base address of the FHIR API")
	rows := flag.String("csv", "", "folder with Synthea's CSV files")
	export := flag.String("export", "", "folder with Synthea's FHIR export of the same population")
	show := flag.Int("show", 3, "how many examples of each undocumented difference to print")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "Compares what a demo serves with Synthea's files and FHIR export. The client's key is in TRIBUTARY_KEY.")
		flag.PrintDefaults()
	}
	flag.Parse()
	if *fhir == "" || *rows == "" || *export == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	equal, err := run(ctx, *fhir, *rows, *export, *show)
	if err != nil {
		fmt.Fprintln(os.Stderr, "population:", err)
		os.Exit(1)
	}
	if !equal {
		os.Exit(1)
	}
}

func run(ctx context.Context, fhir, rows, export string, show int) (equal bool, err error) {
	known, err := parseDeviations(knownDeviations)
	if err != nil {
		return false, err
	}
	files, err := readRows(rows)
	if err != nil {
		return false, err
	}
	theirs, err := readExport(export)
	if err != nil {
		return false, err
	}
	ours, err := readServed(ctx, fhir, os.Getenv("TRIBUTARY_KEY"))
	if err != nil {
		return false, err
	}
	r := newReport(known, show)
	for _, k := range kinds {
		r.compare(k, files, ours, theirs)
	}
	r.fills(files, ours)
	r.lines(files, ours)
	return r.print(os.Stdout), nil
}
