package mapping

import (
	"slices"
	"strconv"

	"cel.dev/cel-go/common/ast"
	celop "cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/tributary-health/tributary/change"
)

// nativeName is a variable: a row (whose text says only whether there is one), a
// list of rows, or what a let gave.
func (rc *resourceCompiler) nativeName(name string) native {
	for _, f := range rc.filters {
		if f == name {
			return nil
		}
	}
	v, ok := rc.scope.find(name)
	if !ok || v.slot.kind == noSlot {
		return nil
	}
	n := nativeVariable{slot: v.slot, name: name, resource: rc.resource}
	switch {
	case v.typ.Kind() == types.ListKind && len(v.typ.Parameters()) == 1 && v.typ.Parameters()[0].Kind() == types.StructKind:
		return &nativeListName{n}
	case v.typ.Kind() == types.ListKind:
		return nil
	}
	return &nativeScalarName{n}
}

// nativeVariable is a variable of whatever kind.
type nativeVariable struct {
	slot     slot
	name     string
	resource *Resource
}

// value looks a join up by its name: joins move when unused ones are dropped.
func (n *nativeVariable) value(c *call) (ref.Val, error) {
	s := n.slot
	if s.kind == joinSlot {
		s = n.resource.slots[n.name]
	}
	return c.variable(s)
}

type nativeScalarName struct{ nativeVariable }

func (n *nativeScalarName) text(c *call) (string, nativeKind, error) {
	v, err := n.value(c)
	if err != nil {
		return "", nullKind, err
	}
	if _, ok := v.(*rowValue); ok {
		return "", rowKind, nil
	}
	return textOf(v)
}

func (n *nativeScalarName) holds(c *call) (bool, error) {
	v, err := n.value(c)
	if err != nil {
		return false, err
	}
	b, ok := v.(types.Bool)
	if !ok {
		return false, errAskCEL
	}
	return bool(b), nil
}

type nativeListName struct{ nativeVariable }

// whole returns the rows with their index, if the variable is a join.
func (n *nativeListName) whole(c *call) *Rows {
	if n.slot.kind != joinSlot {
		return nil
	}
	return c.joined(n.resource.slots[n.name].index)
}

func (n *nativeListName) rows(c *call) ([]*rowValue, error) {
	if n.slot.kind == joinSlot {
		return c.rows(n.resource.slots[n.name].index), nil
	}
	v, err := n.value(c)
	if err != nil {
		return nil, err
	}
	return rowsOf(n.name, v)
}

// nativeList is a function over rows, or nil.
func (rc *resourceCompiler) nativeList(call ast.CallExpr) native {
	args := call.Args()
	if len(args) == 0 {
		return nil
	}
	list, ok := rc.native(args[0]).(nativeRows)
	if !ok {
		return nil
	}
	var columns []string
	for _, a := range args[1:] {
		if name, ok := literalText(a); ok {
			columns = append(columns, name)
		}
	}
	switch name := call.FunctionName(); {
	case name == "size" && len(args) == 1:
		return &nativeSize{list}
	case name == "sortBy" && len(columns) == 1:
		return &nativeSort{list, columns[0]}
	case name == "latestBy" && len(columns) == 2:
		return &nativeLatest{list, columns[0], columns[1]}
	case name == "matching" && len(columns) == 2:
		if others, ok := rc.native(args[2]).(nativeRows); ok {
			return &nativeMatching{list, others, columns[0], columns[1]}
		}
	}
	return nil
}

func rowsValue(rows []*rowValue, err error) (ref.Val, error) {
	if err != nil {
		return nil, err
	}
	return listOf(rows), nil
}

// nativeSize is size(rows).
type nativeSize struct{ of nativeRows }

func (n *nativeSize) text(c *call) (string, nativeKind, error) {
	rows, err := n.of.rows(c)
	return strconv.Itoa(len(rows)), numberKind, err
}

func (n *nativeSize) value(c *call) (ref.Val, error) { return textValue(n, c) }

type nativeSort struct {
	of     nativeRows
	column string
}

func (n *nativeSort) rows(c *call) ([]*rowValue, error) {
	rows, err := n.of.rows(c)
	if err != nil {
		return nil, err
	}
	return sortRows(rows, n.column)
}

func (n *nativeSort) value(c *call) (ref.Val, error) { return rowsValue(n.rows(c)) }

type nativeLatest struct {
	of           nativeRows
	column, time string
}

func (n *nativeLatest) rows(c *call) ([]*rowValue, error) {
	if m, ok := n.of.(*nativeMatching); ok && m.column == n.column {
		if kept, ok := m.indexed(c, n.time); ok {
			return latestRows(kept, n.column, n.time)
		}
	}
	rows, err := n.of.rows(c)
	if err != nil {
		return nil, err
	}
	return latestRows(rows, n.column, n.time)
}

func (n *nativeLatest) value(c *call) (ref.Val, error) { return rowsValue(n.rows(c)) }

type nativeMatching struct {
	of, others    nativeRows
	column, other string
}

func (n *nativeMatching) rows(c *call) ([]*rowValue, error) {
	rows, err := n.of.rows(c)
	if err != nil {
		return nil, err
	}
	others, err := n.others.rows(c)
	if err != nil {
		return nil, err
	}
	return matchingRows(rows, n.column, others, n.other)
}

// indexed finds the matching rows by index, and only the latest of each text. ok
// is false where there is no index.
func (n *nativeMatching) indexed(c *call, time string) (kept []*rowValue, ok bool) {
	name, ok := n.of.(*nativeListName)
	if !ok {
		return nil, false
	}
	rows := name.whole(c)
	others, err := n.others.rows(c)
	if rows == nil || err != nil {
		return nil, false
	}
	rows.take(columnPair{n.column, time}, func(x *columnIndex) {
		if ok = x != nil && plainTexts(x.typ); !ok {
			return
		}
		for text, err := range columnTexts(others, n.other) {
			if err != nil {
				ok = false
				return
			}
			if list := x.byText[text.text]; len(list) > 0 {
				kept = append(kept, list[len(list)-1])
			}
		}
	})
	return kept, ok
}

// plainTexts reports whether expressions see the type's texts as the source
// prints them.
func plainTexts(t change.Type) bool { return t != change.Timestamp && t != change.Instant }

func (n *nativeMatching) value(c *call) (ref.Val, error) { return rowsValue(n.rows(c)) }

// rowsChoice is a ? b : c of lists of rows.
type rowsChoice struct {
	when nativeTruth
	a, b nativeRows
}

func (n *rowsChoice) rows(c *call) ([]*rowValue, error) {
	holds, err := n.when.holds(c)
	switch {
	case err != nil:
		return nil, err
	case holds:
		return n.a.rows(c)
	}
	return n.b.rows(c)
}

func (n *rowsChoice) value(c *call) (ref.Val, error) { return rowsValue(n.rows(c)) }

// noRows is [].
type noRows struct{}

func (noRows) rows(*call) ([]*rowValue, error) { return nil, nil }
func (noRows) value(*call) (ref.Val, error)    { return listOf(nil), nil }

// nativeFilter is rows.filter(item, condition), as CEL's macro spells it out.
func (rc *resourceCompiler) nativeFilter(e ast.ComprehensionExpr) native {
	step := e.LoopStep()
	if e.HasIterVar2() || !isTrue(e.LoopCondition()) || step.Kind() != ast.CallKind || step.AsCall().FunctionName() != celop.Conditional {
		return nil
	}
	args := step.AsCall().Args()
	if !isIdent(args[2], e.AccuVar()) || !isIdent(e.Result(), e.AccuVar()) || !appends(args[1], e.AccuVar(), e.IterVar()) ||
		e.AccuInit().Kind() != ast.ListKind || e.AccuInit().AsList().Size() != 0 {
		return nil
	}
	list, ok := rc.native(e.IterRange()).(nativeRows)
	if !ok {
		return nil
	}
	depth := len(rc.filters)
	rc.filters = append(rc.filters, e.IterVar())
	when, ok := rc.native(args[0]).(nativeTruth)
	rc.filters = rc.filters[:depth]
	if !ok {
		return nil
	}
	rc.resource.depth = max(rc.resource.depth, depth+1)
	return &nativeFilter{list, when, depth, indexedBy(when, depth)}
}

func isTrue(e ast.Expr) bool { return e.Kind() == ast.LiteralKind && e.AsLiteral() == types.True }

func isIdent(e ast.Expr, name string) bool { return e.Kind() == ast.IdentKind && e.AsIdent() == name }

// appends reports whether the expression is accu + [item].
func appends(e ast.Expr, accu, item string) bool {
	if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != celop.Add {
		return false
	}
	args := e.AsCall().Args()
	return isIdent(args[0], accu) && args[1].Kind() == ast.ListKind && args[1].AsList().Size() == 1 && isIdent(args[1].AsList().Elements()[0], item)
}

type nativeFilter struct {
	of    nativeRows
	when  nativeTruth
	depth int
	by    *indexed // how candidates are found; nil for none
}

func (n *nativeFilter) rows(c *call) (kept []*rowValue, err error) {
	rows, err := n.candidates(c)
	if err != nil {
		return nil, err
	}
	around := c.filtered[n.depth] // a let evaluated within another filter has its own
	defer func() { c.filtered[n.depth] = around }()
	for _, r := range rows {
		c.filtered[n.depth] = r
		holds, err := n.when.holds(c)
		if err != nil {
			return nil, err
		}
		if holds {
			kept = append(kept, r)
		}
	}
	return kept, nil
}

func (n *nativeFilter) value(c *call) (ref.Val, error) { return rowsValue(n.rows(c)) }

// candidates returns the rows that the condition may hold for or fail for, in
// the order of their keys.
func (n *nativeFilter) candidates(c *call) ([]*rowValue, error) {
	if name, ok := n.of.(*nativeListName); ok && n.by != nil {
		if rows, ok := n.by.find(c, name.whole(c)); ok {
			return rows, nil
		}
	}
	return n.of.rows(c)
}

// indexed is a part of a filter's condition without which it is false, and by
// which rows are found: the column is null, or a time stamp not before another.
type indexed struct {
	column string
	bound  nativeText // nil: the column is null
}

// indexedBy finds such a part.
func indexedBy(when nativeTruth, depth int) *indexed {
	item := func(n nativeText) (*nativeColumn, bool) {
		c, ok := n.(*nativeColumn)
		return c, ok && c.slot == slot{filterSlot, depth}
	}
	switch x := when.(type) {
	case *nativeBoth:
		if x.or {
			return nil
		}
		if by := indexedBy(x.a, depth); by != nil {
			return by
		}
		return indexedBy(x.b, depth)
	case *nativeEqual:
		c, ok := item(x.a)
		if l, null := x.b.(*nativeLiteral); ok && null && l.kind == nullKind && x.want {
			return &indexed{column: c.column.name}
		}
	case *nativeOrder:
		c, ok := item(x.a)
		if _, other := item(x.b); ok && !other && (x.op == celop.GreaterEquals || x.op == celop.Greater) {
			return &indexed{column: c.column.name, bound: x.b}
		}
	}
	return nil
}

// find returns the candidates; ok is false if they cannot be found by index.
// Rows without a time stamp are among them: the condition says what of those.
func (n *indexed) find(c *call, rows *Rows) (found []*rowValue, ok bool) {
	if rows == nil || len(rows.values) < 8 {
		return nil, false
	}
	const day = len("2006-01-02")
	bound := ""
	if n.bound != nil {
		text, kind, err := n.bound.text(c)
		if err != nil || kind != textKind || len(text) < day {
			return nil, false
		}
		bound = text[:day] // what is before it is before the whole text, however either is printed
	}
	rows.take(columnPair{name: n.column}, func(x *columnIndex) {
		switch {
		case x == nil:
		case n.bound == nil:
			found, ok = slices.Clone(x.nulls), true
		case x.typ == change.Date, x.typ == change.Instant, x.typ == change.Timestamp && rows.table.utc():
			found, ok = slices.Concat(x.nulls, x.from(bound)), true
			slices.SortFunc(found, compareKeys)
		}
	})
	return found, ok
}
