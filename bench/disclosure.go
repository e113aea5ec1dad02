package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tributary-health/tributary/access"
	"github.com/tributary-health/tributary/api"
	"github.com/tributary-health/tributary/audit"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/projection"
	"github.com/tributary-health/tributary/store/pebble"
)

// disclosure measures what it costs that a client's answers are on the record, and
// that it sees its own store.
func (l *lab) disclosure(ctx context.Context, c *composed) error {
	c.forget()
	runtime.GC()
	client, err := l.restricted()
	if err != nil {
		return err
	}
	own, err := l.project(ctx, c, client)
	if err != nil {
		return err
	}
	defer own.Close()
	log, err := audit.Open(filepath.Join(l.work, "audit"), audit.Options{})
	if err != nil {
		return err
	}
	base, stopBase, err := serve(c.handler(forget))
	if err != nil {
		return err
	}
	defer stopBase()
	recorded, stopRecorded, err := serve(c.handler(log.Append))
	if err != nil {
		return err
	}
	defer stopRecorded()
	hidden, stopHidden, err := serve(api.New(api.Config{
		Clients: access.NewRegistry(client), Audit: log.Append,
		Views: func(access.Caller) (api.Store, error) { return views{own}, nil },
	}))
	if err != nil {
		return err
	}
	defer stopHidden()
	paths := c.instances()
	rand.New(rand.NewPCG(7, 7)).Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
	paths = paths[:min(len(paths), distinct)]
	for _, pair := range []struct {
		name, title, ours string
		connections       int
	}{
		{"record-1", "Read by id on the record, one connection", recorded, 1},
		{"record-16", "Read by id on the record, 16 connections", recorded, 16},
		{"restricted-16", "Read by id on the record by a restricted client, 16 connections", hidden, 16},
	} {
		if err := l.loadPair(ctx, Benchmark{
			Name: pair.name, Title: pair.title, Unit: "answers/s",
			Baseline: "the same handler for a client that sees everything, over the composed store, with a record that keeps nothing",
			Data:     fmt.Sprintf("%d addresses in random order, not compressed", len(paths)),
		}, paths, pair.connections, base, pair.ours); err != nil {
			return fmt.Errorf("%s: %w", pair.name, err)
		}
	}
	return log.Close()
}

// hiding is the clients file of a client like the demo's subscriber.
const hiding = `version: 1
clients:
  - id: restricted
    key_sha256: %x
    types: all
    hide: [address, telephone, identifiers, notes]
    members: all
`

func (l *lab) restricted() (access.Client, error) {
	file := filepath.Join(l.work, "clients.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, hiding, sha256.Sum256([]byte(benchKey))), 0o600); err != nil {
		return access.Client{}, err
	}
	clients, problems := access.LoadClients(file)
	if access.Failed(problems) {
		return access.Client{}, fmt.Errorf("clients: %v", problems)
	}
	return clients[0], nil
}

// project makes the client's store from everything that is composed, turn by turn,
// and returns the last one.
func (l *lab) project(ctx context.Context, c *composed, client access.Client) (own *pebble.DB, err error) {
	b := l.report.add(Benchmark{
		Name: "projection", Title: "A restricted client's store made from the composed one", Unit: "versions/s",
		Baseline: "the same keys and values straight to Pebble, in the same batches, synced where ours are",
	})
	for turn := range l.turns {
		if own != nil {
			if err := own.Close(); err != nil {
				return nil, err
			}
		}
		folder := filepath.Join(l.work, fmt.Sprint("projection-", turn))
		versions, ours, base, db, err := l.projectOnce(ctx, c, client, folder, turn)
		if err != nil {
			return nil, err
		}
		own = db
		b.turn(rate(versions, base.took), rate(versions, ours))
		b.Data = fmt.Sprintf("%d versions of %d members, %d B written for each, in %d batches", versions, len(c.members), base.bytes/versions, base.batches)
		if turn > 0 { // the last is read from
			_ = os.RemoveAll(filepath.Join(l.work, fmt.Sprint("projection-", turn-1)))
		}
	}
	return own, nil
}

func (l *lab) projectOnce(ctx context.Context, c *composed, client access.Client, folder string, turn int) (versions int, ours time.Duration, base written, db *pebble.DB, err error) {
	beside, err := openDirect(folder + "-direct")
	if err != nil {
		return 0, 0, base, nil, err
	}
	defer func() {
		err = errors.Join(err, beside.db.Close(), os.RemoveAll(folder+"-direct"))
	}()
	options := pebble.ClientStore()
	disk := &tee{FS: vfs.Default}
	options.FS = disk
	if db, err = pebble.Open(folder, options); err != nil {
		return 0, 0, base, nil, err
	}
	t := &twice{DB: db, disk: disk, direct: beside}
	var shown atomic.Int64
	p, err := projection.New(projection.Config{
		Base: c.db, Store: t, Policy: client.Policy, Client: client.ID,
		Hooks: projection.Hooks{Applied: func(_ commit.Number, versions int) { shown.Add(int64(versions)) }},
	})
	if err != nil {
		return 0, 0, base, db, err
	}
	settle()
	err = l.profiled("projection", turn, func() error {
		start := time.Now()
		for done := false; !done; {
			if done, err = p.Step(ctx); err != nil {
				return err
			}
		}
		ours = time.Since(start) - t.paused
		return nil
	})
	if versions = int(shown.Load()); err == nil && versions == 0 {
		err = errors.New("the projection shows nothing")
	}
	return versions, ours, t.written, db, err
}

// twice is a client's store whose every write is made again straight to a Pebble
// beside it, on a clock of its own.
type twice struct {
	*pebble.DB
	disk    *tee
	direct  *direct
	written written
	paused  time.Duration // what all that took
}

func (t *twice) Stage(ctx context.Context, b commit.Batch) error {
	return errors.Join(t.DB.Stage(ctx, b), t.again())
}

func (t *twice) Commit(ctx context.Context, b commit.Batch, f commit.Frontier) error {
	return errors.Join(t.DB.Commit(ctx, b, f), t.again())
}

func (t *twice) again() error {
	start := time.Now()
	defer func() { t.paused += time.Since(start) }()
	batches, err := t.disk.take()
	if err != nil {
		return err
	}
	for _, b := range batches {
		t.written.bytes += len(b)
	}
	t.written.batches += len(batches)
	writing := time.Now()
	_, err = t.direct.write(batches)
	t.written.took += time.Since(writing)
	return err
}
