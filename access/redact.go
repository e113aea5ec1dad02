package access

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"github.com/tributary-health/tributary/fhir"
)

// What Redact refuses. The errors never quote the body.
var (
	ErrMalformed = errors.New("the body is no JSON object of that resource type")
	ErrTooDeep   = errors.New("the body is nested deeper than FHIR nests")
	ErrHidden    = errors.New("the client may not see the type")
)

// maxDepth is how deep objects may nest; FHIR's own stay far below.
const maxDepth = 64

// Redact appends the body without what the policy hides. What comes out depends
// on nothing that is hidden: members stand in FHIR's order without blanks, lists
// show nothing of items that went, what R4 or a profile in use requires stands
// masked whether it was there or not, and what R4 does not define is left out.
// Every resource that a policy with something to hide has been applied to is
// marked REDACTED in meta.security. There is always a meta object; versionId and
// lastUpdated stay in it as they are.
//
// The same body gives the same bytes. With an error nothing is appended.
func (p *Policy) Redact(dst []byte, resourceType string, body []byte) ([]byte, error) {
	if !p.MaySee(resourceType) {
		return dst, fmt.Errorf("access: redact: %w", ErrHidden)
	}
	if !fhir.IsResource(resourceType) || !fhir.ValidJSON(body) {
		return dst, fmt.Errorf("access: redact: %w", ErrMalformed)
	}
	if p.Whole() {
		return append(dst, body...), nil
	}
	r := runs.Get().(*run)
	defer r.release()
	r.policy, r.unclaims = p, p.unclaimed[resourceType]
	out, shown := r.object(dst, body, p.roots[resourceType].get(p), nil)
	switch {
	case r.err != nil:
		return dst, fmt.Errorf("access: redact: %w", r.err)
	case !shown:
		return dst, fmt.Errorf("access: redact: %w", ErrMalformed)
	}
	return out, nil
}

// run is one call of Redact.
type run struct {
	policy *Policy
	found  []found // of the objects that are open, one behind the other
	locals []local
	inside int // contained resources that are open
	depth  int
	err    error
	// unclaims: the resource claims no profile.
	unclaims bool
}

// found is a member of an open object.
type found struct {
	at     int32
	forced bool
	value  []byte
}

// local is a contained resource, by the id that references name it with.
type local struct{ id, typ string }

var runs = sync.Pool{New: func() any { return new(run) }}

func (r *run) release() {
	clear(r.found[:cap(r.found)])
	r.policy, r.found, r.locals, r.inside, r.depth, r.err = nil, r.found[:0], r.locals[:0], 0, 0, nil
	runs.Put(r)
}

func (r *run) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// resource writes a contained resource, or one of a Bundle, of a type that may be
// seen.
func (r *run) resource(dst, text []byte) ([]byte, bool) {
	var n *node
	err := fhir.EachMember(text, func(name, value []byte) bool {
		if string(name) == "resourceType" {
			if typ, ok := unquoted(value); ok {
				n = r.policy.typeNode(typ)
			}
			return false
		}
		return true
	})
	if err != nil || n == nil {
		return dst, false
	}
	return r.object(dst, text, n, nil)
}

// isOne reports whether the members say that the object is a resource of the
// node's type, and nothing else. It notes what local references lead to.
func (r *run) isOne(list []found, n *node) bool {
	said := false
	for _, f := range list {
		switch {
		case f.forced:
		case f.at == 0:
			typ, ok := unquoted(f.value)
			if said = true; !ok || string(typ) != n.typ {
				return false
			}
		case f.at == n.contained && r.inside == 0:
			r.noteContained(f.value)
		}
	}
	return said
}

func (r *run) noteContained(list []byte) {
	_ = fhir.EachItem(list, func(item []byte) bool {
		id, _ := fhir.Text(fhir.Member(item, "id"))
		typ, _ := fhir.Text(fhir.Member(item, "resourceType"))
		r.locals = append(r.locals, local{id, typ})
		return true
	})
}

// unquoted returns a JSON string's text, which aliases it unless it has an escape.
func unquoted(value []byte) (text []byte, ok bool) {
	if len(value) < 2 || value[0] != '"' {
		return nil, false
	}
	if bytes.IndexByte(value, '\\') < 0 {
		return value[1 : len(value)-1], true
	}
	s, ok := fhir.Text(value)
	return []byte(s), ok
}

// object writes an object; shown is false, and dst as it was, if nothing of it
// may be seen.
func (r *run) object(dst, text []byte, n *node, m *member) (out []byte, shown bool) {
	if r.depth++; r.depth > maxDepth {
		r.fail(ErrTooDeep)
	}
	base := len(r.found)
	defer func() {
		r.found = r.found[:base]
		r.depth--
	}()
	if r.err != nil || !r.scan(text, n) {
		return dst, false
	}
	tests := r.tests(n, r.found[base:])
	for i := range n.forced {
		if f := &n.forced[i]; f.always || f.when&tests != 0 {
			r.found = append(r.found, found{f.at, true, f.text})
		}
	}
	withheld := false
	switch n.role {
	case resourceRole:
		if !r.isOne(r.found[base:], n) {
			return dst, false
		}
		if r.inside == 0 && !has(r.found[base:], n.meta) {
			r.found = append(r.found, found{at: n.meta, value: emptyObject})
		}
	case metaRole:
		if r.marks() && !has(r.found[base:], n.security) {
			r.found = append(r.found, found{at: n.security, value: emptyList})
		}
	case sectionRole:
		withheld = r.section(base, n)
	case extensionRole:
		if !r.looksInto(r.found[base:], n, m) {
			return r.keepModifier(dst, r.found[base:], n, m)
		}
	case referenceRole:
		return r.refer(dst, base, n, m, tests)
	}
	order(r.found[base:])
	out, shown = r.members(dst, base, n, tests, withheld)
	if !shown && n.role == extensionRole {
		return r.keepModifier(dst, r.found[base:], n, m)
	}
	return out, shown
}

var (
	emptyObject = []byte("{}")
	emptyList   = []byte("[]")
)

// marks reports whether the resource that is written gets the REDACTED label. A
// contained one must not have labels.
func (r *run) marks() bool { return r.policy.hides && r.inside == 0 }

// scan notes the object's members that R4 defines.
func (r *run) scan(text []byte, n *node) bool {
	err := fhir.EachMember(text, func(name, value []byte) bool {
		if at, ok := n.index[string(name)]; ok && value[0] != 'n' {
			r.found = append(r.found, found{at: at, value: value})
		}
		return true
	})
	return err == nil
}

// order sorts by place, a later one of a place behind an earlier.
func order(list []found) {
	for i := 1; i < len(list); i++ {
		for j := i; j > 0 && list[j].at < list[j-1].at; j-- {
			list[j], list[j-1] = list[j-1], list[j]
		}
	}
}

func has(list []found, at int32) bool { return at >= 0 && last(list, at) != nil }

// last is the value of the place's last member.
func last(list []found, at int32) []byte {
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].at == at {
			return list[i].value
		}
	}
	return nil
}

// members writes the object's members, each once: of repeats the last.
func (r *run) members(dst []byte, base int, n *node, tests uint64, withheld bool) (out []byte, shown bool) {
	list := r.found[base:] // stays as it is: what is deeper comes behind
	out = append(dst, '{')
	w := writer{node: n, tests: tests, start: len(out)}
	content := false
	for i := 0; i < len(list) && r.err == nil; i++ {
		f := list[i]
		if i+1 < len(list) && list[i+1].at == f.at {
			continue
		}
		m := &n.members[f.at]
		if !f.forced && m.hiddenBy(tests) || n.role == sectionRole && f.at == n.emptyReason && (withheld != f.forced || w.entries) {
			continue
		}
		out = w.missing(out, f.at)
		before := len(out)
		out = w.comma(out)
		if f.forced {
			out = append(out, f.value...)
		} else {
			var sibling []byte
			if m.scalar && m.list && n.role != metaRole && i+1 < len(list) && list[i+1].at == f.at+1 && n.members[f.at+1].sibling {
				i++
				for i+1 < len(list) && list[i+1].at == f.at+1 {
					i++
				}
				sibling = list[i].value
			}
			var ok bool
			if out, ok = r.member(out, f, m, n, sibling); !ok {
				out = out[:before]
				continue
			}
		}
		w.wrote(f.at)
		content = content || m.name != "id" && !(n.role == extensionRole && f.at == n.url)
	}
	if n.role != resourceRole && !content {
		return dst, false
	}
	out = w.missing(out, int32(len(n.members)))
	return append(out, '}'), true
}

// writer keeps what is due while an object's members are written.
type writer struct {
	node    *node
	tests   uint64
	start   int // of the object's members in the output
	due     int // the first requirement that may still be open
	met     bool
	entries bool // a section's entries were shown
}

func (w *writer) comma(out []byte) []byte {
	if len(out) > w.start {
		out = append(out, ',')
	}
	return out
}

// missing writes what is required before the place and was not written.
func (w *writer) missing(out []byte, at int32) []byte {
	for ; w.due < len(w.node.required) && w.node.required[w.due].last < at; w.due++ {
		q := &w.node.required[w.due]
		if !w.met && (q.always || q.when&w.tests != 0) {
			out = append(w.comma(out), q.text...)
		}
		w.met = false
	}
	return out
}

func (w *writer) wrote(at int32) {
	if w.due < len(w.node.required) && at >= w.node.required[w.due].first && at <= w.node.required[w.due].last {
		w.met = true
	}
	if w.node.role == sectionRole && at == w.node.entry {
		w.entries = true
	}
}
