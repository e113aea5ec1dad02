package mappings_test

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tributary-health/tributary/compose/mapping"
	"github.com/tributary-health/tributary/compose/mappingtest"
)

var rewrite = flag.Bool("rewrite", false, "write what the cases give into their files, and the schema file")

// TestCases runs the cases in testdata, as `tributary mapping test` does.
func TestCases(t *testing.T) {
	report, err := mappingtest.Run(mappingtest.Options{Mappings: os.DirFS("."), Folder: "mappings", Paths: []string{"testdata"}, Rewrite: *rewrite})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Results {
		t.Run(strings.TrimSuffix(filepath.Base(r.File), ".txtar"), func(t *testing.T) {
			for _, f := range r.Failures {
				t.Error(f)
			}
		})
	}
}

// TestSchemaFile holds testdata/schema.txt against the tables that the demo
// makes. -rewrite writes it anew.
func TestSchemaFile(t *testing.T) {
	var text strings.Builder
	text.WriteString("# The sample sources' tables, from demo/schema: go test ./mappings -run TestSchemaFile -rewrite\n")
	for _, source := range []struct{ name, ddl string }{{"emr", "postgres.sql"}, {"pharmacy", "mariadb.sql"}} {
		src, err := os.ReadFile(filepath.Join("..", "demo", "schema", source.ddl))
		if err != nil {
			t.Fatal(err)
		}
		tables := createTable.FindAllStringSubmatch(string(src), -1)
		if len(tables) < 5 {
			t.Fatalf("%s: only %d tables found", source.ddl, len(tables))
		}
		for _, m := range tables {
			text.WriteString("\n" + source.name + "." + m[1] + "\n")
			for line := range strings.Lines(m[2]) {
				if c := columnLine(t, line); c != "" {
					text.WriteString("    " + c + "\n")
				}
			}
		}
	}
	text.WriteString("\nclock.today\n    id int key\n    date date\n")
	schemas, err := mappingtest.ParseSchemas("demo/schema", text.String())
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	want.WriteString("# The sample sources' tables, made from demo/schema by\n# go test ./mappings -run TestSchemaFile -rewrite\n\n")
	if err := mappingtest.WriteSchemas(&want, schemas); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join("testdata", mappingtest.SchemaFile)
	if *rewrite {
		if err := os.WriteFile(name, []byte(want.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil || string(got) != want.String() {
		t.Errorf("%s is not what demo/schema says (%v); go test ./mappings -run TestSchemaFile -rewrite", name, err)
	}
}

var (
	createTable = regexp.MustCompile(`(?ms)^CREATE TABLE (\w+) \((.*?)^\)`)
	columnForm  = regexp.MustCompile(`^\s+(\w+)\s+(\w+)(.*)$`)
)

// types are what capture makes of the native types that demo/schema uses.
var types = map[string]string{
	"uuid": "uuid", "text": "string", "char": "string", "varchar": "string", "date": "date", "numeric": "decimal", "decimal": "decimal",
	"integer": "int", "int": "int", "bigint": "int", "smallint": "int", "tinyint": "int", "double": "float", "boolean": "bool",
	"timestamptz": "instant", "datetime": "timestamp", "gender": "enum", "enum": "enum", "json": "json", "jsonb": "json",
}

// columnLine is one line of a CREATE TABLE in the schema file's form; empty for a
// line that declares no column.
func columnLine(t *testing.T, line string) string {
	line, _, _ = strings.Cut(line, "--")
	m := columnForm.FindStringSubmatch(strings.TrimRight(line, " \n"))
	if m == nil {
		return ""
	}
	native, rest := strings.ToLower(m[2]), strings.ToUpper(m[3])
	switch strings.ToUpper(m[1]) {
	case "INDEX", "FOREIGN", "PRIMARY", "UNIQUE", "KEY", "CONSTRAINT", "CHECK", "REFERENCES":
		return ""
	}
	typ := types[native]
	if typ == "" {
		t.Errorf("column %s: no type for %s: add it to this test", m[1], m[2])
	}
	if typ == "int" && strings.Contains(rest, "UNSIGNED") {
		typ = "uint"
	}
	out := m[1] + " " + typ
	switch {
	case strings.Contains(rest, "PRIMARY KEY"):
		out += " key"
	case !strings.Contains(rest, "NOT NULL"):
		out += " null"
	}
	return out
}

// TestReferencesResolve: every reference in the case of the whole member leads to
// a resource of the case, and every type that a mapping makes is in it.
func TestReferencesResolve(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "member-whole.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	made, types := map[string]bool{}, map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^-- ((\w+)/\S+) --$`).FindAllStringSubmatch(string(text), -1) {
		made[m[1]], types[m[2]] = true, true
	}
	references := regexp.MustCompile(`"reference": "([^"]*)"`).FindAllStringSubmatch(string(text), -1)
	for _, m := range references {
		if !made[m[1]] {
			t.Errorf("the reference %s leads nowhere", m[1])
		}
	}
	set, problems := mapping.Load(os.DirFS("."), mapping.Options{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for _, r := range set.Resources() {
		if !types[r.Type] {
			t.Errorf("the case has no %s", r.Type)
		}
	}
	if len(references) < 30 {
		t.Errorf("only %d references", len(references))
	}
}
