package access

import (
	"bytes"
	"slices"

	"github.com/tributary-health/tributary/fhir"
)

// meta writes a resource's meta object, which stays even if it is empty, but not
// in a contained resource.
func (r *run) meta(dst, text []byte, m *member) (out []byte, ok bool) {
	if text[0] == '{' {
		if out, ok = r.object(dst, text, m.node, m); ok {
			return out, true
		}
	}
	return append(dst, "{}"...), r.inside == 0
}

// labels writes meta.security: the mark, and the labels that were there.
func (r *run) labels(dst, text []byte, m *member) []byte {
	dst = append(append(dst, '['), redactedMark...)
	if text[0] == '[' {
		_ = fhir.EachItem(text, func(item []byte) bool {
			before := len(dst)
			out, shown := r.value(append(dst, ','), item, m)
			if !shown || string(out[before+1:]) == redactedMark {
				out = out[:before]
			}
			dst = out
			return true
		})
	}
	return append(dst, ']')
}

// unclaimed reports whether a profile tells of something that is hidden.
func (r *run) unclaimed(item []byte) bool {
	if r.unclaims || r.inside > 0 && r.policy.hides {
		return true
	}
	if len(r.policy.profiles) == 0 {
		return false
	}
	claimed, ok := unquoted(item)
	return !ok || slices.ContainsFunc(r.policy.profiles, func(pattern string) bool { return profileMatches(pattern, string(claimed)) })
}

// section prepares a document's section: its narrative repeats other resources,
// of types that may be hidden, and so does the reason why it has no entry.
func (r *run) section(base int, n *node) (withheld bool) {
	if !r.policy.hides {
		return false
	}
	r.found = append(r.found, found{n.text, true, sectionText})
	if r.policy.types == nil || r.seesSection(r.found[base:], n) {
		return false
	}
	r.found = append(r.found, found{n.emptyReason, true, withheldReason})
	return true
}

// seesSection reports whether the section's code says that all of it may be seen.
func (r *run) seesSection(list []found, n *node) bool {
	code := last(list, n.code)
	sees := false
	if code == nil || code[0] != '{' {
		return false
	}
	_ = fhir.EachItem(fhir.Member(code, "coding"), func(item []byte) bool {
		text, _ := unquoted(fhir.Member(item, "code"))
		whole, ok := r.policy.sections[string(text)]
		sees = ok && whole
		return sees
	})
	return sees
}

// looksInto reports whether an extension may be written, element by element.
func (r *run) looksInto(list []found, n *node, m *member) bool {
	seen := false
	for _, f := range list {
		if f.at != n.url {
			continue
		}
		url, ok := unquoted(f.value)
		seen = true
		switch {
		case !ok || r.policy.hiddenURL[string(url)]:
			return false
		case !r.policy.hides || r.policy.shownURL[string(url)]:
		case m != nil && m.nested && !absolute(url):
		default:
			return false
		}
	}
	return seen
}

// absolute reports whether a URL stands for itself, not only within another
// extension.
func absolute(url []byte) bool { return bytes.ContainsAny(url, ":/") }

// keepModifier writes an extension that changes the meaning of the rest without
// its content. Any other is left out.
func (r *run) keepModifier(dst []byte, list []found, n *node, m *member) ([]byte, bool) {
	url := last(list, n.url)
	if m == nil || !m.modifier || url == nil || url[0] != '"' {
		return dst, false
	}
	dst = append(append(dst, `{"url":`...), url...)
	return append(dst, maskedValues...), true
}
