package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	engine "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/batchrepr"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// tee is a file system that keeps a copy of what is written to a store's
// write-ahead log: every batch, exactly as it was committed.
type tee struct {
	vfs.FS

	mu   sync.Mutex
	logs []*logCopy
}

// logCopy is one log file; taken are the batches that were read from it.
type logCopy struct {
	number uint64
	text   bytes.Buffer
	taken  int
}

func (t *tee) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := t.FS.Create(name, c)
	return t.copied(name, f, err)
}

func (t *tee) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := t.FS.ReuseForWrite(oldname, newname, c)
	return t.copied(newname, f, err)
}

func (t *tee) copied(name string, f vfs.File, err error) (vfs.File, error) {
	number, isLog := strings.CutSuffix(filepath.Base(name), ".log")
	if err != nil || !isLog {
		return f, err
	}
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	l := &logCopy{number: n}
	t.logs = append(t.logs, l)
	return &teeFile{f, t, l}, nil
}

type teeFile struct {
	vfs.File
	t *tee
	l *logCopy
}

func (f *teeFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.t.mu.Lock()
	f.l.text.Write(p[:n])
	f.t.mu.Unlock()
	return n, err
}

// take returns the batches that are whole in the log and that it did not return
// before: all that were synced, and some that were not.
func (t *tee) take() (batches [][]byte, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var unfinished []*logCopy
	for at, l := range t.logs {
		r := open(bytes.NewReader(l.text.Bytes()), l.number, record.NewReader)
		for i := 0; ; i++ {
			rec, err := r.Next()
			if errors.Is(err, io.EOF) && at < len(t.logs)-1 {
				break // the next log is written already
			}
			if errors.Is(err, io.EOF) || errors.Is(err, record.ErrUnexpectedEOF) {
				unfinished = append(unfinished, l)
				break
			}
			if err != nil {
				return nil, fmt.Errorf("log %d: %w", l.number, err)
			}
			if i < l.taken {
				continue
			}
			b, err := io.ReadAll(rec)
			if errors.Is(err, record.ErrUnexpectedEOF) {
				unfinished = append(unfinished, l)
				break
			}
			if err != nil {
				return nil, fmt.Errorf("log %d: %w", l.number, err)
			}
			batches = append(batches, b)
			l.taken++
		}
	}
	t.logs = unfinished
	return batches, nil
}

// open gives the log's number the type that the reader wants, which Pebble does
// not export.
func open[N ~uint64](r io.Reader, number uint64, reader func(io.Reader, N) *record.Reader) *record.Reader {
	return reader(r, N(number))
}

// direct is a Pebble with the store's options and nothing before it.
type direct struct{ db *engine.DB }

func openDirect(dir string) (*direct, error) {
	o := &engine.Options{
		FormatMajorVersion: engine.FormatNewest, CacheSize: 640 << 20, MemTableSize: 128 << 20,
		MemTableStopWritesThreshold: 4, L0CompactionThreshold: 8, L0StopWritesThreshold: 40, LBaseMaxBytes: 256 << 20,
		CompactionConcurrencyRange: func() (int, int) { return 1, 2 }, WALBytesPerSync: 1 << 20, Logger: silent{},
	}
	o.Levels[0].FilterPolicy = bloom.FilterPolicy(10)
	db, err := engine.Open(dir, o)
	return &direct{db}, err
}

// frontier is the key that only a commit writes, which the store syncs, and a
// staged piece does not.
const frontier = "F"

// write commits the batches again, key by key, synced where the store was. It
// returns the number of keys.
func (d *direct) write(batches [][]byte) (keys int, err error) {
	for _, text := range batches {
		b := d.db.NewBatch()
		o := engine.NoSync
		r := batchrepr.Read(text)
		for {
			kind, key, value, more, err := r.Next()
			if err != nil {
				return keys, err
			}
			if !more {
				break
			}
			keys++
			switch kind {
			case engine.InternalKeyKindSet:
				if err = b.Set(key, value, nil); string(key) == frontier {
					o = engine.Sync
				}
			case engine.InternalKeyKindDelete:
				err = b.Delete(key, nil)
			case engine.InternalKeyKindSingleDelete:
				err = b.SingleDelete(key, nil)
			case engine.InternalKeyKindRangeDelete:
				err = b.DeleteRange(key, value, nil)
			default:
				err = fmt.Errorf("the store wrote a key of kind %d", kind)
			}
			if err != nil {
				return keys, err
			}
		}
		if err := errors.Join(b.Commit(o), b.Close()); err != nil {
			return keys, err
		}
	}
	return keys, nil
}

// silent keeps Pebble from writing to standard error.
type silent struct{}

func (silent) Infof(string, ...any)      {}
func (silent) Errorf(string, ...any)     {}
func (silent) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }
