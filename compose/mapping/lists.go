package mapping

import (
	"cmp"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/tributary-health/tributary/change"
)

// rowsOf returns the rows of a list.
func rowsOf(function string, v ref.Val) ([]*rowValue, error) {
	list, ok := v.(traits.Lister)
	if !ok {
		return nil, reason(function + " needs a list of rows")
	}
	size, _ := list.Size().(types.Int)
	rows := make([]*rowValue, 0, size)
	for i := types.Int(0); i < size; i++ {
		r, ok := list.Get(i).(*rowValue)
		if !ok {
			return nil, reason(function + " needs a list of rows")
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func listOf(rows []*rowValue) ref.Val {
	values := make([]ref.Val, len(rows))
	for i, r := range rows {
		values[i] = r
	}
	return types.NewRefValList(types.DefaultTypeAdapter, values)
}

// sortKey is a column's value in the order of its type.
type sortKey struct {
	row  *rowValue
	text string
	null bool
	kind change.Type
	time string
}

// keysOf reads a column, and a second one if timeColumn is not empty, of every
// row.
func keysOf(rows []*rowValue, name, timeColumn string) ([]sortKey, error) {
	c, at := column{name: name}, column{name: timeColumn}
	keys := make([]sortKey, len(rows))
	for n, r := range rows {
		i, err := c.of(r)
		if err != nil {
			return nil, err
		}
		k := sortKey{row: r, kind: r.Schema.Columns[i].Type}
		text, ok := r.text(i)
		k.text, k.null = text, !ok
		if timeColumn != "" {
			if i, err = at.of(r); err != nil {
				return nil, err
			}
			k.time = r.order(i)
		}
		keys[n] = k
	}
	return keys, nil
}

// compare orders by the column's type: numbers by size, time stamps by time,
// everything else by bytes. Nulls come first.
func (k *sortKey) compare(o *sortKey) int {
	if k.null || o.null {
		return cmp.Compare(boolInt(o.null), boolInt(k.null))
	}
	switch {
	case k.kind != o.kind || k.text == o.text:
	case k.kind == change.Int || k.kind == change.Uint || k.kind == change.Float || k.kind == change.Decimal:
		return compareNumbers(k.text, o.text)
	case k.kind == change.Timestamp || k.kind == change.Instant:
		return strings.Compare(strings.TrimSuffix(k.text, "Z"), strings.TrimSuffix(o.text, "Z"))
	}
	return strings.Compare(k.text, o.text)
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// compareNumbers compares decimal texts exactly; what is no number comes by its
// bytes.
func compareNumbers(a, b string) int {
	if len(a) < 19 && len(b) < 19 {
		x, errX := strconv.ParseInt(a, 10, 64)
		y, errY := strconv.ParseInt(b, 10, 64)
		if errX == nil && errY == nil {
			return cmp.Compare(x, y)
		}
	}
	if strings.ContainsAny(a, "eE") || strings.ContainsAny(b, "eE") { // floats
		x, errX := strconv.ParseFloat(a, 64)
		y, errY := strconv.ParseFloat(b, 64)
		if errX != nil || errY != nil {
			return strings.Compare(a, b)
		}
		return cmp.Compare(x, y)
	}
	x, okX := new(big.Float).SetPrec(400).SetString(a)
	y, okY := new(big.Float).SetPrec(400).SetString(b)
	if !okX || !okY {
		return strings.Compare(a, b)
	}
	return x.Cmp(y)
}

func (k *sortKey) compareKeys(o *sortKey) int { return strings.Compare(k.row.key(), o.row.key()) }

func names(args []ref.Val, at ...int) []string {
	out := make([]string, len(at))
	for i, n := range at {
		s, _ := args[n].(types.String)
		out[i] = string(s)
	}
	return out
}

// latestBy keeps of the rows that share a column's value the one with the
// greatest time, then the greatest primary key. Rows without a value are left out.
func latestBy(args ...ref.Val) ref.Val {
	rows, err := rowsOf("latestBy", args[0])
	if err != nil {
		return types.WrapErr(err)
	}
	column := names(args, 1, 2)
	keys, err := keysOf(rows, column[0], column[1])
	if err != nil {
		return types.WrapErr(err)
	}
	best := make(map[string]int, len(keys))
	var kept []sortKey
	for i := range keys {
		k := &keys[i]
		if k.null {
			continue
		}
		at, ok := best[k.text]
		if !ok {
			best[k.text] = len(kept)
			kept = append(kept, *k)
			continue
		}
		old := &kept[at]
		if by := strings.Compare(k.time, old.time); by > 0 || by == 0 && k.compareKeys(old) > 0 {
			*old = *k
		}
	}
	slices.SortFunc(kept, func(a, b sortKey) int { return a.compare(&b) })
	out := make([]*rowValue, len(kept))
	for i := range kept {
		out[i] = kept[i].row
	}
	return listOf(out)
}

// matching keeps the rows whose column is among a column of other rows.
func matching(args ...ref.Val) ref.Val {
	rows, err := rowsOf("matching", args[0])
	if err != nil {
		return types.WrapErr(err)
	}
	others, err := rowsOf("matching", args[2])
	if err != nil {
		return types.WrapErr(err)
	}
	column := names(args, 1, 3)
	wanted, err := keysOf(others, column[1], "")
	if err != nil {
		return types.WrapErr(err)
	}
	set := make(map[string]bool, len(wanted))
	for i := range wanted {
		if !wanted[i].null {
			set[wanted[i].text] = true
		}
	}
	keys, err := keysOf(rows, column[0], "")
	if err != nil {
		return types.WrapErr(err)
	}
	var kept []*rowValue
	for i := range keys {
		if !keys[i].null && set[keys[i].text] {
			kept = append(kept, keys[i].row)
		}
	}
	return listOf(kept)
}

// sortBy orders rows by a column, then by primary key.
func sortBy(args ...ref.Val) ref.Val {
	rows, err := rowsOf("sortBy", args[0])
	if err != nil {
		return types.WrapErr(err)
	}
	keys, err := keysOf(rows, names(args, 1)[0], "")
	if err != nil {
		return types.WrapErr(err)
	}
	slices.SortStableFunc(keys, func(a, b sortKey) int {
		if by := a.compare(&b); by != 0 {
			return by
		}
		return a.compareKeys(&b)
	})
	for i := range keys {
		rows[i] = keys[i].row
	}
	return listOf(rows)
}

// distinct drops nulls and repeats. Texts, numbers and booleans are equal by
// value and type, rows by table and primary key; other values are refused.
func distinct(args ...ref.Val) ref.Val {
	list, ok := args[0].(traits.Lister)
	if !ok {
		return fault("distinct needs a list")
	}
	type rowKey struct {
		table *table
		key   string
	}
	seen := map[any]bool{}
	var kept []ref.Val
	for it := list.Iterator(); it.HasNext() == types.True; {
		v := it.Next()
		var key any = v
		switch v := v.(type) {
		case types.Null:
			continue
		case *rowValue:
			key = rowKey{v.table, v.key()}
		case types.String, types.Int, types.Uint, types.Double, types.Bool:
		default:
			return fault("distinct needs texts, numbers, booleans or rows")
		}
		if !seen[key] {
			seen[key] = true
			kept = append(kept, v)
		}
	}
	return types.NewRefValList(types.DefaultTypeAdapter, kept)
}

// first gives a list's first item, or null.
func first(args ...ref.Val) ref.Val {
	list, ok := args[0].(traits.Lister)
	if !ok {
		return fault("first needs a list")
	}
	if list.Size() == types.IntZero {
		return types.NullValue
	}
	return list.Get(types.IntZero)
}
