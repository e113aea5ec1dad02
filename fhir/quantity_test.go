package fhir_test

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tributary-health/tributary/fhir"
)

func weighing(t testing.TB, number string) fhir.Version {
	t.Helper()
	return indexedVersion(t, `{"resourceType":"Observation","id":"o","valueQuantity":{"value":`+number+`,"unit":"g","system":"http://unitsofmeasure.org","code":"g"}}`)
}

// TestQuantityIsExact holds comparisons against exact arithmetic, with numbers
// that floats cannot tell apart.
func TestQuantityIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 4))
	near := 0
	for range 4000 {
		stored, want := closeNumbers(r)
		a, _ := new(big.Rat).SetString(stored)
		b, _ := new(big.Rat).SetString(want)
		if x, _ := a.Float64(); a.Cmp(b) != 0 {
			if y, _ := b.Float64(); x == y {
				near++
			}
		}
		half := big.NewRat(1, 2)
		for range len(want[strings.IndexByte(want, '.')+1:]) {
			half.Quo(half, big.NewRat(10, 1))
		}
		compared, off := a.Cmp(b), new(big.Rat).Sub(a, b)
		beyond := off.Abs(off).Cmp(half)
		same := beyond < 0 || beyond == 0 && compared < 0
		tenth := new(big.Rat).Quo(b, big.NewRat(10, 1))
		v := weighing(t, stored)
		for prefix, match := range map[string]bool{
			"": same, "eq": same, "ne": !same, "gt": compared > 0, "sa": compared > 0, "lt": compared < 0, "eb": compared < 0,
			"ge": compared >= 0, "le": compared <= 0, "ap": off.Cmp(tenth.Abs(tenth)) <= 0,
		} {
			c, err := fhir.ParseCriterion("Observation", "value-quantity", prefix+want, base)
			if err != nil {
				t.Fatal(err)
			}
			if c.Match(v) != match {
				t.Fatalf("%s found by %s%s: %v, want %v", stored, prefix, want, !match, match)
			}
		}
	}
	if near < 200 {
		t.Fatalf("only %d pairs were close", near)
	}
}

// closeNumbers returns two decimals that are equal, or differ in a late digit, or
// lie just where one rounds to the other or is a tenth off.
func closeNumbers(r *rand.Rand) (stored, want string) {
	digits := 1 + r.IntN(14)
	want = fmt.Sprintf("%d.%0*d", r.IntN(300)-150, digits, r.Int64N(pow10(digits)))
	switch tail := r.IntN(4); tail {
	case 0:
		return want, want
	case 1: // half of the last digit, or hardly more or less
		return want + []string{"5", "50000000000000000001", "49999999999999999999"}[r.IntN(3)], want
	case 2: // hardly more
		return want + "00000000000000001", want
	}
	b, _ := new(big.Rat).SetString(want)
	b.Mul(b, big.NewRat(int64(9+2*r.IntN(2)), 10))
	stored = b.FloatString(digits + 1)
	if r.IntN(2) == 0 {
		stored += "00000000000001"
	}
	return stored, want
}

func pow10(n int) int64 {
	p := int64(1)
	for range n {
		p *= 10
	}
	return p
}

// TestManyQuantitiesAreCheap wants a value compared with as many as a search may
// have without arithmetic on each: that took a second for a hundred resources.
func TestManyQuantitiesAreCheap(t *testing.T) {
	var values []string
	for i := range 1000 {
		values = append(values, fmt.Sprintf("ap%d.%d", 1000+i, i), fmt.Sprintf("gt%de9", 1+i))
	}
	c, err := fhir.ParseCriterion("Observation", "value-quantity", strings.Join(values[:1000], ","), base)
	if err != nil {
		t.Fatal(err)
	}
	v := weighing(t, "9.8")
	if n := testing.AllocsPerRun(10, func() {
		if c.Match(v) {
			t.Error("found")
		}
	}); n > 20 {
		t.Errorf("%v allocations", n)
	}
}
