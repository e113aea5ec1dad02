package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tributary-health/tributary/access"
	"github.com/tributary-health/tributary/api"
	"github.com/tributary-health/tributary/audit"
	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/compose"
	"github.com/tributary-health/tributary/compose/mapping"
	"github.com/tributary-health/tributary/kafka"
	"github.com/tributary-health/tributary/mappings"
	"github.com/tributary-health/tributary/publish"
	"github.com/tributary-health/tributary/store/pebble"
)

// pipeline is one running Tributary: every stage, wired. open starts nothing
// that outlives close; run returns when all its parts have ended.
type pipeline struct {
	cfg      *Config
	log      *slog.Logger
	set      *mapping.Set
	observe  *observer
	broker   *kafka.Broker // nil on a real Kafka
	conn     kafka.Connection
	registry kafka.Registry
	local    *kafka.LocalRegistry
	store    *pebble.DB
	reader   *kafka.Reader
	worker   *compose.Worker
	topic    publishTopic
	pageKey  []byte
	sources  []*source
	audit    *audit.Log
	clients  *access.Registry
	own      []*clientStore // of clients that have one
	outbox   publish.Outbox // the store's, as its publisher uses it
	matching *matching
	match    *api.HashMatcher
}

// loadMappings loads the configured mappings. Every fault is in the error.
func loadMappings(cfg *Config, idKey []byte) (*mapping.Set, error) {
	set, problems := readMappings(cfg, idKey)
	if len(problems) == 0 {
		return set, nil
	}
	found := make([]finding, len(problems))
	for i, p := range problems {
		found[i] = mappingFinding(p)
	}
	return nil, errors.New("mappings:\n" + strings.TrimRight(formatFindings(found), "\n"))
}

// readMappings loads them for whoever lists the faults; files are named as the
// user does.
func readMappings(cfg *Config, idKey []byte) (*mapping.Set, []mapping.Problem) {
	var files fs.FS = mappings.FS
	if cfg.Mappings != "" {
		files = os.DirFS(cfg.Mappings)
	}
	set, problems := mapping.Load(files, mapping.Options{IDKey: idKey})
	if err := unreadableFolder(cfg.Mappings); err != nil {
		return set, []mapping.Problem{{File: cfg.Mappings, What: "the folder of mappings cannot be read: " + err.Error(),
			Hint: "name one that holds mapping files with `mappings` or --mappings; without it the sample's are used"}}
	}
	for i := range problems {
		problems[i].File = mappingFile(cfg, problems[i].File)
	}
	return set, problems
}

func mappingFile(cfg *Config, name string) string {
	if cfg.Mappings == "" {
		return filepath.Join("mappings", name)
	}
	return filepath.Join(cfg.Mappings, name)
}

// readKey reads a key of 32 bytes from the file, making it the first time. The
// id key decides every resource id: whoever loses it changes them all.
func readKey(path string) ([]byte, error) {
	key, err := os.ReadFile(path)
	if err == nil && len(key) != 32 {
		return nil, fmt.Errorf("%s: is %d bytes long, a key has 32", path, len(key))
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	key = make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(path+".new", key, 0o600); err != nil {
		return nil, err
	}
	return key, os.Rename(path+".new", path)
}

// readIDKey reads the id key of a data folder. A store whose key is gone or is
// another is refused: every resource would be deleted and come again under
// another id.
func readIDKey(data string) ([]byte, error) {
	path, known := filepath.Join(data, "id.key"), filepath.Join(data, "id.key.sum")
	sum, err := os.ReadFile(known)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if _, err := os.Stat(path); err != nil && sum != nil {
		return nil, fmt.Errorf("%w: it decides every resource's id (restore it from a copy)", err)
	}
	key, err := readKey(path)
	if err != nil {
		return nil, err
	}
	now := fmt.Sprintf("%x\n", sha256.Sum256(key))
	switch {
	case sum == nil:
		return key, os.WriteFile(known, []byte(now), 0o600)
	case string(sum) != now:
		return nil, fmt.Errorf("%s is not the key that the store's ids were made with (restore it from a copy)", path)
	}
	return key, nil
}

// openPipeline opens broker and store, creates the topics and places the reader
// where the store left off.
func openPipeline(ctx context.Context, cfg *Config, log *slog.Logger, resnapshot map[string]bool) (*pipeline, error) {
	p := &pipeline{cfg: cfg, log: log}
	key, err := readIDKey(cfg.Data)
	if err != nil {
		return nil, fmt.Errorf("id key: %w", err)
	}
	if p.pageKey, err = readKey(filepath.Join(cfg.Data, "page.key")); err != nil {
		return nil, fmt.Errorf("page key: %w", err)
	}
	if p.set, err = loadMappings(cfg, key); err != nil {
		return nil, err
	}
	if p.sources, err = newSources(cfg, p.set); err != nil {
		return nil, err
	}
	p.observe = newObserver(names(p.sources))
	for _, s := range p.sources {
		s.resnapshot, s.warn = resnapshot[s.name], p.log.Warn
	}
	if err := p.open(ctx); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *pipeline) open(ctx context.Context) error {
	if err := p.openBroker(ctx); err != nil {
		return err
	}
	var err error
	p.store, err = pebble.Open(filepath.Join(p.cfg.Data, "store"), pebble.Options{
		CacheBytes: p.cfg.CacheMiB << 20, MemTableBytes: p.cfg.MemTableMiB << 20})
	if err != nil {
		return err
	}
	topics := []string{}
	specs := []kafka.TopicSpec{p.cfg.Kafka.topic(changeTopicName, p.cfg.Partitions)}
	for _, s := range p.sources {
		for _, spec := range kafka.SourceTopics(s.name, s.tableNames(), p.cfg.Partitions) {
			specs = append(specs, p.cfg.Kafka.topic(spec.Name, spec.Partitions))
			topics = append(topics, spec.Name)
		}
	}
	if err := kafka.EnsureTopics(ctx, p.conn, specs); err != nil {
		return err
	}
	offsets := map[kafka.TopicPartition]int64{}
	for tp, next := range p.store.Frontier().Offsets {
		offsets[kafka.TopicPartition(tp)] = next
	}
	p.reader, err = kafka.OpenReader(ctx, kafka.ReaderConfig{
		Connection: p.conn, Registry: p.registry, Topics: topics, Offsets: offsets})
	if err != nil {
		return err
	}
	if p.topic, err = p.openTopic(ctx, specs[0]); err != nil {
		return err
	}
	if p.topic, err = p.continueTopic(ctx, p.topic); err != nil {
		return err
	}
	if err := p.openRecord(); err != nil {
		return err
	}
	if err := p.openClients(ctx); err != nil {
		return err
	}
	if p.matching, err = openMatching(p.cfg.clients, time.Now()); err != nil {
		return err
	}
	if p.match, err = p.newMatcher(); err != nil {
		return err
	}
	return p.openWorker()
}

func (p *pipeline) openBroker(ctx context.Context) error {
	if len(p.cfg.Kafka.Brokers) > 0 {
		p.conn = p.cfg.Kafka.connection()
		p.conn.Connected = logConnections(p.log)
		if err := awaitBroker(ctx, p.conn, p.log); err != nil {
			return err
		}
	} else {
		broker, err := kafka.StartBroker(kafka.BrokerConfig{
			Dir: filepath.Join(p.cfg.Data, "broker"), Addr: p.cfg.Kafka.Listen, ReserveBytes: p.cfg.Kafka.ReserveMiB << 20,
			Hooks: kafka.BrokerHooks{
				Full: func(full bool, free, reserve int64) {
					p.log.Warn("broker: disk space", "refusing", full, "free", free, "reserve", reserve)
				},
				Warning: func(message string) { p.log.Warn("broker: " + message) },
			}})
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("%w: name one with --broker", err)
		}
		if err != nil {
			return err
		}
		p.broker, p.conn = broker, broker.Connection()
	}
	if p.cfg.Kafka.SchemaRegistry != "" {
		rc := p.cfg.Kafka.registry()
		rc.Waiting = logWaiting(p.log)
		r, err := kafka.NewConfluentRegistry(rc)
		p.registry = r
		return err
	}
	local, err := p.openLocalRegistry(ctx)
	if err != nil {
		return err
	}
	p.local, p.registry = local, local
	return nil
}

func (p *pipeline) openWorker() error {
	spill := filepath.Join(p.cfg.Data, "spill")
	if err := os.MkdirAll(spill, 0o700); err != nil {
		return err
	}
	var renewed []string
	for _, s := range p.sources {
		if s.resnapshot {
			renewed = append(renewed, s.name)
		}
	}
	cfg := compose.Config{
		Resnapshot: renewed,
		Set:        p.set, Feed: feed{p.reader}, Store: p.store, Sources: names(p.sources),
		Partitions: p.cfg.Partitions, ChangePartitions: p.cfg.Partitions, SpillDir: spill,
		Hooks: compose.Hooks{
			Applied: func(at change.Freshness, rows, versions int) {
				p.observe.committed(at, rows, versions)
				p.observe.commits.Set(float64(p.store.Frontier().Number))
			},
			Composing: func(done, total int) {
				p.observe.composed(done, total)
				if done == total {
					p.log.Info("compose: every member is composed", "members", total)
				}
			},
			Parked: p.tellParked(),
		}}
	p.matching.configure(&cfg)
	var err error
	p.worker, err = compose.New(cfg)
	return err
}

// run runs every stage until ctx ends or one fails for good.
func (p *pipeline) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range p.sources {
		g.Go(func() error { return p.capture(ctx, s) })
	}
	g.Go(func() error { return p.worker.Run(ctx) })
	g.Go(func() error {
		return rebuildHint(publish.New(publish.Config{
			Outbox: p.outbox, Topic: p.topic, Partitions: p.cfg.Partitions, Generation: p.store.Frontier().Generation,
			Units: int(p.cfg.Kafka.TransactionUnits),
			Hooks: publish.Hooks{
				Published: func(_ int32, _ uint64, records int) { p.observe.announced.Add(float64(records)) },
				Retry: func(err error, delay time.Duration) {
					p.log.Warn("publish: trying again", "in", delay, "error", err)
				},
			}}).Run(ctx))
	})
	g.Go(func() error {
		select {
		case <-p.store.Stopped():
			return p.store.Err()
		case <-ctx.Done():
			return nil
		}
	})
	g.Go(func() error {
		p.runClients(ctx)
		return nil
	})
	g.Go(func() error {
		p.watchEpoch(ctx)
		return nil
	})
	g.Go(func() error {
		select {
		case <-p.audit.Stopped():
			return p.audit.Err()
		case <-ctx.Done():
			return nil
		}
	})
	if p.broker != nil {
		g.Go(func() error { return watch(ctx, p.broker.Err) })
	}
	return g.Wait()
}

// watch returns the error that failed gives, or nil at ctx's end.
func watch(ctx context.Context, failed func() error) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := failed(); err != nil {
				return err
			}
		}
	}
}

// close ends what open started, in reverse.
func (p *pipeline) close() {
	if p.topic != nil {
		p.topic.Close()
	}
	if p.reader != nil {
		p.reader.Close()
	}
	if p.local != nil {
		p.local.Close()
	}
	p.closeClients()
	if p.audit != nil {
		if err := p.audit.Close(); err != nil {
			p.log.Error("audit: close", "error", err)
		}
	}
	if p.store != nil {
		if err := p.store.Close(); err != nil {
			p.log.Error("store: close", "error", err)
		}
	}
	if p.broker != nil {
		p.broker.Close()
	}
}
