package mapping

import (
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/types"

	"github.com/tributary-health/tributary/fhir"
)

// frame is one use of a fragment: what its parameters stand for. Nodes of the
// fragment's body that were copied for the use refer to it.
type frame struct {
	fragment  *fragment
	arguments map[string]*node
	loose     map[string]bool // of the arguments: of a type that no null is compared with
}

// expandUse makes of an object with $use the object that it stands for: its own
// members, then the fragment's, with the arguments of $with in the place of the
// parameters. nil after a problem.
func (rc *resourceCompiler) expandUse(n *node, e fhir.Element) (*node, *fragment) {
	use := n.get("$use")
	f := rc.fragments[rc.text(use)]
	if f == nil {
		rc.problem(use, "fragment "+quote(use.text)+" is not declared", didYouMean(use.text, sortedKeys(rc.fragments)))
		return nil, nil
	}
	if f.body == nil || f.element.Type == "" {
		return nil, nil // which has been said
	}
	rc.checkFragment(f)
	if !sameType(f.element, e) {
		rc.problem(use, e.Path+" is "+typeOf(e)+", fragment "+quote(f.name)+" "+typeOf(f.element), "")
		return nil, nil
	}
	in := &frame{fragment: f, arguments: map[string]*node{}, loose: map[string]bool{}}
	if !rc.readArguments(in, n) {
		return nil, nil
	}
	body := f.body.copyFor(in)
	if body == nil { // a value that is null
		return nil, nil
	}
	return rc.merge(n, body, f), f
}

// sameType reports whether a fragment can stand where the element is.
func sameType(f, e fhir.Element) bool {
	return f.Type == e.Type && f.Kind == e.Kind
}

func typeOf(e fhir.Element) string {
	article := "a "
	if strings.ContainsRune("AEIOUaeio", rune(e.Type[0])) {
		article = "an "
	}
	return article + e.Type
}

// readArguments reads what the use gives for the parameters: all of them, and
// each a value as it could stand in a body. ok is false after a problem.
func (rc *resourceCompiler) readArguments(in *frame, n *node) (ok bool) {
	f, with := in.fragment, n.get("$with")
	if with == nil {
		with = &node{kind: objectNode, at: n.at}
	}
	if with.kind != objectNode {
		rc.problem(with, "$with is an object of parameters, not "+with.kind.String(), "")
		return false
	}
	outer := rc.scope
	defer func() { rc.scope = outer }()
	if each := n.get("$for"); each != nil { // the use's own item is known to its arguments
		if x, _, _ := rc.loop(n, each); x == nil {
			return false
		}
	}
	ok = true
	for _, a := range with.fields {
		if !slices.Contains(f.parameters, a.key.text) {
			rc.problem(a.key, "fragment "+quote(f.name)+" has no parameter "+quote(a.key.text), didYouMean(a.key.text, f.parameters))
			ok = false
			continue
		}
		in.arguments[a.key.text] = a.value
		ok = rc.readArgument(in, a) && ok
	}
	for _, p := range f.parameters {
		if in.arguments[p] == nil && ok {
			rc.problem(n.get("$use"), "fragment "+quote(f.name)+" needs "+quote(p), "say null if there is none: $with: {"+p+": null}")
			return false
		}
	}
	return ok
}

func (rc *resourceCompiler) readArgument(in *frame, a entry) (ok bool) {
	text, isExpression := strings.CutPrefix(a.value.text, "=")
	switch {
	case !a.value.scalar():
		rc.problem(a.value, "a parameter is a text or an expression, not "+a.value.kind.String(), "")
		return false
	case a.value.kind != textNode || !isExpression:
		in.loose[a.key.text] = true
		return true
	case strings.TrimSpace(text) == "":
		rc.problem(a.value, "the expression is missing", "")
		return false
	}
	x := rc.expression(a.value, 1)
	if x == nil {
		return false
	}
	switch x.typ.Kind() {
	case types.StringKind, types.IntKind, types.UintKind, types.DoubleKind, types.BoolKind, types.BytesKind, types.NullTypeKind:
		in.loose[a.key.text] = true
	}
	return true
}

// merge joins the use's own members and the fragment's.
func (rc *resourceCompiler) merge(n, body *node, f *fragment) *node {
	out := &node{kind: objectNode, at: n.at, frame: n.frame}
	for _, m := range n.fields {
		if m.key.text != "$use" && m.key.text != "$with" {
			out.fields = append(out.fields, m)
		}
	}
	if body.kind != objectNode {
		body = &node{kind: objectNode, at: body.at, fields: []entry{{&node{kind: textNode, text: "$value", at: body.at}, body}}}
	}
	for _, m := range body.fields {
		if own := out.get(m.key.text); own != nil {
			rc.problem(own, quote(m.key.text)+" is given by fragment "+quote(f.name)+" too ("+place(m.key)+")", "")
			continue
		}
		out.fields = append(out.fields, m)
	}
	return out
}

func place(n *node) string {
	return n.at.file.name + ":" + strconv.Itoa(n.at.line) + ":" + strconv.Itoa(n.at.column)
}

// controlledUse compiles an object with $use, if it is one.
func (rc *resourceCompiler) controlledUse(n *node, e fhir.Element, path string, inList bool) (v *value, isUse bool) {
	if n.get("$use") == nil {
		if with := n.get("$with"); with != nil {
			rc.problem(with, "$with stands beside $use only", "")
		}
		return nil, false
	}
	whole, f := rc.expandUse(n, e)
	if whole == nil {
		return nil, true
	}
	before := len(rc.problems.list)
	v = rc.item(whole, e, path, inList)
	rc.sayUse(before, f, n.get("$use"))
	return v, true
}

const usedAt = "as it is used at "

// sayUse drops the problems of a use that the fragment has everywhere, and says
// of the others in the fragment's text whose they are.
func (rc *resourceCompiler) sayUse(before int, f *fragment, use *node) {
	kept := rc.problems.list[:before]
	for _, p := range rc.problems.list[before:] {
		if f.faults[faultOf(p)] {
			continue
		}
		at := f.body.at
		if p.File == at.file.name && p.Line >= at.line && p.Line <= f.last && !strings.Contains(p.Hint, usedAt) {
			p.Hint = strings.TrimPrefix(p.Hint+"; "+usedAt+place(use), "; ")
		}
		kept = append(kept, p)
	}
	rc.problems.list = kept
}
