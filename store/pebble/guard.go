package pebble

import (
	"io"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// guardedFS lets writes through until one fails, and none after it.
//
// Pebble can bear that a table cannot be written: it drops the flush or the
// compaction. When its log or its manifest fails it panics, or goes on with a
// half-made state, because it means the process to end there. So these never
// fail: once the store has stopped they swallow what they are given, and Pebble
// stays whole in memory, for reads. That is safe because DB.apply looks at the
// fault after every batch, and the fault is set before Pebble hears of success.
type guardedFS struct {
	vfs.FS
	fault *fault
}

// swallows says whether writes to the file only seem to succeed after the
// store has stopped.
func swallows(name string) bool {
	return !strings.HasSuffix(name, ".sst") && !strings.HasSuffix(name, ".blob")
}

// retryPause slows down Pebble's flush, which tries again at once for ever.
const retryPause = 10 * time.Millisecond

// open makes a file unless the store has stopped.
func (g guardedFS) open(name string, open func() (vfs.File, error)) (vfs.File, error) {
	err := g.fault.err()
	if err == nil {
		var f vfs.File
		if f, err = open(); err == nil {
			return guardedFile{f, g.fault, swallows(name)}, nil
		}
		g.fault.set(err)
	}
	if swallows(name) {
		// A stand-in, which gets nothing: the fault is set.
		f, err := vfs.NewMem().Create("stand-in", vfs.WriteCategoryUnspecified)
		return guardedFile{f, g.fault, true}, err
	}
	time.Sleep(retryPause)
	return nil, err
}

// do does what changes a directory unless the store has stopped.
func (g guardedFS) do(change func() error) error {
	if g.fault.err() != nil {
		return nil
	}
	return change()
}

func (g guardedFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return g.open(name, func() (vfs.File, error) { return g.FS.Create(name, c) })
}

func (g guardedFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return g.open(name, func() (vfs.File, error) { return g.FS.OpenReadWrite(name, c, o...) })
}

func (g guardedFS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return g.open(to, func() (vfs.File, error) { return g.FS.ReuseForWrite(from, to, c) })
}

// OpenDir guards the syncs of a directory.
func (g guardedFS) OpenDir(name string) (vfs.File, error) {
	f, err := g.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return guardedFile{f, g.fault, true}, nil
}

func (g guardedFS) Link(from, to string) error {
	return g.do(func() error { return g.FS.Link(from, to) })
}

func (g guardedFS) Rename(from, to string) error {
	return g.do(func() error {
		_ = g.fault.see(g.FS.Rename(from, to))
		return nil
	})
}

func (g guardedFS) Remove(name string) error {
	return g.do(func() error { return g.FS.Remove(name) })
}

func (g guardedFS) RemoveAll(name string) error {
	return g.do(func() error { return g.FS.RemoveAll(name) })
}

// Unwrap returns the file system underneath.
func (g guardedFS) Unwrap() vfs.FS { return g.FS }

// guardedFile is one file of a guardedFS. One that swallows reports success
// whatever happens; only the fault knows.
type guardedFile struct {
	vfs.File
	fault    *fault
	swallows bool
}

// do does one write unless the store has stopped.
func (g guardedFile) do(write func() error) error {
	err := g.fault.err()
	if err == nil {
		err = g.fault.see(write())
	}
	if g.swallows {
		return nil
	}
	return err
}

func (g guardedFile) Write(p []byte) (int, error) {
	size := len(p)
	err := g.do(func() error {
		n, err := g.File.Write(p)
		if err == nil && n < size {
			err = io.ErrShortWrite
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	return size, nil
}

func (g guardedFile) WriteAt(p []byte, at int64) (int, error) {
	size := len(p)
	if err := g.do(func() error { _, err := g.File.WriteAt(p, at); return err }); err != nil {
		return 0, err
	}
	return size, nil
}

func (g guardedFile) Sync() error     { return g.do(g.File.Sync) }
func (g guardedFile) SyncData() error { return g.do(g.File.SyncData) }

func (g guardedFile) SyncTo(length int64) (full bool, err error) {
	err = g.do(func() (err error) { full, err = g.File.SyncTo(length); return err })
	return full, err
}
