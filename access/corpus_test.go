package access

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// sample is a resource that the sample mappings make.
type sample struct {
	name, typ string
	body      []byte
}

// rowID is how a mapping's case writes an id: the row that it is made from. The
// product hashes it, since it is no FHIR id.
var rowID = regexp.MustCompile(`\b(emr|pharmacy)\.\w+(#\w+)?:`)

// samples are the resources of all mapping cases.
func samples(t testing.TB) []sample {
	t.Helper()
	files, err := filepath.Glob("../mappings/testdata/*.txtar")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d mapping cases found (%v): the test looks in the wrong place", len(files), err)
	}
	var all []sample
	types := map[string]bool{}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range archive.Files {
			typ, _, ok := strings.Cut(f.Name, "/")
			if !ok || !bytes.HasPrefix(f.Data, []byte("{")) {
				continue
			}
			body := rowID.ReplaceAllFunc(f.Data, func(id []byte) []byte {
				return bytes.Map(func(c rune) rune {
					if c == '_' || c == '#' || c == ':' {
						return '-'
					}
					return c
				}, id)
			})
			var compact bytes.Buffer
			if err := json.Compact(&compact, body); err != nil {
				t.Fatalf("%s: %s: %v", file, f.Name, err)
			}
			types[typ] = true
			all = append(all, sample{filepath.Base(file) + " " + f.Name, typ, compact.Bytes()})
		}
	}
	if len(all) < 50 || len(types) < 15 {
		t.Fatalf("only %d resources of %d types found", len(all), len(types))
	}
	return all
}

// policyOf makes a policy of a client's lines in a clients file.
func policyOf(t testing.TB, lines string) *Policy {
	t.Helper()
	text := "version: 1\nclients:\n- id: c\n  key_sha256: " + strings.Repeat("ab", 32) + "\n"
	if !strings.Contains(lines, "members:") {
		lines += "\nmembers: all"
	}
	for line := range strings.SplitSeq(lines, "\n") {
		text += "  " + line + "\n"
	}
	clients, problems := parseClients("clients.yaml", []byte(text), func(string) ([]byte, error) { return []byte("p1\n"), nil })
	if Failed(problems) {
		t.Fatal(problems)
	}
	return clients[0].Policy
}

const careManagement = "types: all\nhide: [address, telephone, identifiers, notes]"

func redact(t testing.TB, p *Policy, typ string, body []byte) string {
	t.Helper()
	out, err := p.Redact(nil, typ, body)
	if err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return string(out)
}
