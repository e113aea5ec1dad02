package integration

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"golang.org/x/tools/txtar"

	"github.com/tributary-health/tributary/fhir"
)

// ofOtherRows are the tables whose rows make no resource of their own.
var ofOtherRows = []string{"claims_transactions"}

// Every row of every table makes the resources that its kind calls for, with the
// profiles that its kind calls for.
func (s *served) testProfiles(t *testing.T) {
	a, err := txtar.ParseFile("testdata/served/profiles.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Files) < 30 {
		t.Fatalf("only %d kinds of rows", len(a.Files))
	}
	kindOf := map[string]string{} // "Type id" to the kind that has it
	claimed := map[string]bool{}
	var r reporter
	for _, f := range a.Files {
		k := s.parseKind(t, f)
		if absent := strings.HasPrefix(k.name, "-"); absent != (len(k.ids) == 0) {
			t.Errorf("%s: the sources have %d such rows", k.name, len(k.ids))
		}
		for _, id := range k.ids {
			row := k.typ + " " + id
			if other, again := kindOf[row]; again {
				t.Fatalf("a row is of the kinds %q and %q", other, k.name)
			}
			kindOf[row] = k.name
			found := s.byRow[row]
			if len(found) != k.makes {
				r.add(fmt.Sprintf("%s: a row makes %d resources of type %s, want %d", k.name, len(found), k.typ, k.makes), "row "+id)
			}
			for _, resource := range found {
				claimed[resource.ref] = true
				if !slices.Equal(resource.profiles, k.profiles) {
					r.add(fmt.Sprintf("%s: profiles %v, want %v", k.name, resource.profiles, k.profiles), resource.ref)
				}
			}
		}
	}
	r.report(t)
	s.everyRowHasAKind(t, kindOf)
	for ref, resource := range s.resources {
		if !claimed[ref] && resource.typ != "Composition" && resource.typ != "Task" {
			t.Errorf("%s is made of no row that a kind names", ref)
		}
	}
}

// rowKind is one case of profiles.txtar, with the ids of its rows.
type rowKind struct {
	name, typ string
	ids       []string
	makes     int
	profiles  []string
}

func (s *served) parseKind(t *testing.T, f txtar.File) rowKind {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(string(f.Data)), "\n")
	k := rowKind{name: f.Name}
	rows, lines := s.rows(t, lines[0]), lines[1:]
	for column := 1; ; column++ {
		of, ok := strings.CutPrefix(lines[0], "of ")
		if !ok {
			break
		}
		within := map[string]bool{}
		for _, row := range s.rows(t, of) {
			within[row[0]] = true
		}
		lines = lines[1:]
		rows = slices.DeleteFunc(rows, func(row []string) bool { return !within[row[column]] })
	}
	for _, row := range rows {
		k.ids = append(k.ids, row[0])
	}
	n, typ, _ := strings.Cut(lines[0], " ")
	makes, err := strconv.Atoi(n)
	if err != nil {
		t.Fatalf("%s: %q: want a number and a type", f.Name, lines[0])
	}
	k.makes, k.typ, k.profiles = makes, typ, lines[1:]
	return k
}

// everyRowHasAKind compares the kinds with the tables: no row is forgotten.
func (s *served) everyRowHasAKind(t *testing.T, kindOf map[string]string) {
	t.Helper()
	known := map[string]bool{}
	for row := range kindOf {
		_, id, _ := strings.Cut(row, " ")
		known[id] = true
	}
	tables := 0
	for _, list := range []string{
		"emr SELECT 'emr', relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind = 'r' AND nspname = 'public'",
		"pharmacy SELECT 'pharmacy', table_name FROM information_schema.tables WHERE table_schema = DATABASE()",
	} {
		for _, table := range s.rows(t, list) {
			if slices.Contains(ofOtherRows, table[1]) {
				continue
			}
			tables++
			for _, row := range s.rows(t, table[0]+" SELECT id FROM "+table[1]) {
				if !known[row[0]] {
					t.Errorf("%s.%s: row %s is of no kind", table[0], table[1], row[0])
				}
			}
		}
	}
	if tables < 14 {
		t.Errorf("only %d tables", tables)
	}
}

// Every reference leads to a resource that is served, of a type that the element
// allows, of the same member; or it says in words or by number what it means.
func (s *served) testReferences(t *testing.T) {
	var r reporter
	n := 0
	for _, resource := range s.resources {
		member := memberOf(resource)
		s.eachElement(t, resource, func(path string, e fhir.Element, value any) {
			reference, ok := value.(map[string]any)
			if !ok || e.Type != "Reference" {
				return
			}
			n++
			text, named := reference["reference"].(string)
			if !named {
				if reference["display"] == nil && reference["identifier"] == nil {
					r.add(path+" says nothing", resource.ref)
				}
				return
			}
			target := s.resources[text]
			switch {
			case target == nil:
				r.add(path+" leads nowhere", resource.ref+" to "+text)
			case !e.MayName(target.typ):
				r.add(path+" may not lead to a "+target.typ, resource.ref)
			case reference["type"] != nil && reference["type"] != target.typ:
				r.add(path+".type is not the target's", resource.ref)
			}
			if target != nil && memberOf(target) != "" && memberOf(target) != member {
				r.add(path+" leads into another member's record", resource.ref+" to "+text)
			}
		})
	}
	r.report(t)
	if n < len(s.resources) {
		t.Errorf("only %d references in %d resources", n, len(s.resources))
	}
}

func memberOf(r *servedResource) string {
	if r.typ == "Patient" {
		return r.ref
	}
	for _, name := range []string{"subject", "patient", "beneficiary", "for"} {
		if reference, ok := r.body[name].(map[string]any); ok {
			text, _ := reference["reference"].(string)
			return text
		}
	}
	return ""
}

// codeRule says where the codes of one system at one path come from.
type codeRule struct {
	from string // the rule's words
	ok   map[string]bool
	used map[string]bool
}

// Every code comes from a column, a code table or the rules' own list.
func (s *served) testCodes(t *testing.T) {
	rules := s.readCodeRules(t)
	var r reporter
	for _, resource := range s.resources {
		s.eachElement(t, resource, func(path string, e fhir.Element, value any) {
			coding, ok := value.(map[string]any)
			if !ok || e.Type != "Coding" && e.Type != "Quantity" {
				return
			}
			code, coded := coding["code"].(string)
			system, _ := coding["system"].(string)
			if !coded && e.Type == "Quantity" {
				return
			}
			rule := rules[path+" "+system]
			switch {
			case !coded || system == "":
				r.add(path+": no code, or none of a system", resource.ref)
			case rule == nil:
				r.add(path+" "+system+": nothing says where its codes come from", resource.ref+" "+code)
			case !rule.ok[code]:
				r.add(path+" "+system+": code "+code+" is not from "+rule.from, resource.ref)
			default:
				rule.used[code] = true
			}
		})
	}
	r.report(t)
	for _, key := range slices.Sorted(maps.Keys(rules)) {
		if len(rules[key].used) == 0 {
			t.Errorf("%s: no such code is served", key)
		}
	}
}

// readCodeRules reads codes.tsv: path, system, and where its codes come from,
// which is a query, "table NAME..." or "codes CODE...".
func (s *served) readCodeRules(t *testing.T) map[string]*codeRule {
	t.Helper()
	tables := mappedCodes(t)
	rules := map[string]*codeRule{}
	for _, f := range tsv(t, "testdata/served/codes.tsv", 3) {
		rule := rules[f[0]+" "+f[1]]
		if rule == nil {
			rule = &codeRule{ok: map[string]bool{}, used: map[string]bool{}}
			rules[f[0]+" "+f[1]] = rule
		}
		rule.from = strings.TrimPrefix(rule.from+", "+f[2], ", ")
		kind, rest, _ := strings.Cut(f[2], " ")
		switch kind {
		case "codes":
			for _, code := range strings.Fields(rest) {
				rule.ok[code] = true
			}
		case "table":
			for _, name := range strings.Fields(rest) {
				if len(tables[name]) == 0 {
					t.Errorf("%s: the mappings have no code table %q", f[0], name)
				}
				for _, code := range tables[name] {
					rule.ok[code] = true
				}
			}
		default:
			for _, row := range s.rows(t, f[2]) {
				rule.ok[row[0]] = true
			}
		}
	}
	return rules
}

// mappedCodes reads the code tables of the mappings as plain YAML.
func mappedCodes(t *testing.T) map[string]map[string]string {
	t.Helper()
	all := map[string]map[string]string{}
	files, err := filepath.Glob("../mappings/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no mappings: %v", err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for doc := range strings.SplitSeq("\n"+string(text), "\n---") {
			var read struct {
				Codes map[string]map[string]string `yaml:"codes"`
			}
			if err := yaml.Unmarshal([]byte(doc), &read); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			maps.Copy(all, read.Codes)
		}
	}
	return all
}

// tsv reads a file of lines with n cells; # begins a comment line.
func tsv(t *testing.T, path string, n int) [][]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all [][]string
	for i, line := range strings.Split(string(text), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		cells := strings.Split(line, "\t")
		if len(cells) != n {
			t.Fatalf("%s:%d: %d cells, want %d", path, i+1, len(cells), n)
		}
		all = append(all, cells)
	}
	if len(all) == 0 {
		t.Fatalf("%s: nothing in it", path)
	}
	return all
}

// What says that a value is absent stands only where the row has none. absent.tsv
// names the places, and the rows behind them by a query: one row for each place.
func (s *served) testAbsent(t *testing.T) {
	without := map[string]map[string]bool{}
	due, seen := map[string]int{}, map[string]int{}
	for _, f := range tsv(t, "testdata/served/absent.tsv", 2) {
		without[f[0]] = map[string]bool{}
		for _, row := range s.rows(t, f[1]) {
			without[f[0]][row[0]] = true
			due[f[0]]++
		}
	}
	var r reporter
	for _, resource := range s.resources {
		s.eachElement(t, resource, func(path string, e fhir.Element, value any) {
			if !saysAbsent(path, e, value) {
				return
			}
			rows, listed := without[path]
			switch {
			case !listed:
				r.add(path+": no rule lets a value be absent here", resource.ref)
			case !slices.ContainsFunc(resource.rows, func(id string) bool { return rows[id] }):
				r.add(path+": the row has a value", resource.ref)
			default:
				seen[path]++
			}
		})
	}
	r.report(t)
	for path := range without {
		if seen[path] == 0 || seen[path] != due[path] {
			t.Errorf("%s: %d rows without a value, %d places that say so", path, due[path], seen[path])
		}
	}
}

// saysAbsent reports whether the value is one of FHIR's three ways of saying
// that there is none.
func saysAbsent(path string, e fhir.Element, value any) bool {
	o, ok := value.(map[string]any)
	if !ok {
		return false
	}
	switch e.Type {
	case "Extension":
		return o["url"] == "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
	case "CodeableConcept":
		return strings.HasSuffix(path, ".dataAbsentReason")
	case "Coding":
		return o["system"] == "http://terminology.hl7.org/CodeSystem/data-absent-reason" && !strings.Contains(path, ".dataAbsentReason.")
	}
	return false
}
