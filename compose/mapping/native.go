package mapping

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/tributary-health/tributary/change"
)

// native evaluates the commonest expressions without CEL: a column of a variable
// ("row.code"), ref and code of such a column, and a literal.
type native interface {
	// text gives the value as a text, and kind what kind of value it is.
	text(c *call) (text string, kind nativeKind, err error)
	// value gives it as CEL's.
	value(c *call) (ref.Val, error)
}

type nativeKind uint8

const (
	nullKind nativeKind = iota
	textKind
	numberKind
	boolKind
	bytesKind
)

// native returns the shortcut for an expression, or nil.
func (rc *resourceCompiler) native(e ast.Expr) native {
	switch e.Kind() {
	case ast.SelectKind:
		sel := e.AsSelect()
		if sel.IsTestOnly() || sel.Operand().Kind() != ast.IdentKind {
			return nil
		}
		v, ok := rc.scope.find(sel.Operand().AsIdent())
		if !ok || v.typ.Kind() != types.StructKind {
			return nil
		}
		return &nativeColumn{slot: v.slot, name: v.name, resource: rc.resource, column: column{name: sel.FieldName()}}
	case ast.CallKind:
		call := e.AsCall()
		if call.IsMemberFunction() || len(call.Args()) < 2 {
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

func (rc *resourceCompiler) nativeCall(call ast.CallExpr, first string) native {
	args := call.Args()
	switch call.FunctionName() {
	case "code":
		if arg, ok := rc.native(args[1]).(*nativeColumn); ok {
			return &nativeCode{table: rc.codes[first], arg: arg}
		}
	case "ref":
		table, ok := literalText(args[1])
		name := ""
		if len(args) > 3 {
			name, _ = literalText(args[3])
		}
		if key, isColumn := rc.native(args[2]).(*nativeColumn); ok && isColumn {
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

func (n *nativeColumn) row(c *call) (*rowValue, error) {
	var r *rowValue
	switch n.slot.kind {
	case rowSlot:
		r = &c.row
	case joinSlot:
		r = c.one(n.resource.slots[n.name].index)
	default:
		v, err := c.variable(n.slot)
		if err != nil {
			return nil, err
		}
		r, _ = v.(*rowValue)
	}
	if r == nil || r.Schema == nil {
		return nil, reason("column " + quote(n.column.name) + " is asked of a row that is not there: " + n.name + " is null")
	}
	return r, nil
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
	key    *nativeColumn
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
	arg   *nativeColumn
}

func (n *nativeCode) text(c *call) (string, nativeKind, error) {
	key, kind, err := n.arg.text(c)
	switch {
	case err != nil || kind == nullKind:
		return "", nullKind, err
	case kind == bytesKind:
		return "", nullKind, reason("code translates text, found a value of another type")
	}
	entry, ok := n.table.entries[key]
	if !ok {
		return "", nullKind, nil
	}
	return entry, textKind, nil
}

func (n *nativeCode) value(c *call) (ref.Val, error) { return textValue(n, c) }

func textValue(n native, c *call) (ref.Val, error) {
	text, kind, err := n.text(c)
	if err != nil {
		return nil, err
	}
	if kind == nullKind {
		return types.NullValue, nil
	}
	return types.String(text), nil
}
