package mapping

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"

	"github.com/tributary-health/tributary/change"
)

// rowProvider tells CEL's checker which columns a row has: any while schemas are
// not known, else the schema's. A row's type is named like its table.
type rowProvider struct {
	types.Provider
	compiler *compiler
	columns  map[[2]string]*types.FieldType
	missed   [][2]string // table and column of each question answered no
}

func (p *rowProvider) table(name string) *table {
	t, _ := change.ParseTable(name)
	return p.compiler.tables[t]
}

// FindStructType implements types.Provider.
func (p *rowProvider) FindStructType(name string) (*types.Type, bool) {
	if p.table(name) != nil {
		return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
	}
	return nil, false
}

// FindStructFieldNames implements types.Provider.
func (p *rowProvider) FindStructFieldNames(name string) ([]string, bool) {
	t := p.table(name)
	if t == nil || t.schema == nil {
		return nil, t != nil
	}
	return columnNames(t.schema), true
}

// FindStructFieldType implements types.Provider.
func (p *rowProvider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	t := p.table(name)
	if t == nil || t.schema != nil && t.schema.Column(field) < 0 {
		p.missed = append(p.missed, [2]string{name, field})
		return nil, false
	}
	key := [2]string{name, field}
	if p.columns[key] == nil {
		c := &column{name: field}
		p.columns[key] = &types.FieldType{Type: types.DynType, IsSet: c.isSet, GetFrom: c.get}
	}
	return p.columns[key], true
}

// NewValue implements types.Provider; rows are never made by expressions.
func (p *rowProvider) NewValue(string, map[string]ref.Val) ref.Val {
	return fault("an expression cannot make a row")
}

// newEnv makes the environment that every expression of the set shares: CEL's
// own library, its string extension and the mapping functions.
func (c *compiler) newEnv() (*cel.Env, error) {
	registry, err := types.NewRegistry()
	if err != nil {
		return nil, err
	}
	c.provider.Provider = registry
	options := []cel.EnvOption{
		cel.CustomTypeProvider(c.provider),
		ext.Strings(),
		ext.Lists(ext.ListsVersion(1)), // slice and flatten: what came later is quadratic or named like ours
		ext.TwoVarComprehensions(),
		cel.ParserExpressionSizeLimit(20_000),
		cel.ParserRecursionLimit(100),
	}
	return cel.NewEnv(append(options, c.set.functions()...)...)
}

// variable is a name that expressions can use, with its type and the slot it is
// read from at run time.
type variable struct {
	name string
	typ  *cel.Type
	slot slot
}

// slot says where in a call a variable's value is.
type slot struct {
	kind  slotKind
	index int
}

type slotKind uint8

const (
	noSlot slotKind = iota
	rowSlot
	newestSlot
	joinSlot
	letSlot
	loopSlot
	filterSlot // an item of a filter that is evaluated without CEL
)

// scope is the variables that an expression may use.
type scope struct {
	env  *cel.Env
	vars []variable
}

// with returns the scope and one variable more.
func (s *scope) with(v variable) (*scope, error) {
	env, err := s.env.Extend(cel.Variable(v.name, v.typ))
	if err != nil {
		return nil, fmt.Errorf("variable %s: %w", v.name, err)
	}
	return &scope{env, append(s.vars[:len(s.vars):len(s.vars)], v)}, nil
}

func (s *scope) find(name string) (variable, bool) {
	for _, v := range s.vars {
		if v.name == name {
			return v, true
		}
	}
	return variable{}, false
}

// names lists what an unknown name may have meant.
func (s *scope) names() []string {
	var names []string
	for _, v := range s.vars {
		names = append(names, v.name)
	}
	return append(names, functionNames...)
}

func rowTypeOf(t *table) *cel.Type { return cel.ObjectType(t.decl.Table.String()) }

// validName reports whether a name can be used in an expression.
func validName(name string) bool {
	for i, r := range name {
		if r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	switch name {
	case "", "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if",
		"import", "let", "loop", "package", "namespace", "return", "var", "void", "while":
		return false
	}
	return !strings.HasPrefix(name, "__")
}
