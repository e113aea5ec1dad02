package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"golang.org/x/sync/errgroup"

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/demo"
	"github.com/tributary-health/tributary/testdata"
)

const demoConfigFile = "tributary.yaml"

// demoOptions are the flags of `tributary demo`.
type demoOptions struct {
	data, work, api, broker, workload string
	today                             string
	kafka                             string
	rate                              float64
	clean                             bool
}

func runDemo(ctx context.Context, args []string) error {
	var o demoOptions
	f := newFlags("demo", "Starts two throw-away databases with synthetic members, the whole pipeline, the FHIR API and the change topic.\n"+
		"Ctrl-C stops it all; the next start goes on where it stopped.")
	f.StringVar(&o.data, "data", "", "folder of Synthea CSV files, plain or .gz; default: the sample")
	f.StringVar(&o.work, "work", ".demo", "work folder for everything the demo makes")
	f.StringVar(&o.api, "api", "127.0.0.1:8080", "address of the FHIR API")
	f.StringVar(&o.broker, "broker", "127.0.0.1:9092", "address of the embedded Kafka broker")
	f.StringVar(&o.kafka, "kafka", "", "addresses of a Kafka to use instead of the embedded broker, comma separated; its topics are left behind")
	f.StringVar(&o.today, "today", "", "a date that is always today (2006-01-02); default: the real one")
	f.StringVar(&o.workload, "workload", "on", "keep changing the sources: on or off")
	f.Float64Var(&o.rate, "rate", 20, "how often a second the workload commits a change, of one or several rows; 0: 20 times, less than 0: as often as it can")
	f.BoolVar(&o.clean, "clean", false, "stop the demo's servers and remove everything it made")
	if err := parseFlags(f, args); err != nil {
		return err
	}
	if o.workload != "on" && o.workload != "off" {
		return usageError{fmt.Sprintf("--workload=%s: is neither on nor off", o.workload)}
	}
	if err := new(KafkaConfig).useKafka(o.kafka); err != nil {
		return err
	}
	work, err := filepath.Abs(o.work)
	if err != nil {
		return err
	}
	o.work = work
	if o.clean {
		return cleanDemo(ctx, work)
	}
	if err := os.MkdirAll(work, 0o755); err != nil {
		return err
	}
	unlock, err := lockDemo(work)
	if err != nil {
		return err
	}
	defer unlock()
	// Ports first: a taken one should not cost a minute of loading.
	if err := probePorts(o); err != nil {
		if made, madeErr := demo.Made(work); madeErr == nil && !made { // leave no folder that holds nothing
			_ = os.Remove(filepath.Join(work, demoLockFile))
			_ = os.Remove(work)
		}
		return err
	}
	return startDemo(ctx, o)
}

func probePorts(o demoOptions) error {
	probes := [][2]string{{o.api, "--api"}}
	if o.kafka == "" {
		probes = append(probes, [2]string{o.broker, "--broker"})
	}
	for _, probe := range probes {
		l, err := listen(probe[0], probe[1])
		if err != nil {
			return err
		}
		_ = l.Close()
	}
	return nil
}

// cleanDemo removes what the demo made, and only that.
func cleanDemo(ctx context.Context, work string) error {
	if _, err := os.Stat(work); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	made, err := demo.Made(work)
	if err != nil {
		return err
	}
	if !made {
		return cleanUnmade(work)
	}
	unlock, err := lockDemo(work)
	if err != nil {
		return err
	}
	defer unlock()
	for _, name := range []string{demoEnvFile, demoConfigFile, "data", "keys", demoClientsFile, demoPeopleFile, "tributary.log", demoLockFile} {
		if err := os.RemoveAll(filepath.Join(work, name)); err != nil {
			return err
		}
	}
	if err := demo.Remove(ctx, work); err != nil {
		return err
	}
	fmt.Println("demo: removed", work)
	return nil
}

// cleanUnmade removes a folder in which no demo was ever made: an empty one, or
// one with a lock that nobody holds. Any other is somebody else's.
func cleanUnmade(work string) error {
	entries, err := os.ReadDir(work)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != demoLockFile {
			return fmt.Errorf("demo: no demo was made in %s: nothing deleted", work)
		}
	}
	unlock, err := lockDemo(work)
	if err != nil {
		return err
	}
	defer unlock()
	if err := os.Remove(filepath.Join(work, demoLockFile)); err != nil {
		return err
	}
	if err := os.Remove(work); err != nil {
		return err
	}
	fmt.Println("demo: removed", work)
	return nil
}

func startDemo(ctx context.Context, o demoOptions) error {
	scr := newScreen(os.Stdout)
	if o.kafka == "" && beyondLoopback(o.broker) {
		scr.note(openBroker)
	}
	servers, err := demo.Start(ctx, demo.Options{Work: o.work, Log: scr.note})
	if err != nil {
		return err
	}
	err = withWayOut(loadAndRun(ctx, o, servers, scr), o.work)
	_ = os.Remove(filepath.Join(o.work, demoEnvFile)) // it says that the demo runs
	if ctx.Err() != nil {                             // stopped by its user, servers included
		scr.note("stopping the databases")
		stopping, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		err = errors.Join(ignoreCanceled(err), servers.Stop(stopping))
	}
	return err
}

// withWayOut completes the command that a lost log's error names by the demo's
// own configuration.
func withWayOut(err error, work string) error {
	var lost *capture.Error
	if !errors.As(err, &lost) || (lost.Kind != capture.Gone && lost.Kind != capture.History) {
		return err
	}
	return fmt.Errorf("%w\nhere: bin/tributary run --config %s --resnapshot %s; when it is ready, stop it and start the demo again",
		err, shellPath(work, demoConfigFile), lost.Source)
}

func ignoreCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func loadAndRun(ctx context.Context, o demoOptions, servers *demo.Servers, scr *screen) error {
	var data fs.FS = testdata.Synthea()
	if o.data != "" {
		data = os.DirFS(o.data)
	}
	scr.workload = o.workload == "on"
	load := scr.bars("loading the sample members, unless they are there")
	err := demo.Load(ctx, servers, demo.LoadOptions{Data: data, Progress: func(table string, done, total int64) {
		load.Set(table, done, total)
	}})
	load.Finish()
	if err != nil {
		return err
	}
	cfg, env, err := demoConfig(o, servers)
	if err != nil {
		return err
	}
	logFile, err := os.OpenFile(filepath.Join(o.work, "tributary.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer logFile.Close()
	log := slog.New(slog.NewTextHandler(logFile, nil))
	return runPipeline(ctx, cfg, log, nil, func(ctx context.Context, p *pipeline, addr string) error {
		env["FHIR"] = cfg.TLS.scheme() + "://" + addr + fhirBase
		env["BROKER"] = strings.Join(p.conn.Brokers, ",")
		if err := writeDemoEnv(o.work, env); err != nil {
			return err
		}
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() error { return scr.show(ctx, p, env, o.work) })
		if o.workload == "on" {
			g.Go(func() error { return runWorkload(ctx, p, servers, o.rate, log) })
		}
		return g.Wait()
	})
}

// runWorkload begins when the snapshot is composed, so that the bars are of the
// sample alone.
func runWorkload(ctx context.Context, p *pipeline, servers *demo.Servers, rate float64, log *slog.Logger) error {
	for !p.store.Frontier().Composed {
		select {
		case <-p.store.Changed():
		case <-ctx.Done():
			return nil
		}
	}
	w := demo.Workload{Servers: servers, Rate: rate, Seed: uint64(time.Now().UnixNano())}
	if err := w.Run(ctx); err != nil && ctx.Err() == nil {
		log.Error("workload", "error", err)
		return err
	}
	return nil
}

// demoConfig writes the configuration of the demo's pipeline, so that `verify`
// and `run` can use it, and returns it with what demo.env holds.
func demoConfig(o demoOptions, servers *demo.Servers) (*Config, map[string]string, error) {
	env := map[string]string{
		"PID": strconv.Itoa(os.Getpid()), "POSTGRES_DSN": servers.PostgresDSN(), "MARIADB_DSN": servers.MariaDBDSN(),
	}
	brokers := KafkaConfig{Listen: o.broker}
	if err := brokers.useKafka(o.kafka); err != nil {
		return nil, nil, err
	}
	cfg := &Config{
		Data: filepath.Join(o.work, "data"), API: o.api, CacheMiB: 512, MemTableMiB: 128,
		Kafka: brokers, Clock: ClockConfig{Date: o.today},
		Sources: map[string]SourceConfig{
			"emr":      {Kind: "postgres", DSN: servers.PostgresDSN()},
			"pharmacy": {Kind: "mariadb", DSN: servers.MariaDBDSN()},
		},
	}
	if err := demoClients(o.work, cfg, env); err != nil {
		return nil, nil, err
	}
	text, err := yaml.MarshalWithOptions(cfg, yaml.OmitEmpty())
	if err != nil {
		return nil, nil, err
	}
	path := filepath.Join(o.work, demoConfigFile)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return nil, nil, err
	}
	cfg, err = loadConfig(path)
	return cfg, env, err
}
