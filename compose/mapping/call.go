package mapping

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// call is one composition under way: the variables of its expressions. It is the
// activation that CEL asks for names. Calls are reused.
type call struct {
	resource *Resource
	in       *Input
	row      rowValue
	ones     []rowValue // aligned with Resource.Joins; of One joins
	lists    []ref.Val  // aligned with Resource.Joins; made when asked for
	lets     []ref.Val  // computed when asked for
	loops    []ref.Val
	filtered []*rowValue // of the filters under way
}

func newCall(r *Resource) *call {
	c := &call{
		resource: r,
		row:      rowValue{table: r.from},
		ones:     make([]rowValue, len(r.Joins)),
		lists:    make([]ref.Val, len(r.Joins)),
		lets:     make([]ref.Val, len(r.lets)),
		loops:    make([]ref.Val, r.loops),
		filtered: make([]*rowValue, r.depth),
	}
	for i := range c.ones {
		c.ones[i].table = r.tables[i]
	}
	return c
}

func (c *call) start(in *Input) {
	c.in = in
	c.row.Row = in.Row
	for i, j := range c.resource.Joins {
		if j.Cardinality == One && i < len(in.Joined) && in.Joined[i].Len() > 0 {
			c.ones[i].Row = in.Joined[i].At(0)
		}
	}
}

// finish forgets everything, so that the pool keeps no rows alive.
func (c *call) finish() {
	c.in = nil
	c.row.Row = Row{}
	for i := range c.ones {
		c.ones[i].Row = Row{}
	}
	clear(c.lists)
	clear(c.lets)
	clear(c.loops)
	clear(c.filtered)
	c.resource.calls.Put(c)
}

// one returns the row of a One join, or nil.
func (c *call) one(i int) *rowValue {
	if c.ones[i].Schema == nil {
		return nil
	}
	return &c.ones[i]
}

// variable returns a variable's value.
func (c *call) variable(s slot) (ref.Val, error) {
	switch s.kind {
	case rowSlot:
		return &c.row, nil
	case newestSlot:
		if c.in.Newest == "" {
			return types.NullValue, nil
		}
		return types.String(c.in.Newest), nil
	case joinSlot:
		return c.join(s.index), nil
	case letSlot:
		if v := c.lets[s.index]; v != nil {
			return v, nil
		}
		x := c.resource.lets[s.index]
		v, err := c.evaluate(x)
		if err != nil {
			return nil, x.located(err)
		}
		c.lets[s.index] = v
		return v, nil
	case loopSlot:
		return c.loops[s.index], nil
	}
	return nil, reason("a name has no value")
}

func (c *call) join(i int) ref.Val {
	if c.resource.Joins[i].Cardinality == One {
		if r := c.one(i); r != nil {
			return r
		}
		return types.NullValue
	}
	if c.lists[i] != nil {
		return c.lists[i]
	}
	c.lists[i] = listOf(c.rows(i))
	return c.lists[i]
}

// joined returns the rows of a join, or nil.
func (c *call) joined(i int) *Rows {
	if i >= len(c.in.Joined) {
		return nil
	}
	return c.in.Joined[i]
}

// rows returns the rows of a Many or All join.
func (c *call) rows(i int) []*rowValue {
	if r := c.joined(i); r != nil {
		return r.values
	}
	return nil
}

// ResolveName implements CEL's activation.
func (c *call) ResolveName(name string) (any, bool) {
	s, ok := c.resource.slots[name]
	if !ok {
		return nil, false
	}
	v, err := c.variable(s)
	if err != nil {
		return types.WrapErr(err), true
	}
	return v, true
}

// Parent implements CEL's activation.
func (c *call) Parent() cel.Activation { return nil }

// evaluate gives an expression's value.
func (c *call) evaluate(x *expression) (ref.Val, error) {
	if x.native != nil {
		if v, err := x.native.value(c); err == nil || x.final {
			return v, err
		}
	}
	v, _, err := x.program.Eval(c)
	return v, err
}

// holds gives a condition's value.
func (c *call) holds(x *expression) (bool, error) {
	if n, ok := x.native.(nativeTruth); ok {
		if b, err := n.holds(c); err == nil {
			return b, nil
		}
	}
	v, err := c.evaluate(x)
	if err != nil {
		return false, err
	}
	b, ok := v.(types.Bool)
	if !ok {
		return false, reason("a condition gave neither true nor false")
	}
	return bool(b), nil
}
