package mapping

import (
	"slices"

	"cel.dev/cel-go/common/ast"
	celop "cel.dev/cel-go/common/operators"
)

// Excludes reports whether the row gives no resource whatever it is joined with:
// a part of the mapping's condition that looks at nothing else is false. Where it
// reports false the row may still give none. As long as the row stays as it is a
// change of other rows makes no difference to it. It may be called concurrently.
func (r *Resource) Excludes(row Row) bool {
	if len(r.own) == 0 || row.Schema == nil {
		return false
	}
	c := r.calls.Get().(*call)
	c.start(&Input{Row: row})
	defer c.finish()
	return slices.ContainsFunc(r.own, func(part nativeTruth) bool {
		holds, err := part.holds(c)
		return err == nil && !holds
	})
}

// ownParts are the parts of a condition, all of which must hold, that look at the
// resource's own row alone.
func (rc *resourceCompiler) ownParts(e ast.Expr) []nativeTruth {
	if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == celop.LogicalAnd {
		var parts []nativeTruth
		for _, arg := range e.AsCall().Args() {
			parts = append(parts, rc.ownParts(arg)...)
		}
		return parts
	}
	own := true
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.ComprehensionKind:
			own = false // its names are its own
		case ast.IdentKind:
			v, ok := rc.scope.find(e.AsIdent())
			own = own && ok && v.slot.kind == rowSlot
		}
	}))
	if part, ok := rc.native(e).(nativeTruth); own && ok {
		return []nativeTruth{part}
	}
	return nil
}
