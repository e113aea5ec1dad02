package audit_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/tributary-health/tributary/audit"
)

var rewrite = flag.Bool("rewrite", false, "write what the cases give into their files")

// Each case is an entry as the log has it, and the AuditEvents made of it.
func TestResources(t *testing.T) {
	cases, err := filepath.Glob(filepath.Join("testdata", "resource", "*.txtar"))
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	kinds := map[string]bool{}
	for _, name := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil || len(a.Files) != 2 {
				t.Fatalf("%d files, %v", len(a.Files), err)
			}
			e, err := audit.DecodeEntry(bytes.TrimSpace(a.Files[0].Data))
			if err != nil {
				t.Fatal(err)
			}
			kinds[e.Kind] = true
			resources, err := e.Resources(audit.Observer{Name: "tributary", Address: "https://fhir.example.org/fhir"})
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			for _, r := range resources {
				if err := json.Indent(&got, r, "", "  "); err != nil {
					t.Fatal(err)
				}
				got.WriteByte('\n')
				required(t, r)
			}
			if *rewrite {
				a.Files[1].Data = got.Bytes()
				if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got.String() != string(a.Files[1].Data) {
				t.Errorf("got\n%s\nwant\n%s", got.String(), a.Files[1].Data)
			}
		})
	}
	for _, kind := range audit.Kinds() {
		if !kinds[kind] {
			t.Errorf("no case of kind %s", kind)
		}
	}
}

// required holds an AuditEvent against what R4 and BALP demand of every one.
func required(t *testing.T, b []byte) {
	t.Helper()
	var r struct {
		ResourceType, ID, Action, Recorded, Outcome string
		Type                                        struct{ System, Code string }
		Subtype                                     []struct{ System, Code string }
		Agent                                       []struct {
			Type      struct{ Coding []struct{ Code string } }
			Who       map[string]any
			Requestor *bool
			Network   map[string]any
		}
		Source struct{ Observer map[string]any }
		Entity []struct {
			Type, Role struct{ System, Code string }
			What       struct{ Reference string }
			Query      []byte
		}
	}
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	roles, requestors, patients := "", 0, 0
	for _, a := range r.Agent {
		roles += " " + a.Type.Coding[0].Code
		if a.Requestor == nil || len(a.Who) == 0 || len(a.Network) == 0 {
			t.Errorf("an agent without requestor, who or network: %s", b)
		} else if *a.Requestor {
			requestors++
		}
	}
	for _, e := range r.Entity {
		if e.Role.Code == "1" {
			patients++
		}
		if len(e.Query) == 0 && e.What.Reference == "" {
			t.Errorf("an entity without content: %s", b)
		}
	}
	if r.ResourceType != "AuditEvent" || r.ID == "" || r.Recorded == "" || r.Outcome == "" || r.Action == "" || r.Type.Code == "" ||
		len(r.Subtype) != 1 || len(r.Source.Observer) == 0 || requestors != 1 || patients > 1 ||
		!strings.Contains(roles, "110152") || !strings.Contains(roles, "110153") {
		t.Errorf("something is missing: %s", b)
	}
}
