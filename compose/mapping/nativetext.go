package mapping

import (
	"strings"

	"cel.dev/cel-go/common/ast"
	celop "cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// nativeConcat is a + b + ... of texts.
type nativeConcat struct{ parts []nativeText }

func concat(a, b nativeText) *nativeConcat {
	if left, ok := a.(*nativeConcat); ok {
		return &nativeConcat{append(left.parts[:len(left.parts):len(left.parts)], b)}
	}
	return &nativeConcat{[]nativeText{a, b}}
}

func (n *nativeConcat) text(c *call) (string, nativeKind, error) {
	var room [16]string
	texts := room[:0]
	for _, part := range n.parts {
		text, kind, err := part.text(c)
		if err != nil || kind != textKind {
			return "", nullKind, errAskCEL
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ""), textKind, nil
}

func (n *nativeConcat) value(c *call) (ref.Val, error) { return textValue(n, c) }

// nativeFunction is one of the mapping functions of one text.
type nativeFunction struct {
	op  func(...ref.Val) ref.Val
	arg nativeText
}

func nativeFunctionOf(name string, arg nativeText) native {
	switch name {
	case "xml":
		return &nativeFunction{xmlText, arg}
	case "date":
		return &nativeFunction{date, arg}
	case "digits":
		return &nativeFunction{digits, arg}
	}
	return nil
}

func (n *nativeFunction) text(c *call) (string, nativeKind, error) {
	v, err := n.value(c)
	if err != nil {
		return "", nullKind, err
	}
	return textOf(v)
}

func (n *nativeFunction) value(c *call) (ref.Val, error) {
	text, kind, err := n.arg.text(c)
	if err != nil {
		return nil, err
	}
	if kind == rowKind {
		return nil, errAskCEL
	}
	v := n.op(kind.value(text))
	if types.IsError(v) {
		return nil, errAskCEL
	}
	return v, nil
}

// nativeJoin is rows.map(item, text).join(between), as CEL's macro spells it out.
type nativeJoin struct {
	of      nativeRows
	item    nativeText
	between string
	depth   int
}

func (rc *resourceCompiler) nativeJoin(call ast.CallExpr) native {
	args := call.Args()
	if call.FunctionName() != "join" || call.Target().Kind() != ast.ComprehensionKind || len(args) > 1 {
		return nil
	}
	n := &nativeJoin{depth: len(rc.filters)}
	if len(args) == 1 {
		text, ok := literalText(args[0])
		if !ok {
			return nil
		}
		n.between = text
	}
	e := call.Target().AsComprehension()
	step := e.LoopStep()
	if e.HasIterVar2() || !isTrue(e.LoopCondition()) || !isIdent(e.Result(), e.AccuVar()) ||
		e.AccuInit().Kind() != ast.ListKind || e.AccuInit().AsList().Size() != 0 ||
		step.Kind() != ast.CallKind || step.AsCall().FunctionName() != celop.Add {
		return nil
	}
	sum := step.AsCall().Args()
	if !isIdent(sum[0], e.AccuVar()) || sum[1].Kind() != ast.ListKind || sum[1].AsList().Size() != 1 {
		return nil
	}
	var ok bool
	if n.of, ok = rc.native(e.IterRange()).(nativeRows); !ok {
		return nil
	}
	rc.filters = append(rc.filters, e.IterVar())
	n.item, ok = rc.native(sum[1].AsList().Elements()[0]).(nativeText)
	rc.filters = rc.filters[:n.depth]
	if !ok {
		return nil
	}
	rc.resource.depth = max(rc.resource.depth, n.depth+1)
	return n
}

func (n *nativeJoin) text(c *call) (string, nativeKind, error) {
	rows, err := n.of.rows(c)
	if err != nil {
		return "", nullKind, err
	}
	around := c.filtered[n.depth] // a let evaluated within has its own
	defer func() { c.filtered[n.depth] = around }()
	var b strings.Builder
	for i, r := range rows {
		c.filtered[n.depth] = r
		text, kind, err := n.item.text(c)
		if err != nil || kind != textKind {
			return "", nullKind, errAskCEL
		}
		if i > 0 {
			b.WriteString(n.between)
		}
		b.WriteString(text)
	}
	return b.String(), textKind, nil
}

func (n *nativeJoin) value(c *call) (ref.Val, error) { return textValue(n, c) }
