package mapping

import (
	"math/big"
	"slices"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// groupBy cuts rows into groups that share a column's value, in order of the
// column; within a group the rows keep their order. Rows without a value form a
// group of their own, the first: no row is lost.
func groupBy(args ...ref.Val) ref.Val {
	rows, err := rowsOf("groupBy", args[0])
	if err != nil {
		return types.WrapErr(err)
	}
	keys, err := keysOf(rows, names(args, 1)[0], "")
	if err != nil {
		return types.WrapErr(err)
	}
	slices.SortStableFunc(keys, func(a, b sortKey) int { return a.compare(&b) })
	for i := range keys {
		rows[i] = keys[i].row
	}
	groups := make([]ref.Val, 0, len(rows))
	for from, i := 0, 1; i <= len(keys); i++ {
		if i == len(keys) || keys[i].compare(&keys[from]) != 0 {
			groups = append(groups, listOf(rows[from:i:i]))
			from = i
		}
	}
	return types.NewRefValList(types.DefaultTypeAdapter, groups)
}

// sum adds a column's decimals or whole numbers exactly, nulls left out. Its text
// has as many digits after the point as the addend that has most; null when there
// is nothing to add.
func sum(args ...ref.Val) ref.Val {
	rows, err := rowsOf("sum", args[0])
	if err != nil {
		return types.WrapErr(err)
	}
	c := column{name: names(args, 1)[0]}
	var total tally
	for _, r := range rows {
		i, err := c.of(r)
		if err != nil {
			return types.WrapErr(err)
		}
		if text, ok := r.text(i); ok && !total.add(text) {
			return fault("sum needs decimals or whole numbers: column " + quote(c.name) + " of table " + r.Schema.Table.String())
		}
	}
	if total.addends == 0 {
		return types.NullValue
	}
	return types.String(total.String())
}

// tally is a decimal under addition: units times ten to the power of -scale.
type tally struct {
	units   big.Int
	scale   int
	addends int
}

// maxScale bounds the digits after the point, which any addend could otherwise
// make as many as it likes.
const maxScale = 1000

// add adds a decimal without an exponent; false if it is none.
func (t *tally) add(text string) bool {
	whole, fraction, _ := strings.Cut(text, ".")
	digits := strings.TrimLeft(whole, "+-") + fraction
	if digits == "" || strings.Trim(digits, "0123456789") != "" || len(fraction) > maxScale {
		return false
	}
	var units big.Int
	if _, ok := units.SetString(whole+fraction, 10); !ok {
		return false
	}
	if by := len(fraction) - t.scale; by > 0 {
		t.units.Mul(&t.units, powerOfTen(by))
		t.scale = len(fraction)
	} else if by < 0 {
		units.Mul(&units, powerOfTen(-by))
	}
	t.units.Add(&t.units, &units)
	t.addends++
	return true
}

func powerOfTen(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

func (t *tally) String() string {
	sign, digits := "", new(big.Int).Abs(&t.units).String()
	if t.units.Sign() < 0 {
		sign = "-"
	}
	if t.scale == 0 {
		return sign + digits
	}
	if missing := t.scale + 1 - len(digits); missing > 0 {
		digits = strings.Repeat("0", missing) + digits
	}
	return sign + digits[:len(digits)-t.scale] + "." + digits[len(digits)-t.scale:]
}
