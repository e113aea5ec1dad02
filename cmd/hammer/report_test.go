package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Two runs on one day, of one size each, give one file and one page with both.
func TestReportAddsSizes(t *testing.T) {
	folder := t.TempDir()
	page := filepath.Join(folder, "page.md")
	if err := os.WriteFile(page, []byte("before\n"+tablesBegin+"old\n"+tablesEnd+"after\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Size{
		{Members: 100_000, Rows: 2_000_000, SnapshotRate: 3000, Reads: []Read{{Name: "read", Among: "all", P50: 3}}},
		{Members: 1000, Rows: 20_000, SnapshotRate: 2000, Reads: []Read{{Name: "read", Among: "all", P50: 2}}},
	} {
		r := newReport("x", population(0))
		r.Sizes = []*Size{s}
		if err := r.save(folder, page, true); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"before\n", "after\n", "| 1,000 members | 100,000 members | ratio", "| 2,000 | 3,000 | **1.50** |", "| 2.00 | 3.00 | **1.50** |"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the page lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "old\n") {
		t.Error("the old tables stayed")
	}
}

func TestThousands(t *testing.T) {
	for in, want := range map[string]string{"1": "1", "999": "999", "1000": "1,000", "1234567.25": "1,234,567.25", "-100": "-100", "-1000": "-1,000"} {
		if got := thousands(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
