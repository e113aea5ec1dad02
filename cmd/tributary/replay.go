package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/compose"
	"github.com/tributary-health/tributary/demo"
	"github.com/tributary-health/tributary/kafka"
	"github.com/tributary-health/tributary/store"
	"github.com/tributary-health/tributary/store/pebble"
)

// replayOptions are the flags of `tributary replay`.
type replayOptions struct {
	work, config, into, from, mappings, announce, broker string
	rebuild                                              bool
	limit                                                int
}

func runReplay(ctx context.Context, args []string) error {
	var o replayOptions
	f := newFlags("replay", "Replays the landing log while the process is stopped, and says what differs. The databases are not needed.\n\n"+
		"  tributary replay                     into a fresh store beside the present one, in the recorded order of commits\n"+
		"  tributary replay --mappings DIR      the same with other mappings: the difference that they would make\n"+
		"  tributary replay --from start        into the present store, which must change nothing and emit nothing\n"+
		"  tributary replay --rebuild           makes a lost store again, from the landing log and the change topic\n\n"+
		"Exits 0 if nothing differs, 1 if something does, 2 if it could not find out.")
	f.StringVar(&o.config, "config", "", "configuration file; default: the demo's")
	f.StringVar(&o.work, "work", ".demo", "work folder of a demo that is stopped, to find its configuration")
	f.StringVar(&o.broker, "broker", "", "address of the embedded broker meanwhile; default: the configuration's")
	f.StringVar(&o.into, "into", "", "folder of the fresh store, which is kept, and taken up again if it was cut off; default: one that is removed")
	f.StringVar(&o.mappings, "mappings", "", "folder of the mappings to replay with; default: the configuration's")
	f.StringVar(&o.from, "from", "", "replay into the present store: from start, or from SOURCE=POSITION[,...]")
	f.BoolVar(&o.rebuild, "rebuild", false, "build the store again, and show what it would announce")
	f.StringVar(&o.announce, "announce", "", "with --rebuild: put the new store in the old one's place, and have the next start announce the `difference` or nothing")
	f.IntVar(&o.limit, "limit", 10, "how many resources of a type and how many elements are named")
	if err := parseFlags(f, args); err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	err := o.run(ctx)
	if err != nil && !errors.Is(err, errReported) && ctx.Err() == nil {
		return cannot(err)
	}
	return err
}

func (o *replayOptions) check() error {
	switch {
	case o.rebuild && (o.from != "" || o.into != "" || o.mappings != ""):
		return usageError{"replay: --rebuild takes neither --from, --into nor --mappings"}
	case o.from != "" && (o.into != "" || o.mappings != ""):
		return usageError{"replay: --from replays into the present store: leave --into and --mappings out"}
	case o.announce != "" && !o.rebuild:
		return usageError{"replay: --announce belongs to --rebuild"}
	case o.announce != "" && o.announce != announceNothing && o.announce != announceDifference:
		return usageError{fmt.Sprintf("replay: --announce %s: is neither difference nor nothing", o.announce)}
	}
	if o.config == "" {
		o.config = filepath.Join(o.work, demoConfigFile)
	}
	return nil
}

func (o *replayOptions) run(ctx context.Context) error {
	cfg, err := loadConfig(o.config)
	if err != nil {
		return err
	}
	if o.broker != "" {
		cfg.Kafka.Listen = o.broker
	}
	if o.mappings != "" {
		cfg.Mappings = o.mappings
	}
	r := &replay{pipeline: &pipeline{cfg: cfg, log: slog.New(slog.NewTextHandler(os.Stderr, nil))}, options: o}
	defer r.close()
	if err := r.open(ctx); err != nil {
		return err
	}
	switch {
	case o.rebuild:
		return r.rebuild(ctx)
	case o.from != "":
		return r.same(ctx)
	}
	return r.fresh(ctx)
}

// replay is the part of a pipeline that a replay needs: mappings, broker and
// stores, and nothing that runs by itself.
type replay struct {
	*pipeline
	options *replayOptions
	readers []interface{ Close() }
}

func (r *replay) open(ctx context.Context) error {
	folder := filepath.Join(r.cfg.Data, "id.key")
	if _, err := os.Stat(folder); err != nil {
		return fmt.Errorf("%w: a replay needs the key that ids were made with, and the log: is %s the data folder?", err, r.cfg.Data)
	}
	key, err := readIDKey(r.cfg.Data)
	if err != nil {
		return fmt.Errorf("id key: %w", err)
	}
	if r.set, err = loadMappings(r.cfg, key); err != nil {
		return err
	}
	if r.sources, err = newSources(r.cfg, r.set); err != nil {
		return err
	}
	if r.matching, err = openMatching(r.cfg.clients, time.Now()); err != nil {
		return err
	}
	err = r.openBroker(ctx)
	if errors.Is(err, kafka.ErrInUse) {
		err = fmt.Errorf("%w: %s", err, needsStopped)
	}
	return err
}

// needsStopped is said of what a running process has open.
const needsStopped = "a replay needs the process stopped"

func (r *replay) close() {
	for _, reader := range r.readers {
		reader.Close()
	}
	r.pipeline.close()
}

// openStore opens a store's folder; that of a running process is refused.
func (r *replay) openStore(dir string) (*pebble.DB, error) {
	db, err := pebble.Open(dir, pebble.Options{CacheBytes: r.cfg.CacheMiB << 20, MemTableBytes: r.cfg.MemTableMiB << 20})
	if errors.Is(err, store.ErrLocked) {
		return nil, fmt.Errorf("%w: %s", err, needsStopped)
	}
	return db, err
}

// openPresent opens the store in place.
func (r *replay) openPresent() error {
	dir := filepath.Join(r.cfg.Data, "store")
	var err error
	if _, err = os.Stat(dir); err == nil {
		r.store, err = r.openStore(dir)
	}
	if err != nil {
		return err
	}
	if f := r.store.Frontier(); !f.Composed {
		return fmt.Errorf("the store in %s has composed nothing yet (if it was lost: tributary replay --rebuild --config %s)", dir, r.options.config)
	}
	return nil
}

// fresh replays into a store of its own and compares.
func (r *replay) fresh(ctx context.Context) error {
	if err := r.openPresent(); err != nil {
		return err
	}
	dir := r.options.into
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp(r.cfg.Data, "replay-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	fresh, err := r.openStore(dir)
	if err != nil {
		return err
	}
	defer fresh.Close()
	if err := r.claim(fresh, dir); err != nil {
		return err
	}
	begun := time.Now()
	// What a rebuild made is in no order of the store's own: it is made again as it
	// was, and the rest in the recorded order.
	if past, err := continuationOf(r.store); err != nil {
		return err
	} else if past != nil && fresh.Frontier().Number < past.Commit {
		if err := r.carry(ctx, fresh, past); err != nil {
			return err
		}
	}
	if err := r.follow(ctx, fresh); err != nil {
		return err
	}
	number := r.store.Frontier().Number
	fmt.Printf("replayed %d commits in the recorded order in %.1f s\n", number, time.Since(begun).Seconds())
	return r.account(ctx, r.store, fresh, uint64(number))
}

// claim notes in a fresh store what it is a replay of, and refuses one that is
// of something else.
func (r *replay) claim(fresh *pebble.DB, dir string) error {
	const name = "replay"
	of := r.store.Generation() + " " + r.set.Version()
	noted, err := fresh.Noted(name)
	switch {
	case err != nil:
		return err
	case string(noted) == of:
		return nil
	case noted != nil || fresh.Frontier().Number > 0:
		return fmt.Errorf("%s holds another store, or a replay of one or with other mappings: name another folder with --into, or remove it", dir)
	}
	return fresh.Note(name, []byte(of))
}

// follow replays in the order that the present store has recorded.
func (r *replay) follow(ctx context.Context, fresh *pebble.DB) error {
	feeds, err := r.feeds(ctx, fresh.Frontier().Offsets)
	if err != nil {
		return err
	}
	spill, err := os.MkdirTemp(r.cfg.Data, "spill-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(spill)
	bars := demo.NewBars(os.Stderr)
	bars.Unit = "commits"
	defer bars.Finish()
	return compose.Replay(ctx, compose.ReplayConfig{
		Config: r.composing(fresh, spill, bars), Feeds: feeds, Order: r.store, Last: r.store.Frontier().Number,
		Progress: func(done, last commit.Number) { bars.Set("replay", int64(done), int64(last)) },
	})
}

func (r *replay) composing(into compose.Store, spill string, bars *demo.Bars) compose.Config {
	c := compose.Config{
		Set: r.set, Store: into, Sources: names(r.sources), SpillDir: spill,
		Partitions: r.cfg.Partitions, ChangePartitions: r.cfg.Partitions,
		Hooks: compose.Hooks{Composing: func(done, total int) {
			if total > 0 {
				bars.Set("members composed", int64(done), int64(total))
			}
		}},
	}
	r.matching.configure(&c)
	return c
}
