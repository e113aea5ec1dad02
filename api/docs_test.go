package api_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/tributary-health/tributary/api"
	"github.com/tributary-health/tributary/fhir"
)

const searchPage = "../docs/search.md"

// TestSearchPageListsTheTable holds the list of parameters in docs/search.md
// against the table that searches are done by.
func TestSearchPageListsTheTable(t *testing.T) {
	text, err := os.ReadFile(searchPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(text), "<!-- parameters -->\n")
	_, after, ok2 := strings.Cut(rest, "<!-- end -->\n")
	if !ok1 || !ok2 {
		t.Fatal("no place for the list")
	}
	var b strings.Builder
	b.WriteString("| type | parameters |\n|---|---|\n")
	for _, typ := range fhir.SearchTypes() {
		fmt.Fprintf(&b, "| %s |", typ)
		for _, p := range fhir.SearchParams(typ) {
			switch {
			case p.Definition != "":
				fmt.Fprintf(&b, " **%s**", p.Name)
			case p.Note != "":
				fmt.Fprintf(&b, " %s\\*", p.Name)
			default:
				b.WriteString(" " + p.Name)
			}
		}
		b.WriteString(" |\n")
	}
	want := before + "<!-- parameters -->\n" + b.String() + "<!-- end -->\n" + after
	if *rewrite {
		if err := os.WriteFile(searchPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != string(text) {
		t.Errorf("%s is not what the table says; run the test with -rewrite", searchPage)
	}
}

// TestSearchPageExamples asks what docs/search.md shows; each example finds
// something.
func TestSearchPageExamples(t *testing.T) {
	text, err := os.ReadFile(searchPage)
	if err != nil {
		t.Fatal(err)
	}
	archive, err := txtar.ParseFile("testdata/queries/types.txtar")
	if err != nil {
		t.Fatal(err)
	}
	handler := api.New(testConfig(storeOf(t, string(archive.Files[0].Data))))
	asked := 0
	for _, block := range strings.Split(string(text), "```search\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		for line := range strings.Lines(block) {
			query := strings.TrimSpace(line)
			if rest, ok := strings.CutPrefix(query, "GET "); ok {
				query = rest
			} else {
				query = strings.Replace(query, "_search ", "_search < ", 1)
			}
			asked++
			if answer := answerTo(t, handler, query); strings.HasPrefix(answer, "4") || strings.HasPrefix(answer, "5") || strings.HasSuffix(answer, ":") {
				t.Errorf("%s gives %s", query, answer)
			}
		}
	}
	if asked == 0 {
		t.Error("no example")
	}
}
