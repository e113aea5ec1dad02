package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/tributary-health/tributary/api"
	"github.com/tributary-health/tributary/fhir"
)

// TestQueries asks what the files of testdata/queries ask. A file has resources,
// one a line (those before the first line "p1:" belong to no member, those after
// it to that one), and queries, each with its answer on the indented line below:
// total, matches, then behind a plus sign what was included, and whether there is
// a next page; or the status and the text of the error. A query may begin with
// "lenient" or "strict", or be a form: "POST path < form".
func TestQueries(t *testing.T) {
	files, err := filepath.Glob("testdata/queries/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil || len(archive.Files) != 2 || archive.Files[0].Name != "resources" || archive.Files[1].Name != "queries" {
				t.Fatalf("want resources and queries: %v", err)
			}
			handler := api.New(testConfig(storeOf(t, string(archive.Files[0].Data))))
			var out strings.Builder
			asked := 0
			for line := range strings.Lines(string(archive.Files[1].Data)) {
				if strings.HasPrefix(line, "\t") {
					continue
				}
				out.WriteString(line)
				if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
					asked++
					out.WriteString("\t" + answerTo(t, handler, line) + "\n")
				}
			}
			if asked == 0 {
				t.Fatal("no query in it")
			}
			if *rewrite {
				archive.Files[1].Data = []byte(out.String())
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			got, want := strings.Split(out.String(), "\n"), strings.Split(string(archive.Files[1].Data), "\n")
			for i := range min(len(got), len(want)) {
				if got[i] != want[i] {
					t.Errorf("%s\n got %s\nwant %s", got[max(0, i-1)], got[i], want[i])
				}
			}
		})
	}
}

// storeOf keeps the resources, the n-th line updated at the n-th second.
func storeOf(t *testing.T, lines string) *fakeStore {
	t.Helper()
	store := newFakeStore()
	member, n := "", 0
	for line := range strings.Lines(lines) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutSuffix(line, ":"); ok {
			member = name
			continue
		}
		if line == "" || line[0] == '#' {
			continue
		}
		typ, _ := fhir.Text(fhir.Member([]byte(line), "resourceType"))
		id, ok := fhir.Text(fhir.Member([]byte(line), "id"))
		if !ok || !fhir.ValidJSON([]byte(line)) || fhir.Member([]byte(line), "meta") == nil {
			t.Fatalf("no resource: %s", line)
		}
		store.write(1, member, fhir.ResourceID{Type: typ, ID: id}, []byte(line), time.Date(2026, 1, 1, 0, 0, n, 0, time.UTC))
		n++
	}
	return store
}

func answerTo(t *testing.T, handler http.Handler, query string) string {
	t.Helper()
	var req *http.Request
	word, rest, _ := strings.Cut(query, " ")
	if word == "POST" {
		path, form, _ := strings.Cut(rest, " < ")
		path, raw, _ := strings.Cut(path, "?")
		req = httptest.NewRequest(http.MethodPost, "/fhir/"+path, strings.NewReader(form))
		req.URL.RawQuery = raw
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	} else {
		path := query
		if word == "lenient" || word == "strict" {
			path = rest
		}
		before, raw, _ := strings.Cut(path, "?")
		req = httptest.NewRequest(http.MethodGet, "/fhir/"+before, nil)
		req.URL.RawQuery = strings.ReplaceAll(raw, " ", "%20")
		if path == rest {
			req.Header.Set("Prefer", "respond-async, handling="+word)
		}
	}
	req.Host = "fhir.example"
	req.Header.Set("Authorization", "Bearer "+key)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, req)
	var bundle struct {
		Total *int
		Link  []struct{ Relation, URL string }
		Entry []struct {
			Resource map[string]json.RawMessage
			Search   struct{ Mode string }
		}
		Issue []struct{ Code, Diagnostics string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &bundle); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	if w.Code != http.StatusOK {
		return fmt.Sprintf("%d %s: %s", w.Code, bundle.Issue[0].Code, bundle.Issue[0].Diagnostics)
	}
	total, next := "-", ""
	if bundle.Total != nil {
		total = fmt.Sprint(*bundle.Total)
	}
	modes := map[string]string{}
	for _, e := range bundle.Entry {
		text := strings.Trim(string(e.Resource["id"]), `"`)
		if strings.Contains(query, "_elements=") || strings.Contains(query, "_summary=") {
			body, err := json.Marshal(e.Resource)
			if err != nil {
				t.Fatal(err)
			}
			text = string(body)
		}
		modes[e.Search.Mode] += " " + text
	}
	for _, l := range bundle.Link {
		if l.Relation == "next" {
			next = " ..."
		}
		if word == "lenient" && l.Relation == "self" {
			next += " self " + l.URL
		}
	}
	if modes["include"] != "" {
		modes["include"] = " +" + modes["include"]
	}
	return total + ":" + modes["match"] + modes["include"] + next
}
