package mapping

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

	"github.com/tributary-health/tributary/fhir"
)

// controlled compiles an object with keys that begin with $.
func (rc *resourceCompiler) controlled(n *node, e fhir.Element, path string, inList bool) *value {
	for _, f := range n.fields {
		if strings.HasPrefix(f.key.text, "$") && !slices.Contains(special, f.key.text) {
			rc.problem(f.key, "there is no "+f.key.text, didYouMean(f.key.text, special))
		}
	}
	if v, isUse := rc.controlledUse(n, e, path, inList); isUse {
		return v
	}
	outer, loop, index := rc.scope, -1, -1
	var each *expression
	if f := n.get("$for"); f != nil {
		if !inList {
			rc.problem(f, "$for is for items of a list only; "+e.Path+" is none", "")
			return nil
		}
		each, loop, index = rc.loop(n, f)
		if each == nil {
			rc.scope = outer
			return nil
		}
	} else {
		for _, k := range []string{"$as", "$index"} {
			if a := n.get(k); a != nil {
				rc.problem(a, k+" stands beside $for only", "")
			}
		}
	}
	defer func() { rc.scope = outer }()
	var when *expression
	if w := n.get("$if"); w != nil {
		when = rc.condition(w, "$if")
	}
	out := rc.controlledValue(n, e, path, inList)
	if out != nil {
		out.when, out.each, out.loop, out.index = when, each, loop, index
	}
	return out
}

func (rc *resourceCompiler) controlledValue(n *node, e fhir.Element, path string, inList bool) *value {
	v := n.get("$value")
	if v == nil {
		plain := &node{kind: objectNode, at: n.at}
		for _, f := range n.fields {
			if !strings.HasPrefix(f.key.text, "$") {
				plain.fields = append(plain.fields, f)
			}
		}
		if e.Kind == fhir.Primitive {
			rc.problem(n, fmt.Sprintf("%s is a %s, not an object", e.Path, e.Type), "give it by $value")
			return nil
		}
		return rc.object(plain, e, path)
	}
	for _, f := range n.fields {
		if !strings.HasPrefix(f.key.text, "$") {
			rc.problem(f.key, "beside $value there can be only $if, $for, $as and $index, not "+quote(f.key.text), "")
		}
	}
	if !v.scalar() {
		if v.kind == objectNode && e.Kind != fhir.Primitive && !slices.ContainsFunc(v.fields, func(f entry) bool { return strings.HasPrefix(f.key.text, "$") }) {
			return rc.object(v, e, path)
		}
		rc.problem(v, "$value is a text or an expression, not "+v.kind.String(), "")
		return nil
	}
	if v.kind == nullNode {
		rc.problem(v, "$value is missing", "")
		return nil
	}
	return rc.scalarValue(v, e, path, inList, true)
}

// loop compiles $for, $as and $index and widens the scope by their names.
func (rc *resourceCompiler) loop(n, f *node) (each *expression, loop, index int) {
	each = rc.bareExpression(f, "$for")
	if each == nil {
		return nil, -1, -1
	}
	item := cel.DynType
	switch each.typ.Kind() {
	case types.ListKind:
		item = each.typ.Parameters()[0]
	case types.DynKind:
	default:
		rc.problem(f, "$for needs a list, this gives "+typeName(each.typ), "")
		return nil, -1, -1
	}
	name := "it"
	if as := n.get("$as"); as != nil {
		if !rc.freeName(as) {
			return nil, -1, -1
		}
		name = as.text
	} else if _, taken := rc.scope.find("it"); taken {
		rc.problem(f, "a $for within a $for: it is taken", "name one of the items by $as")
		return nil, -1, -1
	}
	loop, index = rc.loopVariable(f, name, item), -1
	if i := n.get("$index"); i != nil && rc.freeName(i) {
		index = rc.loopVariable(i, i.text, cel.IntType)
	}
	return each, loop, index
}

// loopVariable adds a loop's name. Loops side by side share a slot by name.
func (rc *resourceCompiler) loopVariable(at *node, name string, typ *cel.Type) int {
	i, ok := rc.loops[name]
	if !ok {
		i = len(rc.loops)
		rc.loops[name] = i
	}
	rc.declareVariable(at, name, typ, slot{loopSlot, i})
	return i
}
