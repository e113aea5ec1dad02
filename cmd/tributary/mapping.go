package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/tributary-health/tributary/compose/mappingtest"
)

// runMapping is what there is to do with mappings alone.
func runMapping(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "test":
			return runMappingTest(ctx, args[1:])
		case "schema":
			return runMappingSchema(ctx, args[1:])
		case "-h", "--help", "help":
			_ = runMappingTest(ctx, []string{"-h"})
			fmt.Fprintln(os.Stderr)
			return runMappingSchema(ctx, []string{"-h"})
		}
		return usageError{fmt.Sprintf("mapping: there is no %q; it is test or schema", args[0])}
	}
	return usageError{"mapping: say test or schema"}
}

func runMappingTest(_ context.Context, args []string) error {
	f := newFlags("mapping test [PATH...]", "Composes the rows of text cases and compares the resources with those that the cases want.\n"+
		"PATH is a case or a folder of cases; default: testdata in the mapping folder. Exits 1 if\n"+
		"anything differs, 2 if the cases cannot be run.")
	folder := f.String("mappings", "mappings", "mapping folder")
	rewrite := f.Bool("rewrite", false, "write what the rows give into the cases instead")
	run := f.String("run", "", "only the cases whose path matches this regular expression")
	paths, err := parseMixed(f, args)
	if err != nil {
		return err
	}
	o := mappingtest.Options{Mappings: os.DirFS(*folder), Folder: *folder, Paths: paths, Rewrite: *rewrite}
	if _, err := os.Stat(*folder); err != nil {
		return cannot(fmt.Errorf("mapping test: the mapping folder: %w; name it by --mappings", err))
	}
	if len(o.Paths) == 0 {
		o.Paths = []string{filepath.Join(*folder, "testdata")}
	}
	if *run != "" {
		if o.Run, err = regexp.Compile(*run); err != nil {
			return usageError{"mapping test: --run: " + err.Error()}
		}
	}
	report, err := mappingtest.Run(o)
	if errors.Is(err, mappingtest.ErrNoCases) {
		fmt.Fprintf(os.Stderr, "tributary: mapping test: %v\n", err)
		return errReported
	}
	if err != nil {
		return cannot(fmt.Errorf("mapping test: %w", err))
	}
	report.Print(os.Stdout)
	if report.Failed() > 0 {
		return errReported
	}
	return nil
}

// parseMixed is parseFlags for commands that take arguments, before flags or
// behind them.
func parseMixed(f *flag.FlagSet, args []string) (rest []string, err error) {
	for {
		if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
			return nil, err
		} else if err != nil {
			return nil, errUsageShown
		}
		if f.NArg() == 0 {
			return rest, nil
		}
		rest, args = append(rest, f.Arg(0)), f.Args()[1:]
	}
}

func runMappingSchema(ctx context.Context, args []string) error {
	f := newFlags("mapping schema", "Prints the columns of the captured tables as the sources have them now, in the form of\n"+
		mappingtest.SchemaFile+", which the cases of `tributary mapping test` need. Reads catalogs, no row.")
	path := f.String("config", "tributary.yaml", "configuration file")
	if err := parseFlags(f, args); err != nil {
		return err
	}
	cfg, err := loadConfig(*path)
	if err != nil {
		return cannot(err)
	}
	set, problems := readMappings(cfg, make([]byte, 32)) // ids play no part
	if set.Root().Table.Name == "" {
		for _, p := range problems {
			return cannot(p)
		}
	}
	sources, err := newSources(cfg, set)
	if err != nil {
		return cannot(err)
	}
	schemas := mappingtest.Schemas{}
	for _, s := range sources {
		asking, cancel := context.WithTimeout(ctx, 20*time.Second)
		err := s.describe(asking, false, schemas)
		cancel()
		if err != nil {
			return cannot(err)
		}
	}
	return mappingtest.WriteSchemas(os.Stdout, schemas)
}
