package audit_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tributary-health/tributary/audit"
)

// small is a closed log of ten entries in three segments.
func small(t testing.TB) string {
	dir := t.TempDir()
	l := open(t, dir, audit.Options{SegmentBytes: 1700})
	for i := range 10 {
		add(t, l, event(i))
	}
	closeLog(t, l)
	if r := sound(t, dir); r.Segments != 3 || r.Entries != 10 {
		t.Fatalf("%+v", r)
	}
	return dir
}

// found verifies the log and fails the test unless something is found, in a file
// of that name if it is not empty.
func found(t testing.TB, dir, file, what string) audit.Report {
	t.Helper()
	r, err := audit.Verify(dir, audit.VerifyOptions{}.Alone())
	if err != nil {
		t.Errorf("%s: could not find out: %v", what, err)
		return r
	}
	for _, f := range r.Findings {
		if file == "" || f.File == file {
			return r
		}
	}
	t.Errorf("%s: not found, or elsewhere: %v", what, r.Findings)
	return r
}

// Every byte of every file.
func TestEveryChangedByteIsFound(t *testing.T) {
	dir := small(t)
	n := 0
	for _, name := range names(t, dir) {
		path := filepath.Join(dir, name)
		content := read(t, path)
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		for at, b := range content {
			if testing.Short() && at%7 != 0 {
				continue
			}
			bits := []byte{1, 128}
			switch {
			case b == 0: // the head's rest
				bits = bits[:1]
			case b|32 >= 'a' && b|32 <= 'z':
				bits = append(bits, 32) // the case of a letter
			}
			for _, x := range bits {
				if _, err := f.WriteAt([]byte{b ^ x}, int64(at)); err != nil {
					t.Fatal(err)
				}
				where := name
				if name == "audit.pub" {
					where = ""
				}
				found(t, dir, where, fmt.Sprintf("%s: byte %d, bits %02x", name, at, x))
				n++
			}
			if _, err := f.WriteAt([]byte{b}, int64(at)); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	sound(t, dir)
	if n < 12_000 && !testing.Short() {
		t.Errorf("only %d changes were tried", n)
	}
}

// stride thins out the lengths and places in the head file: its length alone is
// a finding.
const stride = 61

func TestEveryTruncationIsFound(t *testing.T) {
	dir := small(t)
	for _, name := range names(t, dir) {
		path := filepath.Join(dir, name)
		content := read(t, path)
		for size := range content {
			if name == "head" && size%stride != 0 {
				continue
			}
			write(t, path, content[:size])
			found(t, dir, "", fmt.Sprintf("%s cut to %d bytes", name, size))
		}
		remove(t, path)
		if name == "audit.key" {
			sound(t, dir) // a verifier needs none
		} else {
			found(t, dir, "", name+" removed")
		}
		write(t, path, content)
	}
	sound(t, dir)
}

// An insertion of any byte anywhere, of a blank above all.
func TestEveryInsertionIsFound(t *testing.T) {
	dir := small(t)
	for _, name := range names(t, dir) {
		path := filepath.Join(dir, name)
		content := read(t, path)
		for at := 0; at <= len(content); at++ {
			if name == "head" && at%stride != 0 {
				continue
			}
			for _, c := range " \n0\x00" {
				inserted := append(append(append([]byte{}, content[:at]...), byte(c)), content[at:]...)
				write(t, path, inserted)
				found(t, dir, "", fmt.Sprintf("%s: %q before byte %d", name, c, at))
			}
		}
		write(t, path, content)
	}
}

// segments are the log's entries, by file: the header is line 0.
func segmentLines(t testing.TB, dir string) map[string][]string {
	files := map[string][]string{}
	for _, name := range names(t, dir) {
		if strings.HasSuffix(name, ".log") {
			files[name] = strings.SplitAfter(string(read(t, filepath.Join(dir, name))), "\n")
		}
	}
	return files
}

func TestEveryMovedEntryIsFound(t *testing.T) {
	dir := small(t)
	files := segmentLines(t, dir)
	type place struct {
		file string
		line int
	}
	var places []place
	for name, lines := range files {
		for i := range lines[:len(lines)-1] {
			places = append(places, place{name, i})
		}
	}
	put := func(change map[place]string, what string) {
		t.Helper()
		for name, lines := range files {
			var b strings.Builder
			for i, line := range lines {
				if other, ok := change[place{name, i}]; ok {
					line = other
				}
				b.WriteString(line)
			}
			write(t, filepath.Join(dir, name), []byte(b.String()))
		}
		if what != "" {
			found(t, dir, "", what)
		}
	}
	for i, a := range places {
		line := files[a.file][a.line]
		put(map[place]string{a: ""}, fmt.Sprintf("%v removed", a))
		put(map[place]string{a: line + line}, fmt.Sprintf("%v twice", a))
		for _, b := range places[i+1:] {
			put(map[place]string{a: files[b.file][b.line], b: line}, fmt.Sprintf("%v and %v swapped", a, b))
			put(map[place]string{a: "", b: ""}, fmt.Sprintf("%v and %v removed", a, b))
			put(map[place]string{b: line}, fmt.Sprintf("%v instead of %v", a, b))
		}
	}
	put(nil, "")
	sound(t, dir)
}

func TestMovedFilesAreFound(t *testing.T) {
	dir := small(t)
	swap := func(a, b string) {
		x, y := read(t, filepath.Join(dir, a)), read(t, filepath.Join(dir, b))
		write(t, filepath.Join(dir, a), y)
		write(t, filepath.Join(dir, b), x)
	}
	all := names(t, dir)
	for i, a := range all {
		for _, b := range all[i+1:] {
			swap(a, b)
			found(t, dir, "", a+" and "+b+" swapped")
			swap(a, b)
		}
	}
	for _, gone := range [][]string{{"000001.log", "000002.log"}, {"000002.log", "000003.log"}, {"000001.log", "000002.log", "000003.log"}} {
		copyOf := t.TempDir()
		copyLog(t, dir, copyOf)
		for _, name := range gone {
			remove(t, filepath.Join(copyOf, name))
		}
		found(t, copyOf, "", fmt.Sprint(gone, " removed"))
	}
	write(t, filepath.Join(dir, "000004.log"), read(t, filepath.Join(dir, "000003.log")))
	found(t, dir, "000004.log", "a segment added")
	remove(t, filepath.Join(dir, "000004.log"))
	sound(t, dir)
}

// Parts of another log, each sound in itself.
func TestFilesOfAnotherLogAreFound(t *testing.T) {
	dir, other := small(t), small(t)
	all := names(t, dir)
	for set := 1; set < 1<<len(all)-1; set++ {
		copyOf := t.TempDir()
		copyLog(t, dir, copyOf)
		var taken []string
		for i, name := range all {
			if set>>i&1 == 1 {
				write(t, filepath.Join(copyOf, name), read(t, filepath.Join(other, name)))
				taken = append(taken, name)
			}
		}
		found(t, copyOf, "", fmt.Sprint(taken, " of another log"))
	}
	// All of it is another log: that is found by its key, or by a noted head.
	r := verified(t, dir, audit.VerifyOptions{})
	sound(t, other)
	if o := verified(t, other, audit.VerifyOptions{Fingerprint: r.Fingerprint}); len(o.Findings) == 0 {
		t.Error("another key was not found")
	}
	if o := verified(t, other, audit.VerifyOptions{Expect: []audit.Mark{r.Head}}); len(o.Findings) == 0 {
		t.Error("a log that was written anew was not found by the noted head")
	}
	if o := verified(t, dir, audit.VerifyOptions{Fingerprint: r.Fingerprint, Expect: []audit.Mark{r.Head}}); len(o.Findings) > 0 {
		t.Error(o.Findings)
	}
}

// Log and head, taken back together, are what the log once was: only a head that
// was noted elsewhere finds it.
func TestRollback(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, audit.Options{})
	add(t, l, event(1), event(2))
	early := l.Head()
	closeLog(t, l)
	old := t.TempDir()
	copyLog(t, dir, old)
	l = open(t, dir, audit.Options{})
	add(t, l, event(3))
	late := l.Head()
	closeLog(t, l)

	sound(t, old)
	for _, c := range []struct {
		dir  string
		mark audit.Mark
		ok   bool
	}{{dir, early, true}, {dir, late, true}, {old, early, true}, {old, late, false}, {dir, audit.Mark{Number: 2, Hash: late.Hash}, false}} {
		r := verified(t, c.dir, audit.VerifyOptions{Expect: []audit.Mark{c.mark}})
		if (len(r.Findings) == 0) != c.ok {
			t.Errorf("%v: %v", c.mark, r.Findings)
		}
	}
}

// Old segments may be moved to an archive: each half verifies, by the head
// between them.
func TestArchive(t *testing.T) {
	dir := small(t)
	var border audit.Mark
	entries := all(t, dir)
	header := strings.Fields(string(read(t, filepath.Join(dir, "000003.log"))))
	for _, e := range entries {
		if e.Hash.String() == header[7] {
			border = audit.Mark{Number: e.Number, Hash: e.Hash}
		}
	}
	remove(t, filepath.Join(dir, "000001.log"))
	remove(t, filepath.Join(dir, "000002.log"))
	found(t, dir, "", "archived without a word")
	r := verified(t, dir, audit.VerifyOptions{From: &border})
	if len(r.Findings) > 0 || r.First != border.Number+1 || r.Entries != 10-border.Number {
		t.Errorf("%+v", r)
	}
	wrong := audit.Mark{Number: border.Number, Hash: entries[0].Hash}
	if r := verified(t, dir, audit.VerifyOptions{From: &wrong}); len(r.Findings) == 0 {
		t.Error("another head was taken for the archive's")
	}
	if _, err := audit.Verify(dir, audit.VerifyOptions{From: &border, Expect: []audit.Mark{{Number: 1}}}); err == nil {
		t.Error("a head in the archive was not refused")
	}
	l := open(t, dir, audit.Options{SegmentBytes: 1700}) // and the log goes on
	add(t, l, event(20))
	if err := l.Since(noon, func(audit.Event) bool { return true }); err != nil {
		t.Error(err)
	}
}

// Each fault is named once, with its place.
func TestFindingsNameThePlace(t *testing.T) {
	dir := small(t)
	path := filepath.Join(dir, "000002.log")
	lines := segmentLines(t, dir)["000002.log"]
	lines[1] = strings.Replace(lines[1], "care-team", "care-tean", 1)
	write(t, path, []byte(strings.Join(lines, "")))
	r := verified(t, dir, audit.VerifyOptions{})
	want := fmt.Sprintf("000002.log, offset %d, entry 5: was changed", len(lines[0]))
	if len(r.Findings) != 1 || !strings.HasPrefix(r.Findings[0].String(), want) {
		t.Errorf("got %v, want %s", r.Findings, want)
	}
	write(t, path, []byte(lines[0]+strings.Join(lines[2:], "")))
	if r := verified(t, dir, audit.VerifyOptions{}); len(r.Findings) != 1 || !strings.Contains(r.Findings[0].What, "entries 5 to 5 are missing") {
		t.Errorf("got %v", r.Findings)
	}
}

func TestParseMark(t *testing.T) {
	m := audit.Mark{Number: 17, Hash: audit.Hash{1, 2}}
	if got, err := audit.ParseMark(m.String()); err != nil || got != m {
		t.Errorf("%v, %v", got, err)
	}
	for _, s := range []string{"", "17", "17:", ":" + m.Hash.String(), "x:" + m.Hash.String(), m.String() + "0", strings.ToUpper(m.String()[:5]) + "ZZ"} {
		if _, err := audit.ParseMark(s); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
}

func TestDamageIsSaidToBeDamage(t *testing.T) {
	dir := small(t)
	write(t, filepath.Join(dir, "000003.log"), nil)
	if _, err := audit.Open(dir, audit.Options{}); !errors.Is(err, audit.ErrDamaged) {
		t.Errorf("got %v", err)
	}
}
