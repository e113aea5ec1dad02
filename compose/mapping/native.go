package mapping

import (
	"slices"
	"strconv"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/tributary-health/tributary/change"
)

// native evaluates the commonest expressions without CEL, an order of magnitude
// faster: columns, literals, names, comparisons, conditionals, ref and code, and
// the functions over lists of rows. It need not know what is wrong with a value:
// after an error CEL evaluates the expression once more and gives its own.
type native interface {
	// value gives what CEL would.
	value(c *call) (ref.Val, error)
}

// nativeText is a native that gives no list.
type nativeText interface {
	native
	// text gives the value as a text, and what kind of value it is.
	text(c *call) (text string, kind nativeKind, err error)
}

// nativeTruth is a native that gives true or false.
type nativeTruth interface {
	nativeText
	holds(c *call) (bool, error)
}

// nativeRows is a native that gives a list of rows, which the caller MUST NOT
// change.
type nativeRows interface {
	native
	rows(c *call) ([]*rowValue, error)
}

type nativeKind uint8

const (
	nullKind nativeKind = iota
	textKind
	numberKind
	boolKind
	bytesKind
	rowKind // a row, which has no text
)

// errAskCEL is the error of a native that leaves a value to CEL.
const errAskCEL = reason("not for a native")

// native returns the shortcut for an expression, or nil.
func (rc *resourceCompiler) native(e ast.Expr) native {
	if rc.set.plain {
		return nil
	}
	switch e.Kind() {
	case ast.LiteralKind:
		return nativeLiteralOf(e.AsLiteral())
	case ast.ListKind:
		if e.AsList().Size() == 0 {
			return noRows{}
		}
	case ast.IdentKind:
		return rc.nativeName(e.AsIdent())
	case ast.SelectKind:
		return rc.nativeSelect(e.AsSelect())
	case ast.ComprehensionKind:
		return rc.nativeFilter(e.AsComprehension())
	case ast.CallKind:
		call := e.AsCall()
		if call.IsMemberFunction() {
			return rc.nativeJoin(call)
		}
		if n := rc.nativeOperator(call); n != nil {
			return n
		}
		if n := rc.nativeList(call); n != nil {
			return n
		}
		if len(call.Args()) < 2 {
			return nil
		}
		first, ok := literalText(call.Args()[0])
		if !ok {
			return nil
		}
		return rc.nativeCall(call, first)
	}
	return nil
}

// nativeSelect is a column of a variable, or whether it has a value.
func (rc *resourceCompiler) nativeSelect(sel ast.SelectExpr) native {
	if sel.Operand().Kind() != ast.IdentKind {
		return nil
	}
	n := &nativeColumn{name: sel.Operand().AsIdent(), resource: rc.resource, column: column{name: sel.FieldName()}}
	if depth := slices.Index(rc.filters, n.name); depth >= 0 {
		n.slot = slot{filterSlot, depth}
	} else if v, ok := rc.scope.find(n.name); ok && v.typ.Kind() == types.StructKind {
		n.slot = v.slot
	} else {
		return nil
	}
	if sel.IsTestOnly() {
		return &nativeHas{n}
	}
	return n
}

func (rc *resourceCompiler) nativeCall(call ast.CallExpr, first string) native {
	args := call.Args()
	switch call.FunctionName() {
	case "code":
		if arg, ok := rc.native(args[1]).(nativeText); ok {
			return &nativeCode{table: rc.codes[first], arg: arg}
		}
	case "ref":
		table, ok := literalText(args[1])
		name := ""
		if len(args) > 3 {
			name, _ = literalText(args[3])
		}
		if key, isText := rc.native(args[2]).(nativeText); ok && isText {
			return &nativeRef{set: rc.set, start: first + "/", prefix: idPrefix(first, table, name), key: key}
		}
	}
	return nil
}

func literalText(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}

// nativeColumn is a column of a variable. Joins move when unused ones are
// dropped, so the slot is looked up when the resource is complete.
type nativeColumn struct {
	slot     slot
	name     string
	resource *Resource
	column   column
}

// find returns the row, or nil if there is none.
func (n *nativeColumn) find(c *call) (*rowValue, error) {
	switch n.slot.kind {
	case rowSlot:
		return &c.row, nil
	case joinSlot:
		return c.one(n.resource.slots[n.name].index), nil
	case filterSlot:
		return c.filtered[n.slot.index], nil
	}
	v, err := c.variable(n.slot)
	if err != nil {
		return nil, err
	}
	r, _ := v.(*rowValue)
	return r, nil
}

func (n *nativeColumn) row(c *call) (*rowValue, error) {
	r, err := n.find(c)
	if err == nil && (r == nil || r.Schema == nil) {
		err = reason("column " + quote(n.column.name) + " is asked of a row that is not there: " + n.name + " is null")
	}
	return r, err
}

func (n *nativeColumn) text(c *call) (string, nativeKind, error) {
	r, err := n.row(c)
	if err != nil {
		return "", nullKind, err
	}
	i, err := n.column.of(r)
	if err != nil {
		return "", nullKind, err
	}
	text, ok := r.text(i)
	if !ok {
		return "", nullKind, nil
	}
	switch r.Schema.Columns[i].Type {
	case change.Bool:
		return text, boolKind, nil
	case change.Int, change.Uint:
		return text, numberKind, nil
	case change.Bytes:
		return text, bytesKind, nil
	}
	return text, textKind, nil
}

func (n *nativeColumn) value(c *call) (ref.Val, error) {
	r, err := n.row(c)
	if err != nil {
		return nil, err
	}
	return n.column.value(r)
}

// nativeRef is ref("Type", "table", column).
type nativeRef struct {
	set    *Set
	start  string
	prefix string
	key    nativeText
}

func (n *nativeRef) text(c *call) (string, nativeKind, error) {
	key, kind, err := n.key.text(c)
	switch {
	case err != nil || kind == nullKind:
		return "", nullKind, err
	case kind != textKind && kind != numberKind:
		return "", nullKind, reason("a primary key must be text, a whole number, a row or a list of those")
	}
	return n.set.referenceText(n.start, n.prefix, escapedKey(key)), textKind, nil
}

func (n *nativeRef) value(c *call) (ref.Val, error) { return textValue(n, c) }

// nativeCode is code("table", column).
type nativeCode struct {
	table *codeTable
	arg   nativeText
}

func (n *nativeCode) text(c *call) (string, nativeKind, error) {
	key, kind, err := n.arg.text(c)
	switch {
	case err != nil || kind == nullKind:
		return "", nullKind, err
	case kind == bytesKind || kind == rowKind:
		return "", nullKind, reason("code translates text, found a value of another type")
	}
	entry, ok := n.table.entries[key]
	if !ok {
		return "", nullKind, nil
	}
	return entry, textKind, nil
}

func (n *nativeCode) value(c *call) (ref.Val, error) { return textValue(n, c) }

func textValue(n nativeText, c *call) (ref.Val, error) {
	text, kind, err := n.text(c)
	if err != nil {
		return nil, err
	}
	return kind.value(text), nil
}

// value is a native's text as CEL's value.
func (k nativeKind) value(text string) ref.Val {
	switch k {
	case nullKind:
		return types.NullValue
	case numberKind:
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return types.Int(n)
		}
	case boolKind:
		return types.Bool(text == "true")
	case bytesKind:
		return types.Bytes(text)
	}
	return types.String(text)
}

// textOf is CEL's value as a native's text.
func textOf(v ref.Val) (text string, kind nativeKind, err error) {
	switch v := v.(type) {
	case types.Null:
		return "", nullKind, nil
	case types.String:
		return string(v), textKind, nil
	case types.Int:
		return strconv.FormatInt(int64(v), 10), numberKind, nil
	case types.Bool:
		return strconv.FormatBool(bool(v)), boolKind, nil
	}
	return "", nullKind, errAskCEL
}
