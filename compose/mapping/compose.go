package mapping

import (
	"errors"
	"strconv"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/traits"
)

// Error is why a row could not be composed. Its text names the mapping and the
// place in it, never a value of the row.
type Error struct {
	Resource string // the mapping: "Patient from emr.persons"
	Element  string // "name.given"; empty for where
	At       Problem
}

// Error implements error.
func (e *Error) Error() string {
	s := "compose " + e.Resource + ": "
	if e.Element != "" {
		s += "element " + e.Element + ": "
	}
	if e.At.File == "" {
		return s + e.At.What
	}
	return s + e.At.What + " (" + e.At.File + ":" + strconv.Itoa(e.At.Line) + ":" + strconv.Itoa(e.At.Column) + ")"
}

var errNoRow = errors.New("compose: the input has no row, or one without a primary key")

// Compose appends the resource that the input's row gives to dst: resourceType,
// id, meta, then the body, as JSON without blanks. skipped is true if the
// mapping's condition says that the row gives none; dst is then returned as it
// was. An error about the row's values is an *Error. Compose depends on nothing but the input and may be
// called concurrently; it keeps nothing of the input.
func (r *Resource) Compose(dst []byte, in Input) (content []byte, skipped bool, err error) {
	if in.Row.Schema == nil {
		return dst, false, errNoRow
	}
	key, ok := in.Row.Schema.Key(in.Row.Values)
	if !ok {
		return dst, false, errNoRow
	}
	c := r.calls.Get().(*call)
	c.start(&in)
	defer c.finish()
	if r.where != nil {
		holds, err := c.holds(r.where)
		if err != nil {
			return dst, false, c.failed(nil, r.where, err)
		}
		if !holds {
			return dst, true, nil
		}
	}
	start := len(dst)
	dst = append(append(dst, `{"resourceType":"`...), r.Type...)
	dst = append(dst, `","id":"`...)
	dst = r.set.appendID(dst, r.idPrefix, key)
	dst = append(dst, `","meta":{`...)
	if r.profile != nil {
		mark := len(dst)
		dst = append(dst, `"profile":`...)
		full, wrote, err := c.append(dst, r.profile)
		if err != nil {
			return full[:start], false, err
		}
		if dst = full; !wrote {
			dst = dst[:mark]
		}
	}
	dst = append(dst, '}')
	if r.body != nil {
		if r.body.kind == literalValue {
			return append(append(dst, ','), r.body.json[1:]...), false, nil
		}
		if dst, _, err = c.members(dst, r.body, true); err != nil {
			return dst[:start], false, err
		}
	}
	return append(dst, '}'), false, nil
}

func (c *call) failed(v *value, x *expression, err error) error {
	var done *Error
	if errors.As(err, &done) {
		return err
	}
	why, at := x.explain(err)
	e := &Error{Resource: c.resource.String(), At: at.problem(string(why), "")}
	if v != nil {
		e.Element = v.path
	}
	return e
}

// append writes a value; wrote is false, and dst as it was, if there is nothing
// to write.
func (c *call) append(dst []byte, v *value) (out []byte, wrote bool, err error) {
	if v.when != nil {
		holds, err := c.holds(v.when)
		if err != nil {
			return dst, false, c.failed(v, v.when, err)
		}
		if !holds {
			return dst, false, nil
		}
	}
	switch v.kind {
	case literalValue:
		return append(dst, v.json...), true, nil
	case objectValue:
		mark := len(dst)
		out, wrote, err := c.members(append(dst, '{'), v, false)
		if err != nil || !wrote {
			return out[:mark], false, err
		}
		return append(out, '}'), true, nil
	case listValue:
		mark := len(dst)
		out, wrote, err := c.items(append(dst, '['), v, false)
		if err != nil || !wrote {
			return out[:mark], false, err
		}
		return append(out, ']'), true, nil
	}
	return c.expression(dst, v)
}

// members writes an object's members; after says that others stand before them.
func (c *call) members(dst []byte, v *value, after bool) (out []byte, wrote bool, err error) {
	var chosen uint64
	solid := !v.solid
	for i := range v.members {
		m := &v.members[i]
		mark := len(dst)
		if after || wrote {
			dst = append(dst, ',')
		}
		dst = append(dst, m.key...)
		full, ok, err := c.append(dst, m.value)
		if err != nil {
			return full, false, err
		}
		if dst = full; !ok {
			dst = dst[:mark]
			continue
		}
		if chosen&m.choice != 0 {
			return dst, false, c.refuse(m.value, "two types of "+m.value.element.Choice+"[x] have a value")
		}
		chosen |= m.choice
		solid = solid || !m.filler
		wrote = true
	}
	return dst, wrote && solid, nil
}

// items writes a list's items, separated; after says that others stand before
// them.
func (c *call) items(dst []byte, v *value, after bool) (out []byte, wrote bool, err error) {
	for _, item := range v.items {
		var ok bool
		if item.each != nil {
			dst, ok, err = c.loop(dst, item, after || wrote)
		} else {
			dst, ok, err = c.listItem(dst, item, after || wrote)
		}
		if err != nil {
			return dst, false, err
		}
		wrote = wrote || ok
	}
	return dst, wrote, nil
}

func (c *call) loop(dst []byte, v *value, after bool) (out []byte, wrote bool, err error) {
	list, err := c.evaluate(v.each)
	if err != nil {
		return dst, false, c.failed(v, v.each, err)
	}
	if list == types.NullValue {
		return dst, false, nil
	}
	items, ok := list.(traits.Lister)
	if !ok {
		return dst, false, c.failed(v, v.each, reason("$for got something that is not a list"))
	}
	size, _ := items.Size().(types.Int)
	for i := types.Int(0); i < size; i++ {
		c.loops[v.loop] = items.Get(i)
		if v.index >= 0 {
			c.loops[v.index] = i + 1
		}
		if dst, ok, err = c.listItem(dst, v, after || wrote); err != nil {
			return dst, false, err
		}
		wrote = wrote || ok
	}
	return dst, wrote, nil
}

// listItem writes one item, with a comma before it if need be.
func (c *call) listItem(dst []byte, v *value, after bool) (out []byte, wrote bool, err error) {
	mark := len(dst)
	if after {
		dst = append(dst, ',')
	}
	if v.kind == listValue { // several in the place of one
		if v.when != nil {
			if holds, err := c.holds(v.when); err != nil || !holds {
				if err != nil {
					err = c.failed(v, v.when, err)
				}
				return dst[:mark], false, err
			}
		}
		out, wrote, err = c.items(dst, v, false)
	} else {
		out, wrote, err = c.append(dst, v)
	}
	if err != nil || !wrote {
		return out[:mark], false, err
	}
	return out, true, nil
}

func (c *call) refuse(v *value, why string) error {
	e := &Error{Resource: c.resource.String(), Element: v.path, At: Problem{What: why}}
	if at := v.place(); at.file != nil {
		e.At = at.problem(why, "")
	}
	return e
}

// place is where a value's first expression stands.
func (v *value) place() position {
	if v.x != nil {
		return v.x.place(0)
	}
	for _, m := range v.members {
		if at := m.value.place(); at.file != nil {
			return at
		}
	}
	for _, i := range v.items {
		if at := i.place(); at.file != nil {
			return at
		}
	}
	return position{}
}
