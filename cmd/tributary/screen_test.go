package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
)

// A bar is drawn for good once it is full, so it must not be full before the
// source's last table is.
func TestSnapshotBarEndsWithTheLastTable(t *testing.T) {
	for _, c := range []struct {
		name        string
		begun       map[string]tableProgress
		tables      int
		rows, total int64
	}{
		{"nothing begun", nil, 2, 0, 0},
		{"the first of two done", map[string]tableProgress{"a": {Rows: 8, Estimate: 5, Done: true}}, 2, 8, 9},
		{"the second beyond its estimate", map[string]tableProgress{"a": {8, 5, true}, "b": {Rows: 7, Estimate: 3}}, 2, 15, 16},
		{"the second begun", map[string]tableProgress{"a": {8, 5, true}, "b": {Rows: 2, Estimate: 30}}, 2, 10, 38},
		{"both done", map[string]tableProgress{"a": {8, 5, true}, "b": {9, 30, true}}, 2, 17, 17},
		{"empty tables", map[string]tableProgress{"a": {0, 0, true}}, 1, 0, 0},
	} {
		if rows, total := snapshotProgress(c.begun, c.tables); rows != c.rows || total != c.total {
			t.Errorf("%s: %d of %d, want %d of %d", c.name, rows, total, c.rows, c.total)
		}
	}
}

// A line that wraps is not drawn over but leaves its first row behind, each second.
func TestLiveLineFits(t *testing.T) {
	now := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	f := commit.Frontier{Number: 1234567, Sources: map[string]commit.Progress{}}
	for name, lag := range map[string]time.Duration{"pharmacy": 600 * time.Millisecond, "emr": 100 * time.Millisecond} {
		f.Sources[name] = commit.Progress{Freshness: change.Freshness{Committed: now.Add(-lag)}}
	}
	line := liveLine(31.2, 4.6, f, now)
	if want := "changes in 31/s  resources out 4.6/s  commit 1234567  lag emr 0.1s, pharmacy 0.6s"; line != want {
		t.Errorf("got  %s\nwant %s", line, want)
	}
	if got := fit(line, 60); len(got) != 59 {
		t.Errorf("on 60 columns it has %d", len(got))
	}
	if got := fit(line, 0); got != line {
		t.Errorf("without a known width: %s", got)
	}
}

// What the screen says to type is short where it can be, and right elsewhere.
func TestPathsAsTyped(t *testing.T) {
	t.Chdir(t.TempDir())
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{
		{filepath.Join(here, ".demo"), "'.demo/demo.env'"},
		{filepath.Join(here, "a b's"), `'a b'\''s/demo.env'`},
		{filepath.Dir(here), shellQuote(filepath.Join(filepath.Dir(here), "demo.env"))},
	} {
		if got := shellPath(c[0], "demo.env"); got != c[1] {
			t.Errorf("got %s, want %s", got, c[1])
		}
	}
}
