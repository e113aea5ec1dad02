package pebble

import (
	"errors"
	"sync"

	engine "github.com/cockroachdb/pebble/v2"
)

// iterators are what composition reads groups through: to open one costs as much
// as to read a small group, and a member's record is many. They show the store as
// of when they were opened, so every Stage and Commit closes those that are
// there; who reads while one of them runs sees it or not, as ever. The zero value
// works.
type iterators struct {
	mu     sync.Mutex
	writes uint64 // how often they were closed
	idle   []*engine.Iterator
}

// maxIdle is how many are kept: more readers than that do not read at once.
const maxIdle = 16

// take returns an iterator, and as of which write it is.
func (s *iterators) take(eng *engine.DB) (it *engine.Iterator, write uint64, err error) {
	s.mu.Lock()
	write = s.writes
	if n := len(s.idle); n > 0 {
		it, s.idle = s.idle[n-1], s.idle[:n-1]
	}
	s.mu.Unlock()
	if it == nil {
		it, err = eng.NewIter(&engine.IterOptions{UseL6Filters: true})
	}
	return it, write, err
}

// give takes it back, or closes it if it has failed or is out of date.
func (s *iterators) give(it *engine.Iterator, write uint64) error {
	s.mu.Lock()
	if keep := it.Error() == nil && write == s.writes && len(s.idle) < maxIdle; keep {
		s.idle = append(s.idle, it)
		it = nil
	}
	s.mu.Unlock()
	if it == nil {
		return nil
	}
	return it.Close()
}

// close closes those that are there, and has those in use closed when they are
// given back.
func (s *iterators) close() {
	s.mu.Lock()
	idle := s.idle
	s.idle = nil
	s.writes++
	s.mu.Unlock()
	for _, it := range idle {
		_ = it.Close() // it repeats an error of reading, and these had none
	}
}

// own is group for composition, which reads no store but the newest.
func (db *DB) own(lower []byte, fn func(key, value []byte) (bool, error)) error {
	it, write, err := db.iterators.take(db.eng)
	if err != nil {
		return err
	}
	err = eachOf(it, lower, fn)
	return errors.Join(err, db.iterators.give(it, write))
}
