package mapping

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

	"github.com/tributary-health/tributary/change"
)

// compiler turns documents into tables, codes and resources, collecting every
// problem on its way. With schemas it also checks columns.
type compiler struct {
	set      *Set
	schemas  map[change.Table]*change.Schema // nil when they are not known
	problems *problems
	provider *rowProvider
	env      *cel.Env

	tables       map[change.Table]*table
	tableOrder   []*table
	codes        map[string]*codeTable
	resourceDocs []*node
	fragments    map[string]*fragment
	targets      map[target]*node // where each resource is declared
	resources    []*Resource
}

// target is what a reference may lead to.
type target struct {
	typ   string
	table change.Table
	name  string
}

func newCompiler(s *Set, schemas map[change.Table]*change.Schema, ps *problems) *compiler {
	c := &compiler{
		set: s, schemas: schemas, problems: ps,
		tables: map[change.Table]*table{}, codes: map[string]*codeTable{}, targets: map[target]*node{},
	}
	c.provider = &rowProvider{compiler: c, columns: map[[2]string]*types.FieldType{}}
	return c
}

func (c *compiler) problem(n *node, what, hint string) {
	c.problems.add(n.at.problem(what, hint))
}

func (c *compiler) run() {
	for _, d := range c.set.docs {
		c.declare(d.root)
	}
	c.checkTables()
	s := c.set
	if c.schemas == nil { // what the functions bound to the set read
		s.codes = c.codes
	}
	env, err := c.newEnv()
	if err != nil {
		c.problems.add(Problem{".", 1, 1, "the expression language cannot be set up: " + err.Error(), ""})
		return
	}
	c.env = env
	heads := make([]*resourceCompiler, 0, len(c.resourceDocs))
	for _, doc := range c.resourceDocs {
		if r := c.head(doc); r != nil {
			heads = append(heads, r)
		}
	}
	c.checkFragments()
	for _, r := range heads {
		r.compile()
		c.resources = append(c.resources, r.resource)
	}
}
