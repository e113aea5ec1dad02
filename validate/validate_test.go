package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func shapeOf(t *testing.T, text string) (resource, shape) {
	t.Helper()
	r, s, err := describe(entry{"http://x/1", json.RawMessage(text)})
	if err != nil {
		t.Fatal(err)
	}
	return r, s
}

// A resource is taken for a new path, a new code at a path, and a new profile;
// not for another text, date, number or id.
func TestShapes(t *testing.T) {
	const first = `{"resourceType":"Condition","id":"1","meta":{"profile":["http://p"]},"subject":{"reference":"Patient/a"},
		"code":{"coding":[{"system":"http://s","code":"10"}],"text":"Cough"},"onsetDateTime":"2020-01-01"}`
	seen := shapes{}
	if _, s := shapeOf(t, first); !seen.take(s) {
		t.Fatal("the first resource is not taken")
	}
	for _, c := range []struct {
		old, new string
		take     bool
	}{
		{`"1"`, `"2"`, false},
		{`Cough`, `Another Cough`, false},
		{`2020-01-01`, `2021-02-03`, false},
		{`Patient/a`, `Patient/b`, false},
		{`"10"`, `"11"`, true},
		{`http://p`, `http://q`, true},
		{`"onsetDateTime":"2020-01-01"`, `"abatementDateTime":"2020-01-01"`, true},
		{`"text":"Cough"`, `"text":"Cough","extension":[{"url":"http://e","valueBoolean":true}]`, true},
		{`"id"`, `"language":"en","id"`, true},
		{`"id"`, `"language":"fr","id"`, true},
	} {
		_, s := shapeOf(t, strings.Replace(first, c.old, c.new, 1))
		if got := seen.take(s); got != c.take {
			t.Errorf("%s for %s: taken %v", c.new, c.old, got)
		}
		if seen.take(s) {
			t.Errorf("%s for %s: taken twice", c.new, c.old)
		}
	}
}

// Each resource lies in a Bundle with all that it refers to and that is served;
// no Bundle has one twice, or too many.
func TestPack(t *testing.T) {
	all := map[string]resource{}
	add := func(ref string, refers ...string) {
		all[ref] = resource{ref: ref, fullURL: "http://x/" + ref, body: json.RawMessage(`{"id":"` + ref + `"}`), refers: refers}
	}
	var list []string
	add("Patient/p")
	for i := range 3 * perBundle {
		ref := fmt.Sprintf("Observation/%d", i)
		add(ref, "Patient/p", "Encounter/gone", fmt.Sprintf("Encounter/%d", i%7))
		add(fmt.Sprintf("Encounter/%d", i%7), "Patient/p")
		list = append(list, ref)
	}
	find := func(ref string) (resource, bool, error) { r, ok := all[ref]; return r, ok, nil }
	together := map[string]bool{}
	err := pack(list, find, func(body []byte) error {
		var b struct {
			Entry []struct{ Resource struct{ ID string } }
		}
		if err := json.Unmarshal(body, &b); err != nil {
			return err
		}
		in := map[string]bool{}
		for _, e := range b.Entry {
			if in[e.Resource.ID] {
				t.Errorf("%s is in a Bundle twice", e.Resource.ID)
			}
			in[e.Resource.ID] = true
		}
		if len(in) > perBundle {
			t.Errorf("a Bundle of %d", len(in))
		}
		for ref := range in {
			whole := true
			for _, to := range all[ref].refers {
				_, served := all[to]
				whole = whole && (in[to] || !served)
			}
			together[ref] = together[ref] || whole
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range list {
		if !together[ref] {
			t.Errorf("%s is in no Bundle with all that it refers to", ref)
		}
	}
	want := errors.New("disk full")
	if err := pack(list, find, func([]byte) error { return want }); !errors.Is(err, want) {
		t.Errorf("a write that fails gives %v", err)
	}
}

// serve answers with two pages of Patients, and with what a server has besides.
func serve(t *testing.T, answers map[string]string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := answers[r.URL.RequestURI()]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"resourceType":"OperationOutcome","issue":[{"diagnostics":"no such thing"}]}`)
			return
		}
		fmt.Fprint(w, strings.ReplaceAll(text, "BASE", "http://"+r.Host))
	}))
	t.Cleanup(s.Close)
	return s
}

func patients(first, n int, next string) string {
	var entries []string
	for i := range n {
		entries = append(entries, fmt.Sprintf(`{"fullUrl":"BASE/Patient/%d","resource":{"resourceType":"Patient","id":"%d"}}`, first+i, first+i))
	}
	link := ""
	if next != "" {
		link = `"link":[{"relation":"next","url":"BASE` + next + `"}],`
	}
	return `{"resourceType":"Bundle",` + link + `"entry":[` + strings.Join(entries, ",") + `]}`
}

func TestCollect(t *testing.T) {
	answers := map[string]string{
		"/metadata":                             `{"rest":[{"resource":[{"type":"Patient","operation":[{"name":"everything"}]}]}]}`,
		"/Patient?_count=1000":                  patients(1, 2, "/two"),
		"/two":                                  patients(3, 2, ""),
		"/Patient?_count=25&_include=*":         patients(1, 1, "/three"),
		"/three":                                patients(2, 1, ""),
		"/Patient?_summary=count":               `{}`,
		"/Patient/1/_history":                   `{}`,
		"/Patient/1/$everything?_count=100":     patients(1, 1, "/e2"),
		"/e2":                                   patients(5, 1, "/e3"),
		"/e3":                                   patients(6, 1, ""),
		"/Patient/2/$everything?_count=100":     `{}`,
		"/Patient/3/$everything?_count=100":     `{}`,
		"/Patient/4/$everything?_count=100":     `{}`,
		"/Patient?birthdate=yes-this-is-wrong":  `{}`,
		"/Patient/4/$something-nobody-asks-for": `{}`,
	}
	s := serve(t, answers)
	for _, c := range []struct {
		all                          bool
		packed, everything, searches int
	}{{false, 1, 5, 2}, {true, 4, 6, 3}} {
		out := filepath.Join(t.TempDir(), "out")
		c1 := collector{client: client{base: s.URL + "/"}, out: out, all: c.all}
		if err := c1.collect(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(c1.chosen) != c.packed || c1.written["everything"] != c.everything || c1.written["search"] != c.searches {
			t.Errorf("all %v: %d packed, %v", c.all, len(c1.chosen), c1.written)
		}
		files, err := os.ReadDir(out)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, k := range c1.written {
			n += k
		}
		if len(files) != n {
			t.Errorf("all %v: %d files, %d written", c.all, len(files), n)
		}
		if err := c1.collect(t.Context()); err == nil {
			t.Error("a folder with files in it is taken")
		}
	}
	for _, without := range []string{"/metadata", "/two", "/e3", "/Patient?_summary=count", "/Patient/1/_history"} {
		kept := answers[without]
		delete(answers, without)
		c := collector{client: client{base: s.URL}, out: filepath.Join(t.TempDir(), "out")}
		if err := c.collect(t.Context()); err == nil || !strings.Contains(err.Error(), without) {
			t.Errorf("without %s: %v", without, err)
		}
		answers[without] = kept
	}
}

// The packages are those that the README names: a changed one changes what is
// proved.
func TestPackages(t *testing.T) {
	text, err := os.ReadFile("packages/README.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("packages/*.tgz")
	if err != nil || len(files) != 3 {
		t.Fatalf("packages: %v, %v", files, err)
	}
	launcher, err := os.ReadFile("run")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		sum := fileSum(t, f)
		if !strings.Contains(string(text), "`"+filepath.Base(f)+"` |") || !strings.Contains(string(text), sum) {
			t.Errorf("%s, %s, is not in packages/README.md", f, sum)
		}
		if name := strings.TrimSuffix(filepath.Base(f), ".tgz"); !strings.Contains(string(launcher), name) {
			t.Errorf("validate/run does not load %s", name)
		}
	}
}

func fileSum(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(b))
}
