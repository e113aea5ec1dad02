package mapping_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/compose/mapping"
)

// bench loads a case's mappings and gives one of its resources with its first
// input.
func bench(b *testing.B, name, typ string) (*mapping.Set, *mapping.Resource, mapping.Input) {
	b.Helper()
	a, err := txtar.ParseFile(filepath.Join("testdata", "compose", name+".txtar"))
	if err != nil {
		b.Fatal(err)
	}
	t := &testing.T{}
	set, ps := mapping.Load(mappings(a), mapping.Options{IDKey: []byte("key")})
	if len(ps) > 0 {
		b.Fatal(ps[0])
	}
	s := schemas(t, a)
	set.Check(s)
	d := readRows(t, file(a, "rows"), set, s)
	for _, r := range set.Resources() {
		if r.Type == typ {
			return set, r, d.input(r, d.rows[r.From][0])
		}
	}
	b.Fatalf("no %s", typ)
	return nil, nil, mapping.Input{}
}

func run(b *testing.B, r *mapping.Resource, in mapping.Input) {
	b.Helper()
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		content, skipped, err := r.Compose(dst[:0], in)
		if err != nil || skipped {
			b.Fatal(err, skipped)
		}
		dst = content
	}
	b.ReportMetric(float64(len(dst)), "bytes")
}

func BenchmarkMedicationRequest(b *testing.B) {
	_, r, in := bench(b, "medications", "MedicationRequest")
	run(b, r, in)
}

func BenchmarkMedicationDispense(b *testing.B) {
	_, r, in := bench(b, "medications", "MedicationDispense")
	run(b, r, in)
}

func BenchmarkPatient(b *testing.B) {
	_, r, in := bench(b, "patient", "Patient")
	run(b, r, in)
}

// BenchmarkProfile composes the profile of a member with 1,000 orders, half of
// them active, and 3,000 fills.
func BenchmarkProfile(b *testing.B) {
	set, r, in := bench(b, "profile", "Composition")
	for i, j := range r.Joins {
		n := map[string]int{"orders": 1000, "fills": 3000}[j.Name]
		if n == 0 {
			continue
		}
		s := in.Joined[i].At(0).Schema
		rows := make([]mapping.Row, n)
		for k := range n {
			values := make([]change.Value, len(s.Columns))
			put := func(column, text string) { values[s.Column(column)] = change.Of(text) }
			at := fmt.Sprintf("20%02d-%02d-%02dT00:00:00", 10+k%16, 1+k%12, 1+k%28)
			if j.Name == "orders" {
				put("id", fmt.Sprint(k))
				put("start", at)
				put("description", "lisinopril 10 MG Oral Tablet")
				if k%2 == 0 {
					put("stop", at)
				}
			} else {
				put("id", fmt.Sprint("fill-", k))
				put("medication", fmt.Sprint(k%1000))
				put("dispensed", at)
			}
			rows[k] = mapping.Row{Schema: s, Values: values}
		}
		in.Joined[i] = set.Rows(j.Table, rows...)
	}
	run(b, r, in)
}

func BenchmarkLoad(b *testing.B) {
	a, err := txtar.ParseFile(filepath.Join("testdata", "compose", "patient.txtar"))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		mapping.Load(mappings(a), mapping.Options{})
	}
}
