package mapping

import (
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	celop "cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/tributary-health/tributary/change"
)

// uses is what the expressions of a resource ask of rows, by table. It errs on
// the side of more: a column that is asked of something whose table the checker
// cannot tell is taken to be asked of every table's rows.
type uses struct {
	columns map[change.Table]map[string]bool
	any     map[string]bool // of whatever table
	all     bool            // columns that cannot be told
}

// Uses lists the columns of a table on which the resource's content may depend,
// its primary key aside: of its own row where that is the table's, and of joined
// rows. all is true when it may depend on any column. A change of other columns
// alone, of a row that stays, changes nothing.
func (r *Resource) Uses(t change.Table) (columns []string, all bool) {
	if r.uses.all {
		return nil, true
	}
	for c := range r.uses.columns[t] {
		columns = append(columns, c)
	}
	for c := range r.uses.any {
		if !r.uses.columns[t][c] {
			columns = append(columns, c)
		}
	}
	slices.Sort(columns)
	return columns, false
}

func (u *uses) column(t *table, name string) {
	if t == nil {
		if u.any == nil {
			u.any = map[string]bool{}
		}
		u.any[name] = true
		return
	}
	if u.columns == nil {
		u.columns = map[change.Table]map[string]bool{}
	}
	if u.columns[t.decl.Table] == nil {
		u.columns[t.decl.Table] = map[string]bool{}
	}
	u.columns[t.decl.Table][name] = true
}

// noteUses adds what one node of an expression asks of a row. Rows themselves
// may go anywhere: whatever takes one whole takes only its primary key.
func (rc *resourceCompiler) noteUses(x *expression, e ast.Expr) {
	u := &rc.resource.uses
	switch e.Kind() {
	case ast.SelectKind:
		sel := e.AsSelect()
		u.column(rc.rowTable(x, sel.Operand()), sel.FieldName())
	case ast.CallKind:
		call := e.AsCall()
		args := call.Args()
		switch call.FunctionName() {
		case celop.Index:
			switch name, literal := literalText(args[1]); {
			case literal:
				u.column(rc.rowTable(x, args[0]), name)
			case x.tree.GetType(args[0].ID()).Kind() != types.ListKind && x.tree.GetType(args[0].ID()).Kind() != types.MapKind:
				u.all = true
			}
		case celop.OptIndex, celop.OptSelect:
			u.all = true
		case "ref", "id", "code", "date", "fail": // their texts name no column
		default: // a function may take a column's name; another text does no harm
			if name := call.FunctionName(); call.IsMemberFunction() || strings.HasPrefix(name, "_") || strings.HasPrefix(name, "@") {
				return
			}
			for _, arg := range args {
				if name, literal := literalText(arg); literal {
					u.column(nil, name)
				}
			}
		}
	}
}

// rowTable is the table of the rows that an expression gives, or nil.
func (rc *resourceCompiler) rowTable(x *expression, e ast.Expr) *table {
	if typ := x.tree.GetType(e.ID()); typ.Kind() == types.StructKind {
		return rc.provider.table(typ.TypeName())
	}
	return nil
}
