// Command tributary carries the row changes of systems of record into FHIR
// resources, serves them and announces them. `tributary help` lists what it
// does.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
)

// version is what `tributary version` prints; a release sets it when linking.
var version = "0.1.0-dev"

// errReported ends the process with status 1 when everything was said already.
var errReported = errors.New("reported")

// usageError ends the process with status 2.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

type command struct {
	name    string
	summary string
	run     func(ctx context.Context, args []string) error
}

func commands() []command {
	return []command{
		{"demo", "two throw-away databases, the sample members and the whole pipeline", runDemo},
		{"run", "the pipeline of a configuration file", runRun},
		{"check", "validate configuration, mappings and the sources' settings", runCheck},
		{"mapping", "run text cases over mappings, print the tables they need", runMapping},
		{"verify", "recompute every resource from the sources and compare", runVerify},
		{"match", "ask a payer which people of a file are its members, by hash", runMatch},
		{"replay", "replay the log into the present store, or into a fresh one, and compare", runReplay},
		{"audit", "verify, account for and list the record of disclosures", runAudit},
		{"status", "positions, lag and parked members of a running process", runStatus},
		{"tail", "subscribe to the change topic and print changes", runTail},
		{"version", "print the version", runVersion},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err := dispatch(ctx, os.Args[1:])
	var usage usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "tributary: %v\n", err)
		os.Exit(2)
	case errors.Is(err, errReported):
		os.Exit(1)
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
	default:
		fmt.Fprintf(os.Stderr, "tributary: %v\n", err)
		os.Exit(1)
	}
}

func dispatch(ctx context.Context, args []string) error {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		printUsage(os.Stdout)
		return nil
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.run(ctx, args[1:])
		}
	}
	return usageError{fmt.Sprintf("unknown command %q; `tributary help` lists the commands", args[0])}
}

func printUsage(w io.Writer) {
	fmt.Fprintln(w, "usage: tributary COMMAND [flags]")
	fmt.Fprintln(w)
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-9s %s\n", c.name, c.summary)
	}
	fmt.Fprintln(w, "\n`tributary COMMAND -h` prints a command's flags.")
}

// newFlags returns a flag set that reports to standard error and takes no
// arguments beside flags.
func newFlags(name, about string) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.Usage = func() {
		fmt.Fprintf(f.Output(), "usage: tributary %s [flags]\n%s\n\n", name, about)
		f.PrintDefaults()
	}
	return f
}

func parseFlags(f *flag.FlagSet, args []string) error {
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errUsageShown
	}
	if f.NArg() > 0 {
		return usageError{fmt.Sprintf("%s: unexpected argument %q", f.Name(), f.Arg(0))}
	}
	return nil
}

// errUsageShown is for what package flag has already printed.
var errUsageShown = usageError{"see the flags above"}

func newLogger(w io.Writer, format string) *slog.Logger {
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, nil))
	}
	return slog.New(slog.NewTextHandler(w, nil))
}

func runVersion(_ context.Context, args []string) error {
	if err := parseFlags(newFlags("version", "Prints version, revision and Go version."), args); err != nil {
		return err
	}
	revision := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	fmt.Printf("tributary %s (revision %s, %s)\n", version, revision, runtime.Version())
	return nil
}
