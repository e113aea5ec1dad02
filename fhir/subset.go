package fhir

import (
	_ "embed"
	"encoding/json"
	"slices"
	"strings"
	"sync"
)

//go:embed definitions/summary.txt
var summaryText string

// Subset is a choice of a resource type's elements. It is immutable and may be
// used concurrently.
type Subset struct {
	root *kept
}

// kept says which members of an object stay; nil stands for all of them.
type kept struct {
	members map[string]*kept
	without string // all but this one stay
}

func (k *kept) find(name string) (below *kept, ok bool) {
	if k.without != "" {
		return nil, name != k.without
	}
	below, ok = k.members[strings.TrimPrefix(name, "_")]
	return below, ok
}

// SummarySubset is what _summary=true keeps of the type: what R4 marks as
// summary, and what no resource may lack.
func SummarySubset(resourceType string) *Subset {
	s := newSubset(resourceType)
	summary, _ := summaryOf(resourceType)
	e, _ := Lookup(resourceType)
	for _, path := range summary {
		s.root.add(e, strings.Split(path, "."))
	}
	return s
}

// TextSubset is what _summary=text keeps: the narrative and what no resource may
// lack.
func TextSubset(resourceType string) *Subset { return newSubset(resourceType, "text") }

// DataSubset is what _summary=data keeps: all but the narrative.
func DataSubset() *Subset { return &Subset{&kept{without: "text"}} }

// ElementsSubset is what _elements keeps: the named elements at the root, and
// what no resource may lack. A name is as in JSON, or that of a choice ("onset").
// ok is false when the type has no element of a name.
func ElementsSubset(resourceType string, names []string) (s *Subset, ok bool) {
	e, _ := Lookup(resourceType)
	for _, name := range names {
		always := name == "id" || name == "meta"
		if !always && !slices.ContainsFunc(e.Children(), func(c Element) bool { return c.Name == name || c.Choice == name }) {
			return nil, false
		}
	}
	return newSubset(resourceType, names...), true
}

// newSubset keeps the named elements, the required ones, and those that change
// the meaning of the rest.
func newSubset(resourceType string, names ...string) *Subset {
	s := &Subset{&kept{members: map[string]*kept{
		"resourceType": nil, "id": nil, "meta": nil, "implicitRules": nil, "modifierExtension": nil,
	}}}
	_, modifiers := summaryOf(resourceType)
	e, _ := Lookup(resourceType)
	s.root.addRequired(e)
	for _, name := range slices.Concat(names, modifiers) {
		s.root.add(e, []string{name})
	}
	return s
}

func (k *kept) addRequired(e Element) {
	for _, c := range e.Children() {
		if c.Required {
			k.members[c.Name] = nil
		}
	}
}

// add keeps the element that the path leads to: of a backbone element, the parts
// that other paths name and those it must have.
func (k *kept) add(e Element, path []string) {
	for _, c := range e.Children() {
		if c.Name != path[0] && c.Choice != path[0] {
			continue
		}
		below, had := k.members[c.Name]
		switch {
		case len(path) == 1 && !had:
			k.members[c.Name] = nil
		case len(path) > 1:
			if below == nil {
				below = &kept{members: map[string]*kept{"id": nil, "extension": nil, "modifierExtension": nil}}
				below.addRequired(c)
				k.members[c.Name] = below
			}
			below.add(c, path[1:])
		}
	}
}

type summaryLine struct {
	summary, modifiers []string
}

var summaries = sync.OnceValue(func() map[string]summaryLine {
	lines := make(map[string]summaryLine)
	for line := range strings.Lines(summaryText) {
		if name, rest, ok := strings.Cut(line, ":"); ok && line[0] != '#' {
			summary, modifiers, _ := strings.Cut(rest, "|")
			lines[name] = summaryLine{strings.Fields(summary), strings.Fields(modifiers)}
		}
	}
	return lines
})

func summaryOf(resourceType string) (summary, modifiers []string) {
	line := summaries()[resourceType]
	return line.summary, line.modifiers
}

// subsettedTag marks a resource that is not whole.
const subsettedTag = `{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}`

// Append appends the body with the elements of the subset only, in its order and
// its own text, marked as SUBSETTED in meta.tag.
func (s *Subset) Append(dst, body []byte) []byte {
	return s.root.appendObject(dst, body, true)
}

func (k *kept) appendObject(dst, object []byte, root bool) []byte {
	dst = append(dst, '{')
	first := true
	next := func() {
		if !first {
			dst = append(dst, ',')
		}
		first = false
	}
	tagged := false
	_ = eachMember(object, func(name []byte, start, end int) bool {
		below, ok := k.find(string(name))
		if !ok {
			return true
		}
		next()
		dst = append(appendQuoted(dst, name), ':')
		value := object[start:end]
		switch {
		case root && !tagged && string(name) == "meta":
			tagged = true
			dst = appendTagged(dst, value)
		case below == nil:
			dst = append(dst, value...)
		default:
			dst = below.appendValue(dst, value)
		}
		return true
	})
	if root && !tagged {
		next()
		dst = append(append(append(dst, `"meta":{"tag":[`...), subsettedTag...), `]}`...)
	}
	return append(dst, '}')
}

func (k *kept) appendValue(dst, value []byte) []byte {
	switch {
	case len(value) > 0 && value[0] == '{':
		return k.appendObject(dst, value, false)
	case len(value) > 0 && value[0] == '[':
		dst = append(dst, '[')
		n := 0
		_ = EachItem(value, func(item []byte) bool {
			if n++; n > 1 {
				dst = append(dst, ',')
			}
			dst = k.appendValue(dst, item)
			return true
		})
		return append(dst, ']')
	}
	return append(dst, value...)
}

// appendTagged appends the meta object with the mark among its tags.
func appendTagged(dst, meta []byte) []byte {
	list := -1 // just behind the tags' bracket
	any := false
	_ = eachMember(meta, func(name []byte, start, _ int) bool {
		any = true
		if string(name) == "tag" && meta[start] == '[' {
			list = start + 1
		}
		return list < 0
	})
	if list >= 0 {
		dst = append(append(dst, meta[:list]...), subsettedTag...)
		if at := skipBlanks(meta, list); at < len(meta) && meta[at] != ']' {
			dst = append(dst, ',')
		}
		return append(dst, meta[list:]...)
	}
	if len(meta) == 0 || meta[0] != '{' {
		return append(dst, meta...)
	}
	dst = append(append(append(dst, `{"tag":[`...), subsettedTag...), ']')
	if any {
		dst = append(dst, ',')
	}
	return append(dst, meta[1:]...)
}

// appendQuoted appends a member's name as JSON.
func appendQuoted(dst, name []byte) []byte {
	for _, c := range name {
		if c < ' ' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(string(name)) // a string: never fails
			return append(dst, quoted...)
		}
	}
	return append(append(append(dst, '"'), name...), '"')
}
