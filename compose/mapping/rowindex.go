package mapping

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"github.com/tributary-health/tributary/change"
)

// rowIndex finds rows by their columns' texts. Each column's part is made when
// it is first asked for and then kept in step: Splice hands the index on from
// rows to their successor.
type rowIndex struct {
	mu      sync.Mutex
	columns map[columnPair]*columnIndex
}

// columnIndex is of one column. Its lists are in the order of keys or, with a
// time column, of times and keys; sorted is in that of text, then key.
type columnIndex struct {
	typ    change.Type
	usable bool // all rows have the columns, with known values, the first in one type
	nulls  []*rowValue
	byText map[string][]*rowValue
	sorted []*rowValue // nil until asked for
	place  column
	time   *column
}

// columnPair is what an index goes by; time may be empty.
type columnPair struct{ name, time string }

// take gives the index of a column to fn, made if need be; nil if the column
// cannot be indexed. fn MUST NOT keep it, nor the lists in it.
func (r *Rows) take(by columnPair, fn func(*columnIndex)) {
	x := r.index.Load()
	if x == nil {
		x = &rowIndex{columns: map[columnPair]*columnIndex{}}
		if !r.index.CompareAndSwap(nil, x) {
			x = r.index.Load()
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.columns[by]
	if c == nil {
		c = newColumnIndex(by, r.values)
		x.columns[by] = c
	}
	if c.usable {
		fn(c)
		return
	}
	fn(nil)
}

func newColumnIndex(by columnPair, rows []*rowValue) *columnIndex {
	c := &columnIndex{byText: make(map[string][]*rowValue), place: column{name: by.name}}
	if by.time != "" {
		c.time = &column{name: by.time}
	}
	for n, r := range rows {
		i, ok := c.accept(r, n == 0)
		if !ok {
			return c
		}
		if v := r.Values[i]; v.State == change.Set {
			c.byText[v.Text] = append(c.byText[v.Text], r)
		} else {
			c.nulls = append(c.nulls, r)
		}
	}
	if c.usable = true; c.time != nil {
		slices.SortFunc(c.nulls, c.compare)
		for _, list := range c.byText {
			slices.SortFunc(list, c.compare)
		}
	}
	return c
}

// compare is the order of the lists.
func (c *columnIndex) compare(a, b *rowValue) int {
	if c.time == nil {
		return compareKeys(a, b)
	}
	i, _ := c.time.of(a)
	j, _ := c.time.of(b)
	return cmp.Or(strings.Compare(a.order(i), b.order(j)), compareKeys(a, b))
}

// accept returns where a row has the column; ok is false if the row makes the
// column no longer one to be indexed.
func (c *columnIndex) accept(r *rowValue, first bool) (i int, ok bool) {
	i, err := c.place.of(r)
	if err != nil {
		return 0, false
	}
	if c.time != nil {
		if _, err := c.time.of(r); err != nil {
			return 0, false
		}
	}
	typ := r.Schema.Columns[i].Type
	if first {
		c.typ = typ
	}
	return i, typ == c.typ
}

// change follows one row that goes, one that comes, or one that becomes another.
func (c *columnIndex) change(old, fresh *rowValue) {
	if !c.usable {
		return
	}
	if old != nil {
		c.put(old, func(list []*rowValue, order func(a, b *rowValue) int) []*rowValue {
			i, found := slices.BinarySearchFunc(list, old, order)
			if found {
				return slices.Delete(list, i, i+1)
			}
			return list
		})
	}
	if fresh != nil {
		if _, ok := c.accept(fresh, len(c.byText) == 0 && len(c.nulls) == 0); !ok {
			*c = columnIndex{}
			return
		}
		c.put(fresh, func(list []*rowValue, order func(a, b *rowValue) int) []*rowValue {
			i, _ := slices.BinarySearchFunc(list, fresh, order)
			return slices.Insert(list, i, fresh)
		})
	}
}

// put edits the lists that a row is in.
func (c *columnIndex) put(r *rowValue, edit func(list []*rowValue, order func(a, b *rowValue) int) []*rowValue) {
	i, _ := c.place.of(r)
	v := r.Values[i]
	if v.State != change.Set {
		c.nulls = edit(c.nulls, c.compare)
		return
	}
	if list := edit(c.byText[v.Text], c.compare); len(list) > 0 {
		c.byText[v.Text] = list
	} else {
		delete(c.byText, v.Text)
	}
	if c.sorted != nil {
		c.sorted = edit(c.sorted, c.compareTexts)
	}
}

func compareKeys(a, b *rowValue) int { return strings.Compare(a.key(), b.key()) }

func (c *columnIndex) text(r *rowValue) string {
	i, _ := c.place.of(r)
	return r.Values[i].Text
}

func (c *columnIndex) compareTexts(a, b *rowValue) int {
	return cmp.Or(strings.Compare(c.text(a), c.text(b)), compareKeys(a, b))
}

// from returns the rows whose text is not below a bound, in the order of text.
func (c *columnIndex) from(bound string) []*rowValue {
	if c.sorted == nil {
		c.sorted = make([]*rowValue, 0, len(c.byText))
		for _, list := range c.byText {
			c.sorted = append(c.sorted, list...)
		}
		slices.SortFunc(c.sorted, c.compareTexts)
	}
	i, _ := slices.BinarySearchFunc(c.sorted, bound, func(r *rowValue, bound string) int { return strings.Compare(c.text(r), bound) })
	return c.sorted[i:]
}

// Where returns the rows whose column has the text, in the order of their keys.
func (r *Rows) Where(name, text string) *Rows {
	if r == nil {
		return nil
	}
	out := &Rows{table: r.table}
	r.take(columnPair{name: name}, func(c *columnIndex) {
		if c != nil {
			out.values = slices.Clone(c.byText[text])
			return
		}
		place := column{name: name}
		for _, row := range r.values {
			if i, err := place.of(row); err == nil && row.Values[i] == change.Of(text) {
				out.values = append(out.values, row)
			}
		}
	})
	return out
}
