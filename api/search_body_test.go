package api_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tributary-health/tributary/api"
	"github.com/tributary-health/tributary/fhir"
)

// TestBodiesAgainstOracle holds random searches for texts of codes, for identifiers
// of a type and for those of references against the published expressions, evaluated on parsed
// resources.
func TestBodiesAgainstOracle(t *testing.T) {
	for _, seed := range []uint64{5, uint64(time.Now().UnixNano())} {
		m := maker{rand.New(rand.NewPCG(seed, 3))}
		o := newOracle(t)
		tells := map[string]int{}
		for _, typ := range fhir.SearchTypes() {
			t.Run(fmt.Sprint(typ, " ", seed), func(t *testing.T) { searchBodies(t, m, o, typ, tells) })
		}
		if tells["text"] < 50 || tells["identifier"] < 50 || tells["of-type"] < 50 {
			t.Errorf("searches that tell resources apart: %v", tells)
		}
	}
}

func searchBodies(t *testing.T, m maker, o *oracle, typ string, tells map[string]int) {
	store := newFakeStore()
	var all []object
	var ids []string
	for i := range 40 {
		id := fmt.Sprintf("r%02d", i)
		r := m.resource(typ, id, "p1")
		m.identify(r)
		body, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		store.write(1, "p1", fhir.ResourceID{Type: typ, ID: id}, body, time.Unix(1e9, 0))
		all, ids = append(all, parseObject(t, body)), append(ids, id)
	}
	handler := api.New(testConfig(store))
	for _, p := range fhir.SearchParams(typ) {
		if p.Note != "" || p.Kind != fhir.TokenParam && p.Kind != fhir.ReferenceParam {
			continue
		}
		if p.Name == "identifier" {
			searchOfType(t, handler, o, typ, all, tells)
		}
		for range 4 {
			modifier, value := "text", m.of("string")
			if p.Kind == fhir.ReferenceParam {
				modifier, value = "identifier", []string{"", "urn:s1|", "|", "urn:s2|"}[m.IntN(4)]+[]string{"c1", "c2"}[m.IntN(2)]
			} else {
				value = string([]rune(value)[:1+m.IntN(3)])
			}
			asked := fmt.Sprintf("/fhir/%s?_id=%s&%s:%s=%s&_count=1000", typ, strings.Join(ids, ","), p.Name, modifier, url.QueryEscape(escaper.Replace(value)))
			if modifier == "identifier" {
				asked = strings.ReplaceAll(asked, url.QueryEscape(`\|`), "|")
			}
			var want []string
			hasText := p.Kind == fhir.ReferenceParam
			for _, path := range p.Paths {
				e, _ := fhir.Lookup(typ, strings.Split(path, ".")...)
				hasText = hasText || slices.Contains([]string{"CodeableConcept", "Coding", "Identifier"}, e.Type)
			}
			if !hasText {
				if got := answerTo(t, handler, strings.TrimPrefix(asked, "/fhir/")); !strings.Contains(got, "modifier is not supported") {
					t.Errorf("%s: %s", asked, got)
				}
				continue
			}
			for _, r := range all {
				if o.matchesBody(r, p, modifier, value) {
					want = append(want, r["id"].(string))
				}
			}
			got := follow(t, handler, asked, len(want))
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Fatalf("%s\nfinds %v\nwant  %v", asked, got, want)
			}
			if len(want) > 0 && len(want) < len(all) {
				tells[modifier]++
			}
		}
	}
}

// searchOfType asks for the identifiers of the resources, each by its type's codings
// and by those of others.
func searchOfType(t *testing.T, handler http.Handler, o *oracle, typ string, all []object, tells map[string]int) {
	type ofType struct{ system, code, value string }
	var asked []ofType
	for _, r := range all {
		for _, v := range o.values(r, typ+".identifier") {
			identifier := v.(object)
			value, ok := identifier["value"].(string)
			kind, _ := identifier["type"].(object)
			codings, _ := kind["coding"].([]any)
			for _, c := range codings {
				system, ok1 := c.(object)["system"].(string)
				code, ok2 := c.(object)["code"].(string)
				if ok && ok1 && ok2 && len(asked) < 12 {
					asked = append(asked, ofType{system, strings.ToUpper(code), value}, ofType{"urn:s1", "c1", value})
				}
			}
		}
	}
	for _, a := range asked {
		var want []string
		for _, r := range all {
			if slices.ContainsFunc(o.values(r, typ+".identifier"), func(v any) bool {
				identifier := v.(object)
				value, _ := identifier["value"].(string)
				kind, _ := identifier["type"].(object)
				codings, _ := kind["coding"].([]any)
				return strings.EqualFold(value, a.value) && slices.ContainsFunc(codings, func(c any) bool {
					code, _ := c.(object)["code"].(string)
					return c.(object)["system"] == a.system && strings.EqualFold(code, a.code)
				})
			}) {
				want = append(want, r["id"].(string))
			}
		}
		query := fmt.Sprintf("/fhir/%s?identifier:of-type=%s&_total=accurate", typ, url.QueryEscape(escaper.Replace(a.system)+"|"+escaper.Replace(a.code)+"|"+escaper.Replace(a.value)))
		got := follow(t, handler, query, len(want))
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Fatalf("%s\nfinds %v\nwant  %v", query, got, want)
		}
		if len(want) > 0 {
			tells["of-type"]++
		}
	}
}

// identify gives some of the references below v an identifier, and a type.
func (m maker) identify(v any) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			m.identify(item)
		}
	case object:
		for _, below := range v {
			m.identify(below)
		}
		_, address := v["reference"].(string)
		if !address && v["display"] != "somebody" || m.IntN(3) == 0 {
			return
		}
		identifier := object{"value": []string{"c1", "C2"}[m.IntN(2)]}
		if m.IntN(3) > 0 {
			identifier["system"] = []string{"urn:s1", "urn:s2"}[m.IntN(2)]
		}
		v["identifier"] = identifier
		if m.IntN(3) == 0 {
			v["type"] = []string{"Patient", "Organization", "Device"}[m.IntN(3)]
		}
	}
}

// matchesBody is what R4 says of the modifiers :text and :identifier.
func (o *oracle) matchesBody(r object, p fhir.SearchParam, modifier, want string) bool {
	for _, v := range o.values(r, o.expressions[r["resourceType"].(string)+"?"+p.Name]) {
		if c, ok := v.(choice); ok {
			v = c.value
		}
		element, _ := v.(object)
		if modifier == "identifier" && matchesIdentifier(element, p, want) {
			return true
		}
		texts := []any{element["text"], element["display"]}
		if kind, ok := element["type"].(object); ok {
			texts = append(texts, kind["text"])
		}
		codings, _ := element["coding"].([]any)
		for _, coding := range codings {
			texts = append(texts, coding.(object)["display"])
		}
		for _, text := range texts {
			if s, ok := text.(string); ok && modifier == "text" && strings.HasPrefix(plain(s), plain(want)) {
				return true
			}
		}
	}
	return false
}

func matchesIdentifier(reference object, p fhir.SearchParam, want string) bool {
	identifier, ok := reference["identifier"].(object)
	if !ok {
		return false
	}
	typ, _ := reference["type"].(string)
	if address, ok := reference["reference"].(string); ok {
		address, _, _ = strings.Cut(address, "/_history/")
		parts := strings.Split(address, "/")
		typ = parts[len(parts)-2]
	}
	if typ != "" && p.Targets != nil && !slices.Contains(p.Targets, typ) {
		return false
	}
	system, value, barred := strings.Cut(want, "|")
	if !barred {
		return strings.EqualFold(identifier["value"].(string), want)
	}
	has, _ := identifier["system"].(string)
	return has == system && strings.EqualFold(identifier["value"].(string), value)
}
