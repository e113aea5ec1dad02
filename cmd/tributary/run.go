package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/tributary-health/tributary/capture/clock"
)

// stringList is a flag that may be given several times.
type stringList []string

func (l *stringList) String() string     { return strings.Join(*l, ",") }
func (l *stringList) Set(s string) error { *l = append(*l, s); return nil }

func runRun(ctx context.Context, args []string) error {
	f := newFlags("run", "Runs the pipeline of a configuration file until it is stopped.")
	path := f.String("config", "tributary.yaml", "configuration file")
	apiAddr := f.String("api", "", "address of the FHIR server; default: the configuration's")
	broker := f.String("broker", "", "address of the embedded broker; default: the configuration's")
	brokers := f.String("kafka", "", "addresses of a Kafka to use instead of the embedded broker, comma separated; default: the configuration's")
	logFormat := f.String("log", "text", "log format: text or json")
	var resnapshot stringList
	f.Var(&resnapshot, "resnapshot", "take a new snapshot of this source, whatever its log says (may be repeated)")
	if err := parseFlags(f, args); err != nil {
		return err
	}
	cfg, err := loadConfig(*path)
	if err != nil {
		return err
	}
	if *apiAddr != "" {
		cfg.API = *apiAddr
	}
	if *broker != "" {
		cfg.Kafka.Listen = *broker
	}
	if err := cfg.Kafka.useKafka(*brokers); err != nil {
		return err
	}
	again := map[string]bool{}
	for _, name := range resnapshot {
		if _, ok := cfg.Sources[name]; !ok && name != clock.Source {
			return usageError{fmt.Sprintf("--resnapshot: there is no source %q; there are %s", name, strings.Join(cfg.sourceNames(), ", "))}
		}
		again[name] = true
	}
	return runPipeline(ctx, cfg, newLogger(os.Stderr, *logFormat), again, nil)
}

// runPipeline checks, opens and runs everything, and returns when all of it has
// ended. started, if not nil, is called once the API listens.
func runPipeline(ctx context.Context, cfg *Config, log *slog.Logger, resnapshot map[string]bool, started func(context.Context, *pipeline, string) error) error {
	settings, err := cfg.TLS.logged(log)
	if err != nil {
		return err
	}
	l, err := listen(cfg.API, "--api")
	if err != nil {
		return err
	}
	p, err := openPipeline(ctx, cfg, log, resnapshot)
	if err != nil {
		_ = l.Close()
		return err
	}
	defer p.close()
	if err := p.checkAtStart(ctx); err != nil {
		_ = l.Close()
		return err
	}
	if err := p.refuseUncovered(); err != nil {
		_ = l.Close()
		return err
	}
	if p.broker != nil && beyondLoopback(cfg.Kafka.Listen) {
		log.Warn(openBroker, "listen", cfg.Kafka.Listen)
	}
	log.Info("tributary runs", "version", version, "fhir", cfg.TLS.scheme()+"://"+l.Addr().String()+fhirBase, "sources", names(p.sources))
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.serve(ctx, l, settings) })
	g.Go(func() error { return p.run(ctx) })
	if started != nil {
		g.Go(func() error { return started(ctx, p, l.Addr().String()) })
	}
	err = g.Wait()
	log.Info("tributary stops")
	return err
}

// openBroker is said of an embedded broker that other machines can reach.
const openBroker = "the embedded broker listens beyond loopback, and it knows no login: whoever reaches it can read and write every record"

// checkAtStart refuses to start on settings that would lose something. A source
// that does not answer is waited for later, and is no reason to serve nothing.
func (p *pipeline) checkAtStart(ctx context.Context) error {
	report := checkSources(ctx, p.cfg, p.set, p.sources)
	report = slices.DeleteFunc(report, func(f finding) bool { return f.unreachable })
	if len(report) == 0 {
		return nil
	}
	return fmt.Errorf("the sources are not fit to be captured:\n%s", strings.TrimRight(formatFindings(report), "\n"))
}

// refuseUncovered stops a start whose mappings declare a table that the source's
// snapshot did not hold: its rows of before would silently be missing.
func (p *pipeline) refuseUncovered() error {
	var errs []error
	for _, t := range p.worker.Uncovered() {
		if s := p.source(t.Source); s != nil && !s.resnapshot {
			errs = append(errs, fmt.Errorf("table %s was declared after its source's snapshot: the rows it had before are not known (take a new snapshot: tributary run --resnapshot %s)", t, t.Source))
		}
	}
	return errors.Join(errs...)
}

func (p *pipeline) source(name string) *source {
	for _, s := range p.sources {
		if s.name == name {
			return s
		}
	}
	return nil
}
