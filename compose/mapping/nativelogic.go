package mapping

import (
	"cmp"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/ast"
	celop "cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/tributary-health/tributary/change"
)

// nativeOperator is an operator over natives, or nil.
func (rc *resourceCompiler) nativeOperator(call ast.CallExpr) native {
	args := make([]nativeText, 0, 3)
	for _, a := range call.Args() {
		n, ok := rc.native(a).(nativeText)
		if !ok {
			break
		}
		args = append(args, n)
	}
	name := call.FunctionName()
	if name == celop.Conditional && len(args) > 0 {
		return rc.nativeChoice(args[0], call.Args())
	}
	if len(args) < len(call.Args()) {
		return nil
	}
	switch name {
	case "dyn":
		return args[0]
	case "xml", "date", "digits":
		if len(args) == 1 {
			return nativeFunctionOf(name, args[0])
		}
		if zone, ok := literalText(call.Args()[1]); ok && name == "date" {
			in := types.String(zone)
			return &nativeFunction{func(v ...ref.Val) ref.Val { return rc.set.dateIn(v[0], in) }, args[0]}
		}
		return nil
	case celop.Add:
		return concat(args[0], args[1])
	case celop.Equals:
		return &nativeEqual{args[0], args[1], true}
	case celop.NotEquals:
		return &nativeEqual{args[0], args[1], false}
	case celop.LogicalAnd:
		return nativeLogic(args[0], args[1], false)
	case celop.LogicalOr:
		return nativeLogic(args[0], args[1], true)
	case celop.LogicalNot:
		if x, ok := args[0].(nativeTruth); ok {
			return &nativeNot{x}
		}
	case celop.Less, celop.LessEquals, celop.Greater, celop.GreaterEquals:
		return &nativeOrder{args[0], args[1], name}
	}
	return nil
}

func (rc *resourceCompiler) nativeChoice(first nativeText, args []ast.Expr) native {
	when, ok := first.(nativeTruth)
	if !ok {
		return nil
	}
	a, b := rc.native(args[1]), rc.native(args[2])
	rowsA, okA := a.(nativeRows)
	rowsB, okB := b.(nativeRows)
	if okA && okB {
		return &rowsChoice{when, rowsA, rowsB}
	}
	textA, okA := a.(nativeText)
	textB, okB := b.(nativeText)
	if okA && okB {
		return &textChoice{when, textA, textB}
	}
	return nil
}

// nativeLiteral is a value that is written out.
type nativeLiteral struct {
	v    ref.Val
	as   string
	kind nativeKind
}

func nativeLiteralOf(v ref.Val) native {
	text, kind, err := textOf(v)
	if err != nil {
		return nil
	}
	return &nativeLiteral{v, text, kind}
}

func (n *nativeLiteral) text(*call) (string, nativeKind, error) { return n.as, n.kind, nil }
func (n *nativeLiteral) value(*call) (ref.Val, error)           { return n.v, nil }

func truthText(b bool, err error) (string, nativeKind, error) {
	return strconv.FormatBool(b), boolKind, err
}

func truthValue(b bool, err error) (ref.Val, error) { return types.Bool(b), err }

// nativeHas is has(row.column).
type nativeHas struct{ of *nativeColumn }

func (n *nativeHas) holds(c *call) (bool, error) {
	r, err := n.of.find(c)
	if err != nil || r == nil {
		return false, err
	}
	return n.of.column.isSet(r), nil
}

func (n *nativeHas) text(c *call) (string, nativeKind, error) { return truthText(n.holds(c)) }
func (n *nativeHas) value(c *call) (ref.Val, error)           { return truthValue(n.holds(c)) }

// nativeEqual is a == b, or a != b.
type nativeEqual struct {
	a, b nativeText
	want bool
}

func (n *nativeEqual) holds(c *call) (bool, error) {
	a, kindA, err := n.a.text(c)
	if err != nil {
		return false, err
	}
	b, kindB, err := n.b.text(c)
	if err != nil {
		return false, err
	}
	switch {
	case kindA == nullKind || kindB == nullKind:
		return (kindA == kindB) == n.want, nil
	case kindA == rowKind || kindB == rowKind:
		return false, errAskCEL
	case kindA == numberKind || kindB == numberKind: // 1 and "1" differ, 18446744073709551615 is a text
		return kindA.value(a).Equal(kindB.value(b)) == types.Bool(n.want), nil
	}
	return (kindA == kindB && a == b) == n.want, nil
}

func (n *nativeEqual) text(c *call) (string, nativeKind, error) { return truthText(n.holds(c)) }
func (n *nativeEqual) value(c *call) (ref.Val, error)           { return truthValue(n.holds(c)) }

// nativeOrder is <, <=, > or >= of two texts or two whole numbers.
type nativeOrder struct {
	a, b nativeText
	op   string
}

func (n *nativeOrder) holds(c *call) (bool, error) {
	by, err := n.compare(c)
	if err != nil {
		return false, err
	}
	switch n.op {
	case celop.Less:
		return by < 0, nil
	case celop.LessEquals:
		return by <= 0, nil
	case celop.Greater:
		return by > 0, nil
	}
	return by >= 0, nil
}

func (n *nativeOrder) compare(c *call) (int, error) {
	if by, ok := n.compareTimes(c); ok {
		return by, nil
	}
	a, kindA, err := n.a.text(c)
	if err != nil {
		return 0, err
	}
	b, kindB, err := n.b.text(c)
	switch {
	case err != nil:
		return 0, err
	case kindA == textKind && kindB == textKind:
		return strings.Compare(a, b), nil
	case kindA == numberKind && kindB == numberKind:
		x, errX := strconv.ParseInt(a, 10, 64)
		y, errY := strconv.ParseInt(b, 10, 64)
		if errX == nil && errY == nil {
			return cmp.Compare(x, y), nil
		}
	}
	return 0, errAskCEL
}

// compareTimes compares a column of time stamps in whole seconds of UTC with
// another text of that form, without making the column's text.
func (n *nativeOrder) compareTimes(c *call) (by int, ok bool) {
	const seconds = len("2006-01-02T15:04:05")
	column, ok := n.a.(*nativeColumn)
	if !ok {
		return 0, false
	}
	r, err := column.row(c)
	if err != nil {
		return 0, false
	}
	i, err := column.column.of(r)
	if err != nil || r.Schema.Columns[i].Type != change.Timestamp || !r.utc() || len(r.Values[i].Text) != seconds {
		return 0, false
	}
	a := r.Values[i].Text
	b, kind, err := n.b.text(c)
	if err != nil || kind != textKind || len(b) != seconds+1 || b[seconds] != 'Z' || a[10] != 'T' || b[10] != 'T' {
		return 0, false
	}
	return strings.Compare(a, b[:seconds]), true
}

func (n *nativeOrder) text(c *call) (string, nativeKind, error) { return truthText(n.holds(c)) }
func (n *nativeOrder) value(c *call) (ref.Val, error)           { return truthValue(n.holds(c)) }

// nativeNot is !a.
type nativeNot struct{ of nativeTruth }

func (n *nativeNot) holds(c *call) (bool, error) {
	b, err := n.of.holds(c)
	return !b, err
}

func (n *nativeNot) text(c *call) (string, nativeKind, error) { return truthText(n.holds(c)) }
func (n *nativeNot) value(c *call) (ref.Val, error)           { return truthValue(n.holds(c)) }

// nativeBoth is a && b or, where or is set, a || b. An error of the one does not
// matter where the other decides.
type nativeBoth struct {
	a, b nativeTruth
	or   bool
}

func nativeLogic(a, b nativeText, or bool) native {
	x, okX := a.(nativeTruth)
	y, okY := b.(nativeTruth)
	if !okX || !okY {
		return nil
	}
	return &nativeBoth{x, y, or}
}

func (n *nativeBoth) holds(c *call) (bool, error) {
	a, errA := n.a.holds(c)
	if errA == nil && a == n.or {
		return a, nil
	}
	b, errB := n.b.holds(c)
	switch {
	case errB != nil:
		return false, errB
	case errA != nil && b != n.or:
		return false, errA
	}
	return b, nil
}

func (n *nativeBoth) text(c *call) (string, nativeKind, error) { return truthText(n.holds(c)) }
func (n *nativeBoth) value(c *call) (ref.Val, error)           { return truthValue(n.holds(c)) }

// textChoice is a ? b : c of texts.
type textChoice struct {
	when nativeTruth
	a, b nativeText
}

func (n *textChoice) pick(c *call) (nativeText, error) {
	holds, err := n.when.holds(c)
	if err != nil {
		return nil, err
	}
	if holds {
		return n.a, nil
	}
	return n.b, nil
}

func (n *textChoice) text(c *call) (string, nativeKind, error) {
	x, err := n.pick(c)
	if err != nil {
		return "", nullKind, err
	}
	return x.text(c)
}

func (n *textChoice) value(c *call) (ref.Val, error) {
	x, err := n.pick(c)
	if err != nil {
		return nil, err
	}
	return x.value(c)
}

func (n *textChoice) holds(c *call) (bool, error) {
	x, err := n.pick(c)
	if err != nil {
		return false, err
	}
	if t, ok := x.(nativeTruth); ok {
		return t.holds(c)
	}
	return false, errAskCEL
}
