package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const usage = `usage: hammer COMMAND [flags]

  generate  write synthetic members as CSV files, for tributary demo --data
  growth    measure snapshot, live changes, reads and memory over populations of several sizes
  render    write a page's tables from a file of figures

` + "`hammer COMMAND -h` prints a command's flags.\n"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := dispatch(ctx, os.Args[1:])
	stop()
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	default:
		fmt.Fprintln(os.Stderr, "hammer:", err)
		os.Exit(1)
	}
}

func dispatch(ctx context.Context, args []string) error {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		fmt.Print(usage)
		return nil
	}
	switch args[0] {
	case "generate":
		return runGenerate(ctx, args[1:])
	case "growth":
		return runGrowth(ctx, args[1:])
	case "render":
		return runRender(args[1:])
	}
	return fmt.Errorf("unknown command %q; `hammer help` lists the commands", args[0])
}

// newFlags is a command's flag set, which says what the command does.
func newFlags(name, about string) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.Usage = func() {
		fmt.Fprintf(f.Output(), "usage: hammer %s [flags]\n%s\n\n", name, about)
		f.PrintDefaults()
	}
	return f
}

// populationFlags are the flags that every population is made by.
func populationFlags(f *flag.FlagSet) *Population {
	p := &Population{}
	f.Uint64Var(&p.Seed, "seed", 1, "what the members follow from")
	f.Float64Var(&p.Median, "median", 4, "rows that half of the members have at most, before visits are made whole")
	f.Float64Var(&p.Sigma, "sigma", 1.5, "skew: the standard deviation of the logarithm of the rows")
	f.IntVar(&p.Largest, "largest", 20_000, "rows that no member has more of")
	return p
}

func runGenerate(ctx context.Context, args []string) error {
	f := newFlags("generate", "Writes synthetic members as a folder of CSV files. The same flags write the same bytes.")
	p := populationFlags(f)
	f.IntVar(&p.Members, "members", 1000, "how many")
	out := f.String("out", "", "`folder` to write; it must not exist or be empty")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *out == "" || f.NArg() > 0 {
		return errors.New("generate: name the folder with --out, and nothing else (hint: hammer generate -h)")
	}
	began := time.Now()
	made, err := p.Write(ctx, *out)
	if err != nil {
		return err
	}
	printMade(os.Stdout, made)
	fmt.Printf("in %s, %.1f s\n", *out, time.Since(began).Seconds())
	return nil
}

// printMade says how long the members' records are.
func printMade(w io.Writer, m *Made) {
	fmt.Fprintf(w, "%s members, %s rows in the files; a member has %s at the median, %s at the 99th of 100, %s at most\n", figure(float64(len(m.Members))),
		figure(float64(m.Rows)), figure(float64(m.quantile(0.5))), figure(float64(m.quantile(0.99))), figure(float64(m.quantile(1))))
}

// sizes reads "1000,10000".
func sizes(text string) ([]int, error) {
	var all []int
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < 1 {
			return nil, fmt.Errorf("--members: %q is no number of members", part)
		}
		all = append(all, n)
	}
	return all, nil
}

func say(format string, args ...any) {
	fmt.Fprintln(os.Stderr, time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}
