package mapping

import (
	"slices"
	"sync/atomic"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/tributary-health/tributary/change"
)

// Rows are rows of one table, in the order of their keys, as expressions take
// them: kept beside rows that do not change, they need not be made over for each
// composition. They never change and may be used concurrently; nil is none.
type Rows struct {
	table  *table
	values []*rowValue
	index  atomic.Pointer[rowIndex]
}

// Rows makes rows of a declared table ready for expressions. It keeps the rows'
// values, not the slice.
func (s *Set) Rows(t change.Table, rows ...Row) *Rows {
	r := &Rows{table: s.byTable[t], values: make([]*rowValue, len(rows))}
	made := make([]rowValue, len(rows))
	for i := range rows {
		made[i] = rowValue{rows[i], r.table}
		r.values[i] = &made[i]
	}
	return r
}

// Len is how many rows there are.
func (r *Rows) Len() int {
	if r == nil {
		return 0
	}
	return len(r.values)
}

// At returns one row.
func (r *Rows) At(i int) Row { return r.values[i].Row }

// Splice returns the successor of the rows, with those from i up to end, one at
// most, replaced by one row, or by none if it has no schema. What was derived
// from the rows goes over to the successor: they MUST NOT be in use by anybody
// then, and be little used after.
func (r *Rows) Splice(i, end int, row Row) *Rows {
	var old, fresh *rowValue
	var middle []*rowValue
	if row.Schema != nil {
		fresh = &rowValue{row, r.table}
		middle = []*rowValue{fresh}
	}
	if end > i {
		old = r.values[i]
	}
	out := &Rows{table: r.table, values: slices.Concat(r.values[:i], middle, r.values[end:])}
	if x := r.index.Swap(nil); x != nil {
		for _, c := range x.columns {
			c.change(old, fresh)
		}
		out.index.Store(x)
	}
	return out
}

// rowList is a list of rows in an expression: CEL's own list, and the rows as
// they are.
type rowList struct {
	traits.Lister
	rows []*rowValue
}

func listOf(rows []*rowValue) ref.Val {
	values := make([]ref.Val, len(rows))
	for i, r := range rows {
		values[i] = r
	}
	return &rowList{types.NewRefValList(types.DefaultTypeAdapter, values), rows}
}

// rowsOf returns the rows of a list, which the caller MUST NOT change.
func rowsOf(function string, v ref.Val) ([]*rowValue, error) {
	if l, ok := v.(*rowList); ok {
		return l.rows, nil
	}
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
