package tributary_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pages are the documents that this test holds against the tree.
func pages(t *testing.T) map[string]string {
	t.Helper()
	files := []string{"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "tributary.example.yaml",
		"bench/README.md", "mappings/README.md", "validate/README.md"}
	docs, err := filepath.Glob("docs/*.md")
	if err != nil || len(docs) == 0 {
		t.Fatalf("docs: %d pages, %v", len(docs), err)
	}
	texts := map[string]string{}
	for _, file := range append(files, docs...) {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts[file] = string(b)
	}
	return texts
}

var (
	link    = regexp.MustCompile(`\[([^\]\n]+)\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	notSlug = regexp.MustCompile(`[^a-z0-9 _-]`)
	isTest  = regexp.MustCompile(`^(Test|Fuzz|Benchmark)[A-Z]\w*$`)
)

// anchors are the headings of a page as its links name them.
func anchors(text string) []string {
	var all []string
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		all = append(all, strings.ReplaceAll(notSlug.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return all
}

// Every link leads to something, and every test that a link names is in the
// file that it leads to.
func TestLinks(t *testing.T) {
	texts := pages(t)
	links, tests := 0, 0
	for file, text := range texts {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			name, target := m[1], m[2]
			if strings.Contains(target, "://") {
				continue
			}
			links++
			path, anchor, _ := strings.Cut(target, "#")
			full := file
			if path != "" {
				full = filepath.Join(filepath.Dir(file), path)
			}
			b, err := os.ReadFile(full)
			if info, statErr := os.Stat(full); statErr != nil {
				t.Errorf("%s: [%s] leads to %s, which does not exist", file, name, target)
				continue
			} else if err != nil && !info.IsDir() {
				t.Fatal(err)
			}
			if anchor != "" && !slices.Contains(anchors(string(b)), anchor) {
				t.Errorf("%s: [%s]: %s has no heading %s", file, name, full, anchor)
			}
			if isTest.MatchString(name) {
				tests++
				if !regexp.MustCompile(`(?m)^func ` + name + `\(`).Match(b) {
					t.Errorf("%s: there is no %s in %s", file, name, full)
				}
			}
		}
	}
	if links < 50 || tests < 20 {
		t.Errorf("only %d links and %d tests found: the test looks in the wrong place", links, tests)
	}
}

// Every make target that the pages name is in the Makefile.
func TestMakeTargets(t *testing.T) {
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for file, text := range pages(t) {
		for _, m := range regexp.MustCompile("(?m)(?:`|^ {4})make ([a-z-]+)").FindAllStringSubmatch(text, -1) {
			named++
			if !regexp.MustCompile(`(?m)^` + m[1] + `:`).Match(makefile) {
				t.Errorf("%s names `make %s`, which the Makefile does not have", file, m[1])
			}
		}
	}
	if named < 5 {
		t.Errorf("only %d targets found", named)
	}
}

// built is the program, built once for the test.
func built(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tributary")
	if out, err := exec.Command("go", "build", "-o", path, "./cmd/tributary").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

// Every command that the pages name exists, with every flag that stands behind
// it; and the example configuration passes the check.
func TestCommands(t *testing.T) {
	program := built(t)
	usage, err := exec.Command(program, "help").CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	commands := regexp.MustCompile(`(?m)^  ([a-z]+) `).FindAllStringSubmatch(string(usage), -1)
	flags := map[string]string{}
	for _, m := range commands {
		out, err := exec.Command(program, m[1], "-h").CombinedOutput()
		if err != nil {
			t.Errorf("%s -h: %v", m[1], err)
		}
		flags[m[1]] = string(out)
	}
	// In prose a command stands in backquotes, in a block it begins after the prompt.
	call := regexp.MustCompile("(?:`(?:[A-Z_]+=\\S+ )?|bin/|^ {4}|\\$ )tributary ([a-z]+)([^`#|\n]*)")
	flag := regexp.MustCompile(`(?:^|\s)--?([a-z][a-z-]*)`)
	named := 0
	for file, text := range pages(t) {
		for _, m := range call.FindAllStringSubmatch(text, -1) {
			known, ok := flags[m[1]]
			if !ok {
				t.Errorf("%s names `tributary %s`, which is no command", file, m[1])
				continue
			}
			named++
			if part := regexp.MustCompile(`^ ([a-z]+)`).FindStringSubmatch(m[2]); part != nil && m[1] == "audit" {
				if out, err := exec.Command(program, m[1], part[1], "-h").CombinedOutput(); err == nil { // else no command: the record's first line
					known += string(out)
				}
			}
			for _, f := range flag.FindAllStringSubmatch(m[2], -1) {
				if !regexp.MustCompile(`(?m)^  -` + f[1] + `\b`).MatchString(known) {
					t.Errorf("%s: `tributary %s` has no flag --%s", file, m[1], f[1])
				}
			}
		}
	}
	if len(flags) < 5 || named < 10 {
		t.Errorf("%d commands, named %d times: the test looks in the wrong place", len(flags), named)
	}
	out, err := exec.Command(program, "check", "--offline", "--config", "tributary.example.yaml").CombinedOutput()
	if err != nil {
		t.Errorf("the example configuration: %v\n%s", err, out)
	}
}
