package access

import (
	"bytes"
	"strings"

	"github.com/tributary-health/tributary/fhir"
)

// refer writes a reference, unless it leads to what the client may not see or
// know. Only those within the store are shown: another server's address may hold
// a number, a conditional reference a query.
func (r *run) refer(dst []byte, base int, n *node, m *member, tests uint64) ([]byte, bool) {
	list := r.found[base:]
	person, hidden := m != nil && m.mayPerson, m == nil || m.mayHide
	said := false
	var text string
	var whole []byte // the last reference, as it is written, if all of it is shown
	for _, f := range list {
		switch f.at {
		case n.target: // Reference.type
			s, ok := fhir.Text(f.value)
			if s = s[strings.LastIndexByte(s, '/')+1:]; !ok || !fhir.IsResource(s) || !r.policy.MaySee(s) {
				return dst, false
			}
			person, hidden, said = isPerson(s) || said && person, false, true
		case n.reference:
			b, ok := unquoted(f.value)
			if !ok {
				return dst, false
			}
			typ, short, ok := r.lead(string(b))
			if !ok {
				return dst, false
			}
			if text, whole = short, nil; len(short)+2 == len(f.value) {
				whole = f.value
			}
			if typ != "" {
				person, hidden, said = isPerson(typ) || said && person, false, true
			}
		}
	}
	if hidden {
		return dst, false
	}
	kept := list[:0]
	for _, f := range list {
		switch {
		case f.at == n.display && r.policy.persons && person:
		case f.at == n.reference:
			switch {
			case text == "": // of repeats the last
			case whole != nil:
				kept = append(kept, found{f.at, false, whole})
			default:
				kept = append(kept, found{f.at, true, quoteReference(n.members[f.at].quoted, text)})
			}
			text = ""
		default:
			kept = append(kept, f)
		}
	}
	r.found = r.found[:base+len(kept)]
	order(r.found[base:])
	return r.members(dst, base, n, tests, false)
}

// lead says what type a reference leads to, and the reference without a version,
// which is the base store's. ok is false if it must not be shown.
func (r *run) lead(reference string) (typ, short string, ok bool) {
	if strings.IndexFunc(reference, func(c rune) bool { return c <= ' ' || c == '"' || c == '\\' || c > '~' }) >= 0 {
		return "", "", false
	}
	if id, isLocal := strings.CutPrefix(reference, "#"); isLocal {
		if id == "" { // the resource itself
			return "", reference, true
		}
		for _, l := range r.locals {
			if l.id != id {
				continue
			}
			if !fhir.IsResource(l.typ) || !r.policy.MaySee(l.typ) {
				return "", "", false
			}
			typ, short, ok = l.typ, reference, true
		}
		return typ, short, ok
	}
	short, _, _ = strings.Cut(reference, "/_history/")
	id, parsed := fhir.ParseReference(short)
	if !parsed || !fhir.IsResource(id.Type) || !r.policy.MaySee(id.Type) {
		return "", "", false
	}
	return id.Type, short, id.Type != "Patient" || r.policy.MayKnow(id.ID)
}

// quoteReference returns the whole member. The text holds nothing that JSON
// escapes.
func quoteReference(quoted []byte, text string) []byte {
	return bytes.Join([][]byte{quoted, {'"'}, []byte(text), {'"'}}, nil)
}
