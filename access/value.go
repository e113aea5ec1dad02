package access

import (
	"github.com/tributary-health/tributary/fhir"
)

// member writes one member; ok is false if there is nothing to show.
func (r *run) member(dst []byte, f found, m *member, n *node, sibling []byte) (out []byte, ok bool) {
	switch {
	case n.role == metaRole && f.at == n.security && r.marks():
		return r.labels(append(dst, m.quoted...), f.value, m), true
	case n.role == resourceRole && f.at == n.meta:
		return r.meta(append(dst, m.quoted...), f.value, m)
	case sibling != nil:
		return r.pairs(dst, f.value, sibling, m, &n.members[f.at+1])
	case m.scalar && m.list:
		return r.list(append(dst, m.quoted...), f.value, func(dst, item []byte) ([]byte, bool) {
			if n.role == metaRole && f.at == n.profile && r.unclaimed(item) {
				return dst, false
			}
			return scalar(dst, item)
		})
	case m.scalar:
		return scalar(append(dst, m.quoted...), f.value)
	case m.sibling && m.list: // without its primitives: places count
		return r.pairs(dst, emptyList, f.value, nil, m)
	case m.list:
		return r.list(append(dst, m.quoted...), f.value, func(dst, item []byte) ([]byte, bool) { return r.value(dst, item, m) })
	}
	return r.value(append(dst, m.quoted...), f.value, m)
}

// value writes an object of a member.
func (r *run) value(dst, text []byte, m *member) ([]byte, bool) {
	if text[0] != '{' {
		return dst, false
	}
	if !m.any {
		return r.object(dst, text, m.node, m)
	}
	if m.contained {
		if r.inside > 0 {
			return dst, false
		}
		r.inside++
		defer func() { r.inside-- }()
	}
	return r.resource(dst, text)
}

// scalar writes a primitive as it is written; anything else is none.
func scalar(dst, text []byte) ([]byte, bool) {
	if text[0] == '{' || text[0] == '[' || text[0] == 'n' {
		return dst, false
	}
	return append(dst, text...), true
}

// list writes the items that fn writes; ok is false if there are none.
func (r *run) list(dst, text []byte, fn func(dst, item []byte) ([]byte, bool)) (out []byte, ok bool) {
	if text[0] != '[' {
		return dst, false
	}
	out = append(dst, '[')
	_ = fhir.EachItem(text, func(item []byte) bool {
		before := len(out)
		if ok {
			out = append(out, ',')
		}
		var shown bool
		if out, shown = fn(out, item); !shown {
			out = out[:before]
		}
		ok = ok || shown
		return r.err == nil
	})
	return append(out, ']'), ok
}

// pairs writes a list of primitives and the list of what is said of each. A place
// with neither is left out.
func (r *run) pairs(dst, plain, sibling []byte, m, s *member) (out []byte, ok bool) {
	if plain[0] != '[' || sibling[0] != '[' {
		return dst, false
	}
	values, about := items(plain), items(sibling)
	var left, right []byte
	anyLeft, anyRight := false, false
	for i := range max(len(values), len(about)) {
		atLeft, atRight := len(left), len(right)
		v, a := false, false
		left, right = append(left, ','), append(right, ',')
		if i < len(values) {
			left, v = scalar(left, values[i])
		}
		if i < len(about) && about[i][0] == '{' {
			right, a = r.object(right, about[i], s.node, s)
		}
		switch {
		case !v && !a:
			left, right = left[:atLeft], right[:atRight]
		case !v:
			left = append(left, "null"...)
		case !a:
			right = append(right, "null"...)
		}
		anyLeft, anyRight = anyLeft || v, anyRight || a
	}
	out = dst
	if anyLeft {
		out = append(append(append(append(out, m.quoted...), '['), left[1:]...), ']')
	}
	if anyRight {
		if anyLeft {
			out = append(out, ',')
		}
		out = append(append(append(append(out, s.quoted...), '['), right[1:]...), ']')
	}
	return out, anyLeft || anyRight
}

func items(array []byte) (all [][]byte) {
	_ = fhir.EachItem(array, func(item []byte) bool {
		all = append(all, item)
		return true
	})
	return all
}
