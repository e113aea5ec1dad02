package fhir

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// BodyCriterion is a search parameter whose modifier asks for what the index does
// not have: :text and :of-type of a token, :identifier of a reference. It is held
// against the body of a resource, which costs more than Criterion.Match. A
// BodyCriterion is immutable and may be used concurrently.
type BodyCriterion struct {
	param    *SearchParam
	modifier string
	paths    [][]string
	values   []criterionValue
}

// ParseBodyCriterion reads one parameter of a search as ParseCriterion does; ok is
// false for one that it is not for. The error is a *ParamError.
func ParseBodyCriterion(resourceType, nameAndModifier, value string) (c BodyCriterion, ok bool, err error) {
	name, modifier, _ := strings.Cut(nameAndModifier, ":")
	c = BodyCriterion{param: findParam(resourceType, name), modifier: modifier}
	switch {
	case c.param == nil || c.param == idParam:
		return c, false, nil
	case modifier == "text" && c.param.Kind == TokenParam && c.param.leadsTo(resourceType, "CodeableConcept", "Coding", "Identifier"):
	case modifier == "of-type" && c.param.Kind == TokenParam && c.param.leadsTo(resourceType, "Identifier"):
	case modifier == "identifier" && c.param.Kind == ReferenceParam:
	default:
		return c, false, nil
	}
	fail := func(format string, args ...any) (BodyCriterion, bool, error) {
		return BodyCriterion{}, true, &ParamError{Param: nameAndModifier, Reason: fmt.Sprintf(format, args...)}
	}
	if value == "" {
		return fail("has no value")
	}
	alternatives := splitEscaped(value, ',')
	if len(alternatives) > maxValues {
		return fail("has more than %d values", maxValues)
	}
	for _, alternative := range alternatives {
		v, err := c.parse(alternative)
		if err != nil {
			return fail("%v", err)
		}
		c.values = append(c.values, v)
	}
	for _, path := range c.param.Paths {
		c.paths = append(c.paths, strings.Split(path, "."))
	}
	return c, true, nil
}

// Values returns how many alternatives the criterion has.
func (c *BodyCriterion) Values() int { return max(1, len(c.values)) }

func (c *BodyCriterion) parse(raw string) (v criterionValue, err error) {
	switch {
	case raw == "":
		return v, errNoValue
	case c.modifier == "identifier":
		return (&Criterion{}).parseToken(raw)
	case c.modifier == "of-type":
		return parseOfType(raw)
	}
	if v.folded = Fold(unescape(raw)); v.folded == "" {
		return v, errNoValue
	}
	return v, nil
}

var errOfType = errors.New("want system|code|value: the coding of the identifier's type, and its value")

// parseOfType reads the type's system and code into system and text.
func parseOfType(raw string) (v criterionValue, err error) {
	parts := splitEscaped(raw, '|')
	if len(parts) != 3 || slices.Contains(parts, "") {
		return v, errOfType
	}
	v.system, v.text = unescape(parts[0]), unescape(parts[1])
	v.folded = foldToken(unescape(parts[2]))
	return v, nil
}

// leadsTo says whether one of the parameter's elements is of one of the types.
func (p *SearchParam) leadsTo(resourceType string, types ...string) bool {
	return slices.ContainsFunc(p.Paths, func(path string) bool {
		e, _ := Lookup(resourceType, strings.Split(path, ".")...)
		return slices.Contains(types, e.Type)
	})
}

// InIndex returns what the index can tell of the criterion: nothing satisfies it
// without that. ok is false if that is nothing.
func (c *BodyCriterion) InIndex() (Criterion, bool) {
	in := Criterion{name: c.param.Name, param: c.param}
	if c.modifier != "of-type" {
		return in, false
	}
	for _, v := range c.values {
		in.values = append(in.values, criterionValue{folded: v.folded, anySystem: true})
	}
	return in, true
}

// Match reports whether the resource that the body is of satisfies the criterion.
func (c *BodyCriterion) Match(body []byte) bool {
	return slices.ContainsFunc(c.paths, func(path []string) bool {
		return anyElement(body, path, c.param.Only, c.matchElement)
	})
}

// anyElement reports whether match takes one of the elements that the path leads
// to; only holds for its first step.
func anyElement(value []byte, path []string, only Only, match func(element []byte) bool) (found bool) {
	if len(path) == 0 {
		return match(value)
	}
	_ = EachMember(value, func(name, v []byte) bool {
		if string(name) == path[0] {
			found = anyItem(v, func(item []byte) bool {
				return only.takes(item) && anyElement(item, path[1:], Only{}, match)
			})
		}
		return !found
	})
	return found
}

func (o Only) takes(item []byte) bool {
	if o == (Only{}) {
		return true
	}
	text, ok := Text(Member(item, o.Member))
	return ok && text == o.Value
}

// anyItem reports whether match takes an item of the list, or the value that is
// none.
func anyItem(value []byte, match func(item []byte) bool) (found bool) {
	if len(value) == 0 || value[0] != '[' {
		return match(value)
	}
	_ = EachItem(value, func(item []byte) bool {
		found = match(item)
		return !found
	})
	return found
}

func (c *BodyCriterion) matchElement(element []byte) bool {
	if len(element) == 0 || element[0] != '{' {
		return false
	}
	switch c.modifier {
	case "identifier":
		return c.matchReference(element)
	case "of-type":
		return c.matchOfType(element)
	}
	return c.matchTexts(element)
}

func (c *BodyCriterion) matchOfType(identifier []byte) bool {
	value, _ := Text(Member(identifier, "value"))
	return slices.ContainsFunc(c.values, func(v criterionValue) bool {
		return equalToken([]byte(value), v.folded) && anyItem(Member(Member(identifier, "type"), "coding"), func(coding []byte) bool {
			system, _ := Text(Member(coding, "system"))
			code, _ := Text(Member(coding, "code"))
			return system == v.system && equalToken([]byte(code), foldToken(v.text))
		})
	})
}

// matchTexts looks at what R4 names: the text of a concept, the display of its
// codings, the text of an identifier's type.
func (c *BodyCriterion) matchTexts(element []byte) (found bool) {
	_ = EachMember(element, func(name, v []byte) bool {
		switch string(name) {
		case "text", "display":
			found = c.matchText(v)
		case "coding":
			found = anyItem(v, func(coding []byte) bool { return c.matchText(Member(coding, "display")) })
		case "type":
			found = c.matchText(Member(v, "text"))
		}
		return !found
	})
	return found
}

func (c *BodyCriterion) matchText(value []byte) bool {
	text, ok := Text(value)
	if !ok {
		return false
	}
	folded := Fold(text)
	return slices.ContainsFunc(c.values, func(v criterionValue) bool { return strings.HasPrefix(folded, v.folded) })
}

// matchReference compares the identifier of a reference, unless that says that it
// is to a type which the parameter does not lead to.
func (c *BodyCriterion) matchReference(reference []byte) bool {
	address, _ := Text(Member(reference, "reference"))
	typ := typeInReference(unversioned(address))
	if typ == "" {
		typ, _ = Text(Member(reference, "type"))
	}
	if typ != "" && c.param.Targets != nil && !slices.Contains(c.param.Targets, typ) {
		return false
	}
	identifier := Member(reference, "identifier")
	system, _ := Text(Member(identifier, "system"))
	value, ok := Text(Member(identifier, "value"))
	return ok && slices.ContainsFunc(c.values, func(v criterionValue) bool {
		return (v.anySystem || v.system == system) && (v.anyCode || equalToken([]byte(value), v.folded))
	})
}
