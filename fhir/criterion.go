package fhir

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxValues bounds the alternatives of one criterion.
const maxValues = 1000

// Criterion is one search parameter with the values that were asked for. A
// Criterion is immutable and may be used concurrently; its zero value matches
// nothing.
type Criterion struct {
	name     string
	param    *SearchParam
	modifier string
	missing  bool
	values   []criterionValue
}

// criterionValue is one of the alternatives, parsed by the parameter's kind.
type criterionValue struct {
	text      string // code, string, URL or id
	folded    string
	system    string
	anySystem bool
	anyCode   bool
	prefix    string
	dates     DateRange
	target    ResourceID // Type is empty for a bare id
	asked     asked      // number of a quantity
}

// ParamError says what is wrong with a search parameter. It names the
// parameter and never quotes a value. Unknown says that the type has no such
// parameter, or none that is supported: what a lenient search leaves out.
type ParamError struct {
	Param   string
	Reason  string
	Unknown bool
}

// Error names the parameter and what is wrong with it.
func (e *ParamError) Error() string { return fmt.Sprintf("parameter %q: %s", e.Param, e.Reason) }

// ParseCriterion reads one parameter of a search, name with its modifier and
// value as they stand in the query, decoded. base is the server's own address
// ("https://host/fhir"), which an absolute reference may begin with. The error
// is a *ParamError.
func ParseCriterion(resourceType, nameAndModifier, value, base string) (Criterion, error) {
	name, modifier, _ := strings.Cut(nameAndModifier, ":")
	c := Criterion{name: name, modifier: modifier}
	fail := func(unknown bool, format string, args ...any) (Criterion, error) {
		return Criterion{}, &ParamError{Param: nameAndModifier, Reason: fmt.Sprintf(format, args...), Unknown: unknown}
	}
	if c.param = findParam(resourceType, name); c.param == nil {
		if first, _, chained := strings.Cut(name, "."); chained && findParam(resourceType, first) != nil {
			return fail(true, "chained search is not supported")
		}
		return fail(true, "%s has no such search parameter", resourceType)
	}
	if value == "" {
		return fail(false, "has no value")
	}
	if modifier == "missing" && name != "_id" && name != "_lastUpdated" {
		c.missing = value == "true"
		if value != "true" && value != "false" {
			return fail(false, "want true or false")
		}
		return c, nil
	}
	if !c.allows(modifier) {
		return fail(false, "modifier is not supported")
	}
	alternatives := splitEscaped(value, ',')
	if len(alternatives) > maxValues {
		return fail(false, "has more than %d values", maxValues)
	}
	for _, alternative := range alternatives {
		v, err := c.parse(alternative, base)
		if err != nil {
			return fail(false, "%v", err)
		}
		c.values = append(c.values, v)
	}
	return c, nil
}

// Values returns how many alternatives the criterion has: what matching one
// resource costs.
func (c *Criterion) Values() int { return max(1, len(c.values)) }

var (
	idParam          = &SearchParam{Name: "_id", Kind: TokenParam, stored: "_id"}
	lastUpdatedParam = &SearchParam{Name: "_lastUpdated", Kind: DateParam, stored: "_lastUpdated"}
)

func findParam(resourceType, name string) *SearchParam {
	switch name {
	case "_id":
		return idParam
	case "_lastUpdated":
		return lastUpdatedParam
	}
	if t := tableOf(resourceType); t != nil {
		return t.param(name)
	}
	return nil
}

func (c *Criterion) allows(modifier string) bool {
	switch {
	case modifier == "":
		return true
	case c.param.Kind == TokenParam:
		return modifier == "not" && c.param != idParam
	case c.param.Kind == StringParam:
		return modifier == "exact" || modifier == "contains"
	case c.param.Kind == ReferenceParam:
		return slices.Contains(c.param.Targets, modifier)
	}
	return false
}

var (
	errNoValue   = errors.New("has an empty value")
	errID        = errors.New("not an id")
	errReference = errors.New("not a reference: want an id, Type/id or an absolute address")
)

func (c *Criterion) parse(raw, base string) (v criterionValue, err error) {
	if raw == "" {
		return v, errNoValue
	}
	switch c.param.Kind {
	case TokenParam:
		return c.parseToken(raw)
	case StringParam:
		v.text = unescape(raw)
		if v.folded = Fold(v.text); v.folded == "" && c.modifier != "exact" {
			return v, errNoValue
		}
	case DateParam:
		v.prefix, raw = cutPrefix(unescape(raw))
		v.dates, err = ParseDate(raw)
	case ReferenceParam:
		return c.parseReference(unescape(raw), base)
	case QuantityParam:
		return parseQuantity(raw)
	}
	return v, err
}

var errQuantity = errors.New("not a quantity: want number, number||unit or number|system|code, with or without a prefix")

func parseQuantity(raw string) (v criterionValue, err error) {
	parts := splitEscaped(raw, '|')
	if len(parts) != 1 && len(parts) != 3 {
		return v, errQuantity
	}
	v.prefix, parts[0] = cutPrefix(unescape(parts[0]))
	number, half, ok := numberOf(parts[0])
	if !ok {
		return v, errQuantity
	}
	v.asked = newAsked(v.prefix, number, half)
	if v.anyCode = len(parts) == 1; !v.anyCode {
		v.system, v.text = unescape(parts[1]), unescape(parts[2])
		v.anyCode = v.system == "" && v.text == ""
	}
	return v, nil
}

func (c *Criterion) parseToken(raw string) (v criterionValue, err error) {
	parts := splitEscaped(raw, '|')
	switch {
	case c.param == idParam:
		if v.text = raw; !ValidID(raw) {
			return v, errID
		}
	case len(parts) == 1:
		v.text, v.anySystem = unescape(parts[0]), true
		v.folded = foldToken(v.text)
	case len(parts) == 2:
		v.system, v.text = unescape(parts[0]), unescape(parts[1])
		v.folded = foldToken(v.text)
		if v.anyCode = v.text == ""; v.anyCode && v.system == "" {
			return v, errNoValue
		}
	default:
		return v, errors.New("not a token: want code, system|code, |code or system|")
	}
	return v, nil
}

func (c *Criterion) parseReference(s, base string) (v criterionValue, err error) {
	if base != "" {
		if rest, own := strings.CutPrefix(s, base+"/"); own {
			s = rest
		}
	}
	if id, ok := ParseReference(s); ok {
		if c.modifier != "" && c.modifier != id.Type {
			return v, errReference
		}
		v.target = id
		return v, nil
	}
	if ValidID(s) {
		v.target.ID = s
		if v.target.Type = c.modifier; len(c.param.Targets) == 1 {
			v.target.Type = c.param.Targets[0]
		}
		return v, nil
	}
	if strings.Contains(s, ":") {
		v.text = unversioned(s)
		return v, nil
	}
	return v, errReference
}

func cutPrefix(s string) (prefix, rest string) {
	if len(s) > 2 {
		switch s[:2] {
		case "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap":
			return s[:2], s[2:]
		}
	}
	return "eq", s
}

// splitEscaped splits at the separators that no backslash stands before.
func splitEscaped(s string, separator byte) []string {
	var parts []string
	start := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case separator:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}

// unescape undoes FHIR's escapes: backslash before comma, bar, dollar and
// backslash.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && strings.IndexByte(`,|$\`, s[i+1]) >= 0 {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// foldToken returns a token as tokens are compared where case does not count:
// Latin capitals made small, and nothing else.
func foldToken(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

// equalToken reports whether token is folded, but for the case of Latin letters.
func equalToken(token []byte, folded string) bool {
	if len(token) != len(folded) {
		return false
	}
	for i, c := range token {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != folded[i] {
			return false
		}
	}
	return true
}
