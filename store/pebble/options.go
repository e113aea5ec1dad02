package pebble

import (
	engine "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Options are what an operator may set. The zero value works.
//
// Memory is CacheBytes and one MemTableBytes; while more is written than the
// disk takes, up to three further MemTableBytes, which the cache gives up first.
type Options struct {
	// CacheBytes is the memory for blocks of tables: what is read again without
	// the disk. 512 MiB if zero. Less when memory is scarce; more when the
	// current resources do not fit.
	CacheBytes int64

	// MemTableBytes is how much is gathered in memory before a table is written.
	// 128 MiB if zero. It decides what compaction costs: with Pebble's own 4 MiB,
	// writes with a dozen keys a row were measured fourteen times slower.
	MemTableBytes int64

	// FirstVersion is the number of every resource's first version, for a new
	// store; 1 if zero. One that is there keeps its own. A store that takes the
	// place of another begins above it, so that no version number means two
	// contents.
	FirstVersion uint64

	// FS is the file system; nil is the operating system's. Tests put one here
	// that fails or forgets.
	FS vfs.FS
}

const (
	defaultCache    = 512 << 20
	defaultMemTable = 128 << 20
)

// ClientStore returns options for one of many small stores in a process: what a
// client may see of a base store. Memory is taken as it is used. Its changes are
// those of the base store, and so is what it writes: a memtable that is much
// smaller would only write it more often.
func ClientStore() Options { return Options{CacheBytes: 16 << 20, MemTableBytes: 64 << 20} }

func (o Options) withDefaults() Options {
	if o.CacheBytes <= 0 {
		o.CacheBytes = defaultCache
	}
	if o.MemTableBytes <= 0 {
		o.MemTableBytes = defaultMemTable
	}
	if o.FirstVersion == 0 {
		o.FirstVersion = 1
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	return o
}

// baseMemTables is how many memtables the first level below L0 may hold. A change
// is of members all over the key space, so each compaction out of L0 rewrites that
// level, whatever few memtables it brings: the level's size over theirs is what
// each byte costs. Measured at an eighth of the size of 100,000 members, changes
// coming slowly (bytes written for each one flushed, CPU time of it all):
//
//	memtable   level           L0 threshold   written   CPU    tables read through
//	16 MiB     32 memtables    8              25        62 s   5
//	64 MiB     8               8              7.2       18 s   5
//	64 MiB     4               8              6.3       15 s   5
//	64 MiB     2               8              5.7       14 s   5
//	64 MiB     2               16             4.8       12 s   8
//	64 MiB     1               16             4.4       11 s   8
//
// A deeper L0 is not worth it: every read of a member that changed goes through it.
const baseMemTables = 2

// engineOptions sets Pebble's options on purpose: its defaults are for many
// small stores on one machine, and stall under a dozen keys a row.
func (o Options) engineOptions(fault *fault) *engine.Options {
	e := &engine.Options{
		FormatMajorVersion: engine.FormatNewest,
		Comparer:           Order,
		// Pebble takes the memtable's memory out of the cache.
		Cache:                       newCache(o.CacheBytes + o.MemTableBytes),
		MemTableSize:                uint64(o.MemTableBytes),
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       8,
		L0StopWritesThreshold:       40,
		LBaseMaxBytes:               baseMemTables * o.MemTableBytes,
		CompactionConcurrencyRange:  func() (lower, upper int) { return 1, 2 },
		// A staged piece is many megabytes that nobody syncs: hand them to the disk
		// as they come, so that the commit's sync does not find them all.
		WALBytesPerSync: 1 << 20,
		FS:              guardedFS{o.FS, fault},
		Logger:          quiet{fault},
		EventListener:   fault.listener(),
	}
	// Pebble takes the keys of one group for versions of one thing, of which the
	// first is wanted most, and would put the others' values elsewhere.
	e.Experimental.SpanPolicyFunc = func([]byte) (engine.SpanPolicy, []byte, error) {
		return engine.SpanPolicy{DisableValueSeparationBySuffix: true}, nil, nil
	}
	// Levels take over what L0 has.
	e.Levels[0].FilterPolicy = bloom.FilterPolicy(10)
	return e
}
