package mapping

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"

	"github.com/tributary-health/tributary/fhir"
)

// scalarValue compiles text, a number, a boolean or an expression. whole says
// that it came by $value, which may give an object.
func (rc *resourceCompiler) scalarValue(n *node, e fhir.Element, path string, inList, whole bool) *value {
	out := &value{kind: expressionValue, element: e, prim: primitiveOf(e), path: path, spread: inList, index: -1}
	if n.kind == textNode && strings.HasPrefix(n.text, "=") {
		if e.Kind != fhir.Primitive && !whole && !inList {
			rc.problem(n, fmt.Sprintf("%s is an object (%s), not a text", e.Path, e.Type), "write its elements, or {$value: an expression that gives an object}")
			return nil
		}
		if strings.TrimSpace(n.text[1:]) == "" {
			rc.problem(n, "the expression is missing", "")
			return nil
		}
		x := rc.expression(n, 1)
		if x == nil {
			return nil
		}
		rc.checkResult(x, e, inList)
		out.x = x
		return out
	}
	return rc.literalValue(n, e, out)
}

func (rc *resourceCompiler) literalValue(n *node, e fhir.Element, out *value) *value {
	if e.Kind != fhir.Primitive {
		rc.problem(n, fmt.Sprintf("%s is an object (%s), not %s", e.Path, e.Type, n.kind), "")
		return nil
	}
	if empty(n.text) {
		rc.problem(n, e.Path+" has no value", "leave it out")
		return nil
	}
	switch {
	case n.kind == boolNode && out.prim != booleanType:
		rc.problem(n, fmt.Sprintf("%s is a %s, not a boolean", e.Path, e.Type), `in quotes it is text: "`+n.text+`"`)
		return nil
	case n.kind == textNode && out.prim == booleanType:
		rc.problem(n, e.Path+" is a boolean, not text", "write true or false without quotes")
		return nil
	}
	if want := out.prim.check(n.text); want != "" {
		rc.problem(n, fmt.Sprintf("%s: %s is not %s", e.Path, quote(n.text), want), "")
		return nil
	}
	if e.Codes != nil && !e.HasCode(n.text) {
		rc.problem(n, fmt.Sprintf("%s is not a code of %s", quote(n.text), e.Path), didYouMean(n.text, e.Codes))
		return nil
	}
	out.kind = literalValue
	if out.prim.bare() {
		out.json = []byte(n.text)
		return out
	}
	json, ok := appendString(nil, n.text)
	if !ok {
		rc.problem(n, "the text is not UTF-8", "")
		return nil
	}
	out.json = json
	return out
}

// checkResult compares what is known of an expression's result with its element.
func (rc *resourceCompiler) checkResult(x *expression, e fhir.Element, inList bool) {
	t := x.typ
	if t.Kind() == types.ListKind {
		if !inList {
			rc.problem(x.at, e.Path+" is not a list, the expression gives one", "")
			return
		}
		t = t.Parameters()[0]
	}
	prim, bad := primitiveOf(e), false
	switch t.Kind() {
	case types.MapKind:
		bad = e.Kind == fhir.Primitive
	case types.StringKind:
		bad = e.Kind != fhir.Primitive
	case types.BoolKind:
		bad = e.Kind != fhir.Primitive || prim != booleanType
	case types.IntKind, types.UintKind, types.DoubleKind:
		bad = e.Kind != fhir.Primitive || prim == booleanType || prim >= dateType && prim <= timeType
	case types.StructKind, types.TimestampKind, types.DurationKind, types.ListKind, types.TypeKind:
		bad = true
	}
	if bad {
		rc.problem(x.at, fmt.Sprintf("%s is a %s, the expression gives %s", e.Path, e.Type, typeName(t)), "")
		return
	}
	rc.checkColumnType(x, e)
	rc.checkBranches(x, x.tree.Expr(), e)
}

// checkBranches looks at the results that stand in the expression itself: the
// literals of a ? b : c, the entries of a code table, the type of a reference.
func (rc *resourceCompiler) checkBranches(x *expression, at ast.Expr, e fhir.Element) {
	switch at.Kind() {
	case ast.LiteralKind:
		if s, ok := at.AsLiteral().(types.String); ok && !empty(string(s)) {
			if want := primitiveOf(e).check(string(s)); want != "" {
				rc.problems.add(x.placeOf(at.ID()).problem(fmt.Sprintf("%s: %s is not %s", e.Path, quote(string(s)), want), ""))
			} else if !e.HasCode(string(s)) {
				rc.problems.add(x.placeOf(at.ID()).problem(fmt.Sprintf("%s is not a code of %s", quote(string(s)), e.Path), didYouMean(string(s), e.Codes)))
			}
		}
	case ast.CallKind:
		call := at.AsCall()
		args := call.Args()
		switch call.FunctionName() {
		case "_?_:_":
			rc.checkBranches(x, args[1], e)
			rc.checkBranches(x, args[2], e)
		case "code":
			if name, ok := literalText(args[0]); ok {
				rc.checkCodes(name, e)
			}
		case "ref":
			if typ, ok := literalText(args[0]); ok && !e.MayName(typ) {
				rc.problems.add(x.placeOf(args[0].ID()).problem("this reference cannot lead to a "+typ, "one of "+strings.Join(e.Targets, ", ")))
			}
		}
	}
}

func (rc *resourceCompiler) checkCodes(name string, e fhir.Element) {
	t := rc.codes[name]
	if t == nil {
		return
	}
	for key, text := range t.entries {
		if want := primitiveOf(e).check(text); want != "" {
			rc.problem(t.at[key], fmt.Sprintf("%s: %s is not %s", e.Path, quote(text), want), "codes "+quote(name)+" is used there")
		} else if !e.HasCode(text) {
			rc.problem(t.at[key], fmt.Sprintf("%s is not a code of %s", quote(text), e.Path), didYouMean(text, e.Codes))
		}
	}
}

// checkColumnType looks at an expression that is a column and nothing else.
func (rc *resourceCompiler) checkColumnType(x *expression, e fhir.Element) {
	n, ok := x.native.(*nativeColumn)
	if !ok {
		return
	}
	if e.Kind != fhir.Primitive {
		rc.problem(x.at, fmt.Sprintf("%s is an object (%s), not a column", e.Path, e.Type), "")
		return
	}
	v, _ := rc.scope.find(n.name)
	t := rc.provider.table(v.typ.TypeName())
	if t == nil || t.schema == nil {
		return
	}
	i := t.schema.Column(n.column.name)
	if i >= 0 && !fits(t.schema.Columns[i].Type, primitiveOf(e)) {
		rc.problem(x.at, fmt.Sprintf("%s is a %s, column %s of %s is of type %s", e.Path, e.Type, quote(n.column.name), t.decl.Table, t.schema.Columns[i].Type), "")
	}
}
