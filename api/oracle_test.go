package api_test

import (
	"encoding/json"
	"math/big"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/tributary-health/tributary/fhir"
)

// The oracle answers searches by the published FHIRPath expressions, over parsed
// JSON, one resource after another. It shares nothing with the index but the
// definitions of elements and the system that a bare code implies.
type oracle struct {
	expressions map[string]string // by "Type?param"
}

func newOracle(t testing.TB) *oracle {
	text, err := os.ReadFile("../fhir/testdata/search-parameters.txt")
	if err != nil {
		t.Fatal(err)
	}
	o := &oracle{map[string]string{}}
	for line := range strings.Lines(string(text)) {
		if f := strings.Split(strings.TrimSpace(line), "\t"); len(f) == 6 {
			o.expressions[f[0]+"?"+f[1]] = f[5]
		}
	}
	return o
}

type object = map[string]any

func parseObject(t testing.TB, body []byte) object {
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.UseNumber()
	var o object
	if err := d.Decode(&o); err != nil {
		t.Fatal(err)
	}
	return o
}

var (
	typeTest  = regexp.MustCompile(`^(?:as|ofType)\((\w+)\)$`)
	valueTest = regexp.MustCompile(`^where\((\w+) ?= ?'([^']*)'\)$`)
	resolves  = regexp.MustCompile(`^where\(resolve\(\) is (\w+)\)$`)
)

// steps cuts a path at the dots outside of brackets.
func steps(path string) []string {
	var out []string
	depth, start := 0, 0
	for i, c := range path {
		switch c {
		case '(':
			depth++
		case ')':
			depth--
		case '.':
			if depth == 0 {
				out = append(out, path[start:i])
				start = i + 1
			}
		}
	}
	return append(out, path[start:])
}

// values evaluates an expression on a resource.
func (o *oracle) values(r object, expression string) []any {
	var all []any
	for part := range strings.SplitSeq(expression, " | ") {
		part = strings.Replace(part, " as dateTime)", ".as(dateTime))", 1)
		if rest, ok := strings.CutPrefix(part, "("); ok {
			inner, tail, _ := cutLast(rest, ")")
			if !strings.Contains(tail, "(") {
				part = inner + tail
			}
		}
		// A code alone has lost its system; the concept around it has it.
		part = strings.TrimSuffix(strings.TrimSuffix(part, ".coding.code"), ".value.code")
		if part != "" && strings.HasSuffix(expression, ".extension.value.code") {
			part += ".value"
		}
		now := []any{r}
		for _, step := range steps(part)[1:] {
			now = o.step(now, step)
		}
		if strings.HasSuffix(expression, ".value.code") {
			now = slices.DeleteFunc(now, func(v any) bool {
				coding, _ := v.(choice).value.(object)
				return coding["code"] == nil
			})
		}
		all = append(all, now...)
	}
	return all
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// choice is an element of a choice with the type that its name tells.
type choice struct {
	typ   string
	value any
}

func (o *oracle) step(from []any, step string) []any {
	var out []any
	for _, v := range from {
		c, isChoice := v.(choice)
		if m := typeTest.FindStringSubmatch(step); m != nil {
			if isChoice && strings.EqualFold(c.typ, m[1]) {
				out = append(out, c.value)
			}
			continue
		}
		if isChoice {
			v = c.value
		}
		m, _ := v.(object)
		if w := valueTest.FindStringSubmatch(step); w != nil {
			if m[w[1]] == w[2] {
				out = append(out, v)
			}
			continue
		}
		if w := resolves.FindStringSubmatch(step); w != nil {
			ref, isAddress := m["reference"].(string)
			typ, isTyped := m["type"].(string)
			// Where there is no address, the type may be said beside it, or be open.
			if strings.Contains("/"+ref, "/"+w[1]+"/") || !isAddress && (!isTyped || typ == w[1]) {
				out = append(out, v)
			}
			continue
		}
		for name, value := range m {
			typ := ""
			switch rest, ok := strings.CutPrefix(name, step); {
			case name == step:
			case ok && unicode.IsUpper(rune(rest[0])) && choices[rest]:
				typ = rest
			default:
				continue
			}
			items, isList := value.([]any)
			if !isList {
				items = []any{value}
			}
			for _, item := range items {
				if typ != "" {
					item = choice{typ, item}
				}
				out = append(out, item)
			}
		}
	}
	return out
}

// choices are the types that end the name of an element with a choice of types.
var choices = map[string]bool{}

func init() {
	for _, name := range strings.Fields(`Boolean Integer Decimal String Date DateTime Instant Time Code Uri Period Range Ratio Quantity
		Age Duration Timing CodeableConcept Coding Identifier Reference Address SampledData`) {
		choices[name] = true
	}
}

// clause is one parameter of a search.
type clause struct {
	param    fhir.SearchParam
	modifier string
	values   []string // unescaped, but for the bar in tokens
}

// matches reports whether the resource satisfies the clause.
func (o *oracle) matches(r object, c clause) bool {
	typ := r["resourceType"].(string)
	var leaves []any
	for _, v := range o.values(r, o.expressions[typ+"?"+c.param.Name]) {
		if ch, ok := v.(choice); ok {
			v = ch.value
		}
		leaves = append(leaves, searchable(c.param.Kind, v)...)
	}
	if c.modifier == "missing" {
		return (c.values[0] == "true") == (len(leaves) == 0)
	}
	any := false
	for _, leaf := range leaves {
		for _, want := range c.values {
			any = any || matchLeaf(c, leaf, want)
		}
	}
	return any != (c.modifier == "not")
}

type token struct {
	system, code string
	bare         bool
}

type span struct{ low, high time.Time } // half open; zero time: no bound

// searchable breaks an element into what a kind of parameter compares.
func searchable(kind fhir.ParamKind, v any) []any {
	m, isObject := v.(object)
	text, isText := v.(string)
	switch kind {
	case fhir.TokenParam:
		return tokensOf(v)
	case fhir.StringParam:
		if isText {
			return []any{text}
		}
		var parts []any
		for _, name := range []string{"family", "given", "prefix", "suffix", "text", "line", "city", "district", "state", "postalCode", "country"} {
			switch part := m[name].(type) {
			case string:
				parts = append(parts, part)
			case []any:
				parts = append(parts, part...)
			}
		}
		return parts
	case fhir.DateParam:
		if isText {
			if s, ok := spanOf(text); ok {
				return []any{s}
			}
		}
		var s span
		if start, ok := m["start"].(string); ok {
			one, _ := spanOf(start)
			s.low = one.low
		}
		if end, ok := m["end"].(string); ok {
			one, _ := spanOf(end)
			s.high = one.high
		}
		if isObject && s != (span{}) {
			return []any{s}
		}
	case fhir.ReferenceParam:
		if ref, ok := m["reference"].(string); ok {
			return []any{ref}
		}
	case fhir.QuantityParam:
		if _, ok := m["value"].(json.Number); ok {
			return []any{m}
		}
	}
	return nil
}

func tokensOf(v any) []any {
	switch v := v.(type) {
	case string:
		return []any{token{code: v, bare: true}}
	case bool:
		return []any{token{code: map[bool]string{true: "true", false: "false"}[v]}}
	case object:
		if codings, ok := v["coding"].([]any); ok {
			var all []any
			for _, c := range codings {
				all = append(all, tokensOf(c)...)
			}
			return all
		}
		t := token{}
		t.system, _ = v["system"].(string)
		for _, name := range []string{"code", "value"} {
			if s, ok := v[name].(string); ok {
				t.code = s
			}
		}
		if t.code != "" {
			return []any{t}
		}
	}
	return nil
}

func matchLeaf(c clause, leaf any, want string) bool {
	switch c.param.Kind {
	case fhir.TokenParam:
		return matchToken(leaf.(token), want, c.param.System)
	case fhir.StringParam:
		have := leaf.(string)
		switch c.modifier {
		case "exact":
			return have == want
		case "contains":
			return strings.Contains(plain(have), plain(want))
		}
		return strings.HasPrefix(plain(have), plain(want))
	case fhir.DateParam:
		return matchSpan(leaf.(span), want)
	case fhir.ReferenceParam:
		return matchReference(leaf.(string), want, c)
	}
	return matchQuantity(leaf.(object), want)
}

func matchToken(have token, want, implied string) bool {
	same := func(a, b string) bool {
		if have.bare {
			return a == b
		}
		return strings.EqualFold(a, b)
	}
	system, code, barred := strings.Cut(want, "|")
	if !barred {
		return same(have.code, want)
	}
	inSystem := have.system == system || have.bare && system == implied
	return inSystem && (code == "" || same(have.code, code))
}

// plain is a string without case, accents and more than one blank in a row.
func plain(s string) string {
	s = strings.NewReplacer("ß", "ss", "ø", "o", "Ø", "o", "ł", "l", "Ł", "l").Replace(s)
	return strings.ToLower(strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, norm.NFD.String(s))), " "))
}

var dateForm = regexp.MustCompile(`^(\d{4})(-\d\d)?(-\d\d)?(?:T(\d\d:\d\d)(:\d\d)?(\.\d+)?(Z|[-+]\d\d:\d\d)?)?$`)

// spanOf is the time that a date with its precision means.
func spanOf(s string) (span, bool) {
	m := dateForm.FindStringSubmatch(s)
	if m == nil {
		return span{}, false
	}
	zone := m[7]
	if zone == "" {
		zone = "Z"
	}
	or := func(s, other string) string {
		if s == "" {
			return other
		}
		return s
	}
	low, err := time.Parse("2006-01-02T15:04:05.999999999Z07:00", m[1]+or(m[2], "-01")+or(m[3], "-01")+"T"+or(m[4], "00:00")+or(m[5], ":00")+m[6]+zone)
	if err != nil {
		return span{}, false
	}
	high := low
	switch {
	case m[6] != "":
		unit := time.Second
		for range len(m[6]) - 1 {
			unit /= 10
		}
		high = low.Add(unit)
	case m[5] != "":
		high = low.Add(time.Second)
	case m[4] != "":
		high = low.Add(time.Minute)
	case m[3] != "":
		high = low.AddDate(0, 0, 1)
	case m[2] != "":
		high = low.AddDate(0, 1, 0)
	default:
		high = low.AddDate(1, 0, 0)
	}
	return span{low, high}, true
}

// matchSpan follows the specification's words on each prefix. An open end of the
// value's range lies before, or behind, every time.
func matchSpan(v span, want string) bool {
	prefix := "eq"
	if len(want) > 2 && unicode.IsLetter(rune(want[0])) {
		prefix, want = want[:2], want[2:]
	}
	q, _ := spanOf(want)
	if v.low.IsZero() {
		v.low = time.Date(-5000, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if v.high.IsZero() {
		v.high = time.Date(15000, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	contains := !v.low.Before(q.low) && !v.high.After(q.high) // the search's range has all of the value's
	switch prefix {
	case "eq":
		return contains
	case "ne":
		return !contains
	case "gt": // the range above the search's overlaps the value's
		return v.high.After(q.high)
	case "lt":
		return v.low.Before(q.low)
	case "ge":
		return v.high.After(q.high) || contains
	case "le":
		return v.low.Before(q.low) || contains
	case "sa": // no overlap, and all of the value's is above
		return !v.low.Before(q.high)
	case "eb":
		return !v.high.After(q.low)
	}
	width := q.high.Sub(q.low) // ap: documented as one width of the date on either side
	return v.low.Before(q.high.Add(width)) && v.high.After(q.low.Add(-width))
}

func matchReference(have, want string, c clause) bool {
	have, _, _ = strings.Cut(have, "/_history/")
	want, _, _ = strings.Cut(want, "/_history/")
	want = strings.TrimPrefix(want, oracleBase+"/")
	if strings.Contains(want, ":") || strings.Contains(have, ":") {
		return have == want
	}
	if !strings.Contains(want, "/") {
		typ, id, _ := strings.Cut(have, "/")
		return id == want && (c.modifier == "" || c.modifier == typ) && (c.param.Targets == nil || slices.Contains(c.param.Targets, typ))
	}
	return have == want
}

const oracleBase = "http://fhir.example/fhir"

func matchQuantity(have object, want string) bool {
	parts := strings.Split(want, "|")
	prefix, number := "eq", parts[0]
	if unicode.IsLetter(rune(number[0])) {
		prefix, number = number[:2], number[2:]
	}
	if len(parts) == 3 {
		system, code := parts[1], parts[2]
		if system != "" && (have["system"] != system || have["code"] != code) || system == "" && have["code"] != code && have["unit"] != code {
			return false
		}
	}
	v, _ := new(big.Float).SetPrec(200).SetString(have["value"].(json.Number).String())
	q, _ := new(big.Float).SetPrec(200).SetString(number)
	digits := 0
	if _, fraction, ok := strings.Cut(number, "."); ok {
		digits = len(fraction)
	}
	half := big.NewFloat(0.5).SetPrec(200)
	for range digits {
		half.Quo(half, big.NewFloat(10))
	}
	low, high := new(big.Float).Sub(q, half), new(big.Float).Add(q, half)
	rounds := v.Cmp(low) >= 0 && v.Cmp(high) < 0
	switch prefix {
	case "eq":
		return rounds
	case "ne":
		return !rounds
	case "gt", "sa":
		return v.Cmp(q) > 0
	case "lt", "eb":
		return v.Cmp(q) < 0
	case "ge":
		return v.Cmp(q) >= 0
	}
	return v.Cmp(q) <= 0
}
