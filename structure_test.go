// Package tributary_test holds what must be true of the tree as a whole.
package tributary_test

import (
	"go/parser"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/tributary-health/tributary/"

// mayImport is the whole import direction: stages never import one another, and
// meet in cmd. A package that is not listed fails.
var mayImport = map[string][]string{
	"change":               {},
	"fhir":                 {},
	"access":               {"fhir"},
	"audit":                {"fhir"},
	"mappings":             {},
	"testdata":             {},
	"testdata/subset":      {},
	"fhir/definitions/gen": {},
	"commit":               {"change", "fhir"},
	"capture":              {"change"},
	"capture/postgres":     {"change", "capture"},
	"capture/mysql":        {"change", "capture"},
	"capture/clock":        {"change", "capture"},
	"kafka":                {"change"},
	"compose/mapping":      {"change", "fhir"},
	"compose/mappingtest":  {"change", "compose", "compose/mapping", "fhir"},
	"compose":              {"change", "commit", "fhir", "compose/mapping"},
	"store":                {"change", "commit", "fhir"},
	"store/pebble":         {"change", "commit", "fhir", "store"},
	"store/storetest":      {"change", "commit", "fhir", "store"},
	"publish":              {"change", "commit", "fhir", "access"},
	"projection":           {"change", "commit", "fhir", "access"},
	"hashmatch":            {},
	"api":                  {"change", "fhir", "access", "audit", "hashmatch"},
	"verify":               {"change", "commit", "compose", "compose/mapping", "fhir"},
	"demo":                 {"testdata"},
	"demo/population":      {},  // an HTTP client like any other
	"validate":             {},  // an HTTP client like any other
	"cmd/tributary":        nil, // all
	"cmd/hammer":           nil,
	"integration":          nil,
	"bench":                nil,
	"":                     nil,
}

// goFiles calls fn with every Go file's slash path.
func goFiles(t *testing.T, fn func(path string)) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".go") {
			n++
			fn(filepath.ToSlash(path))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n == 0 {
		t.Fatal("no Go files: the test looks in the wrong place")
	}
}

func folder(path string) string {
	dir := filepath.ToSlash(filepath.Dir(path))
	if dir == "." {
		return ""
	}
	return dir
}

func TestImportDirection(t *testing.T) {
	seen := map[string]bool{}
	goFiles(t, func(path string) {
		src, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(src), "//go:build ignore") {
			return
		}
		dir := folder(path)
		seen[dir] = true
		allowed, listed := mayImport[dir]
		if !listed {
			t.Errorf("%s: package %q is not in the table of imports", path, dir)
			return
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, src, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range f.Imports {
			name, ours := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), module)
			if !ours || name == dir || allowed == nil {
				continue
			}
			if strings.HasSuffix(path, "_test.go") && (name == "store/storetest" || name == "compose/mappingtest" || dir == "projection" && name == "store/pebble" || dir == "mappings" && name == "compose/mapping") {
				continue
			}
			if !slices.Contains(allowed, name) {
				t.Errorf("%s imports %s, which %q may not", path, name, dir)
			}
		}
	})
	for dir := range mayImport {
		if dir != "" && !seen[dir] {
			if _, err := os.Stat(dir); err != nil {
				t.Errorf("the table of imports lists %q, which does not exist", dir)
			}
		}
	}
}

// The engine knows no table and no customer: only the demo, tests and mappings
// may name a sample table.
func TestNoSampleTableInGo(t *testing.T) {
	ddl := regexp.MustCompile(`(?m)^CREATE TABLE (\w+)`)
	tables := map[string]bool{}
	for _, file := range []string{"demo/schema/postgres.sql", "demo/schema/mariadb.sql"} {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range ddl.FindAllStringSubmatch(string(src), -1) {
			tables[m[1]] = true
		}
	}
	if len(tables) < 15 {
		t.Fatalf("only %d sample tables found", len(tables))
	}
	goFiles(t, func(path string) {
		dir := folder(path)
		if dir == "demo" || strings.HasPrefix(dir, "demo/") || dir == "integration" || dir == "bench" || dir == "cmd/hammer" ||
			strings.HasSuffix(path, "_test.go") || strings.HasPrefix(dir, "store/storetest") || strings.HasPrefix(dir, "testdata") {
			return
		}
		src, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, lit := range literals(src) {
			for _, word := range strings.FieldsFunc(lit, func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') }) {
				if tables[word] {
					t.Errorf("%s: the literal %s names the sample table %s", path, lit, word)
				}
			}
		}
	})
}

// literals are the string literals of a Go file: comments and names are prose.
func literals(src []byte) []string {
	var s scanner.Scanner
	fset := token.NewFileSet()
	s.Init(fset.AddFile("", fset.Base(), len(src)), src, nil, 0)
	var all []string
	for {
		_, tok, lit := s.Scan()
		if tok == token.EOF {
			return all
		}
		if tok == token.STRING {
			all = append(all, lit)
		}
	}
}
