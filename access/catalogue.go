package access

import (
	"crypto/sha256"
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/tributary-health/tributary/fhir"
)

//go:embed catalogue.yaml
var catalogueText []byte

// catalogue is what the product knows of data and where they stand.
type catalogue struct {
	data       map[string]*datum
	names      []string // of the data, ascending
	opaque     []rule
	extensions []string
	masked     map[string][]string // by the rule's own text: what must be in the placeholder
	required   []rule
	kept       []rule
	sections   map[string][]string
	version    string
}

// known is the embedded catalogue. It is part of the program: a fault in it is
// the program's.
var known = sync.OnceValue(func() *catalogue {
	c, problems := parseCatalogue(catalogueText)
	if len(problems) > 0 {
		panic("access: embedded catalogue: " + problems[0].Error())
	}
	return c
})

// Data returns the names of the data that the catalogue knows, ascending, each
// with what it is.
func Data() (names, about []string) {
	for _, name := range known().names {
		names, about = append(names, name), append(about, known().data[name].about)
	}
	return names, about
}

func parseCatalogue(text []byte) (*catalogue, []Problem) {
	sum := sha256.Sum256(text)
	c := &catalogue{data: map[string]*datum{}, masked: map[string][]string{}, sections: map[string][]string{}, version: fmt.Sprintf("%x", sum[:8])}
	r := &reader{file: "catalogue.yaml"}
	root := r.parse(text)
	if root == nil {
		return c, r.problems
	}
	r.fields(root, "catalogue", "data opaque extensions masked required kept sections", func(key string, n *yamlNode) {
		switch key {
		case "data":
			c.data = r.data(n)
		case "opaque":
			c.opaque = r.paths(n, key)
		case "required":
			c.required = r.paths(n, key)
		case "kept":
			c.kept = r.paths(n, key)
		case "extensions":
			c.extensions = r.texts(n, key)
		case "masked":
			for _, f := range n.fields {
				if p, ok := r.path(f.key); ok {
					c.masked[p.String()] = r.texts(f.value, key)
				}
			}
		case "sections":
			for _, f := range n.fields {
				c.sections[f.key.text] = r.texts(f.value, key)
			}
		}
	})
	for name := range c.data {
		c.names = append(c.names, name)
	}
	slices.Sort(c.names)
	return c, r.problems
}

func (r *reader) paths(n *yamlNode, what string) (all []rule) {
	for _, item := range r.list(n, what) {
		if p, ok := r.path(item); ok {
			all = append(all, p)
		}
	}
	return all
}

// data reads named rule sets.
func (r *reader) data(n *yamlNode) map[string]*datum {
	all := map[string]*datum{}
	if n.kind != objectNode {
		r.add(n, "data: want names and what each hides", "")
	}
	for _, f := range n.fields {
		if !clientID(f.key.text) {
			r.add(f.key, fmt.Sprintf("data: %q is no name", f.key.text), "lower-case letters, digits and dashes")
			continue
		}
		all[f.key.text] = r.datum(f.key.text, f.value)
	}
	return all
}

func (r *reader) datum(name string, n *yamlNode) *datum {
	d := &datum{name: name}
	r.fields(n, name, "about types paths answers extensions profiles persons", func(key string, v *yamlNode) {
		switch key {
		case "about":
			d.about = r.string(v, key)
		case "types":
			for _, item := range r.list(v, key) {
				typ := r.string(item, key)
				if e, ok := fhir.Lookup(typ); typ != "" && (!ok || e.Kind != fhir.Complex || typ == "Extension" || typ == "Meta" || typ == "Narrative") {
					r.add(item, fmt.Sprintf("types: %q is no data type of R4 that can be hidden", typ), "as in Address; a resource's elements go under paths")
				}
				d.types = append(d.types, typ)
			}
		case "paths":
			d.rules = append(d.rules, r.paths(v, key)...)
		case "answers":
			for _, item := range r.list(v, key) {
				d.rules = append(d.rules, r.answer(item)...)
			}
		case "extensions":
			d.extensions = r.texts(v, key)
		case "profiles":
			d.profiles = r.texts(v, key)
		case "persons":
			d.persons = r.bool(v, key)
		}
	})
	return d
}

// path reads a path, alone or with a condition.
func (r *reader) path(n *yamlNode) (p rule, ok bool) {
	if n.kind != objectNode {
		return r.parsePath(n, r.string(n, "path"))
	}
	var condition *yamlNode
	r.fields(n, "path", "path where", func(key string, v *yamlNode) {
		if key == "where" {
			condition = v
			return
		}
		p, ok = r.parsePath(v, r.string(v, key))
	})
	switch {
	case n.field("path") == nil:
		r.add(n, "path is missing", "name the element, as in Observation.value[x]")
	case ok && condition != nil:
		ok = r.where(&p, condition)
	}
	return p, ok
}

func (n *yamlNode) field(key string) *yamlNode {
	for _, f := range n.fields {
		if f.key.text == key {
			return f.value
		}
	}
	return nil
}

func (r *reader) parsePath(n *yamlNode, path string) (rule, bool) {
	if path == "" {
		return rule{}, false
	}
	p, f := parsePath(path)
	if f == nil && r.hideable != nil {
		f = r.hideable(p, path)
	}
	if f != nil {
		r.add(n, f.what, f.hint)
	}
	return p, f == nil
}

func (r *reader) where(p *rule, n *yamlNode) bool {
	var path, system, code string
	before := len(r.problems)
	r.fields(n, "where", "path system code", func(key string, v *yamlNode) {
		switch key {
		case "path":
			path = r.string(v, key)
		case "system":
			system = r.string(v, key)
		case "code":
			code = r.string(v, key)
		}
	})
	if len(r.problems) > before {
		return false
	}
	if f := p.within(path, system, code); f != nil {
		r.add(n, f.what, f.hint)
		return false
	}
	return true
}

// answerParts are what of an Observation may repeat the answer.
var answerParts = []string{
	"Observation.value", "Observation.interpretation", "Observation.note", "Observation.component",
	"Observation.component.value", "Observation.component.interpretation",
}

// answer reads a code that asks for the datum.
func (r *reader) answer(n *yamlNode) []rule {
	var system, code string
	r.fields(n, "answers", "system code", func(key string, v *yamlNode) {
		if key == "system" {
			system = r.string(v, key)
		} else {
			code = r.string(v, key)
		}
	})
	if system == "" || code == "" {
		r.add(n, "answers: want system and code", "as in {system: http://loinc.org, code: 56799-0}")
		return nil
	}
	var rules []rule
	for _, path := range answerParts {
		p, _ := parsePath(path)
		if f := p.within("code.coding", system, code); f != nil {
			r.add(n, f.what, f.hint)
			return rules
		}
		rules = append(rules, p)
	}
	return rules
}

// namesOf lists the data for a hint.
func namesOf(own map[string]*datum) []string {
	names := slices.Clone(known().names)
	for name := range own {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// profileMatches reports whether a claimed profile is the pattern's, in any
// version.
func profileMatches(pattern, claimed string) bool {
	claimed, _, _ = strings.Cut(claimed, "|")
	if prefix, any := strings.CutSuffix(pattern, "*"); any {
		return strings.HasPrefix(claimed, prefix)
	}
	return claimed == pattern
}
