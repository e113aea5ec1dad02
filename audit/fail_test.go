package audit_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/tributary-health/tributary/audit"
)

// gate holds the syncs of a file while arm is set.
type gate struct {
	audit.File
	held, free chan bool
	on         bool
}

var arm atomic.Bool

func (g *gate) Sync() error {
	if g.on && arm.Load() {
		g.held <- true
		<-g.free
	}
	return g.File.Sync()
}

// faulty fails the nth call to the disk, and for a write lets half of it
// through.
type faulty struct {
	audit.File
	left *int
}

func (f faulty) fails() bool {
	*f.left--
	return *f.left == 0
}

func (f faulty) WriteAt(p []byte, at int64) (int, error) {
	if f.fails() {
		n, _ := f.File.WriteAt(p[:len(p)/2], at)
		return n, syscall.ENOSPC
	}
	return f.File.WriteAt(p, at)
}

func (f faulty) Sync() error {
	if f.fails() {
		return syscall.EIO
	}
	return f.File.Sync()
}

// Whichever call fails, no entry is acknowledged that is not there, nothing is
// accepted afterwards, and the next start goes on with a sound log.
func TestEveryFailureIsFinal(t *testing.T) {
	stopped := 0
	for n := 1; ; n++ {
		dir := t.TempDir()
		closeLog(t, open(t, dir, audit.Options{}))
		left := 0
		l := open(t, dir, audit.Options{SegmentBytes: 1200}.WithFiles(func(path string, create bool) (audit.File, error) {
			f, err := audit.OpenFile(path, create)
			return faulty{f, &left}, err
		}))
		left = n
		acknowledged, failed := 0, false
		for i := range 12 {
			err := l.Append(context.Background(), event(i))
			switch {
			case err == nil && failed:
				t.Fatalf("call %d: an entry was accepted after a failure", n)
			case err == nil:
				acknowledged++
			case !errors.Is(err, audit.ErrStopped) || l.Err() == nil:
				t.Fatalf("call %d: %v, %v", n, err, l.Err())
			default:
				failed = true
				<-l.Stopped()
			}
		}
		_ = l.Close()
		if !failed {
			break
		}
		stopped++
		again := open(t, dir, audit.Options{SegmentBytes: 1200})
		add(t, again, event(100))
		closeLog(t, again)
		entries := all(t, dir)
		if len(entries) < acknowledged+1 || len(entries) > acknowledged+2 {
			t.Errorf("call %d: %d entries, %d acknowledged", n, len(entries), acknowledged)
		}
		for i := range acknowledged {
			if entries[i].Commit != uint64(i) {
				t.Errorf("call %d: entry %d is another", n, i+1)
			}
		}
		if r := sound(t, dir); int(r.Entries) != len(entries) {
			t.Errorf("call %d: %+v", n, r)
		}
	}
	if stopped < 12*4 {
		t.Errorf("only %d calls failed", stopped)
	}
}

// A sync that fails may leave the system believing that it wrote. So what is
// found behind the head is written again before it is acknowledged.
func TestFoundEntriesAreWrittenAgain(t *testing.T) {
	dir := t.TempDir()
	closeLog(t, open(t, dir, audit.Options{}))
	left := 0
	l := open(t, dir, audit.Options{}.WithFiles(func(path string, create bool) (audit.File, error) {
		f, err := audit.OpenFile(path, create)
		return faulty{f, &left}, err
	}))
	add(t, l, event(1))
	left = 2 // the sync of the segment
	if err := l.Append(context.Background(), event(2)); err == nil {
		t.Fatal("no failure")
	}
	_ = l.Close()
	written := 0
	again := open(t, dir, audit.Options{}.WithFiles(func(path string, create bool) (audit.File, error) {
		f, err := audit.OpenFile(path, create)
		return counting{f, &written, strings.HasSuffix(path, ".log")}, err
	}))
	if again.Recovered().Entries != 1 || written < 200 {
		t.Errorf("%+v, %d bytes written again", again.Recovered(), written)
	}
}

type counting struct {
	audit.File
	n  *int
	on bool
}

func (c counting) WriteAt(p []byte, at int64) (int, error) {
	if c.on {
		*c.n += len(p)
	}
	return c.File.WriteAt(p, at)
}

// What a power failure leaves behind the head, cut at any length, is found, kept
// as far as it is whole, and set aside from there.
func TestTornBehindTheHead(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, audit.Options{})
	add(t, l, event(1), event(2))
	head := read(t, filepath.Join(dir, "head"))
	short := len(read(t, filepath.Join(dir, "000001.log")))
	add(t, l, event(3), event(4))
	closeLog(t, l)
	segment := read(t, filepath.Join(dir, "000001.log"))
	whole := 0 // entries behind the head
	for size := short; size <= len(segment); size++ {
		if size%5 != 0 && size > short+3 && size < len(segment)-3 && segment[size-1] != '\n' {
			continue
		}
		if size > short && segment[size-1] == '\n' {
			whole++
		}
		for _, tail := range []string{"", "\x00\x00\x00\x00", "garbage\n", strings.Repeat("x", 3<<20)} {
			if tail != "" && size%37 != 0 || len(tail) > 100 && size%185 != 0 {
				continue
			}
			at := fmt.Sprintf("%d bytes, %.7q behind", size, tail)
			copyOf := t.TempDir()
			copyLog(t, dir, copyOf)
			write(t, filepath.Join(copyOf, "head"), head)
			write(t, filepath.Join(copyOf, "000001.log"), append(segment[:size:size], tail...))
			torn := tail != "" || size > short && segment[size-1] != '\n'
			r := verified(t, copyOf, audit.VerifyOptions{})
			if torn != (len(r.Findings) == 1) || int(r.Unacknowledged) != whole || r.Entries != 2 {
				t.Errorf("%s: before the start: %+v", at, r)
			}
			l := open(t, copyOf, audit.Options{})
			if r := l.Recovered(); int(r.Entries) != whole || (r.Cut > 0) != torn {
				t.Errorf("%s: recovered %+v", at, r)
			}
			add(t, l, event(9))
			closeLog(t, l)
			if r := sound(t, copyOf); int(r.Entries) != whole+3 {
				t.Errorf("%s: %+v", at, r)
			}
		}
	}
}

// A start goes on only with a log that holds all that was acknowledged.
func TestDamagedLogIsNotOpened(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, audit.Options{SegmentBytes: 1200})
	for i := range 7 {
		add(t, l, event(i))
	}
	closeLog(t, l)
	last := filepath.Join(dir, "000003.log")
	segment := read(t, last)
	for name, damage := range map[string]func(dir string){
		"cut":        func(dir string) { write(t, filepath.Join(dir, "000003.log"), segment[:len(segment)-1]) },
		"changed":    func(dir string) { write(t, filepath.Join(dir, "000003.log"), flipped(segment, len(segment)-100, 1)) },
		"no segment": func(dir string) { remove(t, filepath.Join(dir, "000003.log")) },
		"no head":    func(dir string) { remove(t, filepath.Join(dir, "head")) },
		"no key":     func(dir string) { remove(t, filepath.Join(dir, "audit.key")) },
		"no public":  func(dir string) { remove(t, filepath.Join(dir, "audit.pub")) },
		"other head": func(dir string) {
			other := t.TempDir()
			closeLog(t, open(t, other, audit.Options{}))
			write(t, filepath.Join(dir, "head"), read(t, filepath.Join(other, "head")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			copyOf := t.TempDir()
			copyLog(t, dir, copyOf)
			damage(copyOf)
			before := snapshot(t, copyOf)
			if l, err := audit.Open(copyOf, audit.Options{}); err == nil {
				_ = l.Close()
				t.Error("opened")
			}
			if after := snapshot(t, copyOf); after != before {
				t.Error("the refused log was changed")
			}
		})
	}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o640); err != nil {
		t.Fatal(err)
	}
}

func remove(t testing.TB, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func flipped(b []byte, at int, bits byte) []byte {
	c := append([]byte{}, b...)
	c[at] ^= bits
	return c
}

func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		if e.Name() != "lock" {
			all = append(all, e.Name())
		}
	}
	return all
}

func copyLog(t testing.TB, from, to string) {
	t.Helper()
	for _, name := range names(t, from) {
		write(t, filepath.Join(to, name), read(t, filepath.Join(from, name)))
	}
}

func snapshot(t testing.TB, dir string) string {
	var b strings.Builder
	for _, name := range names(t, dir) {
		fmt.Fprintf(&b, "%s\x00%s\x00", name, read(t, filepath.Join(dir, name)))
	}
	return b.String()
}

// volatile keeps what is written in memory until a sync; when the power fails,
// that is gone.
type volatile struct {
	audit.File
	left    *int // calls until the power fails
	pending *[]func() error
}

func (v volatile) off() bool {
	*v.left--
	return *v.left <= 0
}

func (v volatile) WriteAt(p []byte, at int64) (int, error) {
	if v.off() {
		return 0, syscall.EIO
	}
	b := append([]byte{}, p...)
	*v.pending = append(*v.pending, func() error { _, err := v.File.WriteAt(b, at); return err })
	return len(p), nil
}

func (v volatile) Sync() error {
	if v.off() {
		return syscall.EIO
	}
	for _, write := range *v.pending {
		if err := write(); err != nil {
			return err
		}
	}
	*v.pending = nil
	return nil
}

// Whenever the power fails, the head is not ahead of the log, and what it
// acknowledges is there.
func TestPowerFailsAtEveryCall(t *testing.T) {
	for n := 1; ; n++ {
		dir := t.TempDir()
		closeLog(t, open(t, dir, audit.Options{}))
		left := 1 << 30
		l := open(t, dir, audit.Options{SegmentBytes: 1200}.WithFiles(func(path string, create bool) (audit.File, error) {
			f, err := audit.OpenFile(path, create)
			return volatile{f, &left, new([]func() error)}, err
		}))
		left = n
		acknowledged := 0
		for i := range 8 {
			if l.Append(context.Background(), event(i)) == nil {
				acknowledged++
			}
		}
		off := left <= 0
		_ = l.Close()
		again, err := audit.Open(dir, audit.Options{})
		if err != nil {
			t.Fatalf("power failed at call %d: %v", n, err)
		}
		closeLog(t, again)
		if entries := all(t, dir); len(entries) < acknowledged {
			t.Errorf("power failed at call %d: %d entries of %d acknowledged", n, len(entries), acknowledged)
		}
		sound(t, dir)
		if !off {
			return
		}
	}
}
