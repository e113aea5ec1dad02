package fhir

import (
	"math/big"
	"strings"
)

// maxNumber bounds the text of a number that is searched by value: exact
// arithmetic on more digits, or on a larger exponent, costs too much.
const (
	maxNumber   = 40
	maxExponent = 60
)

// quantity is a Quantity as it is searched: the number as it was written.
type quantity struct {
	number, system, code, unit string
}

func quantityOf(value []byte) (q quantity, ok bool) {
	_ = EachMember(value, func(name, v []byte) bool {
		switch string(name) {
		case "value":
			q.number = string(v)
		case "system":
			q.system, _ = Text(v)
		case "code":
			q.code, _ = Text(v)
		case "unit":
			q.unit, _ = Text(v)
		}
		return true
	})
	_, _, ok = numberOf(q.number)
	return q, ok
}

func (q quantity) append(dst []byte) []byte {
	return appendSized(appendSized(appendSized(appendSized(dst, q.number), q.system), q.code), q.unit)
}

// numberOf reads a decimal and half of the unit of its last digit: "5.40" is
// 5.40 and 0.005.
func numberOf(text string) (number, half *big.Rat, ok bool) {
	if len(text) == 0 || len(text) > maxNumber || strings.ContainsAny(text, "/_xXpPbBoOiInN") {
		return nil, nil, false
	}
	mantissa, power, _ := strings.Cut(strings.ToLower(text), "e")
	exponent := 0
	if power != "" {
		digits := strings.TrimLeft(power, "+-")
		for _, c := range []byte(digits) {
			if exponent = exponent*10 + int(c-'0'); c < '0' || c > '9' || exponent > maxExponent {
				return nil, nil, false
			}
		}
		if power[0] == '-' {
			exponent = -exponent
		}
	}
	if number, ok = new(big.Rat).SetString(text); !ok {
		return nil, nil, false
	}
	if _, fraction, found := strings.Cut(mantissa, "."); found {
		exponent -= len(fraction)
	}
	half = big.NewRat(1, 2)
	ten := new(big.Rat).SetInt64(10)
	for ; exponent > 0; exponent-- {
		half.Mul(half, ten)
	}
	for ; exponent < 0; exponent++ {
		half.Quo(half, ten)
	}
	return number, half, true
}
