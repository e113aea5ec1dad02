package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/tributary-health/tributary/fhir"
)

// way is one request: a way out of the store.
type way struct {
	method, path string // path: behind the server's address
	form         string // the body of a POST
	header       []string
}

func (w way) String() string {
	return strings.Join(append([]string{w.method, w.path, w.form}, w.header...), " ")
}

// plan is every way out that the CapabilityStatement tells of, asked with values
// that the resources have. A type or parameter that is new is in it by itself.
type plan struct {
	ways []way
	seen map[string]bool
}

func (p *plan) add(method, path, form string, header ...string) {
	w := way{method, path, form, header}
	if !p.seen[w.String()] {
		p.seen[w.String()] = true
		p.ways = append(p.ways, w)
	}
}

func (p *plan) get(path string, header ...string) { p.add(http.MethodGet, path, "", header...) }

// capability is what a CapabilityStatement says of a type.
type capability struct {
	Rest []struct {
		Resource []struct {
			Type             string
			SearchInclude    []string
			SearchRevInclude []string
			SearchParam      []struct{ Name, Type string }
			Operation        []struct{ Name string }
		}
	}
}

// known is one resource, as somebody sees it who sees everything.
type known struct {
	typ, id string
	body    map[string]any
}

func knownOf(t testing.TB, raw []byte) known {
	t.Helper()
	k := known{body: map[string]any{}}
	if err := json.Unmarshal(raw, &k.body); err != nil {
		t.Fatal(err)
	}
	k.typ, _ = k.body["resourceType"].(string)
	k.id, _ = k.body["id"].(string)
	return k
}

// newPlan makes the plan of a statement and of the resources of one or more
// states of the store.
func newPlan(t testing.TB, statement []byte, resources []known) *plan {
	t.Helper()
	var c capability
	if err := json.Unmarshal(statement, &c); err != nil || len(c.Rest) != 1 || len(c.Rest[0].Resource) < 15 {
		t.Fatalf("CapabilityStatement: %v", err)
	}
	p := &plan{seen: map[string]bool{}}
	byType := map[string][]known{}
	for _, k := range resources {
		byType[k.typ] = append(byType[k.typ], k)
	}
	for i := range c.Rest[0].Resource {
		r := &c.Rest[0].Resource[i]
		p.searches(r.Type, byType[r.Type])
		for _, s := range r.SearchParam {
			p.parameter(r.Type, s.Name, s.Type, byType[r.Type])
		}
		for _, rule := range r.SearchInclude {
			p.get("/fhir/" + r.Type + "?_count=30&_include=" + rule)
		}
		for _, rule := range r.SearchRevInclude {
			p.get("/fhir/" + r.Type + "?_count=30&_revinclude=" + rule)
		}
		for n, k := range byType[r.Type] {
			p.reads(k, n)
			for _, o := range r.Operation {
				p.operation(k, o.Name)
			}
		}
	}
	p.failures(byType)
	return p
}

// searches are those that name no element.
func (p *plan) searches(typ string, resources []known) {
	s := "/fhir/" + typ
	for _, q := range []string{"", "?_count=1000", "?_count=7", "?_count=0", "?_summary=true", "?_summary=count", "?_summary=text",
		"?_summary=data", "?_total=accurate", "?_total=none", "?_total=estimate", "?_sort=_id&_count=40", "?_sort=-_lastUpdated&_count=40",
		"?_lastUpdated=ge2000-01-01&_summary=count", "?_lastUpdated=lt2000-01-01"} {
		p.get(s + q)
	}
	p.get(s+"?_count=1000", "Accept-Encoding", "gzip")
	p.get(s+"?_count=3", "Tributary-Commit", "1")
	p.get(s+"?_count=3", "Tributary-Commit", "2")
	p.get(s+"?_count=3", "Tributary-Commit", "3")
	p.add(http.MethodHead, s, "")
	for _, name := range elementNames(resources) {
		p.get(s + "?_count=5&_elements=" + name)
	}
}

func elementNames(resources []known) []string {
	all := map[string]bool{}
	for _, k := range resources {
		for name := range k.body {
			all[name] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// valuesOfParameter is how many values a parameter is asked with.
const valuesOfParameter = 6

// parameter asks for values of the parameter, hidden or not, in every form that
// it takes, or is refused in.
func (p *plan) parameter(typ, name, kind string, resources []known) {
	s := "/fhir/" + typ + "?" + name
	p.get(s + ":missing=true&_summary=count")
	p.get(s + ":missing=false&_summary=count")
	p.get(s + "=no-such-value")
	p.get("/fhir/" + typ + "?_count=20&_sort=" + name)
	p.get("/fhir/" + typ + "?_count=20&_sort=-" + name)
	modifiers := map[string][]string{"string": {":exact", ":contains"}, "token": {":not", ":text"}}[kind]
	for _, value := range parameterValues(typ, name, resources) {
		value = url.QueryEscape(value)
		p.get(s + "=" + value + "&_count=20")
		for _, m := range modifiers {
			p.get(s + m + "=" + value + "&_summary=count")
		}
		switch kind {
		case "date", "quantity", "number":
			p.get(s + "=ge" + value + "&_summary=count")
			p.get(s + "=lt" + value + "&_summary=count")
		default:
			p.add(http.MethodPost, "/fhir/"+typ+"/_search", name+"="+value)
		}
		if kind == "token" || kind == "date" || kind == "string" || kind == "quantity" {
			p.get("/fhir/Patient?_has:" + typ + ":patient:" + name + "=" + value + "&_summary=count")
			p.get("/fhir/Patient?_has:" + typ + ":patient:" + name + "=" + value + "&_count=20")
			p.get("/fhir/Patient?_id=" + someMember(resources) + "&_has:" + typ + ":patient:" + name + ":missing=true&_count=20")
			p.get("/fhir/Practitioner?_has:" + typ + ":practitioner:" + name + "=" + value)
			p.get("/fhir/Organization?_has:" + typ + ":payor:" + name + "=" + value)
			p.get("/fhir/Encounter?patient=" + someMember(resources) + "&_has:" + typ + ":encounter:" + name + "=" + value)
		}
	}
	ids := ""
	for i, k := range resources {
		if i < 200 {
			ids += "," + k.id
		}
	}
	if ids == "" {
		return
	}
	for _, text := range texts(typ, name, resources) {
		text = url.QueryEscape(text)
		p.add(http.MethodPost, "/fhir/"+typ+"/_search", "_count=20&_id="+ids[1:]+"&"+name+":text="+text)
		p.add(http.MethodPost, "/fhir/"+typ+"/_search", "_count=20&_id="+ids[1:]+"&"+name+":identifier="+text)
	}
}

func someMember(resources []known) string {
	for _, k := range resources {
		for _, n := range []string{"subject", "patient", "beneficiary", "for"} {
			if m, ok := k.body[n].(map[string]any); ok {
				if r, ok := m["reference"].(string); ok {
					return strings.TrimPrefix(r, "Patient/")
				}
			}
		}
	}
	return "none"
}

// texts are up to 12 of the texts and identifiers at the parameter.
func texts(typ, name string, resources []known) []string {
	param := fhir.FindParam(typ, name)
	if param == nil {
		return nil
	}
	all := map[string]bool{}
	var below func(v any)
	below = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, i := range v {
				below(i)
			}
		case map[string]any:
			for n, i := range v {
				if t, ok := i.(string); ok && (n == "text" || n == "display" || n == "value") {
					all[t] = true
				}
				below(i)
			}
		}
	}
	for _, k := range resources {
		for _, path := range param.Paths {
			for _, v := range valueAt(k.body, strings.Split(path, ".")) {
				below(v)
			}
		}
	}
	out := slices.Sorted(maps.Keys(all))
	if len(out) > 12 {
		out = out[:12]
	}
	return out
}

// parameterValues are some values that the parameter has in the resources.
func parameterValues(typ, name string, resources []known) []string {
	paths := []string{name}
	if param := fhir.FindParam(typ, name); param != nil {
		paths = param.Paths
	}
	all := map[string]bool{}
	for _, k := range resources {
		for _, path := range paths {
			addValues(all, valueAt(k.body, strings.Split(path, ".")))
		}
	}
	values := slices.Sorted(maps.Keys(all))
	if len(values) <= valuesOfParameter {
		return values
	}
	some := make([]string, valuesOfParameter)
	for i := range some {
		some[i] = values[i*(len(values)-1)/(valuesOfParameter-1)]
	}
	return some
}

// valueAt lists what is at the path; lists on the way are walked.
func valueAt(v any, path []string) []any {
	switch v := v.(type) {
	case []any:
		var all []any
		for _, item := range v {
			all = append(all, valueAt(item, path)...)
		}
		return all
	case map[string]any:
		if len(path) > 0 {
			return valueAt(v[path[0]], path[1:])
		}
	}
	if len(path) > 0 || v == nil {
		return nil
	}
	return []any{v}
}

// addValues adds how the values can be asked for: as they are, and with system.
func addValues(all map[string]bool, values []any) {
	for _, v := range values {
		switch v := v.(type) {
		case string:
			all[v] = true
		case float64:
			all[strconv.FormatFloat(v, 'f', -1, 64)] = true
		case bool:
			all[strconv.FormatBool(v)] = true
		case []any:
			addValues(all, v)
		case map[string]any:
			for _, name := range []string{"value", "code"} {
				if system, ok := v["system"].(string); ok {
					if value, ok := v[name].(string); ok {
						all[system+"|"+value] = true
					}
				}
			}
			for _, name := range []string{"value", "code", "reference", "start", "coding", "identifier", "extension", "valueCoding", "valueString", "valueCode"} {
				if inner, ok := v[name]; ok {
					addValues(all, []any{inner})
				}
			}
		}
	}
}

// reads are the ways to one resource. Those that differ in the transport alone
// are not tried with all.
func (p *plan) reads(k known, n int) {
	at := "/fhir/" + k.typ + "/" + k.id
	p.get(at)
	p.get(at + "/_history")
	p.get(at + "/_history/2")
	if n%9 > 0 {
		return
	}
	p.get(at + "/_history/1")
	p.get(at, "If-None-Match", `W/"1"`)
	p.get(at, "If-None-Match", `W/"2"`)
	p.get(at, "If-Modified-Since", "Wed, 01 Jan 2025 00:00:00 GMT")
	p.get(at, "Accept-Encoding", "gzip")
	p.get(at, "Tributary-Commit", "1")
	p.get(at+"/_history", "Tributary-Commit", "2")
	p.get(at + "/_history?_count=1")
	p.get(at + "/_history/3")
	p.get(at + "?_summary=true")
	p.get(at + "?_summary=data")
	p.get(at + "?_elements=identifier,address,telecom,note,text,meta")
	p.get(at + "/$everything")
	p.add(http.MethodHead, at, "")
	p.get("/fhir/" + k.typ + "?_id=" + k.id)
}

func (p *plan) operation(k known, name string) {
	at := "/fhir/" + k.typ + "/" + k.id + "/$" + name
	p.get(at)
	p.add(http.MethodHead, at, "")
	if name == "everything" {
		for _, q := range []string{"?_count=20", "?_since=2000-01-01T00:00:00Z&_count=300", "?_since=2100-01-01T00:00:00Z",
			"?start=2020-01-01&_count=300", "?end=2020-01-01&_count=300", "?_type=Patient,Coverage,Observation&_count=300", "?_elements=address"} {
			p.get(at + q)
		}
	}
}

// failures are what is refused: an error must not tell either.
func (p *plan) failures(byType map[string][]known) {
	for _, path := range []string{"/fhir/metadata", "/fhir/Basic", "/fhir/Patient/none", "/fhir/Patient/none/_history", "/fhir/Nothing/1", "/fhir/Patient?nothing=1",
		"/fhir/Patient?_page=x", "/fhir/Patient/none/$everything", "/fhir/Composition/none/$document", "/fhir/Patient/none/$medication-profile",
		"/fhir/Coverage?patient.address=x", "/fhir/Patient?_has:Coverage:patient:identifier=x", "/fhir/_history", "/fhir", "/status", "/status/commit", "/none",
		"/fhir/OperationDefinition/medication-profile", "/fhir/OperationDefinition/hash-match"} {
		p.get(path)
	}
	p.get("/fhir/Patient", "Authorization", "Bearer wrong")
	p.get("/fhir/Patient", "Tributary-Commit", "1000000")
	p.get("/fhir/Patient", "Accept", "text/html")
	p.add(http.MethodPost, "/fhir/Patient/$hash-match", `{"resourceType":"Parameters"}`)
	p.add(http.MethodPut, "/fhir/Patient/none", "x")
	p.add(http.MethodDelete, "/fhir/Patient/none", "")
	for _, k := range byType["Patient"] {
		values := map[string]bool{}
		addValues(values, valueAt(k.body, []string{"identifier"}))
		for _, v := range slices.Sorted(maps.Keys(values)) {
			p.get("/fhir/Patient/" + url.PathEscape(v))
		}
	}
}

// recorder takes the ways out as one client.
type recorder struct {
	base      string // the server's address
	key       string
	transport http.RoundTripper
	clock     bool // the server's clock goes on: how fresh sources are follows from it
}

// sourceTime is the one thing that may move with the clock: how fresh a source
// is, on a grid of ten seconds.
var sourceTime = regexp.MustCompile(`(?m)(^Tributary-Source: \w+; committed=")[-0-9]+T[0-9:]+0\.000000Z"$`)

// startDate is when the process began, which its CapabilityStatement says.
var startDate = regexp.MustCompile(`"date":"[^"]*"`)

// record takes every way of the plan, pages followed to their end, and returns
// what came, byte by byte but for the Date header. What last has of a way is taken
// for what comes now.
func (r *recorder) record(t testing.TB, p *plan, last map[string]string) []string {
	t.Helper()
	came := make([]string, len(p.ways))
	next := make(chan int)
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			for i := range next {
				came[i] = r.take(p.ways[i])
			}
		})
	}
	for i, w := range p.ways {
		known := false
		if came[i], known = last[w.String()]; !known {
			next <- i
		}
	}
	close(next)
	all.Wait()
	for i, a := range came {
		if !strings.HasPrefix(a, "2") && !strings.HasPrefix(a, "304 ") && !strings.HasPrefix(a, "4") {
			t.Fatalf("%s: %.300s", p.ways[i], a)
		}
	}
	return came
}

// pagesOfOne is the most that is followed of one way.
const pagesOfOne = 400

func (r *recorder) take(w way) string {
	var out strings.Builder
	for page := 0; w.path != "" && page < pagesOfOne; page++ {
		header, body, err := r.once(w)
		if err != nil {
			return "no answer: " + err.Error()
		}
		out.WriteString(header)
		out.Write(body)
		out.WriteString("\n")
		var b bundle
		w.path, w.method, w.form = "", http.MethodGet, ""
		if json.Unmarshal(body, &b) == nil {
			for _, l := range b.Link {
				if l.Relation == "next" {
					w.path = strings.TrimPrefix(l.URL, r.base)
				}
			}
		}
	}
	return out.String()
}

// once is one exchange: status line and headers, and the body.
func (r *recorder) once(w way) (head string, body []byte, err error) {
	req, err := http.NewRequest(w.method, r.base+w.path, strings.NewReader(w.form))
	if err != nil {
		return "", nil, err
	}
	req.Header.Set("Authorization", "Bearer "+r.key)
	req.Header.Set("Accept-Encoding", "identity")
	if w.form != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if strings.HasPrefix(w.form, "{") {
			req.Header.Set("Content-Type", "application/fhir+json")
		}
	}
	for i := 0; i+1 < len(w.header); i += 2 {
		req.Header.Set(w.header[i], w.header[i+1])
	}
	resp, err := r.transport.RoundTrip(req)
	if err != nil {
		return "", nil, err
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(resp.Body); err != nil {
		return "", nil, err
	}
	resp.Header.Del("Date")
	var h bytes.Buffer
	fmt.Fprintln(&h, resp.Status)
	_ = resp.Header.Write(&h) // into memory, by name
	head = strings.ReplaceAll(h.String(), "\r", "")
	if r.clock {
		head = sourceTime.ReplaceAllString(head, `$1"`)
	}
	if w.path == "/fhir/metadata" {
		body = startDate.ReplaceAll(body, []byte(`"date":""`))
	}
	return head, body, nil
}

// differences are the ways on which two recordings differ, the first of each kind
// with what came.
func differences(p *plan, before, after []string) []string {
	var all []string
	for i := range p.ways {
		if before[i] != after[i] {
			all = append(all, p.ways[i].String()+"\n"+firstDifference(before[i], after[i]))
		}
	}
	return all
}

func firstDifference(a, b string) string {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	from := max(0, n-150)
	return fmt.Sprintf("  ...%q\n  ...%q", a[from:min(len(a), n+150)], b[from:min(len(b), n+150)])
}

// wantSame fails if the recordings differ.
func wantSame(t *testing.T, what string, p *plan, before, after []string) {
	t.Helper()
	all := differences(p, before, after)
	for i, d := range all {
		if i == 8 {
			break
		}
		t.Errorf("%s: %s", what, d)
	}
	if len(all) > 0 {
		t.Errorf("%s: %d of %d ways out differ", what, len(all), len(p.ways))
	}
}
