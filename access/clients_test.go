package access

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// TestClientsFiles loads the files of testdata/clients and compares the problems,
// or the clients.
func TestClientsFiles(t *testing.T) {
	files, _ := filepath.Glob("testdata/clients/*.txtar")
	if len(files) == 0 {
		t.Fatal("no cases")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			content := map[string][]byte{}
			out := &txtar.Archive{Comment: archive.Comment}
			want := ""
			for _, f := range archive.Files {
				if content[f.Name] = f.Data; f.Name == "loaded" {
					want = string(f.Data)
				} else {
					out.Files = append(out.Files, f)
				}
			}
			clients, problems := parseClients("clients.yaml", content["clients.yaml"], func(name string) ([]byte, error) {
				if text, ok := content[name]; ok {
					return text, nil
				}
				return nil, errors.New("no such file")
			})
			var got strings.Builder
			for _, p := range problems {
				fmt.Fprintln(&got, p.Error())
			}
			numbers := map[string]int{}
			for _, c := range clients {
				if numbers[c.Policy.ID()] == 0 {
					numbers[c.Policy.ID()] = len(numbers) + 1
				}
				n, listed := c.Policy.Members()
				fmt.Fprintf(&got, "%s: policy %d; Patient %t, Practitioner %t; %d members listed %t; changes %t, operator %t", c.ID, numbers[c.Policy.ID()], c.Policy.MaySee("Patient"), c.Policy.MaySee("Practitioner"), n, listed, c.Changes, c.Operator)
				if c.Match != nil {
					fmt.Fprintf(&got, "; match %+v", *c.Match)
				}
				fmt.Fprintln(&got)
			}
			if *rewrite {
				out.Files = append(out.Files, txtar.File{Name: "loaded", Data: []byte(got.String())})
				if err := os.WriteFile(file, txtar.Format(out), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got.String() != want {
				t.Errorf("got\n%swant\n%s", got.String(), want)
			}
		})
	}
}

func TestDemoClients(t *testing.T) {
	clients, problems := LoadClients("testdata/demo.yaml")
	if len(problems) > 0 || len(clients) != 2 {
		t.Fatal(problems)
	}
	provider, care := clients[0], clients[1]
	if provider.ID != "provider" || !provider.Policy.Whole() || provider.Match == nil || provider.Match.Quota.PerDay != DefaultPerDay {
		t.Errorf("provider: %+v", provider)
	}
	if care.ID != "care-management" || care.Policy.Whole() || !care.Changes || care.Match != nil || care.Operator {
		t.Errorf("care-management: %+v", care)
	}
	if care.Policy.ID() == provider.Policy.ID() || care.Policy.MembersID() != "" || !care.Policy.MayKnow("anybody") {
		t.Error("policies")
	}
	if _, problems := LoadClients("testdata/nothing.yaml"); !Failed(problems) || strings.Contains(problems[0].What, "testdata") {
		t.Errorf("a missing file: %v", problems)
	}
}

func TestPolicyID(t *testing.T) {
	seen := map[string]string{}
	for _, lines := range []string{
		"types: all", "types: []", "types: [Patient]", "types: all\nmembers: {list: x}", "types: all\nhide: [address]", "types: all\nhide: [notes]",
		"types: all\nhide: [Patient.photo]", "types: all\nhide: [{path: Observation.note, where: {path: code.coding, code: a}}]", "types: all\nhide: [{path: Observation.note, where: {path: code.coding, code: b}}]",
	} {
		id := policyOf(t, lines).ID()
		if seen[id] != "" || len(id) != 32 {
			t.Errorf("%q and %q have the id %s", lines, seen[id], id)
		}
		seen[id] = lines
	}
	if p := policyOf(t, "types: []"); p.MaySee("Patient") || p.Whole() {
		t.Error("no types is not all types")
	}
}

// FuzzClients: no text of a clients file ends the process or gives clients with
// problems.
func FuzzClients(f *testing.F) {
	for _, name := range []string{"testdata/demo.yaml"} {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("version: 1\nclients: [{id: a, key_sha256: " + strings.Repeat("ab", 32) + ", types: [Patient], hide: [notes, Patient.photo], members: {list: x}, match: {key_file: k}}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		clients, problems := parseClients("f", text, func(string) ([]byte, error) { return []byte("p1\n"), nil })
		if Failed(problems) == (clients != nil) {
			t.Fatalf("%d clients, problems %v", len(clients), problems)
		}
		for _, c := range clients {
			if !clientID(c.ID) || c.Policy == nil || c.KeyHash == [32]byte{} {
				t.Fatalf("client %+v", c)
			}
		}
	})
}
