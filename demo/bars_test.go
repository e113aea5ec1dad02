package demo_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/tributary-health/tributary/demo"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// A golden file is a conversation: what is set when, and what appears on a terminal and without one.
func TestBars(t *testing.T) {
	const name = "testdata/bars.txtar"
	a, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var script string
	for _, f := range a.Files {
		if f.Name == "script" {
			script = string(f.Data)
		}
	}
	if script == "" {
		t.Fatal("no script in " + name)
	}
	got := map[string]string{
		"terminal": play(t, script, &demo.Bars{Width: 80}),
		"narrow":   play(t, script, &demo.Bars{Width: 40}),
		"plain":    play(t, script, &demo.Bars{}),
	}
	for i, f := range a.Files {
		if f.Name == "script" {
			continue
		}
		if got[f.Name] != string(f.Data) {
			t.Errorf("%s:\n%s\nwant:\n%s", f.Name, got[f.Name], f.Data)
		}
		a.Files[i].Data = []byte(got[f.Name])
	}
	if *rewrite {
		if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// play runs a script on bars and returns what they wrote, escapes made visible. The bars run on the script's clock.
func play(t *testing.T, script string, b *demo.Bars) string {
	t.Helper()
	var out bytes.Buffer
	now := time.Unix(0, 0)
	b.Out = &out
	b.Now = func() time.Time { return now }
	for _, line := range strings.Split(strings.TrimSpace(script), "\n") {
		var ms, done, total int64
		var name string
		if line == "finish" {
			b.Finish()
			continue
		}
		if _, err := fmt.Sscan(line, &ms, &name, &done, &total); err != nil {
			t.Fatalf("script line %q: %v", line, err)
		}
		now = time.Unix(0, ms*1e6)
		b.Set(name, done, total)
	}
	return strings.TrimRight(strings.ReplaceAll(out.String(), "\x1b", "^"), "\n") + "\n"
}
