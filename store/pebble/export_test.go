package pebble

// Settled says whether nothing is flushed or compacted: a measurement that begins
// then is of what it measures.
func (db *DB) Settled() bool {
	m := db.eng.Metrics()
	return m.Compact.NumInProgress == 0 && m.Flush.NumInProgress == 0 && m.Compact.EstimatedDebt == 0
}

// Misses is how many blocks were read that the cache did not have.
func (db *DB) Misses() int64 { return db.eng.Metrics().BlockCache.Misses }
