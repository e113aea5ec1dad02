package api_test

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/tributary-health/tributary/access"
	"github.com/tributary-health/tributary/api"
	"github.com/tributary-health/tributary/audit"
)

var rewrite = flag.Bool("rewrite", false, "write the responses of the cases anew")

const key = "a-test-key"

// testConfig is a server whose clients all read s, with a record that keeps
// nothing.
func testConfig(s api.Store) api.Config {
	return api.Config{
		Views:   func(access.Caller) (api.Store, error) { return s, nil },
		Audit:   func(context.Context, audit.Event) error { return nil },
		Clients: access.NewRegistry(access.NewClient("provider", key), access.NewClient("other", "other-key")),
		Version: "test",
		PageKey: []byte("page key of the tests"),
	}
}

func serve(t testing.TB, c api.Config) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(api.New(c))
	t.Cleanup(server.Close)
	return server
}

// plainClient asks for no compression on its own and follows nothing.
var plainClient = &http.Client{Transport: &http.Transport{DisableCompression: true}}

// TestCases sends the requests of testdata/*.txtar over a socket and compares
// the whole answers. A request is a first line, headers, an empty line and a
// body; a key is sent along unless it has its own Authorization.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases in testdata: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			store := newFakeStore()
			store.load(t)
			server := serve(t, testConfig(store))
			asked := 0
			for i := 0; i < len(archive.Files); i++ {
				name, isRequest := strings.CutPrefix(archive.Files[i].Name, "request ")
				if !isRequest {
					continue
				}
				asked++
				got := exchange(t, server, string(archive.Files[i].Data))
				compareCase(t, archive, name, got)
			}
			if asked == 0 {
				t.Fatal("no request in it")
			}
			if store.opened != 0 {
				t.Errorf("%d views are not closed", store.opened)
			}
			if *rewrite {
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func compareCase(t *testing.T, archive *txtar.Archive, name, got string) {
	t.Helper()
	at := slices.IndexFunc(archive.Files, func(f txtar.File) bool { return f.Name == "response "+name })
	switch {
	case *rewrite && at < 0:
		after := slices.IndexFunc(archive.Files, func(f txtar.File) bool { return f.Name == "request "+name })
		archive.Files = slices.Insert(archive.Files, after+1, txtar.File{Name: "response " + name, Data: []byte(got)})
	case *rewrite:
		archive.Files[at].Data = []byte(got)
	case at < 0:
		t.Errorf("%s: no response in the file", name)
	case string(archive.Files[at].Data) != got:
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, archive.Files[at].Data)
	}
}

// exchange sends one request as written and prints the answer: the status, the
// headers that mean something, and the body with a line to each entry.
func exchange(t *testing.T, server *httptest.Server, text string) string {
	t.Helper()
	head, body, _ := strings.Cut(text, "\n\n")
	method, rest, _ := strings.Cut(head, " ")
	target, headers, _ := strings.Cut(rest, "\n")
	req, err := http.NewRequest(method, server.URL+strings.TrimSpace(target), strings.NewReader(strings.TrimSuffix(body, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "fhir.example"
	req.Header.Set("Authorization", "Bearer "+key)
	for line := range strings.Lines(headers) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
			req.Header.Set(name, value)
		}
	}
	if req.Header.Get("Authorization") == "none" {
		req.Header.Del("Authorization")
	}
	resp, err := plainClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return printResponse(t, resp)
}

var sealed = regexp.MustCompile(`_page=[-_A-Za-z0-9]{40,}`)

func printResponse(t *testing.T, resp *http.Response) string {
	t.Helper()
	var b bytes.Buffer
	fmt.Fprintln(&b, resp.Status)
	names := slices.Sorted(func(yield func(string) bool) {
		for name := range resp.Header {
			if name != "Date" && name != "Content-Length" && !yield(name) {
				return
			}
		}
	})
	for _, name := range names {
		for _, value := range resp.Header[name] {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	b.WriteByte('\n')
	scanner := bufio.NewReader(resp.Body)
	body, err := io.ReadAll(scanner)
	if err != nil {
		t.Fatal(err)
	}
	text := sealed.ReplaceAllString(string(body), "_page=SEALED")
	for _, at := range []string{`{"fullUrl"`, `,"link":[`, `,"entry":[`, `,{"type":"`} {
		text = strings.ReplaceAll(text, at, "\n"+at)
	}
	text = regexp.MustCompile(`"date":"[^"]*","kind":"instance"`).ReplaceAllString(text, `"date":"STARTED","kind":"instance"`)
	b.WriteString(text)
	if !strings.HasSuffix(text, "\n") {
		b.WriteByte('\n')
	}
	return b.String()
}
