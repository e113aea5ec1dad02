package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

var rewriteScripts = flag.Bool("rewrite", false, "write what the commands print into the scripts")

// TestMainProcess is the command itself, for tests that start it as a process.
func TestMainProcess(t *testing.T) {
	args, ok := os.LookupEnv("TRIBUTARY_TEST_ARGS")
	if !ok {
		t.Skip("started by other tests only")
	}
	os.Args = append([]string{"tributary"}, strings.Split(args, "\x1f")...)
	main()
	os.Exit(0)
}

// tributary runs the command in a folder and returns what it printed and its
// exit code.
func tributary(t *testing.T, dir string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	c := exec.Command(os.Args[0], "-test.run=^TestMainProcess$")
	c.Dir = dir
	c.Env = append(os.Environ(), "TRIBUTARY_TEST_ARGS="+strings.Join(args, "\x1f"))
	var out, errOut bytes.Buffer
	c.Stdout, c.Stderr = &out, &errOut
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errOut.String(), c.ProcessState.ExitCode()
}

// TestMappingCommand plays the scripts in testdata/mapping: files, then command
// lines, what they print, and the files that they changed. A line of a file that
// begins with > stands there without it, so that cases can stand in scripts.
func TestMappingCommand(t *testing.T) {
	scripts, err := filepath.Glob(filepath.Join("testdata", "mapping", "*.txtar"))
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts (%v)", err)
	}
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(script), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(script)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			commands, want := "", ""
			for _, f := range a.Files {
				switch f.Name {
				case "commands":
					commands = string(f.Data)
				case "want":
					want = string(f.Data)
				default:
					writeFile(t, filepath.Join(dir, f.Name), unquote(string(f.Data)))
				}
			}
			before := readTree(t, dir)
			got := play(t, dir, commands)
			for _, name := range slices.Sorted(maps.Keys(readTree(t, dir))) {
				if now := readTree(t, dir)[name]; now != before[name] {
					got += "file " + name + ":\n" + quoteLines(now)
				}
			}
			if *rewriteScripts {
				for i := range a.Files {
					if a.Files[i].Name == "want" {
						a.Files[i].Data = []byte(got)
					}
				}
				writeFile(t, script, string(txtar.Format(a)))
				return
			}
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// play runs command lines and prints them as a terminal would show them.
func play(t *testing.T, dir, commands string) string {
	var b strings.Builder
	lines := 0
	for line := range strings.Lines(commands) {
		lines++
		stdout, stderr, code := tributary(t, dir, strings.Fields(line)...)
		fmt.Fprintf(&b, "$ tributary %s", line)
		b.WriteString(quoteLines(stdout) + quoteLines(stderr))
		fmt.Fprintf(&b, "exit %d\n", code)
	}
	if lines == 0 {
		t.Error("the script has no command")
	}
	return b.String()
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func unquote(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimPrefix(line, ">"))
	}
	return b.String()
}

// quoteLines marks lines that a script would take for its own.
func quoteLines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "-- ") || strings.HasPrefix(line, ">") {
			b.WriteByte('>')
		}
		b.WriteString(line)
	}
	return b.String()
}

func readTree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[filepath.ToSlash(name)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestMappingPage: the case that docs/mapping.md shows agrees, and with another
// class in its row it prints what the page says.
func TestMappingPage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "mapping.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, chapter, _ := strings.Cut(string(page), "## Testing mappings\n")
	blocks := strings.Split(chapter, "```\n")
	if len(blocks) < 5 {
		t.Fatal("the chapter has lost its blocks")
	}
	printed, shown := strings.CutPrefix(blocks[1], "$ tributary mapping test\n")
	if !shown {
		t.Fatal("the first block is no command")
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "mappings", "m.yaml"), `
tables: {emr.patients: {root: id}, emr.visits: {member: patient, time: start}}
---
{resource: Patient, from: emr.patients, body: {birthDate: '= row.birthdate'}}
---
resource: Encounter
from: emr.visits
where: row.class != null
skipped: visit without a class
body:
  status: finished
  class: {code: '= row.class'}
  subject: {reference: '= ref("Patient", "emr.patients", row.patient)'}
  period: {start: '= row.start'}
`)
	writeFile(t, filepath.Join(dir, "mappings", "testdata", "schema.txt"), `
emr.patients
    id        uuid key
    first     string
    last      string
    birthdate date
emr.visits
    id      uuid key
    patient uuid
    start   instant
    class   string null
`)
	file := filepath.Join(dir, "mappings", "testdata", "visit.txtar")
	writeFile(t, file, blocks[3])
	if stdout, stderr, code := tributary(t, dir, "mapping", "test"); code != 0 {
		t.Errorf("the page's case: exit %d\n%s%s", code, stdout, stderr)
	}
	writeFile(t, file, strings.Replace(blocks[3], ",AMB\n", ",EMER\n", 1))
	if stdout, _, code := tributary(t, dir, "mapping", "test"); code != 1 || stdout != printed {
		t.Errorf("exit %d, printed\n%s\nthe page says\n%s", code, stdout, printed)
	}
}
