package kafka

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// space keeps a reserve of free disk space. The broker's storage reports no
// failed sync and answers a retry of a failed write as if it had happened, so
// writes must be refused while they would still succeed.
type space struct {
	dir     string
	reserve atomic.Int64
	full    atomic.Bool
	notify  func(full bool, free, reserve int64)

	mu      sync.Mutex
	checked time.Time
}

// freshSpace is how long a look at the disk is believed while records come in.
const freshSpace = 10 * time.Millisecond

func newSpace(dir string, reserve int64, notify func(bool, int64, int64)) (*space, error) {
	s := &space{dir: dir, notify: notify}
	s.reserve.Store(reserve)
	if _, err := freeSpace(dir); err != nil {
		return nil, err
	}
	s.check(0)
	return s, nil
}

// refuses is asked before records are written.
func (s *space) refuses() bool {
	s.check(freshSpace)
	return s.full.Load()
}

// check looks at the disk unless that was done within the given time. A disk
// that cannot be looked at counts as full. Once full, half a reserve more must
// be free before it is not.
func (s *space) check(within time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if within > 0 && time.Since(s.checked) < within {
		return
	}
	s.checked = time.Now()
	free, err := freeSpace(s.dir)
	reserve := s.reserve.Load()
	need := reserve
	if s.full.Load() {
		need += reserve / 2
	}
	full := err != nil || free < need
	if s.full.Swap(full) != full && s.notify != nil {
		s.notify(full, free, reserve)
	}
}

func (s *space) watch(stop <-chan struct{}, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			s.check(0)
		}
	}
}

func freeSpace(dir string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil //nolint:unconvert,gosec // the fields' types differ between systems
}
