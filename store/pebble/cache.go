package pebble

import (
	_ "unsafe" // for go:linkname

	engine "github.com/cockroachdb/pebble/v2"
)

// A shard of Pebble's block cache is one ring, and to make room for a block its
// hand goes round past everything that is hot. Where much is read that was not
// read lately, as a change of any of many members does, that costs a miss the
// length of the ring. Two processors get eight shards of 80 MiB: 18 % of all CPU
// time of changes at 100,000 members went there. Two reads of a random key out of
// 3 GiB, in blocks of 16 KiB under a cache of 512 MiB, took 68 µs of CPU with eight
// shards and 29 with 128. It does not show while everything fits.
const (
	shardBytes = 4 << 20 // a large block is a fraction of it still
	maxShards  = 512
)

// newCache returns a block cache of short rings. The caller unrefs it when its
// store is open.
func newCache(bytes int64) *engine.Cache {
	return newShardedCache(bytes, int(min(max(bytes/shardBytes, 4), maxShards)))
}

// newShardedCache is Pebble's own constructor, which chooses the shards by the
// processors alone where it is exported. A Pebble without it does not link.
//
//go:linkname newShardedCache github.com/cockroachdb/pebble/v2/internal/cache.NewWithShards
func newShardedCache(size int64, shards int) *engine.Cache
