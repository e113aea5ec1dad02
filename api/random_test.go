package api_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tributary-health/tributary/api"
	"github.com/tributary-health/tributary/fhir"
)

// pools are the values that random resources and random searches are made of:
// few, so that they meet, and such as are easily taken for one another.
var pools = map[string][]string{
	"string":   {"Ana", "ANA  maria", "Zoë", "zoe x", "Muñoz, Jr.", "munoz", "Straße 1", "STRASSE", "Sørensen|b", `a\b`, "01101"},
	"code":     {"c1", "C1", "c2", "c,3", "c|4", "8480-6"},
	"system":   {"urn:s1", "urn:s2", "http://loinc.org"},
	"date":     {"2020", "2020-02", "2020-02-29", "2020-03-01", "2019-12-31", "1999"},
	"dateTime": {"2020", "2020-02", "2020-02-29", "2020-02-29T23:30:00-05:00", "2020-03-01T04:30:00Z", "2020-03-01T04:30:00.250Z", "2020-03-01T04:29:59+01:00", "2019-12-31"},
	"instant":  {"2020-02-29T23:30:00-05:00", "2020-03-01T04:30:00Z", "2020-03-01T04:30:00.250Z"},
	"decimal":  {"5.4", "5.40", "5.44", "5.35", "5", "-1.0", "120", "0.001"},
	"prefix":   {"", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"},
	"id":       {"p1", "p2", "x1", "x2", "x3"},
}

type maker struct{ *rand.Rand }

func (m maker) of(pool string) string { return pools[pool][m.IntN(len(pools[pool]))] }

// resource makes a resource of the type in a member's record: a random choice of
// its elements.
func (m maker) resource(typ, id, member string) object {
	e, _ := fhir.Lookup(typ)
	r := m.object(e, 0)
	r["resourceType"], r["id"], r["meta"] = typ, id, object{}
	for _, p := range fhir.SearchParams(typ) {
		if p.Member && !strings.Contains(p.Paths[0], ".") {
			r[p.Paths[0]] = object{"reference": "Patient/" + member}
			if typ == "Provenance" {
				r[p.Paths[0]] = []any{object{"reference": "Patient/" + member}}
			}
		}
	}
	var extensions []any
	for _, url := range []string{"http://hl7.org/fhir/StructureDefinition/condition-assertedDate", "urn:other"} {
		if m.IntN(3) == 0 {
			extensions = append(extensions, object{"url": url, "valueDateTime": m.of("dateTime")})
		}
	}
	for _, name := range []string{"race", "ethnicity"} {
		if m.IntN(3) == 0 {
			extensions = append(extensions, object{"url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-" + name,
				"extension": []any{object{"url": "ombCategory", "valueCoding": object{"system": m.of("system"), "code": m.of("code")}}, object{"url": "text", "valueString": "c1"}}})
		}
	}
	if m.IntN(3) == 0 {
		extensions = append(extensions, object{"url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-genderIdentity",
			"valueCodeableConcept": object{"coding": []any{object{"system": m.of("system"), "code": m.of("code")}}}})
	}
	if len(extensions) > 0 {
		r["extension"] = extensions
	}
	return r
}

func (m maker) object(e fhir.Element, depth int) object {
	r := object{}
	chosen := map[string]bool{}
	children := slices.Clone(e.Children())
	m.Shuffle(len(children), func(i, j int) { children[i], children[j] = children[j], children[i] })
	for _, c := range children {
		if c.Kind == fhir.Abstract || c.Type == "Extension" || c.Type == "Meta" || c.Type == "Narrative" || c.Name == "id" || c.Name == "contained" {
			continue
		}
		if depth > 4 || depth > 0 && m.IntN(3) == 0 || depth == 0 && m.IntN(2) == 0 {
			continue
		}
		if c.Choice != "" {
			if chosen[c.Choice] {
				continue
			}
			chosen[c.Choice] = true
		}
		if !c.List {
			if v := m.value(c, depth); v != nil {
				r[c.Name] = v
			}
			continue
		}
		var items []any
		for range 1 + m.IntN(2) {
			if v := m.value(c, depth); v != nil {
				items = append(items, v)
			}
		}
		if len(items) > 0 {
			r[c.Name] = items
		}
	}
	return r
}

func (m maker) value(e fhir.Element, depth int) any {
	switch e.Type {
	case "string", "markdown":
		return m.of("string")
	case "boolean":
		return m.IntN(2) == 0
	case "code":
		if len(e.Codes) > 0 {
			return e.Codes[m.IntN(min(3, len(e.Codes)))]
		}
		return m.of("code")
	case "uri":
		return m.of("system")
	case "date", "dateTime", "instant":
		return m.of(e.Type)
	case "decimal":
		return json.Number(m.of("decimal"))
	case "Period":
		start, end := m.of("dateTime"), m.of("dateTime")
		p := object{}
		if m.IntN(3) > 0 {
			p["start"] = start
		}
		a, _ := spanOf(start)
		if b, _ := spanOf(end); m.IntN(2) == 0 && b.high.After(a.low) {
			p["end"] = end
		}
		return p
	case "Reference":
		target := "Organization"
		if len(e.Targets) > 0 {
			target = e.Targets[m.IntN(len(e.Targets))]
		}
		return []any{
			object{"reference": target + "/" + m.of("id")}, object{"reference": target + "/" + m.of("id")},
			object{"reference": target + "/" + m.of("id") + "/_history/2"},
			object{"reference": "https://elsewhere.example/fhir/" + target + "/x1"}, object{"display": "somebody"},
		}[m.IntN(5)]
	}
	if e.Kind == fhir.Primitive {
		return nil
	}
	if o := m.object(e, depth+1); len(o) > 0 {
		return o
	}
	return nil
}

// clause makes a search by the parameter, and the query that asks for it.
func (m maker) clause(p fhir.SearchParam) (clause, string) {
	c := clause{param: p}
	name := p.Name
	if m.IntN(8) == 0 {
		c.modifier, c.values = "missing", []string{[]string{"true", "false"}[m.IntN(2)]}
		return c, name + ":missing=" + c.values[0]
	}
	switch {
	case p.Kind == fhir.TokenParam && m.IntN(4) == 0:
		c.modifier = "not"
	case p.Kind == fhir.StringParam && m.IntN(2) == 0:
		c.modifier = []string{"exact", "contains"}[m.IntN(2)]
	case p.Kind == fhir.ReferenceParam && len(p.Targets) > 0 && m.IntN(4) == 0:
		c.modifier = p.Targets[m.IntN(len(p.Targets))]
	}
	if c.modifier != "" {
		name += ":" + c.modifier
	}
	var raw []string
	for range 1 + m.IntN(2)*m.IntN(3) {
		value, sent := m.wanted(p, c.modifier)
		c.values = append(c.values, value)
		raw = append(raw, sent)
	}
	return c, name + "=" + url.QueryEscape(strings.Join(raw, ","))
}

var escaper = strings.NewReplacer(`\`, `\\`, `,`, `\,`, `|`, `\|`, `$`, `\$`)

// wanted makes one value, as it is meant and as it is sent.
func (m maker) wanted(p fhir.SearchParam, modifier string) (value, sent string) {
	switch p.Kind {
	case fhir.TokenParam:
		return m.wantedToken(p)
	case fhir.StringParam:
		value = m.of("string")
		if modifier != "exact" {
			from := m.IntN(2) * m.IntN(3)
			value = string([]rune(value)[from:min(len([]rune(value)), from+1+m.IntN(5))])
			if strings.TrimSpace(value) == "" {
				value = "a"
			}
		}
		return value, escaper.Replace(value)
	case fhir.DateParam:
		value = m.of("prefix") + m.of("dateTime")
	case fhir.QuantityParam:
		value = pools["prefix"][m.IntN(9)] + m.of("decimal")
		switch m.IntN(4) {
		case 0:
			code := m.of("code")
			system := []string{"", m.of("system")}[m.IntN(2)]
			if strings.Contains(code, "|") {
				code = "c1"
			}
			return value + "|" + system + "|" + code, value + "|" + system + "|" + escaper.Replace(code)
		}
	case fhir.ReferenceParam:
		typ := "Patient"
		if len(p.Targets) > 0 {
			typ = p.Targets[m.IntN(len(p.Targets))]
		}
		if modifier != "" {
			typ = modifier
		}
		value = []string{m.of("id"), typ + "/" + m.of("id"), typ + "/" + m.of("id") + "/_history/1",
			oracleBase + "/" + typ + "/" + m.of("id"), "https://elsewhere.example/fhir/" + typ + "/x1"}[m.IntN(5)]
	}
	return value, value
}

// wantedToken keeps to codes without a bar where it means one: the oracle's value
// has no escapes.
func (m maker) wantedToken(p fhir.SearchParam) (value, sent string) {
	code, system := m.of("code"), m.of("system")
	if p.System != "" {
		system = p.System
	}
	if strings.Contains(code, "|") {
		code = "c2"
	}
	switch m.IntN(6) {
	case 0:
		return "|" + code, "|" + escaper.Replace(code)
	case 1:
		return system + "|", system + "|"
	case 2:
		value = []string{"true", "active", "final", "male", "phone"}[m.IntN(5)]
		return value, value
	case 3, 4:
		return system + "|" + code, system + "|" + escaper.Replace(code)
	}
	return code, escaper.Replace(code)
}

// TestSearchAgainstOracle holds random searches over random resources, paged,
// against an evaluator that knows no index.
func TestSearchAgainstOracle(t *testing.T) {
	for _, seed := range []uint64{7, uint64(time.Now().UnixNano())} {
		m := maker{rand.New(rand.NewPCG(seed, 1))}
		o := newOracle(t)
		for _, typ := range fhir.SearchTypes() {
			t.Run(fmt.Sprint(typ, " ", seed), func(t *testing.T) { searchType(t, m, o, typ) })
		}
	}
}

func searchType(t *testing.T, m maker, o *oracle, typ string) {
	store := newFakeStore()
	var all []object
	for i := range 60 {
		member := pools["id"][i%3]
		id := fmt.Sprintf("r%02d", i)
		if typ == "Patient" {
			member = id
		}
		if !fhir.InRecord(typ) {
			member = ""
		}
		r := m.resource(typ, id, member)
		body, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		store.write(1, member, fhir.ResourceID{Type: typ, ID: id}, body, time.Unix(1e9, 0))
		all = append(all, parseObject(t, body))
	}
	handler := api.New(testConfig(store))
	params := slices.DeleteFunc(slices.Clone(fhir.SearchParams(typ)), func(p fhir.SearchParam) bool { return p.Note != "" })
	found := map[string]int{}
	for range 10 * len(params) {
		var clauses []clause
		var query []string
		for range 1 + m.IntN(2)*m.IntN(2) {
			c, q := m.clause(params[m.IntN(len(params))])
			clauses, query = append(clauses, c), append(query, q)
		}
		var want []string
		for _, r := range all {
			if !slices.ContainsFunc(clauses, func(c clause) bool { return !o.matches(r, c) }) {
				want = append(want, r["id"].(string))
			}
		}
		asked := "/fhir/" + typ + "?" + strings.Join(query, "&") + "&_total=accurate&_count=" + []string{"1000", "7"}[m.IntN(2)]
		got := follow(t, handler, asked, len(want))
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("%s\nfinds %v\nwant  %v", asked, got, want)
		}
		for _, c := range clauses {
			if len(want) > 0 && len(want) < len(all) {
				found[string(c.param.Kind)]++
			}
		}
	}
	for _, p := range params {
		if found[string(p.Kind)] == 0 {
			t.Errorf("no search by a %s tells resources apart", p.Kind)
		}
	}
}

// follow asks and goes on to the last page, and returns the ids found.
func follow(t *testing.T, handler http.Handler, path string, total int) (ids []string) {
	t.Helper()
	for path != "" {
		req := httptest.NewRequest(http.MethodGet, path, nil)
		req.Host = "fhir.example"
		req.Header.Set("Authorization", "Bearer "+key)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, req)
		var g got
		if err := json.Unmarshal(w.Body.Bytes(), &g); err != nil || w.Code != http.StatusOK {
			t.Fatalf("%s: %d %s", path, w.Code, w.Body)
		}
		if g.Total == nil || *g.Total != total {
			t.Errorf("%s: total %v, want %d", path, g.Total, total)
		}
		for _, e := range g.Entry {
			ids = append(ids, e.Resource.ID)
		}
		path = strings.TrimPrefix(g.link("next"), "http://fhir.example")
	}
	return ids
}
