package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tributary-health/tributary/access"
	"github.com/tributary-health/tributary/api"
	"github.com/tributary-health/tributary/audit"
	"github.com/tributary-health/tributary/kafka"
	"github.com/tributary-health/tributary/projection"
	"github.com/tributary-health/tributary/publish"
	"github.com/tributary-health/tributary/store"
	"github.com/tributary-health/tributary/store/pebble"
)

// readAccess reads the reviewed file of clients; what is wrong with it is found
// with its place. What is only doubtful is kept for those who look.
func (c *Config) readAccess() []finding {
	if c.Access == "" {
		return nil
	}
	clients, problems := access.LoadClients(c.Access)
	c.clients = clients
	var found []finding
	for _, p := range problems {
		where := p.File
		if p.Line > 0 {
			where = fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
		}
		one := finding{where: where, what: p.What, hint: p.Hint, warning: p.Warning}
		if p.Warning {
			c.doubts = append(c.doubts, one)
			continue
		}
		found = append(found, one)
	}
	return found
}

// clientStore is the store of one client from which something is hidden, or which
// has a topic of its own, with what fills it and what is told from it.
type clientStore struct {
	client     access.Client
	build      uint32
	store      *pebble.DB
	projection *projection.Projection
	topicName  string
	topic      publishTopic           // nil without a topic of its own
	unsent     atomic.Pointer[string] // why its topic gets nothing more, if so
}

// ownStore says whether the client reads a store of its own. One that sees
// everything and has no topic reads the pipeline's.
func ownStore(c access.Client) bool { return !c.Policy.Whole() || c.Changes }

// openClients opens the stores of all clients that have one, and holds in the
// pipeline's outbox what they have not taken yet.
func (p *pipeline) openClients(ctx context.Context) error {
	p.clients = access.NewRegistry(p.cfg.clients...)
	var all []*projection.Projection
	for _, c := range p.cfg.clients {
		if !ownStore(c) {
			continue
		}
		own, err := p.openClient(ctx, c)
		if own != nil {
			p.own = append(p.own, own)
		}
		if err != nil {
			return fmt.Errorf("client %s: %w", c.ID, err)
		}
		all = append(all, own.projection)
	}
	p.outbox = p.store
	if len(all) > 0 {
		p.outbox = p.store.Keep(projection.Taken(all...))
	}
	return p.removeFormer()
}

// openClient opens the client's newest build, or begins the next one if it is of
// another policy. What was built before is removed: it is served no more.
func (p *pipeline) openClient(ctx context.Context, c access.Client) (*clientStore, error) {
	folder := filepath.Join(p.clientsFolder(), c.ID)
	builds, err := buildsIn(folder)
	if err != nil {
		return nil, err
	}
	build, err := p.newestBuild(c.ID, builds)
	if err != nil {
		return nil, err
	}
	own, err := p.openBuild(c, folder, build)
	if errors.Is(err, projection.ErrOther) || errors.Is(err, store.ErrFormat) {
		p.log.Info("client: what it sees is made anew", "client", c.ID, "reason", err)
		if c.Changes {
			p.log.Warn("client: the topic of its former policy still holds what that showed: delete it", "client", c.ID, "topic", clientTopic(c.ID, build))
		}
		builds = append(builds, build)
		build++
		own, err = p.openBuild(c, folder, build)
	}
	if err != nil {
		return nil, err
	}
	if err := p.store.Note(buildNote(c.ID), []byte(strconv.FormatUint(uint64(build), 10))); err != nil {
		return own, err
	}
	for _, old := range builds {
		if old != build {
			if err := os.RemoveAll(buildFolder(folder, old)); err != nil {
				return own, err
			}
		}
	}
	if !c.Changes {
		return own, nil
	}
	return own, p.openClientTopic(ctx, own)
}

func (p *pipeline) clientsFolder() string { return filepath.Join(p.cfg.Data, "clients") }

func buildNote(id string) string { return "client-build/" + id }

// newestBuild is the build to open. A number whose folder is gone is not used
// again: its versions and its topic were another build's.
func (p *pipeline) newestBuild(id string, builds []uint32) (uint32, error) {
	if len(builds) > 0 {
		return builds[len(builds)-1], nil
	}
	note, err := p.store.Noted(buildNote(id))
	if err != nil || note == nil {
		return 0, err
	}
	last, err := strconv.ParseUint(string(note), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("note of the last build: %w", err)
	}
	return uint32(last) + 1, nil
}

// removeFormer removes the stores of clients that have none any more. They hold
// nothing that cannot be made again, and would be members' data that nobody
// keeps an eye on.
func (p *pipeline) removeFormer() error {
	entries, err := os.ReadDir(p.clientsFolder())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if p.ownOf(e.Name()) != nil || !e.IsDir() {
			continue
		}
		p.log.Info("client: the store of one that has none any more is removed", "client", e.Name())
		if err := os.RemoveAll(filepath.Join(p.clientsFolder(), e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func buildFolder(folder string, build uint32) string {
	return filepath.Join(folder, strconv.FormatUint(uint64(build), 10))
}

// buildsIn lists the builds in a client's folder, in order.
func buildsIn(folder string) ([]uint32, error) {
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var builds []uint32
	for _, e := range entries {
		if n, err := strconv.ParseUint(e.Name(), 10, 32); err == nil && e.IsDir() {
			builds = append(builds, uint32(n))
		}
	}
	slices.Sort(builds)
	return builds, nil
}

func (p *pipeline) openBuild(c access.Client, folder string, build uint32) (*clientStore, error) {
	options := pebble.ClientStore()
	options.FirstVersion = projection.FirstVersion(build)
	db, err := pebble.Open(buildFolder(folder, build), options)
	if err != nil {
		return nil, err
	}
	own := &clientStore{client: c, build: build, store: db, topicName: clientTopic(c.ID, build)}
	own.projection, err = projection.New(projection.Config{
		Base: p.store, Store: db, Policy: shownPolicy{c.Policy}, Client: c.ID, Partitions: p.cfg.Partitions, Build: build})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return own, nil
}

// shownPolicy is a policy whose id also names the members listed: another list
// shows something else.
type shownPolicy struct{ *access.Policy }

func (p shownPolicy) ID() string { return p.Policy.ID() + p.Policy.MembersID() }

// clientTopic names a client's topic. Each build has its own: nobody finds what
// two policies show in one topic.
func clientTopic(id string, build uint32) string {
	name := changeTopicName + "." + id
	if build > 0 {
		name += "." + strconv.FormatUint(uint64(build), 10)
	}
	return name
}

func (p *pipeline) openClientTopic(ctx context.Context, own *clientStore) error {
	spec := p.cfg.Kafka.topic(own.topicName, p.cfg.Partitions)
	if err := kafka.EnsureTopics(ctx, p.conn, []kafka.TopicSpec{spec}); err != nil {
		return err
	}
	topic, err := p.openTopic(ctx, spec)
	own.topic = topic
	return err
}

// runClients follows and announces for every client with a store of its own, and
// returns when all of that has ended. What stops one client stops no other, nor
// the pipeline: it is served no more, or told nothing more.
func (p *pipeline) runClients(ctx context.Context) {
	var all sync.WaitGroup
	for _, own := range p.own {
		all.Go(func() {
			if err := own.projection.Run(ctx); err != nil {
				p.log.Error("client: what it sees cannot be made: it is not served", "client", own.client.ID, "error", err)
			}
		})
		if own.topic == nil {
			continue
		}
		all.Go(func() {
			if err := p.announceTo(ctx, own); err != nil {
				why := err.Error()
				own.unsent.Store(&why)
				p.log.Error("client: its topic cannot be written", "client", own.client.ID, "topic", own.topicName, "error", err)
			}
		})
	}
	all.Wait()
}

// announceTo carries the outbox of the client's store to its topic. What the record
// of disclosures does not take now it never will: that ends it, by name.
func (p *pipeline) announceTo(ctx context.Context, own *clientStore) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	err := publish.New(publish.Config{
		Outbox: own.store, Topic: own.topic, Partitions: p.cfg.Partitions, Generation: own.store.Generation(),
		Units:    int(p.cfg.Kafka.TransactionUnits),
		Disclose: p.deliver(own, stop),
		Hooks: publish.Hooks{Retry: func(err error, delay time.Duration) {
			p.log.Warn("publish: trying again", "client", own.client.ID, "in", delay, "error", err)
		}},
	}).Run(ctx)
	if cause := context.Cause(ctx); err == nil && errors.Is(cause, audit.ErrRefused) {
		return cause
	}
	return err
}

// view gives the store that a caller reads.
func (p *pipeline) view(caller access.Caller) (api.Store, error) {
	own := p.ownOf(caller.ClientID)
	if own == nil {
		if policy := caller.Policy(); policy == nil || !policy.Whole() {
			return nil, fmt.Errorf("%w: the client has no store", api.ErrNotReady)
		}
		return views{p.store}, nil
	}
	if !own.ready() {
		return nil, fmt.Errorf("%w: what the client may see is being made", api.ErrNotReady)
	}
	return views{own.store}, nil
}

// ready says whether the client may be served: its store has everything that the
// pipeline's had when it began to follow, the first composition included.
func (c *clientStore) ready() bool {
	return c.projection.Status().Ready && c.store.Frontier().Composed
}

func (p *pipeline) ownOf(id string) *clientStore {
	for _, own := range p.own {
		if own.client.ID == id {
			return own
		}
	}
	return nil
}

// clientsReady waits until what is applied now is in the clients' stores too. A
// store that is made anew for a changed policy, or cannot be made, keeps only its
// own client waiting.
func (p *pipeline) clientsReady(ctx context.Context) error {
	applied := p.store.Frontier().Number
	for _, own := range p.own {
		s := own.projection.Status()
		if s.Err != nil || own.build > 0 && !s.Ready {
			continue
		}
		if err := own.projection.Wait(ctx, applied); err != nil && ctx.Err() != nil {
			return errors.New("what a client sees is not complete yet") // anybody may ask: which client is in the status
		}
	}
	return nil
}

func (p *pipeline) closeClients() {
	for _, own := range p.own {
		if own.topic != nil {
			own.topic.Close()
		}
		if err := own.store.Close(); err != nil {
			p.log.Error("store: close", "client", own.client.ID, "error", err)
		}
	}
}
