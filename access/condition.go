package access

import (
	"strings"

	"github.com/tributary-health/tributary/fhir"
)

// tests evaluates the conditions of the node's rules.
func (r *run) tests(n *node, list []found) (bits uint64) {
	for i, w := range n.tests {
		at, ok := n.index[w.path[0]]
		for _, f := range list {
			if ok && f.at == at && w.matches(f.value, w.path[1:]) {
				bits |= 1 << i
				break
			}
		}
	}
	return bits
}

// matches reports whether a coding behind the path is the condition's. One without
// a system may be.
func (w *where) matches(value []byte, path []string) bool {
	found := false
	switch {
	case value[0] == '[':
		_ = fhir.EachItem(value, func(item []byte) bool {
			found = found || w.matches(item, path)
			return !found
		})
	case value[0] != '{':
	case len(path) > 0:
		_ = fhir.EachMember(value, func(name, value []byte) bool {
			found = found || string(name) == path[0] && w.matches(value, path[1:])
			return !found
		})
	default:
		code, system, other := false, false, false
		_ = fhir.EachMember(value, func(name, value []byte) bool {
			switch string(name) {
			case "code":
				text, _ := fhir.Text(value)
				code = code || strings.TrimSpace(text) == w.code
			case "system":
				if text, ok := fhir.Text(value); ok { // null says nothing
					system = system || sameSystem(text, w.system)
					other = true
				}
			}
			return true
		})
		found = code && (system || !other || w.system == "")
	}
	return found
}

// sameSystem reports whether two addresses name one code system, as the common
// ways of writing it wrong go: a rule must not miss a place for a slash.
func sameSystem(a, b string) bool {
	a, b = plainSystem(a), plainSystem(b)
	return a == b || b == "loinc.org" && a == "urn:oid:2.16.840.1.113883.6.1"
}

func plainSystem(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	s = strings.TrimPrefix(strings.TrimPrefix(s, "http://"), "https://")
	return strings.TrimRight(s, "/")
}
