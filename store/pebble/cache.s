// Lets newShardedCache of cache.go have no body.
