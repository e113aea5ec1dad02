package access

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tributary-health/tributary/fhir"
)

// where narrows a rule to objects that hold a coding: path leads to it from the
// object that the rule's element stands in.
type where struct {
	path         []string
	system, code string
}

func (w *where) String() string {
	if w == nil {
		return ""
	}
	return strings.Join(w.path, ".") + "=" + w.system + "|" + w.code
}

// rule hides one element of one FHIR type: the elements named by steps, from the
// type's own. A path through a backbone element belongs to that element's type,
// so that it holds in a section within a section too.
type rule struct {
	owner string
	steps []string
	where *where
}

func (r rule) String() string {
	return r.owner + "." + strings.Join(r.steps, ".") + " " + r.where.String()
}

// datum is a named set of what to hide, wherever it stands.
type datum struct {
	name       string
	about      string
	types      []string // every element of these data types
	rules      []rule
	extensions []string // by URL
	profiles   []string // what must not be claimed, since the claim tells that the datum is there
	persons    bool     // what references call a person
}

// String is the datum's meaning, for a policy's ID.
func (d *datum) String() string {
	rules := make([]string, len(d.rules))
	for i, r := range d.rules {
		rules[i] = r.String()
	}
	slices.Sort(rules)
	return fmt.Sprintf("%q %q %q %q %t", sorted(d.types), rules, sorted(d.extensions), sorted(d.profiles), d.persons)
}

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

// fault is what is wrong with a path, and a hint.
type fault struct{ what, hint string }

// parsePath turns "Patient.contact.telecom" or "Observation.value[x]" into a rule.
func parsePath(path string) (rule, *fault) {
	names := strings.Split(path, ".")
	at, ok := fhir.Lookup(names[0])
	if !ok || at.Kind == fhir.Primitive || at.Kind == fhir.Abstract {
		return rule{}, &fault{fmt.Sprintf("%q: R4 has no type %q", path, names[0]), didYouMean(names[0], fhir.ResourceTypes())}
	}
	if len(names) == 1 {
		return rule{}, &fault{fmt.Sprintf("%q names a type, not an element", path), "leave a whole type out of types"}
	}
	r := rule{owner: at.Type}
	for i, name := range names[1:] {
		name = strings.TrimSuffix(name, "[x]")
		found := elements(at, name)
		last := i == len(names)-2
		switch {
		case len(found) == 0:
			return rule{}, &fault{fmt.Sprintf("%q: %s has no element %q", path, at.Type, name), didYouMean(name, childNames(at))}
		case !last && len(found) > 1:
			return rule{}, &fault{fmt.Sprintf("%q: %s has several types", path, name), "name one, as in " + found[0].Name}
		}
		at = found[0]
		r.steps = append(r.steps, name)
		if !last && at.Kind == fhir.Backbone {
			r.owner, r.steps = at.Type, nil
		}
	}
	if untouchable(r) {
		return rule{}, &fault{fmt.Sprintf("%q cannot be hidden", path), "a client that may not see it must not see the type"}
	}
	return r, nil
}

// hideable says why a client's file may not hide the rule's element, if it may
// not.
func (r rule) hideable(path string) *fault {
	const hint = "a client that may not see it must not see the type"
	for _, k := range known().kept {
		if k.owner == r.owner && k.steps[0] == r.steps[0] {
			return &fault{fmt.Sprintf("%q cannot be hidden: other elements depend on it", path), hint}
		}
	}
	at, _ := fhir.Lookup(r.owner, r.steps[:len(r.steps)-1]...)
	for _, e := range elements(at, r.steps[len(r.steps)-1]) {
		if e.Required && e.Kind == fhir.Primitive && !e.HasCode(unknownCode) {
			return &fault{fmt.Sprintf("%q cannot be hidden: R4 requires a code, and has none for what is unknown", path), hint}
		}
	}
	return nil
}

// touches reports whether one of the rules hides the other's element, or part of
// it.
func (r rule) touches(other rule) bool {
	a, b := r.owner+"."+strings.Join(r.steps, ".")+".", other.owner+"."+strings.Join(other.steps, ".")+"."
	return strings.HasPrefix(a, b) || strings.HasPrefix(b, a)
}

// untouchable elements are those that make a resource one.
func untouchable(r rule) bool {
	if len(r.steps) != 1 {
		return len(r.steps) > 0 && r.steps[0] == "meta"
	}
	switch r.steps[0] {
	case "id", "meta", "implicitRules", "modifierExtension":
		return true
	case "url":
		return r.owner == "Extension"
	}
	return r.owner == "Meta" && r.steps[0] != "source" && r.steps[0] != "tag"
}

// elements are those of a name, or of a choice.
func elements(of fhir.Element, name string) []fhir.Element {
	var found []fhir.Element
	for _, c := range of.Children() {
		if c.Name == name || c.Choice == name {
			found = append(found, c)
		}
	}
	return found
}

func childNames(of fhir.Element) []string {
	var names []string
	for _, c := range of.Children() {
		names = append(names, c.Name)
	}
	return names
}

func didYouMean(name string, names []string) string {
	if near := nearest(name, names); near != "" {
		return "did you mean " + near + "?"
	}
	return ""
}

// within sets the rule's condition. Its path starts where the element stands.
func (r *rule) within(path, system, code string) *fault {
	at, ok := fhir.Lookup(r.owner, r.steps[:len(r.steps)-1]...)
	if !ok {
		return &fault{"where: there is no such place", ""}
	}
	if path == "" || code == "" {
		return &fault{"where: want path and code", "as in {path: code.coding, system: http://loinc.org, code: 56799-0}"}
	}
	w := &where{system: system, code: code}
	for _, name := range strings.Split(path, ".") {
		next, ok := at.Child(name)
		if !ok {
			return &fault{fmt.Sprintf("where: %s has no element %q", at.Type, name), didYouMean(name, childNames(at))}
		}
		at = next
		w.path = append(w.path, name)
	}
	if at.Type != "Coding" {
		return &fault{fmt.Sprintf("where: %q is no Coding", path), "as in code.coding"}
	}
	r.where = w
	return nil
}

// covers reports whether the datum hides the element that the rule names, without
// a condition.
func (d *datum) covers(r rule) bool {
	at, ok := fhir.Lookup(r.owner, r.steps[:len(r.steps)-1]...)
	if !ok {
		return false
	}
	found := elements(at, r.steps[len(r.steps)-1])
	return len(found) > 0 && !slices.ContainsFunc(found, func(e fhir.Element) bool {
		return !slices.Contains(d.types, e.Type) && !slices.ContainsFunc(d.rules, func(own rule) bool {
			return own.where == nil && own.owner == r.owner && len(own.steps) <= len(r.steps) && slices.Equal(own.steps, r.steps[:len(own.steps)])
		})
	})
}
