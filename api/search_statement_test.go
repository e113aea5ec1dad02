package api_test

import (
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tributary-health/tributary/api"
	"github.com/tributary-health/tributary/fhir"
)

// TestStatementIsTrue asks for all that the CapabilityStatement says a search
// takes, with each modifier and prefix that docs/search.md has, and wants it taken;
// and wants it to say all that the table has.
func TestStatementIsTrue(t *testing.T) {
	handler := api.New(testConfig(newFakeStore()))
	var statement struct {
		Rest []struct {
			Resource []struct {
				Type                            string
				SearchParam                     []struct{ Name, Type string }
				SearchInclude, SearchRevInclude []string
			}
		}
	}
	w := serveOne(handler, askRecorded(t, "GET /fhir/metadata"))
	if err := json.Unmarshal(w.Body.Bytes(), &statement); err != nil || len(statement.Rest) != 1 {
		t.Fatal(err)
	}
	prefixes := []string{"=", "=eq", "=ne", "=gt", "=lt", "=ge", "=le", "=sa", "=eb", "=ap"}
	forms := map[string][]string{
		"token": {"=x", "=s|x", "=|x", "=s|", ":not=x"}, "string": {"=x", ":exact=x", ":contains=x"},
		"reference": {"=x", "=https://a.example/Patient/x", ":identifier=x&_id=x"}, "date": prefixes, "quantity": prefixes,
	}
	values := map[string]string{"date": "2020-02-29T12:00:00-05:00", "quantity": "5.4||mg"}
	asked := 0
	for _, r := range statement.Rest[0].Resource {
		takes := func(query string) {
			asked++
			if w := serveOne(handler, askRecorded(t, "GET /fhir/"+r.Type+"?"+query)); w.Code != http.StatusOK {
				t.Errorf("%s?%s: %d %s", r.Type, query, w.Code, w.Body)
			}
		}
		names := []string{}
		for _, p := range r.SearchParam {
			names = append(names, p.Name)
			for _, form := range forms[p.Type] {
				if p.Name != "_id" || form == "=x" {
					takes(p.Name + form + values[p.Type])
				}
			}
			if p.Name[0] != '_' {
				takes(p.Name + ":missing=true")
			}
		}
		for _, rule := range r.SearchInclude {
			takes("_include=" + rule)
			takes("_include:iterate=" + rule)
		}
		for _, rule := range r.SearchRevInclude {
			takes("_revinclude=" + rule)
			source, name, _ := strings.Cut(rule, ":")
			takes("_has:" + source + ":" + name + ":_id=x")
		}
		for _, p := range fhir.SearchParams(r.Type) {
			if !slices.Contains(names, p.Name) {
				t.Errorf("the statement does not have %s of %s", p.Name, r.Type)
			}
		}
	}
	if asked < 2000 {
		t.Errorf("only %d searches", asked)
	}
}

// TestSearchPageSaysLimits wants docs/search.md to name what is refused and how
// much is done.
func TestSearchPageSaysLimits(t *testing.T) {
	text, err := os.ReadFile(searchPage)
	if err != nil {
		t.Fatal(err)
	}
	handler := api.New(testConfig(newFakeStore()))
	for _, modifier := range []string{":in", ":not-in", ":above", ":below"} {
		if !strings.Contains(string(text), "`"+modifier+"`") {
			t.Errorf("%s does not say that %s is refused", searchPage, modifier)
		}
		for _, prefer := range []string{"", " [Prefer: handling=lenient]"} {
			if w := serveOne(handler, askRecorded(t, "GET /fhir/Patient?identifier"+modifier+"=x"+prefer)); w.Code != http.StatusBadRequest {
				t.Errorf("%s is not refused: %d", modifier, w.Code)
			}
		}
	}
	for _, limit := range []string{"up to 8, is a condition", "up to 20,000 for a page", "may lead over 1000 resources"} {
		if !strings.Contains(strings.Join(strings.Fields(string(text)), " "), limit) {
			t.Errorf("%s does not have %q", searchPage, limit)
		}
	}
}
