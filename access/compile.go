package access

import (
	"slices"
	"strings"

	"github.com/tributary-health/tributary/fhir"
)

// node is what a policy leaves of the objects of one FHIR type. Members are in
// FHIR's order, which is the order in which they are written.
type node struct {
	typ      string
	role     role
	index    map[string]int32
	members  []member
	tests    []*where      // bit n of a mask stands for tests[n]
	forced   []forced      // written whatever the object has, ascending
	required []requirement // ascending
	// Where roles find their members; -1 if there is none.
	url, reference, target, display, entry, emptyReason, text, code, meta, security, profile, contained int32
}

// role is what an object must be looked at for, beside its members.
type role uint8

const (
	plain role = iota
	extensionRole
	referenceRole
	sectionRole
	resourceRole
	metaRole
)

// member is one JSON member of an object.
type member struct {
	name    string
	quoted  []byte // with the colon
	scalar  bool
	list    bool
	sibling bool // holds a primitive's extensions
	any     bool // holds any resource
	node    *node
	hidden  bool
	when    uint64 // hidden too where one of these tests is true
	// Of references that do not say what they lead to.
	mayHide   bool // it may be a type that is hidden
	mayPerson bool
	modifier  bool // changes the meaning of the rest: never left out
	nested    bool // an extension's own extensions, whose URLs are relative
	contained bool
}

func (m *member) hiddenBy(tests uint64) bool { return m.hidden || m.when&tests != 0 }

// forced is a member that stands in for one that may have been there.
type forced struct {
	at     int32
	always bool
	when   uint64
	text   []byte // of the whole member; nil to leave it out
}

// requirement is a member, or a choice of members, of which R4 wants one: if none
// is written, text is.
type requirement struct {
	first, last int32
	always      bool
	when        uint64 // wanted only where one of these tests is true
	text        []byte
}

// maxTests is how many conditions of one FHIR type are told apart.
const maxTests = 64

// outside is a rule that reaches into a data type from where it is used.
type outside struct {
	steps []string
	where *where
	owner string // of the rule, and what of its path is behind
	done  []string
}

func (o outside) ruleText() string {
	return rule{owner: o.owner, steps: slices.Concat(o.done, o.steps)}.String()
}

// typeNode returns the compiled node of a resource type; nil if it may not be
// seen or is none.
func (p *Policy) typeNode(resourceType []byte) *node {
	r := p.roots[string(resourceType)]
	if r == nil {
		return nil
	}
	return r.get(p)
}

// get compiles the type when it is first asked for.
func (r *root) get(p *Policy) *node {
	r.once.Do(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		e, _ := fhir.Lookup(r.name)
		r.node = p.compile(e, nil)
	})
	return r.node
}

// compile makes the node of an element's type, with the rules that reach into it
// from outside.
func (p *Policy) compile(e fhir.Element, from []outside) *node {
	if from == nil {
		if n := p.compiled[e.Type]; n != nil {
			return n
		}
	}
	n := &node{typ: e.Type, index: map[string]int32{}}
	if from == nil {
		p.compiled[e.Type] = n // before its members: types nest in themselves
	}
	b := &builder{policy: p, node: n, rules: from}
	for _, r := range p.rules {
		if r.owner == e.Type {
			b.rules = append(b.rules, outside{r.steps, r.where, r.owner, nil})
		}
	}
	if e.Kind == fhir.ResourceKind {
		b.put(member{name: "resourceType", scalar: true})
		n.forced = append(n.forced, forced{0, true, 0, []byte(`"resourceType":"` + e.Type + `"`)})
	}
	for _, c := range e.Children() {
		if e.Type != "Meta" || metaMembers[c.Name] {
			b.element(c)
		}
	}
	b.finish(e)
	return n
}

// metaMembers are those that R4 has. The definitions come from a server's, which
// has more.
var metaMembers = map[string]bool{
	"id": true, "extension": true, "versionId": true, "lastUpdated": true, "source": true, "profile": true, "security": true, "tag": true,
}

// builder fills one node.
type builder struct {
	policy *Policy
	node   *node
	rules  []outside
}

func (b *builder) put(m member) int32 {
	at := int32(len(b.node.members))
	m.quoted = []byte(`"` + m.name + `":`)
	b.node.members = append(b.node.members, m)
	b.node.index[m.name] = at
	return at
}

// element adds an element's member and, of a primitive, its sibling.
func (b *builder) element(c fhir.Element) {
	p := b.policy
	m := member{name: c.Name, list: c.List, hidden: p.hidden[c.Type]}
	var inner []outside
	var masked []string
	isMasked := false
	for _, r := range b.rules {
		if r.steps[0] != c.Name && r.steps[0] != c.Choice {
			continue
		}
		if len(r.steps) > 1 {
			inner = append(inner, outside{r.steps[1:], r.where, r.owner, append(slices.Clone(r.done), r.steps[0])})
			continue
		}
		bit, ok := b.test(r.where)
		m.hidden, m.when = m.hidden || !ok, m.when|bit
		if parts, ok := known().masked[r.ruleText()]; ok {
			isMasked, masked = true, parts
		}
	}
	if parts, ok := known().masked[rule{owner: b.node.typ, steps: []string{c.Name}}.String()]; ok {
		isMasked, masked = true, parts
	}
	switch {
	case c.Kind == fhir.Primitive:
		m.scalar = true
	case c.Type == "Resource":
		m.any, m.contained = true, c.Name == "contained"
	default:
		m.node = p.compile(c, inner)
		m.modifier = c.Name == "modifierExtension"
		m.nested = b.node.typ == "Extension" && c.Name == "extension"
	}
	if c.Type == "Reference" {
		m.mayHide, m.mayPerson = b.mayName(c)
	}
	if c.Type == "Narrative" && p.hides {
		m.hidden = true
	}
	at := b.put(m)
	if c.Kind == fhir.Primitive && c.Name != "id" && c.Type != "xhtml" {
		element, _ := fhir.Lookup("Element")
		b.put(member{name: "_" + c.Name, list: c.List, sibling: true, hidden: m.hidden || b.node.typ == "Meta" && c.Name == "profile", when: m.when, node: p.compile(element, nil)})
	}
	if isMasked && c.Choice == "" && (m.hidden || m.when != 0) && !c.Required {
		b.node.forced = append(b.node.forced, forced{at, m.hidden, m.when, maskMember(c, masked, 0)})
	}
	if c.Required && c.Choice == "" {
		b.node.required = append(b.node.required, requirement{at, int32(len(b.node.members) - 1), true, 0, maskMember(c, masked, 0)})
	}
}

// mayName says what a reference without a type may lead to.
func (b *builder) mayName(c fhir.Element) (hidden, person bool) {
	p := b.policy
	if c.Targets == nil {
		return p.types != nil, true
	}
	for _, t := range c.Targets {
		hidden = hidden || !p.MaySee(t)
		person = person || isPerson(t)
	}
	return hidden, person
}

// isPerson reports whether what a reference of the type displays is a person's
// name.
func isPerson(resourceType string) bool {
	switch resourceType {
	case "Patient", "Practitioner", "PractitionerRole", "RelatedPerson", "Person":
		return true
	}
	return false
}

// test returns the bit of a condition; ok is false for none. A type with more
// conditions than there are bits hides without them.
func (b *builder) test(w *where) (bit uint64, ok bool) {
	if w == nil {
		return 0, false
	}
	text := w.String()
	at := slices.IndexFunc(b.node.tests, func(t *where) bool { return t.String() == text })
	if at < 0 {
		if at = len(b.node.tests); at == maxTests {
			return 0, false
		}
		b.node.tests = append(b.node.tests, w)
	}
	return 1 << at, true
}

// finish finds what the node's role needs, and adds choices that are required.
func (b *builder) finish(e fhir.Element) {
	n := b.node
	at := func(name string) int32 {
		if i, ok := n.index[name]; ok {
			return i
		}
		return -1
	}
	n.url, n.reference, n.target, n.display = at("url"), at("reference"), at("type"), at("display")
	n.entry, n.emptyReason, n.text, n.code = at("entry"), at("emptyReason"), at("text"), at("code")
	n.meta, n.security, n.profile, n.contained = at("meta"), at("security"), at("profile"), at("contained")
	switch {
	case e.Type == "Extension":
		n.role = extensionRole
	case e.Type == "Reference":
		n.role = referenceRole
	case e.Type == "Meta":
		n.role = metaRole
	case e.Type == "Composition.section":
		n.role = sectionRole
	case e.Kind == fhir.ResourceKind:
		n.role = resourceRole
	}
	b.choices(e)
	b.absentReason()
	slices.SortStableFunc(n.forced, func(x, y forced) int { return int(x.at - y.at) })
	slices.SortStableFunc(n.required, func(x, y requirement) int { return int(x.last - y.last) })
}

// choices adds the required ones. Which of a choice's types stands in does not
// depend on the one that was there.
func (b *builder) choices(e fhir.Element) {
	n := b.node
	seen := map[string]bool{}
	for _, c := range e.Children() {
		if c.Choice == "" || seen[c.Choice] {
			continue
		}
		seen[c.Choice] = true
		first, last := n.index[c.Name], n.index[c.Name]
		hidden, when := false, uint64(0)
		for _, other := range elements(e, c.Choice) {
			at := n.index[other.Name]
			hidden, when = hidden || n.members[at].hidden, when|n.members[at].when
			last = max(last, at)
			if n.members[at].scalar {
				last = max(last, at+1)
			}
		}
		text := maskMember(c, nil, 0)
		if c.Required {
			n.required = append(n.required, requirement{first, last, true, 0, text})
			continue
		}
		_, isMasked := known().masked[rule{owner: n.typ, steps: []string{c.Choice}}.String()]
		if isMasked && (hidden || when != 0) {
			n.required = append(n.required, requirement{first, last, hidden, when, text})
		}
	}
}

// absentReason lets an object that can say why it has no value say so, where a
// value may be hidden: whether there was one does not show.
func (b *builder) absentReason() {
	n := b.node
	reason, ok := n.index["dataAbsentReason"]
	if !ok {
		return
	}
	f := forced{at: reason, text: []byte(`"dataAbsentReason":` + maskedConcept)}
	for i := range n.members {
		if m := &n.members[i]; strings.HasPrefix(m.name, "value") || m.name == "dataAbsentReason" {
			f.always, f.when = f.always || m.hidden, f.when|m.when
		}
	}
	if f.always || f.when != 0 {
		n.forced = append(n.forced, f)
	}
}
