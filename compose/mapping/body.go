package mapping

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

	"github.com/tributary-health/tributary/fhir"
)

// value is a compiled part of a body. when, each and the fields below it come
// from $if, $for, $as and $index.
type value struct {
	kind    valueKind
	json    []byte       // literalValue: as it is written
	x       *expression  // expressionValue
	element fhir.Element // what is written
	prim    primitive
	spread  bool     // expressionValue in a list: a list adds its items
	members []member // objectValue
	items   []*value // listValue
	path    string   // for messages: "name.given"
	when    *expression
	each    *expression
	loop    int  // the item's slot
	index   int  // the number's slot, or -1
	solid   bool // objectValue: left out unless a member is written that is no filler
}

type valueKind uint8

const (
	literalValue valueKind = iota + 1
	expressionValue
	objectValue
	listValue
)

type member struct {
	key    []byte // `"name":`
	choice uint64 // bit of the choice group that more than one member is of; 0 for none
	filler bool
	value  *value
}

// fillers are, by type, the members that only say what kind of value another
// member has. An object with nothing else in it says nothing: a system without
// its code, an extension's url without its value.
var fillers = map[string][]string{
	"Coding":       {"system", "version", "userSelected"},
	"Identifier":   {"use", "type", "system"},
	"Extension":    {"url"},
	"Quantity":     {"unit", "system", "code"},
	"Age":          {"unit", "system", "code"},
	"Count":        {"unit", "system", "code"},
	"Distance":     {"unit", "system", "code"},
	"Duration":     {"unit", "system", "code"},
	"Money":        {"currency"},
	"ContactPoint": {"system", "use", "rank"},
	"Reference":    {"type"},
	"HumanName":    {"use"},
	"Address":      {"use", "type"},
	"Narrative":    {"status"},
}

// special are the keys that are not elements.
var special = []string{"$if", "$for", "$as", "$index", "$value", "$use", "$with"}

// element compiles what stands for an element: a list where it repeats.
func (rc *resourceCompiler) element(n *node, e fhir.Element, path string) *value {
	if e.List {
		return rc.list(n, e, path)
	}
	return rc.item(n, e, path, false)
}

// list compiles what stands for a repeating element.
func (rc *resourceCompiler) list(n *node, e fhir.Element, path string) *value {
	out := &value{kind: listValue, element: e, path: path, index: -1}
	switch {
	case n.kind == listNode:
		for _, item := range n.items {
			if v := rc.item(item, e, path, true); v != nil {
				out.items = append(out.items, v)
			}
		}
		if len(n.items) == 0 {
			rc.problem(n, e.Path+" has no value", "leave it out")
		}
	case n.kind == objectNode && n.get("$value") != nil && n.get("$value").kind == listNode:
		rc.keys(n, "a conditional list", "$if", "$value")
		out = rc.list(n.get("$value"), e, path)
		if w := n.get("$if"); w != nil && out != nil {
			out.when = rc.condition(w, "$if")
		}
	case n.kind == objectNode && n.get("$value") != nil && n.get("$for") == nil:
		if v := rc.item(n, e, path, true); v != nil {
			out.items = []*value{v}
		}
	case n.kind == textNode && strings.HasPrefix(n.text, "="):
		v := rc.item(n, e, path, true)
		if v == nil {
			return nil
		}
		if v.x != nil && v.x.typ.Kind() != types.ListKind {
			rc.problem(n, e.Path+" is a list, the expression gives "+valueName(v.x.typ), "put it in [ ]")
		}
		out.items = []*value{v}
	default:
		rc.problem(n, e.Path+" is a list, not "+n.kind.String(), "put it in [ ]")
		return nil
	}
	return out
}

func valueName(t *cel.Type) string {
	if t.Kind() == types.DynKind {
		return "a single value"
	}
	return typeName(t)
}

// item compiles one value of an element: of a list's item if inList.
func (rc *resourceCompiler) item(n *node, e fhir.Element, path string, inList bool) *value {
	switch {
	case n.kind == objectNode && slices.ContainsFunc(n.fields, func(f entry) bool { return strings.HasPrefix(f.key.text, "$") }):
		return rc.controlled(n, e, path, inList)
	case n.kind == objectNode:
		if e.Kind == fhir.Primitive {
			rc.problem(n, fmt.Sprintf("%s is a %s, not an object", e.Path, e.Type), "")
			return nil
		}
		return rc.object(n, e, path)
	case n.kind == listNode:
		what := e.Path + " is not a list"
		if inList {
			what = "an item of " + e.Path + " cannot be a list"
		}
		rc.problem(n, what, "")
		return nil
	case n.kind == nullNode:
		rc.problem(n, e.Path+" has no value", "leave it out")
		return nil
	}
	return rc.scalarValue(n, e, path, inList, false)
}

// object compiles an object of literal members.
func (rc *resourceCompiler) object(n *node, e fhir.Element, path string) *value {
	out := &value{kind: objectValue, element: e, path: path, index: -1}
	given := map[string]int{} // choice groups, and elements
	top := path == ""
	e = rc.contained(n, e)
	for _, f := range n.fields {
		name := f.key.text
		if top && (name == "resourceType" || name == "id" || name == "meta") {
			rc.problem(f.key, quote(name)+" is not given by the body", "the language makes it; profiles stand in profile")
			continue
		}
		if name == "resourceType" && e.Kind == fhir.ResourceKind {
			json, _ := appendString(nil, e.Type)
			out.members = append(out.members, member{key: memberKey(name), value: &value{kind: literalValue, json: json, index: -1}})
			continue
		}
		child, ok := e.Child(name)
		if !ok {
			rc.unknownElement(f.key, e)
			continue
		}
		if e.Type == "Reference" && name == "reference" {
			child.Targets = e.Targets
		}
		if strings.HasPrefix(name, "_") && child.List {
			rc.problem(f.key, "extensions of the items of "+name[1:]+" cannot be given", "")
			continue
		}
		given[name]++
		if child.Choice != "" {
			given[child.Choice+"[x]"]++
		}
		if v := rc.element(f.value, child, join(path, name)); v != nil {
			filler := slices.Contains(fillers[e.Type], name)
			out.solid = out.solid || !filler && fillers[e.Type] != nil
			out.members = append(out.members, member{key: memberKey(name), filler: filler, value: v})
		}
	}
	rc.required(n, e, given, top)
	rc.choices(out, e, given)
	return fold(out)
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func memberKey(name string) []byte { return []byte(`"` + name + `":`) }

// contained finds the type of a resource within a resource.
func (rc *resourceCompiler) contained(n *node, e fhir.Element) fhir.Element {
	if e.Type != "Resource" {
		return e
	}
	t := n.get("resourceType")
	if t == nil {
		rc.problem(n, e.Path+" holds resources", "say which by resourceType")
		return e
	}
	found, ok := fhir.Lookup(t.text)
	if !ok || found.Kind != fhir.ResourceKind {
		rc.problem(t, quote(t.text)+" is not a resource type of FHIR R4", didYouMean(t.text, fhir.ResourceTypes()))
		return e
	}
	return found
}

func (rc *resourceCompiler) unknownElement(key *node, e fhir.Element) {
	if e.Type == "Resource" {
		return // its type is unknown, which has been said
	}
	var known []string
	for _, c := range e.Children() {
		if c.Choice == key.text || c.Choice+"[x]" == key.text {
			known = append(known, c.Name)
		}
	}
	if known != nil {
		if len(known) > 6 {
			known = append(known[:6:6], "...")
		}
		rc.problem(key, e.Type+" has no element "+quote(key.text)+": it has a choice of types", "one of "+strings.Join(known, ", "))
		return
	}
	for _, c := range e.Children() {
		known = append(known, c.Name)
	}
	hint := ""
	if best := nearest(key.text, known); best != "" {
		hint = "did you mean " + quote(best) + "?"
	} else if len(known) <= 12 {
		hint = "one of " + strings.Join(known, ", ")
	}
	rc.problem(key, e.Type+" has no element "+quote(key.text), hint)
}

// required reports elements that FHIR demands and the object never has.
func (rc *resourceCompiler) required(n *node, e fhir.Element, given map[string]int, top bool) {
	if rc.partial && n.at == rc.doc.at {
		return // the rest is for the use to give
	}
	missing := map[string]bool{}
	for _, c := range e.Children() {
		if !c.Required || given[c.Name] > 0 || given["_"+c.Name] > 0 || top && c.Name == "meta" {
			continue
		}
		name := c.Name
		if c.Choice != "" {
			if given[c.Choice+"[x]"] > 0 || missing[c.Choice] {
				continue
			}
			name = c.Choice + "[x]"
			missing[c.Choice] = true
		}
		rc.problem(n, e.Type+" lacks "+quote(name)+", which FHIR requires", "")
	}
}

// choices marks members of which only one may be written.
func (rc *resourceCompiler) choices(out *value, e fhir.Element, given map[string]int) {
	bits := map[string]uint64{}
	for i := range out.members {
		choice := out.members[i].value.element.Choice
		if choice == "" || given[choice+"[x]"] < 2 {
			continue
		}
		if bits[choice] == 0 && len(bits) < 64 {
			bits[choice] = 1 << len(bits)
		}
		out.members[i].choice = bits[choice]
	}
}
