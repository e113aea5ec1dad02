package mapping

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
)

// expression is one compiled expression.
type expression struct {
	at      *node
	skip    int // characters of the node's text before the expression
	typ     *cel.Type
	tree    *ast.AST
	program cel.Program
	native  native // how it is evaluated without CEL; nil if it is not
	final   bool   // an error of native is the expression's; if not, CEL is asked
}

// bareExpression compiles text that is an expression without "=" before it.
func (rc *resourceCompiler) bareExpression(n *node, what string) *expression {
	if !n.scalar() || n.kind == nullNode || strings.TrimSpace(n.text) == "" {
		rc.problem(n, what+" is an expression, not "+n.kind.String(), "")
		return nil
	}
	if strings.HasPrefix(n.text, "=") && !strings.HasPrefix(n.text, "==") {
		rc.problem(n, what+" is always an expression", "leave out the leading =")
		return nil
	}
	return rc.expression(n, 0)
}

// condition compiles an expression that must give true or false.
func (rc *resourceCompiler) condition(n *node, what string) *expression {
	x := rc.bareExpression(n, what)
	if x != nil && x.typ.Kind() != types.BoolKind && x.typ.Kind() != types.DynKind {
		rc.problem(n, what+" must give true or false, this gives "+typeName(x.typ), "")
	}
	return x
}

// expression compiles the node's text after the first skip characters; nil after
// a problem.
func (rc *resourceCompiler) expression(n *node, skip int) *expression {
	text := n.text[skip:]
	x := &expression{at: n, skip: skip}
	rc.provider.missed = rc.provider.missed[:0]
	rc.frame = n.frame
	checked, issues := rc.check(text)
	if issues.Err() != nil {
		rc.report(x, text, issues)
		return nil
	}
	x.tree, x.typ = checked.NativeRep(), checked.OutputType()
	before := len(rc.problems.list)
	rc.inspect(x)
	if len(rc.problems.list) > before {
		return nil
	}
	program, err := rc.scope.env.Program(checked, cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		rc.problem(n, "the expression cannot be planned: "+firstLine(err.Error()), "")
		return nil
	}
	x.program = program
	x.native = rc.native(x.tree.Expr())
	switch n := x.native.(type) {
	case *nativeColumn:
		x.final = true
	case *nativeRef:
		_, x.final = n.key.(*nativeColumn)
	case *nativeCode:
		_, x.final = n.arg.(*nativeColumn)
	}
	return x
}

// check parses and type-checks. CEL wants both results of a ? b : c to be of one
// type, and null is no text; a mapping says "else nothing" that way, so where
// that fails the nulls are checked as values of any type.
func (rc *resourceCompiler) check(text string) (*cel.Ast, *cel.Issues) {
	env := rc.scope.env
	checked, issues := rc.compileText(text)
	if !slices.ContainsFunc(issues.Errors(), func(e *cel.Error) bool {
		m := noOverload.FindStringSubmatch(e.Message)
		return m != nil && m[1] == "_?_:_"
	}) {
		return checked, issues
	}
	parsed, parseIssues := rc.parse(text, rc.frame)
	if parseIssues.Err() != nil {
		return nil, parseIssues
	}
	loosenNulls(parsed.NativeRep())
	rc.provider.missed = rc.provider.missed[:0]
	return env.Check(parsed)
}

func loosenNulls(tree *ast.AST) {
	next, factory := ast.MaxID(tree), ast.NewExprFactory()
	ast.PostOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != "_?_:_" {
			return
		}
		for _, branch := range e.AsCall().Args()[1:] {
			if branch.Kind() == ast.LiteralKind && branch.AsLiteral() == types.NullValue {
				next++
				branch.SetKindCase(factory.NewCall(branch.ID(), "dyn", factory.NewLiteral(next, types.NullValue)))
			}
		}
	}))
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

var (
	undeclared = regexp.MustCompile(`^undeclared reference to '([^']*)'`)
	undefined  = regexp.MustCompile(`^undefined field '([^']*)'`)
	noOverload = regexp.MustCompile(`^found no matching overload for '([^']*)' applied to '(.*)'`)
	operators  = map[string]string{"_+_": "+", "_-_": "-", "_*_": "*", "_/_": "/", "_%_": "%", "_==_": "==", "_!=_": "!=", "_<_": "<",
		"_<=_": "<=", "_>_": ">", "_>=_": ">=", "_&&_": "&&", "_||_": "||", "!_": "!", "-_": "-", "@in": "in", "_[_]": "[]", "_?_:_": "? :"}
)

// report turns CEL's errors into problems.
func (rc *resourceCompiler) report(x *expression, text string, issues *cel.Issues) {
	for _, e := range issues.Errors() {
		what, hint := e.Message, ""
		if m := undeclared.FindStringSubmatch(e.Message); m != nil {
			what, hint = "nothing is called "+quote(m[1]), didYouMean(m[1], rc.scope.names())
		} else if m := undefined.FindStringSubmatch(e.Message); m != nil {
			what, hint = rc.missedColumn(m[1])
		} else if m := noOverload.FindStringSubmatch(e.Message); m != nil {
			name := m[1]
			if op := operators[name]; op != "" {
				name = op
			}
			what = quote(name) + " does not take " + m[2]
		} else if rest, ok := strings.CutPrefix(e.Message, "Syntax error: "); ok {
			what = "the expression cannot be read: " + rest
			if i := strings.Index(what, " expecting {"); i >= 0 {
				what = what[:i]
			}
			what = strings.NewReplacer("'<EOF>'", "the end", "mismatched input", "unexpected").Replace(what)
		}
		if len(what) > 300 {
			what = what[:300] + "..."
		}
		offset := 0
		if e.Location != nil {
			offset = offsetOf(text, e.Location.Line(), e.Location.Column())
		}
		rc.problems.add(x.place(offset).problem(what, hint))
	}
}

func (rc *resourceCompiler) missedColumn(field string) (what, hint string) {
	for i, m := range rc.provider.missed {
		if m[1] == field {
			rc.provider.missed = slices.Delete(rc.provider.missed, i, i+1)
			if t := rc.provider.table(m[0]); t != nil && t.schema != nil {
				return noColumn(m[0], field), didYouMean(field, columnNames(t.schema))
			}
			return noColumn(m[0], field), ""
		}
	}
	return "no column " + quote(field), ""
}

// offsetOf counts the characters before a line (from 1) and column (from 0).
func offsetOf(text string, line, column int) int {
	offset := 0
	for ; line > 1; line-- {
		i := strings.IndexByte(text, '\n')
		if i < 0 {
			break
		}
		offset += len([]rune(text[:i])) + 1
		text = text[i+1:]
	}
	return offset + max(column, 0)
}

// place returns where a character of the expression stands in its file.
func (x *expression) place(offset int) position { return x.at.within(x.skip + offset) }

// placeOf returns where a part of the expression stands in its file.
func (x *expression) placeOf(id int64) position {
	if r, ok := x.tree.SourceInfo().GetOffsetRange(id); ok {
		return x.place(int(r.Start))
	}
	return x.place(0)
}

func typeName(t *cel.Type) string {
	switch t.Kind() {
	case types.StringKind:
		return "text"
	case types.IntKind, types.UintKind, types.DoubleKind:
		return "a number"
	case types.BoolKind:
		return "a boolean"
	case types.ListKind:
		return "a list"
	case types.MapKind:
		return "an object"
	case types.StructKind:
		return "a row of " + t.TypeName()
	case types.NullTypeKind:
		return "null"
	}
	return cel.FormatCELType(t)
}

// inspect checks what CEL's own checker does not: arguments that name types,
// tables, columns and code tables. It also notes which joins are used.
func (rc *resourceCompiler) inspect(x *expression) {
	ast.PreOrderVisit(x.tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		rc.noteUses(x, e)
		switch e.Kind() {
		case ast.IdentKind:
			rc.use(e.AsIdent())
		case ast.CallKind:
			rc.inspectCall(x, e)
		case ast.StructKind:
			rc.problems.add(x.placeOf(e.ID()).problem("an expression cannot make a row", ""))
		}
	}))
}

func (rc *resourceCompiler) use(name string) {
	v, ok := rc.scope.find(name)
	if !ok {
		return
	}
	switch v.slot.kind {
	case joinSlot:
		rc.used[v.slot.index] = true
	case newestSlot:
		rc.resource.UsesNewest = true
	}
}

func (rc *resourceCompiler) inspectCall(x *expression, e ast.Expr) {
	call := e.AsCall()
	if call.IsMemberFunction() {
		return
	}
	args := call.Args()
	switch name := call.FunctionName(); name {
	case "ref", "id":
		rc.inspectReference(x, name, args)
	case "code":
		if table, ok := rc.literal(x, name, args[0]); ok && rc.codes[table] == nil {
			var known []string
			for k := range rc.codes {
				known = append(known, k)
			}
			rc.problems.add(x.placeOf(args[0].ID()).problem("codes "+quote(table)+" is not declared", didYouMean(table, known)))
		}
	case "latestBy":
		rc.inspectColumn(x, name, args[0], args[1])
		rc.inspectColumn(x, name, args[0], args[2])
	case "sortBy", "groupBy", "sum":
		rc.inspectColumn(x, name, args[0], args[1])
	case "matching":
		rc.inspectColumn(x, name, args[0], args[1])
		rc.inspectColumn(x, name, args[2], args[3])
	case "date":
		if len(args) < 2 {
			return
		}
		if zone, ok := rc.literal(x, name, args[1]); ok {
			if _, err := loadZone(zone); err != nil || zone == "" {
				rc.problems.add(x.placeOf(args[1].ID()).problem(quote(zone)+" is not a time zone", "a name like America/New_York"))
			}
		}
	case "fail":
		rc.literal(x, name, args[0])
	}
}

// literal returns the text of an argument that must be written out.
func (rc *resourceCompiler) literal(x *expression, function string, arg ast.Expr) (string, bool) {
	if arg.Kind() == ast.LiteralKind {
		if s, ok := arg.AsLiteral().(types.String); ok {
			return string(s), true
		}
	}
	rc.problems.add(x.placeOf(arg.ID()).problem("this argument of "+function+" must be a text in quotes", ""))
	return "", false
}

func (rc *resourceCompiler) inspectReference(x *expression, function string, args []ast.Expr) {
	typ, ok1 := rc.literal(x, function, args[0])
	table, ok2 := rc.literal(x, function, args[1])
	name, ok3 := "", true
	if len(args) > 3 {
		name, ok3 = rc.literal(x, function, args[3])
	}
	if !ok1 || !ok2 || !ok3 {
		return
	}
	var found []string
	for t := range rc.targets {
		if t.typ == typ && t.table.String() == table && t.name == name {
			return
		}
		text := t.typ + " from " + t.table.String()
		if t.name != "" {
			text += " (" + t.name + ")"
		}
		found = append(found, text)
	}
	slices.Sort(found)
	text := typ + " from " + table
	if name != "" {
		text += " (" + name + ")"
	}
	rc.problems.add(x.placeOf(args[0].ID()).problem("no mapping makes "+text, didYouMean(text, found)))
}

// inspectColumn checks a column that is named by a text, if the list's rows are
// of one known table.
func (rc *resourceCompiler) inspectColumn(x *expression, function string, list, column ast.Expr) {
	name, ok := rc.literal(x, function, column)
	typ := x.tree.GetType(list.ID())
	if !ok || typ.Kind() != types.ListKind || len(typ.Parameters()) != 1 {
		return
	}
	item := typ.Parameters()[0]
	switch item.Kind() {
	case types.DynKind, types.TypeParamKind:
	case types.StructKind:
		t := rc.provider.table(item.TypeName())
		if t != nil && t.schema != nil && t.schema.Column(name) < 0 {
			rc.problems.add(x.placeOf(column.ID()).problem(noColumn(item.TypeName(), name), didYouMean(name, columnNames(t.schema))))
		}
	default:
		rc.problems.add(x.placeOf(list.ID()).problem(function+" needs a list of rows", ""))
	}
}

// locatedError is an error of an expression that another one asked for.
type locatedError struct {
	reason
	at position
}

func (e *locatedError) Unwrap() error { return e.reason }

func (x *expression) located(err error) error {
	r, at := x.explain(err)
	return &locatedError{r, at}
}

// explain makes an error whose text holds no value of an expression's error, and
// the place of what failed.
func (x *expression) explain(err error) (reason, position) {
	var elsewhere *locatedError
	if errors.As(err, &elsewhere) {
		return elsewhere.reason, elsewhere.at
	}
	at := x.place(0)
	var located *types.Err
	if errors.As(err, &located) && located.NodeID() != 0 {
		at = x.placeOf(located.NodeID())
	}
	var r reason
	text := err.Error()
	switch {
	case errors.As(err, &r):
		return r, at
	case strings.HasPrefix(text, "no such overload"):
		return "an operator or function got a null or a value of a type that it does not take", at
	case strings.HasPrefix(text, "no such key"), strings.HasPrefix(text, "no such attribute"):
		return "a name is asked of something that does not have it", at
	case strings.HasPrefix(text, "index out of bounds"), strings.HasPrefix(text, "invalid list index"):
		return "a list has no such item", at
	case strings.HasPrefix(text, "division by zero"), strings.HasPrefix(text, "modulus by zero"):
		return "division by zero", at
	}
	return "the expression cannot be evaluated for these values", at
}
