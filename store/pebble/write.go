package pebble

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/store"
)

// Stage writes pieces of units above the frontier. Composition reads them at
// once; no view, history or announcement shows them before a Commit has moved
// the frontier over them, and a restart takes them out. It is not durable when
// it returns.
func (db *DB) Stage(ctx context.Context, b commit.Batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	db.writing.Lock()
	defer db.writing.Unlock()
	if err := db.Err(); err != nil || len(b.Units) == 0 {
		return err
	}
	if err := db.stage(b); err != nil {
		return fmt.Errorf("stage in store %s: %w", db.dir, err)
	}
	return nil
}

func (db *DB) stage(b commit.Batch) error {
	w := db.newWriter(true)
	defer w.release()
	if err := w.units(b); err != nil {
		return err
	}
	if err := w.batch.Set(numberKey(nil, spaceUndo, db.undo), w.undo.list, nil); err != nil {
		return err
	}
	if err := w.apply(engine.NoSync); err != nil {
		return err
	}
	db.staged = true
	db.undo++
	return nil
}

// Commit writes the batch and the frontier as one. When it returns nil, both
// and everything staged are durable and visible. When it fails nothing of it is
// visible, and if the error is store.ErrStopped the store takes no more.
// f.Number MUST be the batch's last unit's, or that of what was staged, or the
// frontier's own; f.Outbox MUST be the last numbers that were written.
// f.Generation may be left empty.
func (db *DB) Commit(ctx context.Context, b commit.Batch, f commit.Frontier) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	db.writing.Lock()
	defer db.writing.Unlock()
	if err := db.Err(); err != nil {
		return err
	}
	if err := db.commit(b, f); err != nil {
		return fmt.Errorf("commit %d in store %s: %w", f.Number, db.dir, err)
	}
	db.broadcast()
	return nil
}

func (db *DB) commit(b commit.Batch, f commit.Frontier) error {
	w := db.newWriter(false)
	defer w.release()
	if err := w.units(b); err != nil {
		return err
	}
	if err := w.frontier(&f); err != nil {
		return err
	}
	if db.staged {
		if err := w.batch.DeleteRange([]byte{spaceUndo}, []byte{spaceUndo + 1}, nil); err != nil {
			return err
		}
	}
	if err := w.apply(engine.Sync); err != nil {
		return err
	}
	db.staged, db.undo = false, 0
	committed := db.state.Load().committed
	if n := len(b.Units); n > 0 {
		committed = b.Units[n-1].Committed.UTC()
	} else if f.Number != db.state.Load().frontier.Number {
		info, err := db.info(f.Number)
		if err != nil {
			return db.fault.see(err) // it is durable: go on from there
		}
		committed = info.Committed
	}
	db.state.Store(newState(f, committed))
	if !db.unversioned() {
		db.fresh.Store(nil)
	}
	return nil
}

// frontier checks f against what is written, and adds it to the batch.
func (w *writer) frontier(f *commit.Frontier) error {
	if f.Generation == "" {
		f.Generation = w.db.generation
	}
	if f.Generation != w.db.generation {
		return fmt.Errorf("frontier of generation %s in a store of generation %s: %w", f.Generation, w.db.generation, store.ErrOrder)
	}
	if f.Number != w.top {
		return fmt.Errorf("frontier at %d, but the last unit written is %d: %w", f.Number, w.top, store.ErrOrder)
	}
	for p := range max(len(w.outbox), len(f.Outbox)) {
		if got, want := at(f.Outbox, p), at(w.outbox, p); got != want {
			return fmt.Errorf("frontier's outbox number of partition %d is %d, but the last written is %d: %w", p, got, want, store.ErrOrder)
		}
	}
	if f.Matching > f.Number {
		return fmt.Errorf("frontier's match index is whole from %d on, above it: %w", f.Matching, store.ErrOrder)
	}
	value, err := appendFrontier(w.value[:0], f, func(topic string) (uint16, error) { return w.name(nameTopic, topic) })
	if err != nil {
		return err
	}
	w.value = value
	if err := w.batch.Set(keyFrontier, value, nil); err != nil {
		return err
	}
	if bytes.Equal(f.Extra, w.db.state.Load().frontier.Extra) {
		return nil
	}
	return w.batch.Set(keyExtra, f.Extra, nil)
}

func at(numbers []uint64, i int) uint64 {
	if i < len(numbers) {
		return numbers[i]
	}
	return 0
}

// apply writes the batch, and then takes over what the writer knows.
func (w *writer) apply(o *engine.WriteOptions) error {
	batch := w.batch
	w.batch = nil // Pebble's now, whatever comes of it
	err := w.db.apply(batch, o)
	w.db.iterators.close()
	if err != nil {
		return err
	}
	w.db.names.Store(w.names)
	w.db.top, w.db.outbox = w.top, w.outbox
	return nil
}

// apply writes a batch and does not hang: Pebble waits for ever, or panics, when
// its log or its tables cannot be written. A write that was given up this way
// leaves its goroutine behind; the store is stopped then, and the process should
// follow.
func (db *DB) apply(b *engine.Batch, o *engine.WriteOptions) error {
	if err := db.fault.err(); err != nil {
		return errors.Join(err, b.Close())
	}
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				db.wedged.Store(true) // Pebble's commit lock stays locked
				db.fault.set(fmt.Errorf("%v", p))
				done <- db.fault.err()
			}
		}()
		done <- b.Commit(o)
	}()
	err := db.wait(done)
	if err == nil {
		err = db.fault.err() // Pebble may not know: see guardedFS
	}
	if err != nil {
		db.fault.set(err)
		return db.fault.err()
	}
	return b.Close()
}

// wait waits for a write. Once the store has stopped it waits a little longer,
// for a write that fails comes back unless it hangs.
func (db *DB) wait(done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-db.fault.stopped:
	}
	grace := time.NewTimer(time.Second)
	defer grace.Stop()
	select {
	case err := <-done:
		return err
	case <-grace.C:
		db.wedged.Store(true)
		return db.fault.err()
	}
}
