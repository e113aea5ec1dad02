package mapping

import (
	"slices"
	"strings"

	"cel.dev/cel-go/cel"

	"github.com/tributary-health/tributary/fhir"
)

// fragment is a part of a body that is written once and used in many places.
// Each use puts its own values in the place of the parameters.
type fragment struct {
	name       string
	at         *node // the name
	element    fhir.Element
	parameters []string
	body       *node
	last       int              // its last line
	faults     map[faultAt]bool // what is wrong with it wherever it is used
}

type faultAt struct {
	file         string
	line, column int
	what         string
}

func faultOf(p Problem) faultAt { return faultAt{p.File, p.Line, p.Column, p.What} }

// declareFragment reads a fragment document.
func (c *compiler) declareFragment(doc *node) {
	c.keys(doc, "a fragment", "fragment", "type", "parameters", "body")
	name := doc.get("fragment")
	f := &fragment{name: c.text(name), at: name, body: doc.get("body")}
	if c.fragments == nil {
		c.fragments = map[string]*fragment{}
	}
	if c.fragments[f.name] != nil {
		c.problem(name, "fragment "+quote(f.name)+" is declared twice", "")
		return
	}
	c.fragments[f.name] = f
	c.readFragmentType(f, doc.get("type"))
	if n := doc.get("parameters"); n != nil {
		c.readParameters(f, n)
	}
	switch {
	case f.body == nil:
		c.problem(name, "the fragment has no body", "")
	case f.body.kind == listNode || f.body.kind == nullNode:
		c.problem(f.body, "a fragment's body is an object or a single value, not "+f.body.kind.String(), "a list has items that are fragments")
		f.body = nil
	default:
		f.last = f.body.lastLine()
	}
}

func (c *compiler) readFragmentType(f *fragment, n *node) {
	if n == nil {
		c.problem(f.at, "the fragment has no type", "add type: the FHIR type of what it stands for, like Address")
		return
	}
	typ := c.text(n)
	words := strings.Split(typ, ".")
	e, ok := fhir.Lookup(words[0], words[1:]...)
	switch {
	case !ok:
		c.problem(n, quote(typ)+" is not a type of FHIR R4", "a type like Address or code, or an element like Patient.contact")
	case e.Kind == fhir.ResourceKind:
		c.problem(n, quote(typ)+" is a resource; a fragment is a part of one", "")
	default:
		f.element = e
		f.element.List = false
	}
}

func (c *compiler) readParameters(f *fragment, n *node) {
	if n.kind != listNode {
		c.problem(n, "parameters is a list of names, not "+n.kind.String(), "")
		return
	}
	for _, p := range n.items {
		switch {
		case p.kind != textNode || !validName(p.text):
			c.problem(p, "a parameter is a name", "letters, digits and _, not a word of CEL")
		case p.text == "row" || p.text == "newest" || p.text == "it":
			c.problem(p, "a parameter cannot be called "+p.text, "")
		case slices.Contains(f.parameters, p.text):
			c.problem(p, "parameter "+quote(p.text)+" is given twice", "")
		default:
			f.parameters = append(f.parameters, p.text)
		}
	}
}

// lastLine is the last line that a node or what is in it begins on.
func (n *node) lastLine() int {
	last := n.at.line + strings.Count(n.text, "\n") + 1
	for _, f := range n.fields {
		last = max(last, f.value.lastLine())
	}
	for _, i := range n.items {
		last = max(last, i.lastLine())
	}
	return last
}

// checkFragments compiles every fragment by itself: its parameters may be
// anything. What is wrong with it is reported here, once, used or not.
func (c *compiler) checkFragments() {
	names := sortedKeys(c.fragments)
	var sound []*fragment
	for _, name := range names {
		if f := c.fragments[name]; f.body != nil && f.element.Type != "" && !c.recursive(f) {
			sound = append(sound, f)
		}
	}
	for _, name := range names {
		if f := c.fragments[name]; !slices.Contains(sound, f) {
			f.body = nil
		}
	}
	for _, f := range sound {
		c.checkFragment(f)
	}
}

// checkFragment checks one, once; those that it uses come before it.
func (c *compiler) checkFragment(f *fragment) {
	if f.faults != nil {
		return
	}
	f.faults = map[faultAt]bool{}
	rc := &resourceCompiler{compiler: c, doc: f.body, resource: &Resource{set: c.set, slots: map[string]slot{}},
		loops: map[string]int{}, scope: &scope{env: c.env}, partial: true}
	for _, p := range f.parameters {
		rc.declareVariable(f.at, p, cel.DynType, slot{})
	}
	before := len(c.problems.list)
	rc.item(f.body, f.element, f.name, true)
	for i := before; i < len(c.problems.list); i++ {
		p := &c.problems.list[i]
		if strings.HasPrefix(p.What, "nothing is called") && p.Hint == "" {
			p.Hint = "a fragment knows its parameters only"
		}
		f.faults[faultOf(*p)] = true
	}
}

func sortedKeys(m map[string]*fragment) []string {
	var names []string
	for k := range m {
		names = append(names, k)
	}
	slices.Sort(names)
	return names
}

// recursive reports whether a fragment comes to use itself.
func (c *compiler) recursive(f *fragment) bool {
	var way []string
	var reaches func(n *node, seen map[string]bool) bool
	reaches = func(n *node, seen map[string]bool) bool {
		if use := n.get("$use"); use != nil {
			if use.text == f.name {
				way = append(way, f.name)
				return true
			}
			if next := c.fragments[use.text]; next != nil && next.body != nil && !seen[use.text] {
				seen[use.text] = true
				if reaches(next.body, seen) {
					way = append(way, use.text)
					return true
				}
			}
		}
		for _, e := range n.fields {
			if reaches(e.value, seen) {
				return true
			}
		}
		return slices.ContainsFunc(n.items, func(i *node) bool { return reaches(i, seen) })
	}
	if !reaches(f.body, map[string]bool{}) {
		return false
	}
	way = append(way, f.name)
	slices.Reverse(way)
	c.problem(f.at, "fragment "+quote(f.name)+" uses itself: "+strings.Join(way, ", "), "")
	return true
}
