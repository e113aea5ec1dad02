package pebble_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tributary-health/tributary/store/pebble"
	"github.com/tributary-health/tributary/store/storetest"
)

// small is enough for tests, many of which run at once.
var small = pebble.Options{CacheBytes: 8 << 20, MemTableBytes: 1 << 20}

// tested gives the suite its View.
type tested struct{ *pebble.DB }

func (s tested) At(number uint64) (storetest.View, error) {
	v, err := s.DB.At(number)
	if err != nil {
		return nil, err
	}
	return v, nil
}

// Close checks what the suite has made, with whatever is staged.
func (s tested) Close() error { return errors.Join(s.Check(ctx), s.DB.Close()) }

func open(t testing.TB, dir string) storetest.Store {
	t.Helper()
	db, err := pebble.Open(dir, small)
	if err != nil {
		t.Fatal(err)
	}
	return tested{db}
}

func TestStore(t *testing.T) { storetest.Run(t, open) }

func TestCrash(t *testing.T) { storetest.Crash(t, open, 14) }

// losing is a store whose Close is a power loss: what was not synced is gone,
// or a random part of it is.
type losing struct {
	tested
	fs   *vfs.MemFS
	lose func(*vfs.MemFS)
}

func (s losing) Close() error {
	s.lose(s.fs)
	return s.DB.Close()
}

func TestPowerLoss(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	disks := map[string]*vfs.MemFS{}
	storetest.Run(t, func(t testing.TB, dir string) storetest.Store {
		if disks[dir] == nil {
			disks[dir] = vfs.NewCrashableMem()
		}
		o := small
		o.FS = disks[dir]
		db, err := pebble.Open(dir, o)
		if err != nil {
			t.Fatal(err)
		}
		return losing{tested{db}, disks[dir], func(fs *vfs.MemFS) {
			cfg := vfs.CrashCloneCfg{RNG: r}
			if r.IntN(2) == 0 {
				cfg.UnsyncedDataPercent = 50
			}
			disks[dir] = fs.CrashClone(cfg)
		}}
	})
}
