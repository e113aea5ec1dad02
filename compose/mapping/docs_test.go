package mapping_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/tributary-health/tributary/compose/mapping"
)

// TestReferencePage loads the examples of docs/mapping.md as one set.
func TestReferencePage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "mapping.md"))
	if err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{"rest.yaml": {Data: []byte(`
tables:
  pharmacy.claims: {member: patientid}
  pharmacy.medications: {member: patient}
  pharmacy.payers: {reference: true}
---
{resource: Patient, from: emr.patients, body: {active: true}}
`)}}
	blocks := strings.Split(string(page), "```yaml\n")[1:]
	if len(blocks) == 0 {
		t.Fatal("the page has no example")
	}
	for i, b := range blocks {
		text, _, _ := strings.Cut(b, "```")
		files[strconv.Itoa(i)+".yaml"] = &fstest.MapFile{Data: []byte(text)}
	}
	_, ps := mapping.Load(files, mapping.Options{})
	for _, p := range ps {
		t.Error(p)
	}
}
