package pebble

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"

	engine "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/store"
)

// format is the version of the key and value layout; Open refuses others.
const format = "3"

// formatHint is what to do with a store of another version.
const formatHint = " (if it is of an older version of tributary, make it anew from log and topic: tributary replay --rebuild)"

var (
	keyFormat     = []byte{spaceMeta, 'f', 'o', 'r', 'm', 'a', 't'}
	keyGeneration = []byte{spaceMeta, 'g', 'e', 'n', 'e', 'r', 'a', 't', 'i', 'o', 'n'}
	keyFirst      = []byte{spaceMeta, 'f', 'i', 'r', 's', 't'}
	keyFrontier   = []byte{spaceFrontier}
	keyExtra      = []byte{spaceExtra}
)

// DB is one store in one directory. One goroutine may use what composition
// needs (Row to Commit); views and the outbox may be used beside it, from any
// number of goroutines.
type DB struct {
	dir   string
	lock  *engine.Lock
	eng   *engine.DB
	fault *fault
	// wedged: a write never came back, and so Pebble's Close would not either.
	wedged atomic.Bool

	generation string
	first      uint64 // number of a resource's first version
	names      atomic.Pointer[names]
	fresh      atomic.Pointer[fresh] // nil once a version was committed
	state      atomic.Pointer[state]

	// writing is held by Stage and Commit, and guards what follows: what the
	// store holds above the frontier too.
	writing sync.Mutex
	top     commit.Number // the last unit's, staged or committed
	staged  bool          // undo records are there
	undo    uint64        // number of the next one
	outbox  []uint64      // last number per partition
	room    room

	iterators iterators // of composition

	// publishing guards the partitions' published marks, and drops entries.
	publishing sync.Mutex
	published  map[int32]uint64
	dropped    map[int32]uint64

	// changing guards changed.
	changing sync.Mutex
	changed  chan struct{}
}

// Open opens the store in dir, and makes it if there is none. What was staged
// and not committed when it was last open is taken out before Open returns. The
// directory is locked until Close.
func Open(dir string, opts Options) (*DB, error) {
	opts = opts.withDefaults()
	db := &DB{dir: dir, first: opts.FirstVersion, fault: newFault(), published: map[int32]uint64{}, dropped: map[int32]uint64{}}
	if err := makeDir(opts.FS, dir); err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	lock, err := engine.LockDirectory(dir, opts.FS)
	if err != nil {
		var denied *fs.PathError
		if errors.As(err, &denied) && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("open store %s: %w", dir, err)
		}
		return nil, fmt.Errorf("open store %s: %w (%w): stop it, or give this one its own directory", dir, store.ErrLocked, err)
	}
	db.lock = lock
	e := opts.engineOptions(db.fault)
	defer e.Cache.Unref()
	e.Lock = lock
	if db.eng, err = engine.Open(dir, e); err != nil {
		if strings.Contains(err.Error(), "comparer name") { // Pebble has no name for this error
			err = fmt.Errorf("%w: %w%s", store.ErrFormat, err, formatHint)
		}
		return nil, errors.Join(fmt.Errorf("open store %s: %w", dir, err), lock.Close())
	}
	if err := db.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", dir, err), db.Close())
	}
	return db, nil
}

// makeDir makes the directory and its missing parents, durably: Pebble syncs
// what is in the directory, not that it is there.
func makeDir(disk vfs.FS, dir string) error {
	var made []string
	for at := dir; ; at = disk.PathDir(at) {
		if _, err := disk.Stat(at); err == nil || at == disk.PathDir(at) {
			break
		}
		made = append(made, disk.PathDir(at))
	}
	if err := disk.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, parent := range made {
		d, err := disk.OpenDir(parent)
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the store and unlocks its directory. Views MUST be closed, and
// no method be running; none may be called after it.
func (db *DB) Close() error {
	if db.wedged.Load() {
		// Pebble's Close would wait for the write that hangs. Nothing reaches the
		// disk any more, so the lock can go: once for Pebble's hold, once for ours.
		return errors.Join(db.lock.Close(), db.lock.Close())
	}
	db.iterators.close()
	err := db.eng.Close()
	if stopped := db.fault.err(); stopped != nil {
		err = nil // it only repeats what Err and the failed write have said
	}
	if err = errors.Join(err, db.lock.Close()); err != nil {
		return fmt.Errorf("close store %s: %w", db.dir, err)
	}
	return nil
}

// Err returns nil, or the failed write that stopped the store for good.
func (db *DB) Err() error {
	if err := db.fault.err(); err != nil {
		return fmt.Errorf("store %s: %w", db.dir, err)
	}
	return nil
}

// Stopped returns a channel that is closed when Err becomes an error.
func (db *DB) Stopped() <-chan struct{} { return db.fault.stopped }

// load reads what is kept in memory, and takes out what was staged.
func (db *DB) load() error {
	if err := db.loadMeta(); err != nil {
		return err
	}
	n, err := loadNames(db.eng)
	if err != nil {
		return err
	}
	db.names.Store(n)
	if err := db.unstage(); err != nil {
		return fmt.Errorf("take out what was staged: %w", err)
	}
	f, committed, err := db.loadFrontier()
	if err != nil {
		return err
	}
	db.state.Store(newState(f, committed))
	if db.unversioned() {
		db.fresh.Store(newFresh())
	}
	db.top = f.Number
	db.outbox = append([]uint64(nil), f.Outbox...)
	if err := db.loadMarks(); err != nil {
		return err
	}
	return db.fault.err()
}

// loadMeta checks the format, or writes it into a new directory with a new
// generation.
func (db *DB) loadMeta() error {
	got, err := db.get(keyFormat)
	if err != nil {
		return err
	}
	if got == nil {
		return db.create()
	}
	if string(got) != format {
		return fmt.Errorf("%w %q: this program reads %q%s", store.ErrFormat, got, format, formatHint)
	}
	generation, err := db.get(keyGeneration)
	if err != nil {
		return err
	}
	db.generation = string(generation)
	return db.loadFirst()
}

// loadFirst takes over where the store's versions begin; 1 if it does not say.
func (db *DB) loadFirst() error {
	first, err := db.get(keyFirst)
	if err != nil {
		return err
	}
	db.first = 1
	if first == nil {
		return nil
	}
	if len(first) != 8 || beUint64(first) == 0 {
		return fmt.Errorf("number of the first version is malformed: %w", store.ErrCorrupt)
	}
	db.first = beUint64(first)
	return nil
}

func (db *DB) create() error {
	it, err := db.eng.NewIter(nil)
	if err != nil {
		return err
	}
	other := it.First()
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return err
	}
	if other {
		return fmt.Errorf("%w: the directory holds another program's data", store.ErrFormat)
	}
	var random [16]byte
	_, _ = rand.Read(random[:])
	db.generation = hex.EncodeToString(random[:])
	b := db.eng.NewBatch()
	if err := errors.Join(
		b.Set(keyFormat, []byte(format), nil),
		b.Set(keyGeneration, []byte(db.generation), nil),
		b.Set(keyFirst, binary.BigEndian.AppendUint64(nil, db.first), nil),
	); err != nil {
		return err
	}
	return db.apply(b, engine.Sync)
}

func (db *DB) loadMarks() error {
	it, err := db.eng.NewIter(&engine.IterOptions{LowerBound: []byte{spaceMark}, UpperBound: []byte{spaceMark + 1}})
	if err != nil {
		return err
	}
	defer func() { _ = it.Close() }()
	for it.First(); it.Valid(); it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		if len(it.Key()) != 5 || len(v) != 8 {
			return fmt.Errorf("published mark is malformed: %w", store.ErrCorrupt)
		}
		db.published[int32(beUint32(it.Key()[1:]))] = beUint64(v)
	}
	return it.Error()
}
