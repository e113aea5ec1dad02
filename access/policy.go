package access

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/tributary-health/tributary/fhir"
)

// redaction is the number of the way in which Redact writes: with another one
// every projection is made again.
const redaction = 1

// Policy is what one client may see. It is immutable and may be used
// concurrently.
type Policy struct {
	id        string
	types     map[string]bool     // nil: all
	members   map[string]struct{} // nil: all
	membersID string
	hides     bool // some element, or some type: what cannot be looked into goes
	rules     []rule
	hidden    map[string]bool // data types
	hiddenURL map[string]bool // extensions
	shownURL  map[string]bool
	profiles  []string
	unclaimed map[string]bool // types that claim no profile at all
	persons   bool
	sections  map[string]bool // section codes of which the client may see everything

	roots    map[string]*root // by resource type; immutable
	mu       sync.Mutex       // guards compiled while a type is compiled
	compiled map[string]*node // by type, of those without rules from outside
}

// root is a resource type, compiled when it is first met.
type root struct {
	name string
	once sync.Once
	node *node
}

// meaning is what a policy is made from.
type meaning struct {
	types   []string // nil: all
	hide    []hiding
	members map[string]struct{} // nil: all
}

// hiding is a datum or a rule of one element.
type hiding struct {
	datum *datum
	rule  rule
}

func (h hiding) String() string {
	if h.datum != nil {
		return "datum " + h.datum.String()
	}
	return "path " + h.rule.String()
}

// Terms are what a policy is made of, as in a clients file. A nil list of types or
// members stands for all of them.
type Terms struct {
	Types   []string
	Hide    []string // names of data, or paths of elements
	Members []string // logical ids of Patients
}

// NewPolicy returns the policy of the terms. The error is the first of their
// faults.
func NewPolicy(t Terms) (*Policy, error) {
	m := meaning{types: t.Types}
	for _, typ := range t.Types {
		if !fhir.IsResource(typ) {
			return nil, fmt.Errorf("access: policy: R4 has no resource type %q", typ)
		}
	}
	for _, name := range t.Hide {
		if d := known().data[name]; d != nil {
			m.hide = append(m.hide, hiding{datum: d})
			continue
		}
		r, f := parsePath(name)
		if f == nil {
			f = r.hideable(name)
		}
		if f != nil {
			return nil, fmt.Errorf("access: policy: hide: %s", f.what)
		}
		m.hide = append(m.hide, hiding{rule: r})
	}
	if t.Members != nil {
		m.members = make(map[string]struct{}, len(t.Members))
		for _, id := range t.Members {
			m.members[id] = struct{}{}
		}
	}
	return newPolicy(m), nil
}

var everything = sync.OnceValue(func() *Policy { return newPolicy(meaning{}) })

// Everything returns the policy that hides nothing of anybody.
func Everything() *Policy { return everything() }

func newPolicy(m meaning) *Policy {
	p := &Policy{
		members: m.members, hides: m.types != nil || len(m.hide) > 0, compiled: map[string]*node{},
		hidden: map[string]bool{}, hiddenURL: map[string]bool{}, shownURL: map[string]bool{}, sections: map[string]bool{}, unclaimed: map[string]bool{}, roots: map[string]*root{},
	}
	if m.types != nil {
		p.types = make(map[string]bool, len(m.types))
		for _, t := range m.types {
			p.types[t] = true
		}
	}
	for _, h := range m.hide {
		if h.datum == nil {
			p.rules = append(p.rules, h.rule)
			p.unclaim(h.rule)
			continue
		}
		if known().data[h.datum.name] == nil {
			for _, r := range h.datum.rules {
				p.unclaim(r)
			}
		}
		p.rules = append(p.rules, h.datum.rules...)
		for _, t := range h.datum.types {
			p.hidden[t] = true
		}
		for _, url := range h.datum.extensions {
			p.hiddenURL[url] = true
		}
		p.profiles = append(p.profiles, h.datum.profiles...)
		p.persons = p.persons || h.datum.persons
	}
	if p.hides {
		p.rules = append(p.rules, known().opaque...)
	}
	for _, url := range known().extensions {
		p.shownURL[url] = true
	}
	for code, types := range known().sections {
		p.sections[code] = !slices.ContainsFunc(types, func(t string) bool { return !p.MaySee(t) })
	}
	for _, t := range fhir.ResourceTypes() {
		if p.MaySee(t) {
			p.roots[t] = &root{name: t}
		}
	}
	p.id = m.id()
	p.membersID = membersID(m.members)
	return p
}

// unclaim notes that resources of a type may miss what a profile requires, by a
// rule that is not the catalogue's.
func (p *Policy) unclaim(r rule) {
	if r.where == nil && slices.ContainsFunc(known().required, r.touches) {
		typ, _, _ := strings.Cut(r.owner, ".")
		p.unclaimed[typ] = true
	}
}

// id is a hash of what the policy means: the same for all clients that may see
// the same, whatever the order in their file.
func (m meaning) id() string {
	types := "all types"
	if m.types != nil {
		types = strings.Join(sorted(m.types), " ")
	}
	hide := make([]string, len(m.hide))
	for i, h := range m.hide {
		hide[i] = h.String()
	}
	members := "all members"
	if m.members != nil {
		members = "listed members"
	}
	text := fmt.Sprintf("redaction %d\ncatalogue %s\n%s\n%s\n%s\n", redaction, known().version, types, members, strings.Join(sorted(hide), "\n"))
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}

func membersID(members map[string]struct{}) string {
	if members == nil {
		return ""
	}
	ids := make([]string, 0, len(members))
	for id := range members {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	sum := sha256.Sum256([]byte(strings.Join(ids, "\n")))
	return hex.EncodeToString(sum[:16])
}

// ID is a hash of what the policy means: types, rules, the catalogue they were
// taken from, and whether members are listed. Not of which members: they come and
// go. It names no client.
func (p *Policy) ID() string { return p.id }

// MembersID is a hash of the listed members; empty if there is no list.
func (p *Policy) MembersID() string { return p.membersID }

// Whole reports whether the policy hides nothing of anybody.
func (p *Policy) Whole() bool { return !p.hides && p.members == nil }

// MaySee reports whether resources of the type may be seen at all.
func (p *Policy) MaySee(resourceType string) bool { return p.types == nil || p.types[resourceType] }

// MayKnow reports whether a member, by the logical id of its Patient, may be
// known. What all members share, "", always may.
func (p *Policy) MayKnow(member string) bool {
	if p.members == nil || member == "" {
		return true
	}
	_, ok := p.members[member]
	return ok
}

// Members returns how many members are listed; ok is false if all may be known.
func (p *Policy) Members() (n int, ok bool) { return len(p.members), p.members != nil }
