package mapping

import (
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// copyFor copies a fragment's body for one use. Where a value is a parameter and
// nothing else, what the use gives stands in its place; other expressions find
// their parameters through the frame. A member or item that the use gives null
// for is left out.
func (n *node) copyFor(f *frame) *node {
	if name, ok := n.parameter(f); ok {
		if a := f.arguments[name]; a.kind != nullNode {
			return a
		}
		return nil
	}
	out := *n
	out.frame = f
	out.fields, out.items = nil, nil
	for _, m := range n.fields {
		value := m.value
		if m.key.text == "$with" {
			value = value.copyArguments(f)
		} else if value = value.copyFor(f); value == nil {
			continue
		}
		key := *m.key
		out.fields = append(out.fields, entry{&key, value})
	}
	for _, i := range n.items {
		if item := i.copyFor(f); item != nil {
			out.items = append(out.items, item)
		}
	}
	if n.get("$value") != nil && out.get("$value") == nil || len(n.items) > 0 && len(out.items) == 0 {
		return nil
	}
	return &out
}

// copyArguments copies a $with: null is a value there.
func (n *node) copyArguments(f *frame) *node {
	out := *n
	out.frame, out.fields = f, nil
	for _, m := range n.fields {
		value := m.value.copyFor(f)
		if value == nil {
			value = &node{kind: nullNode, at: m.value.at, frame: f}
		}
		out.fields = append(out.fields, entry{m.key, value})
	}
	return &out
}

// parameter returns the parameter that a value is, if it is no more than one.
func (n *node) parameter(f *frame) (string, bool) {
	if n.kind != textNode || !strings.HasPrefix(n.text, "=") {
		return "", false
	}
	name := strings.TrimSpace(n.text[1:])
	return name, f.arguments[name] != nil
}

// compileText parses and checks an expression in the frame that it belongs to.
func (rc *resourceCompiler) compileText(text string) (*cel.Ast, *cel.Issues) {
	if rc.frame == nil {
		return rc.scope.env.Compile(text)
	}
	parsed, issues := rc.parse(text, rc.frame)
	if issues.Err() != nil {
		return nil, issues
	}
	return rc.scope.env.Check(parsed)
}

// parse parses an expression and puts what a use gives in the place of the
// fragment's parameters.
func (rc *resourceCompiler) parse(text string, f *frame) (*cel.Ast, *cel.Issues) {
	parsed, issues := rc.scope.env.Parse(text)
	if f == nil || issues.Err() != nil {
		return parsed, issues
	}
	tree := parsed.NativeRep()
	in := &inliner{rc: rc, frame: f, info: tree.SourceInfo(), next: ast.MaxID(tree)}
	in.visit(tree.Expr(), nil)
	return parsed, issues
}

// inliner replaces the parameters in one expression.
type inliner struct {
	rc    *resourceCompiler
	frame *frame
	info  *ast.SourceInfo
	next  int64 // the last id given to a part of the expression
}

// visit walks the expression; bound are the names of the macros around e.
func (in *inliner) visit(e ast.Expr, bound []string) {
	switch e.Kind() {
	case ast.IdentKind:
		in.replace(e, bound)
	case ast.SelectKind:
		in.visit(e.AsSelect().Operand(), bound)
	case ast.CallKind:
		if e.AsCall().IsMemberFunction() {
			in.visit(e.AsCall().Target(), bound)
		}
		for _, a := range e.AsCall().Args() {
			in.visit(a, bound)
		}
	case ast.ListKind:
		for _, item := range e.AsList().Elements() {
			in.visit(item, bound)
		}
	case ast.MapKind:
		for _, m := range e.AsMap().Entries() {
			in.visit(m.AsMapEntry().Key(), bound)
			in.visit(m.AsMapEntry().Value(), bound)
		}
	case ast.ComprehensionKind:
		c := e.AsComprehension()
		in.visit(c.IterRange(), bound)
		in.visit(c.AccuInit(), bound)
		within := append(bound[:len(bound):len(bound)], c.IterVar(), c.IterVar2(), c.AccuVar())
		in.visit(c.LoopCondition(), within)
		in.visit(c.LoopStep(), within)
		in.visit(c.Result(), within)
	}
}

func (in *inliner) replace(e ast.Expr, bound []string) {
	name := e.AsIdent()
	a := in.frame.arguments[name]
	if a == nil || contains(bound, name) {
		return
	}
	argument := in.rc.argument(a)
	if argument == nil {
		return // which has been said
	}
	if in.frame.loose[name] {
		argument = ast.NewExprFactory().NewCall(1, "dyn", argument)
	}
	at, located := in.info.GetOffsetRange(e.ID())
	argument.RenumberIDs(func(int64) int64 {
		in.next++
		if located {
			in.info.SetOffsetRange(in.next, at)
		}
		return in.next
	})
	if caught := caughtName(argument, bound); caught != "" {
		in.rc.problem(a, "the name "+quote(caught)+" means something else where fragment "+quote(in.frame.fragment.name)+" uses "+quote(name),
			"a macro there has a variable of that name: give it by another")
	}
	e.SetKindCase(argument)
}

// argument is what a use gives as a part of an expression.
func (rc *resourceCompiler) argument(a *node) ast.Expr {
	if a.kind == textNode && strings.HasPrefix(a.text, "=") {
		parsed, issues := rc.parse(a.text[1:], a.frame)
		if issues.Err() != nil {
			return nil
		}
		return ast.NewExprFactory().CopyExpr(parsed.NativeRep().Expr())
	}
	if a.kind == numberNode || a.kind == boolNode || a.kind == nullNode {
		text := a.text
		if a.kind == nullNode {
			text = "null"
		}
		if parsed, issues := rc.scope.env.Parse(text); issues.Err() == nil {
			return ast.NewExprFactory().CopyExpr(parsed.NativeRep().Expr())
		}
	}
	var text ref.Val = types.String(a.text)
	return ast.NewExprFactory().NewLiteral(1, text)
}

// caughtName is a name in an argument that a macro around it would take for its
// own variable.
func caughtName(argument ast.Expr, bound []string) (caught string) {
	if len(bound) == 0 {
		return ""
	}
	ast.PreOrderVisit(argument, ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() == ast.IdentKind && contains(bound, e.AsIdent()) && !strings.HasPrefix(e.AsIdent(), "@") {
			caught = e.AsIdent()
		}
	}))
	return caught
}

func contains(names []string, name string) bool {
	for _, n := range names {
		if n == name && n != "" {
			return true
		}
	}
	return false
}
