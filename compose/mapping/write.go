package mapping

import (
	"encoding/base64"
	"slices"
	"strconv"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/tributary-health/tributary/fhir"
)

// expression writes what an expression gives.
func (c *call) expression(dst []byte, v *value) (out []byte, wrote bool, err error) {
	if n, ok := v.x.native.(nativeText); ok {
		text, kind, err := n.text(c)
		switch {
		case err == nil && kind != rowKind:
			return c.column(dst, v, text, kind)
		case err != nil && v.x.final:
			return dst, false, c.failed(v, v.x, err)
		}
	}
	result, err := c.evaluate(v.x)
	if err != nil {
		return dst, false, c.failed(v, v.x, err)
	}
	if list, ok := result.(traits.Lister); ok && v.spread {
		return c.spread(dst, v, list)
	}
	return c.result(dst, v, v.element, v.prim, result)
}

// column writes what an expression gave without CEL.
func (c *call) column(dst []byte, v *value, text string, kind nativeKind) (out []byte, wrote bool, err error) {
	switch {
	case kind == nullKind:
		return dst, false, nil
	case v.prim == noPrimitive:
		return dst, false, c.refuse(v, v.element.Path+" is an object ("+v.element.Type+"), not a column")
	}
	return c.primitive(dst, v, v.prim, kind, text)
}

// spread writes the items of a list in the place of one item.
func (c *call) spread(dst []byte, v *value, list traits.Lister) (out []byte, wrote bool, err error) {
	size, _ := list.Size().(types.Int)
	for i := types.Int(0); i < size; i++ {
		mark := len(dst)
		if wrote {
			dst = append(dst, ',')
		}
		full, ok, err := c.result(dst, v, v.element, v.prim, list.Get(i))
		if err != nil {
			return full, false, err
		}
		if dst = full; !ok {
			dst = dst[:mark]
		}
		wrote = wrote || ok
	}
	return dst, wrote, nil
}

// result writes a value that CEL gave as the element.
func (c *call) result(dst []byte, v *value, e fhir.Element, prim primitive, result ref.Val) (out []byte, wrote bool, err error) {
	if result == types.NullValue {
		return dst, false, nil
	}
	if prim == noPrimitive {
		if m, ok := result.(traits.Mapper); ok {
			return c.object(dst, v, e, m)
		}
		return dst, false, c.refuse(v, e.Path+" is an object ("+e.Type+"), the expression gave none")
	}
	var buf [32]byte
	switch r := result.(type) {
	case types.String:
		return c.primitive(dst, v, prim, textKind, string(r))
	case types.Int:
		return c.primitive(dst, v, prim, numberKind, string(strconv.AppendInt(buf[:0], int64(r), 10)))
	case types.Uint:
		return c.primitive(dst, v, prim, numberKind, string(strconv.AppendUint(buf[:0], uint64(r), 10)))
	case types.Double:
		return c.primitive(dst, v, prim, numberKind, string(strconv.AppendFloat(buf[:0], float64(r), 'f', -1, 64)))
	case types.Bool:
		return c.primitive(dst, v, prim, boolKind, strconv.FormatBool(bool(r)))
	case types.Bytes:
		return c.primitive(dst, v, prim, bytesKind, string(r))
	}
	return dst, false, c.refuse(v, e.Path+" is a "+e.Type+", the expression gave a list, an object or a row")
}

// primitive writes a text as the FHIR primitive.
func (c *call) primitive(dst []byte, v *value, prim primitive, kind nativeKind, text string) (out []byte, wrote bool, err error) {
	if kind == bytesKind || prim == base64Type {
		if kind != bytesKind || prim != base64Type {
			return dst, false, c.refuse(v, "bytes belong in a base64Binary, and nothing else does")
		}
		if text == "" {
			return dst, false, nil
		}
		dst = base64.StdEncoding.AppendEncode(append(dst, '"'), []byte(text))
		return append(dst, '"'), true, nil
	}
	if empty(text) {
		return dst, false, nil
	}
	if want := prim.check(text); want != "" {
		return dst, false, c.refuse(v, "the value is not "+want)
	}
	if prim.bare() {
		return append(dst, text...), true, nil
	}
	out, ok := appendString(dst, text)
	if !ok {
		return dst, false, c.refuse(v, "the text is not UTF-8")
	}
	return out, true, nil
}

// object writes a map as an object of the element's type, its members in the
// order of their names.
func (c *call) object(dst []byte, v *value, e fhir.Element, m traits.Mapper) (out []byte, wrote bool, err error) {
	var names []string
	for it := m.Iterator(); it.HasNext() == types.True; {
		name, ok := it.Next().(types.String)
		if !ok {
			return dst, false, c.refuse(v, "an object's keys must be texts")
		}
		names = append(names, string(name))
	}
	slices.Sort(names)
	mark := len(dst)
	dst = append(dst, '{')
	for _, name := range names {
		child, ok := e.Child(name)
		if !ok {
			return dst, false, c.refuse(v, e.Type+" has no element of a name that the expression gave")
		}
		item, _ := m.Find(types.String(name))
		at := len(dst)
		if wrote {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, '"'), name...), '"', ':')
		full, ok, err := c.member(dst, v, child, item)
		if err != nil {
			return full, false, err
		}
		if dst = full; !ok {
			dst = dst[:at]
		}
		wrote = wrote || ok
	}
	if !wrote {
		return dst[:mark], false, nil
	}
	return append(dst, '}'), true, nil
}

// member writes a value within an object that an expression gave.
func (c *call) member(dst []byte, v *value, e fhir.Element, item ref.Val) (out []byte, wrote bool, err error) {
	list, isList := item.(traits.Lister)
	if item == types.NullValue {
		return dst, false, nil
	}
	if isList != e.List {
		if isList {
			return dst, false, c.refuse(v, e.Path+" is not a list, the expression gave one")
		}
		return dst, false, c.refuse(v, e.Path+" is a list, the expression gave none")
	}
	if !isList {
		return c.result(dst, v, e, primitiveOf(e), item)
	}
	mark := len(dst)
	inner := value{element: e, prim: primitiveOf(e), path: v.path, x: v.x}
	out, wrote, err = c.spread(append(dst, '['), &inner, list)
	if err != nil || !wrote {
		return out[:mark], false, err
	}
	return append(out, ']'), true, nil
}
