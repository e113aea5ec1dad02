package hashmatch_test

import (
	"testing"

	"github.com/tributary-health/tributary/hashmatch"
)

// BenchmarkMember is a member's share of making the index: reading the Patient,
// normalising, all tokens and their places in the index.
func BenchmarkMember(b *testing.B) {
	key, n := testKey(b), 0
	for b.Loop() {
		d, err := hashmatch.FromPatient([]byte(wholePatient))
		if err != nil {
			b.Fatal(err)
		}
		n = 0
		for _, t := range key.Tokens(hashmatch.Normalize(d).Inputs()) {
			hashmatch.IndexToken(testClient, key.Epoch(), t)
			n++
		}
	}
	b.ReportMetric(float64(n), "tokens")
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
}

// BenchmarkRequest is the partner's share of asking.
func BenchmarkRequest(b *testing.B) {
	key := testKey(b)
	d, err := hashmatch.FromPatient([]byte(wholePatient))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		r, err := key.Request(d)
		if err != nil {
			b.Fatal(err)
		}
		r.Encode()
	}
}

// BenchmarkDecide is the payer's, beside the lookups: for a member, and for
// somebody who is none.
func BenchmarkDecide(b *testing.B) {
	key := testKey(b)
	d, err := hashmatch.FromPatient([]byte(wholePatient))
	if err != nil {
		b.Fatal(err)
	}
	r, err := key.Request(d)
	if err != nil {
		b.Fatal(err)
	}
	for name, holder := range map[string][]string{"match": {"p1"}, "none": nil} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				hashmatch.Decide(r.Tokens, func(int) []string { return holder })
			}
		})
	}
}
