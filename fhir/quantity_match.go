package fhir

import (
	"cmp"
	"math"
	"math/big"
	"strconv"
)

// asked is the number of a quantity in a search. Floats tell most numbers apart;
// arithmetic that is exact decides where they are too close, and costs a hundred
// times as much.
type asked struct {
	number    *big.Rat
	limit     *big.Rat // how far off the same number may be
	near      float64
	nearLimit float64
}

func newAsked(prefix string, number, half *big.Rat) asked {
	a := asked{number: number, limit: half}
	if prefix == "ap" { // a tenth of what is asked for
		a.limit = new(big.Rat).Quo(number, big.NewRat(10, 1))
		a.limit.Abs(a.limit)
	}
	a.near, _ = number.Float64()
	a.nearLimit, _ = a.limit.Float64()
	return a
}

// storedQuantity is an indexed quantity, which it aliases.
type storedQuantity struct {
	number, system, code, unit []byte

	near  float64
	exact *big.Rat // made when first needed
}

func cutQuantity(b []byte) (q storedQuantity, ok bool) {
	for _, part := range []*[]byte{&q.number, &q.system, &q.code, &q.unit} {
		if *part, b, ok = cutSized(b); !ok {
			return q, false
		}
	}
	near, err := strconv.ParseFloat(string(q.number), 64)
	q.near = near
	return q, err == nil
}

// matchQuantity compares numbers as they were written: "5.4" is anything that
// rounds to it.
func (c *Criterion) matchQuantity(value []byte) bool {
	q, ok := cutQuantity(value)
	return ok && c.any(func(want *criterionValue) bool { return want.matchUnit(&q) && want.matchNumber(&q) })
}

func (v *criterionValue) matchUnit(q *storedQuantity) bool {
	switch {
	case v.anyCode:
		return true
	case v.system != "":
		return string(q.system) == v.system && (v.text == "" || string(q.code) == v.text)
	}
	return string(q.code) == v.text || string(q.unit) == v.text
}

func (v *criterionValue) matchNumber(q *storedQuantity) bool {
	switch v.prefix {
	case "gt", "sa":
		return q.compare(&v.asked) > 0
	case "lt", "eb":
		return q.compare(&v.asked) < 0
	case "ge":
		return q.compare(&v.asked) >= 0
	case "le":
		return q.compare(&v.asked) <= 0
	case "ap":
		return q.beyond(&v.asked) <= 0
	}
	beyond := q.beyond(&v.asked)
	same := beyond < 0 || beyond == 0 && q.compare(&v.asked) < 0
	return same == (v.prefix == "eq")
}

// blur is more than floats are off, as a part of their size.
const blur = 1e-12

// compare orders the stored number and the one asked for.
func (q *storedQuantity) compare(a *asked) int {
	if math.Abs(q.near-a.near) > blur*(math.Abs(q.near)+math.Abs(a.near)) {
		return cmp.Compare(q.near, a.near)
	}
	if q.rat() == nil {
		return 1
	}
	return q.exact.Cmp(a.number)
}

// beyond tells whether the two are farther apart than the limit (1), as far (0)
// or nearer (-1).
func (q *storedQuantity) beyond(a *asked) int {
	off := math.Abs(q.near - a.near)
	if math.Abs(off-a.nearLimit) > blur*(math.Abs(q.near)+math.Abs(a.near)+a.nearLimit) {
		return cmp.Compare(off, a.nearLimit)
	}
	if q.rat() == nil {
		return 1
	}
	exact := new(big.Rat).Sub(q.exact, a.number)
	return exact.Abs(exact).Cmp(a.limit)
}

// rat returns the exact number, nil if it is none: what is indexed is one.
func (q *storedQuantity) rat() *big.Rat {
	if q.exact == nil {
		q.exact, _, _ = numberOf(string(q.number))
	}
	return q.exact
}
