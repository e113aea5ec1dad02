package pebble

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/tributary-health/tributary/store"
)

// fault remembers the first failed write. Once it is set nothing reaches the
// disk any more: what is there is what a crash at that moment would have left.
type fault struct {
	once    sync.Once
	cause   atomic.Pointer[error]
	stopped chan struct{}
}

func newFault() *fault { return &fault{stopped: make(chan struct{})} }

func (f *fault) set(err error) {
	f.once.Do(func() {
		err = fmt.Errorf("%w: %w", store.ErrStopped, err)
		f.cause.Store(&err)
		close(f.stopped)
	})
}

// err returns nil or the first failure, which errors.Is store.ErrStopped.
func (f *fault) err() error {
	if p := f.cause.Load(); p != nil {
		return *p
	}
	return nil
}

// see records err if it is one, and returns it.
func (f *fault) see(err error) error {
	if err != nil {
		f.set(err)
	}
	return err
}

func (f *fault) listener() *engine.EventListener {
	return &engine.EventListener{
		BackgroundError: func(err error) {
			if !errors.Is(err, engine.ErrCancelledCompaction) && !errors.Is(err, engine.ErrClosed) {
				f.set(err)
			}
		},
		// The read that met it returns the error; the default ends the process.
		DataCorruption: func(engine.DataCorruptionInfo) {},
	}
}

// quiet is Pebble's logger: it prints nothing, and Fatalf stops the store
// instead of the process. guardedFS keeps Pebble from the failures that it
// cannot go on after.
type quiet struct{ fault *fault }

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}

func (q quiet) Fatalf(format string, args ...any) { q.fault.set(fmt.Errorf(format, args...)) }
