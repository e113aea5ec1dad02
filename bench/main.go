// Command bench measures each hot path of Tributary beside what it cannot beat:
// capture beside the database's own tool and a bare library, reads beside a bare
// handler, composition and projection beside their writes alone, the record of
// disclosures beside none, matching beside bare hashing. README.md says what each figure
// means. Every pair runs in turns, in one process run, on one machine; what
// counts is the ratio of a turn's two halves, and of these the median.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/tributary-health/tributary/demo"
	"github.com/tributary-health/tributary/testdata"
)

// options are the command's flags.
type options struct {
	only    string
	rows    int
	turns   int
	copies  int
	seconds float64
	out     string
	page    string
	profile string
}

// lab is what the benchmarks share.
type lab struct {
	options
	work    string
	servers *demo.Servers
	report  *Report
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "load" { // see load.go
		exit(loadMain(os.Args[2:]))
	}
	var o options
	flag.StringVar(&o.only, "only", "postgres,mariadb,compose,reads,disclosure,match", "which `benchmarks` to run")
	flag.IntVar(&o.rows, "rows", 1_000_000, "rows that are captured")
	flag.IntVar(&o.turns, "turns", 5, "turns of each pair")
	flag.IntVar(&o.copies, "copies", 10, "how often the sample's members are taken, each time as other members")
	flag.Float64Var(&o.seconds, "seconds", 2, "length of one half of a turn of reads")
	flag.StringVar(&o.out, "out", "bench/results", "`folder` for the figures; empty: print only")
	flag.StringVar(&o.page, "page", "bench/README.md", "`page` whose tables are rewritten; empty: none")
	flag.StringVar(&o.profile, "profile", "", "`folder` for a CPU profile of the last turn of each; it slows that turn")
	render := flag.String("render", "", "write the page's tables from this `file` of figures, and run nothing")
	flag.Parse()
	if *render != "" {
		exit(renderFile(*render, o.page))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// run makes the servers, runs the chosen benchmarks and takes everything away
// again.
func run(ctx context.Context, o options) (err error) {
	began := time.Now()
	work, err := os.MkdirTemp("", "tributary-bench-")
	if err != nil {
		return err
	}
	l := &lab{options: o, work: work}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if failed := demo.Remove(ctx, filepath.Join(work, "servers")); err == nil && failed != nil {
			err = failed
		}
		_ = os.RemoveAll(work)
	}()
	if err := os.Chmod(work, 0o755); err != nil { // the servers' users pass through
		return err
	}
	l.servers, err = demo.Start(ctx, demo.Options{Work: filepath.Join(work, "servers"), Log: say})
	if err != nil {
		return err
	}
	say("loading the sample")
	if err := demo.Load(ctx, l.servers, demo.LoadOptions{Data: testdata.Synthea()}); err != nil {
		return err
	}
	if l.report, err = newReport(ctx, l.servers); err != nil {
		return err
	}
	if err := l.all(ctx); err != nil {
		return err
	}
	l.report.Took = time.Since(began).Round(time.Second).String()
	return l.report.finish(o.out, o.page)
}

func (l *lab) all(ctx context.Context) error {
	if l.wants("postgres") {
		if err := l.postgres(ctx); err != nil {
			return fmt.Errorf("postgres: %w", err)
		}
	}
	if l.wants("mariadb") {
		if err := l.mariadb(ctx); err != nil {
			return fmt.Errorf("mariadb: %w", err)
		}
	}
	if l.wants("match") {
		if err := l.match(ctx); err != nil {
			return fmt.Errorf("match: %w", err)
		}
	}
	if !l.wants("compose") && !l.wants("reads") && !l.wants("disclosure") {
		return nil
	}
	c, err := l.compose(ctx)
	if err != nil {
		return fmt.Errorf("compose: %w", err)
	}
	defer c.close()
	if l.wants("reads") {
		if err := l.reads(ctx, c); err != nil {
			return fmt.Errorf("reads: %w", err)
		}
	}
	if l.wants("disclosure") {
		if err := l.disclosure(ctx, c); err != nil {
			return fmt.Errorf("disclosure: %w", err)
		}
	}
	return nil
}

func (l *lab) wants(name string) bool {
	for n := range strings.SplitSeq(l.only, ",") {
		if n == name {
			return true
		}
	}
	return false
}

func say(line string) { fmt.Fprintln(os.Stderr, time.Now().Format(time.TimeOnly), line) }
