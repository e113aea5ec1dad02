package mapping

import (
	"cmp"
	"iter"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/tributary-health/tributary/change"
)

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
		k.null = r.Values[i].State != change.Set
		if k.kind == change.Timestamp || k.kind == change.Instant {
			k.text = r.order(i)
		} else {
			k.text, _ = r.text(i)
		}
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

func (k *sortKey) compareKeys(o *sortKey) int { return compareKeys(k.row, o.row) }

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
	kept, err := latestRows(rows, column[0], column[1])
	if err != nil {
		return types.WrapErr(err)
	}
	return listOf(kept)
}

func latestRows(rows []*rowValue, name, timeName string) ([]*rowValue, error) {
	keys, err := keysOf(rows, name, timeName)
	if err != nil {
		return nil, err
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
	return sortedRows(kept), nil
}

func sortedRows(keys []sortKey) []*rowValue {
	out := make([]*rowValue, len(keys))
	for i := range keys {
		out[i] = keys[i].row
	}
	return out
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
	kept, err := matchingRows(rows, column[0], others, column[1])
	if err != nil {
		return types.WrapErr(err)
	}
	return listOf(kept)
}

func matchingRows(rows []*rowValue, name string, others []*rowValue, otherName string) (kept []*rowValue, err error) {
	wanted := make(map[string]struct{}, len(others))
	for text, err := range columnTexts(others, otherName) {
		if err != nil {
			return nil, err
		}
		wanted[text.text] = struct{}{}
	}
	for text, err := range columnTexts(rows, name) {
		if err != nil {
			return nil, err
		}
		if _, ok := wanted[text.text]; ok {
			kept = append(kept, text.row)
		}
	}
	return kept, nil
}

// rowText is a row and the text of one of its columns.
type rowText struct {
	row  *rowValue
	text string
}

// columnTexts gives the rows that have a value in the column, and its text as
// expressions see it.
func columnTexts(rows []*rowValue, name string) iter.Seq2[rowText, error] {
	return func(yield func(rowText, error) bool) {
		c := column{name: name}
		for _, r := range rows {
			i, err := c.of(r)
			if err != nil {
				yield(rowText{}, err)
				return
			}
			if text, ok := r.text(i); ok && !yield(rowText{r, text}, nil) {
				return
			}
		}
	}
}

// sortBy orders rows by a column, then by primary key.
func sortBy(args ...ref.Val) ref.Val {
	rows, err := rowsOf("sortBy", args[0])
	if err != nil {
		return types.WrapErr(err)
	}
	if rows, err = sortRows(rows, names(args, 1)[0]); err != nil {
		return types.WrapErr(err)
	}
	return listOf(rows)
}

func sortRows(rows []*rowValue, name string) ([]*rowValue, error) {
	keys, err := keysOf(rows, name, "")
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(keys, func(a, b sortKey) int {
		if by := a.compare(&b); by != 0 {
			return by
		}
		return a.compareKeys(&b)
	})
	return sortedRows(keys), nil
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
