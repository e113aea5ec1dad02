package pebble_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	engine "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/store"
	"github.com/tributary-health/tributary/store/pebble"
)

var (
	ctx   = context.Background()
	claim = fhir.ResourceID{Type: "Claim", ID: "c1"}
)

// unit is the claim's nth version, which says so, in n's unit.
func unit(n uint64, size int) commit.Batch {
	v := commit.Version{Op: commit.Update, Outbox: n}
	v.ResourceID, v.Number, v.Member = claim, n, "m"
	v.Body = []byte(fmt.Sprintf("%d %s", n, strings.Repeat("x", size)))
	row := commit.Row{Route: "1", Key: fmt.Sprint(n), Body: v.Body}
	tokens := commit.TokenSet{Resource: claim, Member: "m", Tokens: []commit.Token{{byte(n), byte(n >> 8)}}}
	return commit.Batch{Units: []commit.Unit{{Number: commit.Number(n), Rows: []commit.Row{row}, Versions: []commit.Version{v}, Tokens: []commit.TokenSet{tokens}, Count: 1}}}
}

func at(n uint64) commit.Frontier {
	return commit.Frontier{Number: commit.Number(n), Outbox: []uint64{n}, Matching: 1}
}

// write writes the next unit, every third one staged first.
func write(db *pebble.DB, n uint64) error {
	if n%3 != 0 {
		return db.Commit(ctx, unit(n, 4000), at(n))
	}
	if err := db.Stage(ctx, unit(n, 4000)); err != nil {
		return err
	}
	return db.Commit(ctx, commit.Batch{}, at(n))
}

func check(t *testing.T, db *pebble.DB, n uint64) {
	t.Helper()
	if got := uint64(db.Frontier().Number); got != n {
		t.Fatalf("frontier %d, want %d", got, n)
	}
	for i := uint64(1); i <= n; i++ {
		v, err := db.At(i)
		if err != nil {
			t.Fatal(err)
		}
		got, ok, err := v.Read(claim)
		if err != nil || !ok || !strings.HasPrefix(string(got.Body), fmt.Sprint(i, " ")) {
			t.Fatalf("at %d of %d: %v %v", i, n, ok, err)
		}
		held := 0
		if err := v.Holders(commit.Token{byte(i), byte(i >> 8)}, func(string) bool { held++; return true }); err != nil || held != 1 {
			t.Fatalf("at %d of %d: its token is held by %d: %v", i, n, held, err)
		}
	}
	if err := db.Check(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestFullDisk fills the disk at every kind of moment: the write that meets it
// fails with an error, reads go on, Close returns, and when there is room again
// the store goes on from its last commit.
func TestFullDisk(t *testing.T) {
	for _, only := range []string{"", ".log", ".sst", "MANIFEST"} {
		for _, room := range []int64{0, 1, 2, 3, 5, 8, 13, 40, 111, 300} {
			if testing.Short() && room%2 == 0 {
				continue
			}
			if room > 40 && (only == "MANIFEST" || only == ".log") {
				continue // it is written too seldom, or a recycled file that errorfs does not see
			}
			t.Run(fmt.Sprintf("%s%d", only, room), func(t *testing.T) { fillDisk(t, only, room) })
		}
	}
}

func fillDisk(t *testing.T, only string, room int64) {
	mem := vfs.NewMem()
	var full atomic.Bool
	var left atomic.Int64
	left.Store(room)
	disk := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		writes := op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpCreate || op.Kind == errorfs.OpReuseForWrite
		if full.Load() && writes && strings.Contains(op.Path, only) && left.Add(-1) < 0 {
			return syscall.ENOSPC
		}
		return nil
	}))
	o := pebble.Options{CacheBytes: 1 << 20, MemTableBytes: 64 << 10, FS: disk}
	db, err := pebble.Open("db", o)
	if err != nil {
		t.Fatal(err)
	}
	last := uint64(0)
	for err == nil && last < 800 {
		full.Store(last >= 3)
		if err = write(db, last+1); err == nil {
			last++
		}
	}
	if err == nil {
		t.Fatal("the disk was never full")
	}
	if !errors.Is(err, store.ErrStopped) || !errors.Is(db.Err(), store.ErrStopped) {
		t.Fatalf("commit: %v, Err: %v", err, db.Err())
	}
	<-db.Stopped()
	check(t, db, last)
	if err := db.Stage(ctx, unit(last+1, 1)); !errors.Is(err, store.ErrStopped) {
		t.Fatalf("a write after it: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	full.Store(false)
	if db, err = pebble.Open("db", o); err != nil {
		t.Fatal(err)
	}
	if got := uint64(db.Frontier().Number); got == last+1 {
		last++ // the failed commit was written after all, and whole
	}
	check(t, db, last)
	for range 5 {
		last++
		if err := write(db, last); err != nil {
			t.Fatal(err)
		}
	}
	check(t, db, last)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestLocked(t *testing.T) {
	dir := t.TempDir()
	db, err := pebble.Open(dir, small)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pebble.Open(dir, small); !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Fatalf("second open: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if db, err = pebble.Open(dir, small); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// silent is a logger for the engine.
type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(string, ...any) {}

// spoil opens the directory with the engine alone and spoils something.
func spoil(t *testing.T, dir string, fn func(db *engine.DB) error) {
	t.Helper()
	db, err := engine.Open(dir, &engine.Options{FormatMajorVersion: engine.FormatNewest, Comparer: pebble.Order, Logger: silent{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(fn(db), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestFormat wants every directory refused by name that is not of this format:
// those of other versions, with other groups of keys or none, and one of somebody
// else.
func TestFormat(t *testing.T) {
	before := &engine.Options{FormatMajorVersion: engine.FormatNewest, Logger: silent{}}
	second := *pebble.Order
	second.Name = "tributary.2"
	grouped := &engine.Options{FormatMajorVersion: engine.FormatNewest, Comparer: &second, Logger: silent{}}
	now := &engine.Options{FormatMajorVersion: engine.FormatNewest, Comparer: pebble.Order, Logger: silent{}}
	for _, c := range []struct {
		name       string
		options    *engine.Options
		key, value string
		says       string
	}{
		{"newer", now, "Aformat", "4", "tributary replay --rebuild"},
		{"of before contents lay by member", grouped, "Aformat", "2", "tributary replay --rebuild"},
		{"older", before, "Aformat", "1", "tributary replay --rebuild"},
		{"other", now, "x", "y", "another program's"},
	} {
		dir := t.TempDir()
		db, err := engine.Open(dir, c.options.Clone())
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.Set([]byte(c.key), []byte(c.value), engine.Sync), db.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := pebble.Open(dir, small); !errors.Is(err, store.ErrFormat) || !strings.Contains(err.Error(), c.says) {
			t.Fatalf("%s: %v", c.name, err)
		}
	}
}
