package access

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tributary-health/tributary/fhir"
)

// The tests here take a resource, put secrets in every place where a datum may
// stand, in several ways (none, one, three, others), and want the client to see
// the same bytes each time, and none of the secrets.
//
// Where a datum stands is read from the datum, but found in a resource by other
// code than Redact's.

// planter writes secrets into a resource.
type planter struct {
	data    []*datum
	rules   []rule // of the data, and what no datum is looked for in
	random  *rand.Rand
	way     int // 0 none, 1 one, 2 three, 3 one of another kind
	pick    int // which of a choice's hidden types
	planted []string
}

func (p *planter) secret() string {
	s := fmt.Sprintf("zq%016xqz", p.random.Uint64())
	p.planted = append(p.planted, s)
	return s
}

func (p *planter) hides(owner string, e fhir.Element, object map[string]any) bool {
	if slices.ContainsFunc(p.data, func(d *datum) bool { return slices.Contains(d.types, e.Type) }) || e.Type == "Narrative" && owner != "Composition.section" {
		return true
	}
	return slices.ContainsFunc(p.rules, func(r rule) bool {
		return r.owner == owner && len(r.steps) == 1 && (r.steps[0] == e.Name || r.steps[0] == e.Choice) && (r.where == nil || asks(object, r.where))
	})
}

// asks reports whether an object holds the condition's coding.
func asks(object map[string]any, w *where) bool {
	var at any = object
	for _, step := range w.path[:len(w.path)-1] {
		m, _ := at.(map[string]any)
		at = m[step]
	}
	m, _ := at.(map[string]any)
	list, _ := m[w.path[len(w.path)-1]].([]any)
	return slices.ContainsFunc(list, func(item any) bool {
		c, _ := item.(map[string]any)
		return c["code"] == w.code && (w.system == "" || c["system"] == w.system)
	})
}

// plant overwrites an object of the type.
func (p *planter) plant(object map[string]any, e fhir.Element, depth int) {
	owner := e.Type
	done := map[string]bool{}
	if owner == "Coding" || owner == "Extension" && depth > 4 {
		return
	}
	for _, c := range e.Children() {
		switch {
		case p.hides(owner, c, object):
			delete(object, c.Name)
			delete(object, "_"+c.Name)
			if c.Choice != "" && done[c.Choice] || p.way == 0 || c.Choice != "" && !p.picks(e, c, object) {
				continue
			}
			done[c.Choice] = true
			p.put(object, c)
		case c.Type == "Reference" || c.Kind == fhir.Primitive && c.Type != "xhtml" && object[c.Name] == nil:
			p.reference(object, c, depth)
		case c.Kind == fhir.Complex || c.Kind == fhir.Backbone:
			p.below(object, c, depth)
		}
	}
	if owner == "Composition.section" {
		if object["text"] = map[string]any{"status": "generated", "div": "<div>" + p.secret() + "</div>"}; p.way == 0 {
			delete(object, "text")
		}
	}
	p.extensions(object, e, depth)
}

// picks says whether the element is the one of its choice that is planted.
func (p *planter) picks(e, c fhir.Element, object map[string]any) bool {
	group := elements(e, c.Choice)
	if p.way == 3 {
		return group[len(group)-1].Name == c.Name
	}
	group = slices.DeleteFunc(group, func(c fhir.Element) bool { return !p.hides(e.Type, c, object) })
	return group[p.pick%len(group)].Name == c.Name
}

// put sets a hidden element.
func (p *planter) put(object map[string]any, c fhir.Element) {
	n := []int{0, 1, 3, 1}[p.way]
	var items []any
	for range n {
		items = append(items, p.value(c, 0))
	}
	switch {
	case c.List:
		object[c.Name] = items
	default:
		object[c.Name] = items[0]
	}
	if c.Kind == fhir.Primitive && p.way == 3 {
		about := any(map[string]any{"extension": []any{map[string]any{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueString": p.secret()}}})
		if c.List {
			about = []any{about}
		}
		object["_"+c.Name] = about
	}
}

// value is an instance of a type, every text of which is a secret.
func (p *planter) value(c fhir.Element, depth int) any {
	if c.Kind == fhir.Primitive {
		switch c.Type {
		case "boolean":
			return true
		case "decimal", "integer", "positiveInt", "unsignedInt":
			return 7
		}
		return p.secret()
	}
	m := map[string]any{}
	if c.Type == "Reference" {
		return map[string]any{"reference": "Patient/" + p.secret(), "display": p.secret()}
	}
	if depth > 2 {
		return map[string]any{"id": p.secret()}
	}
	for i, part := range c.Children() {
		if part.Name == "extension" || part.Type == "Extension" || part.Type == "Resource" || p.way == 3 && i%2 == 0 {
			continue
		}
		v := p.value(part, depth+1)
		if part.List {
			v = []any{v}
		}
		m[part.Name] = v
	}
	return m
}

// reference plants what a reference and a primitive may hold beside what is seen.
func (p *planter) reference(object map[string]any, c fhir.Element, depth int) {
	if c.Kind == fhir.Primitive {
		if p.way == 2 && c.Name != "id" && depth < 2 && !c.Required && object["_"+c.Name] == nil {
			about := any(map[string]any{"extension": []any{map[string]any{"url": "http://example.org/other", "valueString": p.secret()}}})
			if c.List {
				about = []any{nil, about}
			}
			object["_"+c.Name] = about
		}
		return
	}
	each(object[c.Name], func(m map[string]any) {
		if slices.ContainsFunc(p.data, func(d *datum) bool { return slices.Contains(d.types, "Identifier") }) {
			if delete(m, "identifier"); p.way > 0 {
				m["identifier"] = map[string]any{"value": p.secret()}
			}
		}
		typ, _, _ := strings.Cut(fmt.Sprint(m["reference"]), "/")
		if slices.ContainsFunc(p.data, func(d *datum) bool { return d.persons }) && isPerson(typ) {
			if delete(m, "display"); p.way > 0 {
				m["display"] = p.secret()
			}
		}
	})
}

func each(v any, fn func(map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		fn(v)
	case []any:
		for _, item := range v {
			each(item, fn)
		}
	}
}

// below goes on in an element that is there, and puts one that holds nothing but
// secrets where none is.
func (p *planter) below(object map[string]any, c fhir.Element, depth int) {
	if c.Name == "extension" || c.Name == "modifierExtension" || c.Name == "meta" {
		return
	}
	if object[c.Name] != nil {
		each(object[c.Name], func(m map[string]any) { p.plant(m, c, depth+1) })
		p.inner(object, c)
		return
	}
	if depth > 1 || c.Required || c.Choice != "" {
		return
	}
	only := map[string]any{}
	for _, part := range c.Children() {
		if p.hides(c.Type, part, only) && p.way > 0 && part.Choice == "" && part.Type != "Narrative" {
			p.put(only, part)
		}
	}
	if len(only) == 0 {
		return
	}
	if object[c.Name] = only; c.List {
		object[c.Name] = []any{only, only}
	}
}

// inner plants by rules that reach into a data type.
func (p *planter) inner(object map[string]any, c fhir.Element) {
	owner, _, _ := strings.Cut(c.Path, "."+c.Name)
	for _, r := range p.rules {
		if r.owner != owner || len(r.steps) < 2 || r.steps[0] != c.Name {
			continue
		}
		each(object[c.Name], func(m map[string]any) {
			at, e := m, c
			for _, step := range r.steps[1 : len(r.steps)-1] {
				next, _ := at[step].(map[string]any)
				if next == nil {
					return
				}
				at, e = next, mustChild(e, step)
			}
			step := r.steps[len(r.steps)-1]
			if delete(at, step); p.way > 0 {
				p.put(at, mustChild(e, step))
			}
		})
	}
}

func mustChild(e fhir.Element, name string) fhir.Element {
	c, ok := e.Child(name)
	if !ok {
		panic(e.Type + "." + name)
	}
	return c
}

// extensions plants extensions that hold data, and ones that may hold anything.
func (p *planter) extensions(object map[string]any, e fhir.Element, depth int) {
	list, _ := object["extension"].([]any)
	var kept []any
	for _, item := range list {
		m, _ := item.(map[string]any)
		url, _ := m["url"].(string)
		if !slices.ContainsFunc(p.data, func(d *datum) bool { return slices.Contains(d.extensions, url) }) {
			kept = append(kept, item)
		}
	}
	if _, may := e.Child("extension"); may && p.way > 0 && e.Kind != fhir.Primitive && e.Type != "Extension" {
		kept = append(kept, map[string]any{"url": "http://example.org/anything", "valueString": p.secret()})
		for _, d := range p.data {
			for _, url := range d.extensions {
				kept = append(kept, map[string]any{"url": url, "valueCode": p.secret()})
			}
			for _, typ := range d.types {
				if c, ok := mustLookup("Extension").Child("value" + typ); ok && p.way > 1 {
					kept = append(kept, map[string]any{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", c.Name: p.value(c, 1)})
				}
			}
		}
	}
	if delete(object, "extension"); len(kept) > 0 {
		object["extension"] = kept
	}
}

// contain adds a contained resource that is seen but for its secrets.
func (p *planter) contain(object map[string]any, typ string) {
	e := mustLookup(typ)
	if _, ok := e.Child("contained"); !ok {
		return
	}
	inner := map[string]any{"resourceType": "Patient", "id": "in", "gender": "female", "name": []any{map[string]any{"family": "Poe"}}}
	p.plant(inner, mustLookup("Patient"), 0)
	object["contained"] = []any{inner}
}

// variants are ways to write a resource that differ only in what is hidden.
func variants(t *testing.T, data []*datum, s sample) (bodies [][]byte, planted []string) {
	for i, how := range []struct{ way, pick int }{{0, 0}, {1, 0}, {2, 0}, {3, 0}, {1, 1}, {1, 2}} {
		way := how.way
		var object map[string]any
		if err := json.Unmarshal(s.body, &object); err != nil {
			t.Fatal(err)
		}
		p := &planter{data: data, rules: known().opaque, random: rand.New(rand.NewPCG(uint64(i), 1)), way: way, pick: how.pick}
		for _, d := range data {
			p.rules = append(slices.Clone(p.rules), d.rules...)
		}
		claims(object, data, way)
		if delete(object["meta"].(map[string]any), "source"); way > 0 && p.hides("Meta", mustChild(mustLookup("Meta"), "source"), nil) {
			object["meta"].(map[string]any)["source"] = p.secret()
		}
		p.plant(object, mustLookup(s.typ), 0)
		p.contain(object, s.typ)
		body, err := json.MarshalIndent(object, strings.Repeat(" ", i), "\t")
		if err != nil {
			t.Fatal(err)
		}
		bodies, planted = append(bodies, body), append(planted, p.planted...)
	}
	return bodies, planted
}

// claims adds and takes away the profiles that tell of a datum.
func claims(object map[string]any, data []*datum, way int) {
	meta, _ := object["meta"].(map[string]any)
	if meta == nil {
		meta = map[string]any{}
		object["meta"] = meta
	}
	list, _ := meta["profile"].([]any)
	var kept []any
	for _, item := range list {
		if !slices.ContainsFunc(data, func(d *datum) bool {
			return slices.ContainsFunc(d.profiles, func(p string) bool { return profileMatches(p, item.(string)) })
		}) {
			kept = append(kept, item)
		}
	}
	for _, d := range data {
		for _, p := range d.profiles {
			if way > 0 {
				kept = append(kept, strings.TrimSuffix(p, "*")+"|2.0.0")
			}
		}
	}
	if delete(meta, "profile"); len(kept) > 0 {
		meta["profile"] = kept
	}
}

// interferes says how hidden content shows through a policy; empty if it does not.
func interferes(t *testing.T, p *Policy, data []*datum, s sample) string {
	bodies, planted := variants(t, data, s)
	first := ""
	for way, body := range bodies {
		out, err := p.Redact(nil, s.typ, body)
		if err != nil {
			t.Fatalf("%s: %v: %s", s.name, err, body)
		}
		for _, secret := range planted {
			if strings.Contains(string(out), secret) {
				return fmt.Sprintf("%s: a secret shows, way %d\nin   %s\nseen %s", s.name, way, body, out)
			}
		}
		if way == 0 {
			first = string(out)
		} else if string(out) != first {
			return fmt.Sprintf("%s: ways 0 and %d differ\nseen %s\nand  %s", s.name, way, first, out)
		}
	}
	if len(planted) < 5 {
		return s.name + ": nothing was planted"
	}
	return ""
}

// bases are the sample resources and, for every resource type of R4, one that has
// what R4 requires and an object in each backbone element.
func bases(t *testing.T) []sample {
	all := samples(t)
	for _, typ := range fhir.ResourceTypes() {
		object := required(mustLookup(typ), 0)
		object["resourceType"] = typ
		body, _ := json.Marshal(object)
		all = append(all, sample{"generated " + typ, typ, body})
	}
	for _, name := range known().names {
		for _, r := range known().data[name].rules {
			if r.where != nil && r.owner == "Observation" && r.steps[0] == "value" {
				all = append(all, sample{"an answer of " + name, "Observation", []byte(`{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"` + r.where.system + `","code":"` + r.where.code + `"}]}}`)})
			}
		}
	}
	for _, typ := range []string{"Claim", "ExplanationOfBenefit"} {
		for _, code := range []string{"pickuplocation", "dropofflocation", "medicalrecordnumber", "patientaccountnumber"} {
			all = append(all, sample{"a claim's " + code, typ, []byte(`{"resourceType":"` + typ + `","supportingInfo":[{"sequence":1,"category":{"coding":[{"code":"` + code + `"}]}}]}`)})
		}
	}
	return all
}

// required is an object of the type with what must be in it and, near its root,
// every object that may be.
func required(e fhir.Element, depth int) map[string]any {
	object := map[string]any{}
	seen := map[string]bool{}
	for _, c := range e.Children() {
		near := depth < 3 && (c.Kind == fhir.Backbone || c.Type == "CodeableConcept" || c.Type == "Attachment" || c.Type == "Annotation" || c.Type == "Dosage") && c.Type != e.Type
		if !c.Required && !near || c.Choice != "" && seen[c.Choice] || depth > 5 {
			continue
		}
		seen[c.Choice] = c.Choice != ""
		var v any
		switch c.Kind {
		case fhir.Primitive:
			v = map[string]any{"boolean": true, "decimal": 1, "integer": 1, "positiveInt": 1, "unsignedInt": 1}[c.Type]
			if v == nil {
				v = "seen"
			}
		case fhir.Abstract:
			continue
		default:
			inner := required(c, depth+1)
			switch c.Type {
			case "CodeableConcept":
				inner["coding"] = []any{map[string]any{"code": "seen"}}
			case "Reference":
				inner["reference"] = "Organization/1"
			case "Attachment":
				inner["contentType"] = "text/plain"
			}
			if len(inner) == 0 && c.Kind == fhir.Backbone {
				inner["id"] = "near"
			}
			if len(inner) == 0 {
				continue
			}
			v = inner
		}
		if c.List {
			v = []any{v}
		}
		object[c.Name] = v
	}
	return object
}

func dataNamed(names ...string) (all []*datum) {
	for _, name := range names {
		all = append(all, known().data[name])
	}
	return all
}

func policyHiding(data []*datum) *Policy {
	var m meaning
	for _, d := range data {
		m.hide = append(m.hide, hiding{datum: d})
	}
	return newPolicy(m)
}

func TestHiddenDoesNotShow(t *testing.T) {
	sets := [][]*datum{dataNamed("address", "telephone", "identifiers", "notes"), dataNamed("names", "photo", "sex")}
	for _, name := range known().names {
		sets = append(sets, dataNamed(name))
	}
	every := bases(t)
	for i, data := range sets {
		all := every
		if i > 0 {
			all = few(every)
		}
		p := policyHiding(data)
		failed := 0
		for _, s := range all {
			if how := interferes(t, p, data, s); how != "" {
				if failed++; failed < 4 {
					t.Errorf("%v: %.3000s", names(data), how)
				}
			}
		}
		if failed > 0 {
			t.Errorf("%v: %d of %d resources", names(data), failed, len(all))
		}
	}
}

func names(data []*datum) (all []string) {
	for _, d := range data {
		all = append(all, d.name)
	}
	return all
}

// TestEveryRuleIsNeeded leaves out one part of a datum at a time: the check above
// must see it.
func TestEveryRuleIsNeeded(t *testing.T) {
	all := few(bases(t))
	n := 0
	for _, name := range known().names {
		whole := known().data[name]
		for _, less := range withoutOne(whole) {
			n++
			p := policyHiding([]*datum{less})
			if !slices.ContainsFunc(likely(all, less.about), func(s sample) bool { return interferes(t, p, []*datum{whole}, s) != "" }) {
				t.Errorf("%s: nothing shows without %s", name, less.about)
			}
		}
	}
	if n < 80 {
		t.Errorf("only %d parts of data were left out", n)
	}
}

// few are one sample of each type, and all that were generated.
func few(all []sample) (some []sample) {
	seen := map[string]bool{}
	for _, s := range all {
		if _, isCase, _ := strings.Cut(s.name, ".txtar "); isCase == "" || !seen[s.typ] {
			some = append(some, s)
			seen[s.typ] = seen[s.typ] || isCase != ""
		}
	}
	return some
}

// likely puts the resources first that the part left out is about.
func likely(all []sample, part string) []sample {
	var first, rest []sample
	for _, s := range all {
		if strings.Contains(part, s.typ+".") {
			first = append(first, s)
		} else {
			rest = append(rest, s)
		}
	}
	return append(first, rest...)
}

// withoutOne are copies of the datum that lack one part, which about names.
func withoutOne(d *datum) (all []*datum) {
	cut := func(what string, change func(*datum)) {
		c := *d
		c.types, c.rules, c.extensions, c.profiles = slices.Clone(d.types), slices.Clone(d.rules), slices.Clone(d.extensions), slices.Clone(d.profiles)
		c.about = what
		change(&c)
		all = append(all, &c)
	}
	for i, typ := range d.types {
		cut("type "+typ, func(c *datum) { c.types = slices.Delete(c.types, i, i+1) })
	}
	for i, r := range d.rules {
		if !covered(d, r) {
			cut("path "+r.String(), func(c *datum) { c.rules = slices.Delete(c.rules, i, i+1) })
		}
	}
	for i, url := range d.extensions {
		if slices.Contains(known().extensions, url) && !(d.name == "address") {
			cut("extension "+url, func(c *datum) { c.extensions = slices.Delete(c.extensions, i, i+1) })
		}
	}
	for i, p := range d.profiles {
		cut("profile "+p, func(c *datum) { c.profiles = slices.Delete(c.profiles, i, i+1) })
	}
	if d.persons {
		cut("persons", func(c *datum) { c.persons = false })
	}
	return all
}

// covered reports whether another part of the datum hides the rule's element too.
func covered(d *datum, r rule) bool {
	if r.owner == "Observation.component" || r.where != nil && r.steps[0] != "value" {
		return true // an answer's other parts
	}
	without := *d
	without.rules = nil
	return without.covers(r)
}

// TestHiddenTypesDoNotShow: a client that may not see a type does not learn from
// the rest whether there is any of it.
func TestHiddenTypesDoNotShow(t *testing.T) {
	p := policyOf(t, "types: [Patient, Composition, MedicationRequest, Immunization, Organization]")
	same := func(typ, a, b string) {
		t.Helper()
		if x, y := redact(t, p, typ, []byte(a)), redact(t, p, typ, []byte(b)); x != y || strings.Contains(x, "Allergy") && strings.Contains(x, "zq") {
			t.Errorf("the client sees\n%s\nand\n%s", x, y)
		}
	}
	section := func(rest string) string {
		return `{"resourceType":"Composition","title":"t","section":[{"title":"Allergies","code":{"coding":[{"system":"http://loinc.org","code":"48765-2"}]}` + rest + `}]}`
	}
	none := section(`,"emptyReason":{"text":"none"}`)
	same("Composition", none, section(`,"text":{"status":"generated","div":"<div>Mould</div>"},"entry":[{"reference":"AllergyIntolerance/1","display":"Mould"}]`))
	same("Composition", none, section(`,"entry":[{"reference":"AllergyIntolerance/1"},{"reference":"AllergyIntolerance/2"}]`))
	same("Composition", none, section(`,"entry":[{"display":"Mould"}]`))
	same("Composition", none, section(`,"entry":[{"identifier":{"value":"1"},"type":"AllergyIntolerance"}]`))
	same("MedicationRequest", `{"resourceType":"MedicationRequest","status":"active"}`, `{"resourceType":"MedicationRequest","status":"active","encounter":{"reference":"Encounter/1","display":"A visit"},
		"reasonReference":[{"reference":"Condition/1"},{"display":"a condition"}],"requester":{"reference":"Practitioner/1"},"contained":[{"resourceType":"Condition","id":"c"}],"supportingInformation":[{"reference":"#c"}]}`)
	same("MedicationRequest", `{"resourceType":"MedicationRequest","subject":{"reference":"Group/1"}}`, `{"resourceType":"MedicationRequest","subject":{"reference":"Device/2","display":"x"}}`)
}

// TestEveryPlaceIsDocumented: docs/access.md names every part of every datum.
func TestEveryPlaceIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/access.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range known().names {
		d := known().data[name]
		parts := slices.Concat([]string{"`" + name + "`"}, d.types)
		for _, url := range slices.Concat(d.extensions, d.profiles) {
			parts = append(parts, url[strings.LastIndexByte(url, '/')+1:])
		}
		for _, r := range d.rules {
			if r.where == nil {
				parts = append(parts, r.owner+"."+strings.Join(r.steps, "."))
			} else {
				parts = append(parts, r.where.code)
			}
		}
		for _, part := range parts {
			if !strings.Contains(string(text), part) {
				t.Errorf("docs/access.md does not name %s of %s", part, name)
			}
		}
	}
}
