package fhir

import (
	"bytes"
	"strings"
)

// Match reports whether the resource satisfies the criterion, by its Index,
// id and time; Body is not looked at. A deleted version matches nothing.
func (c *Criterion) Match(v Version) bool {
	if c.param == nil || v.Deleted {
		return false
	}
	switch c.param {
	case idParam:
		return c.any(func(want *criterionValue) bool { return want.text == v.ID })
	case lastUpdatedParam:
		// Stored to the millisecond, so that is how far the range reaches.
		low := v.Updated.Truncate(1e6).UnixMicro()
		return c.any(func(want *criterionValue) bool { return want.matchDate(DateRange{low, low + 1000}) })
	}
	block := indexed(v.Index, c.param.stored)
	if c.modifier == "missing" {
		return c.missing == (len(block) == 0)
	}
	found := false
	eachValue(block, func(value []byte) bool {
		if c.param.Kind == QuantityParam {
			found = c.matchQuantity(value)
		} else {
			found = c.any(func(want *criterionValue) bool { return c.matchValue(want, value) })
		}
		return !found
	})
	return found != (c.modifier == "not")
}

func (c *Criterion) any(match func(want *criterionValue) bool) bool {
	for i := range c.values {
		if match(&c.values[i]) {
			return true
		}
	}
	return false
}

func (c *Criterion) matchValue(want *criterionValue, value []byte) bool {
	switch c.param.Kind {
	case TokenParam:
		return want.matchToken(value, c.param.System)
	case StringParam:
		return want.matchString(value, c.modifier)
	case DateParam:
		r, ok := cutRange(value)
		return ok && want.matchDate(r)
	case ReferenceParam:
		return want.matchReference(value)
	}
	return false
}

// matchToken compares with a stored token. A bare code has the implied system of
// its element, and none: both spellings find it. Its codes are FHIR's own, where
// case counts; of other code systems and of identifiers that is not known, and so
// it does not count, as the specification advises.
func (v *criterionValue) matchToken(value []byte, implied string) bool {
	system, code := cutToken(value)
	switch {
	case v.anyCode:
	case implied != "" && string(code) != v.text, implied == "" && !equalToken(code, v.folded):
		return false
	}
	return v.anySystem || string(system) == v.system || len(system) == 0 && implied != "" && v.system == implied
}

func (v *criterionValue) matchString(value []byte, modifier string) bool {
	text, folded, ok := cutSized(value)
	switch {
	case !ok:
		return false
	case modifier == "exact":
		return string(text) == v.text
	case modifier == "contains":
		return strings.Contains(string(folded), v.folded)
	}
	return len(folded) >= len(v.folded) && string(folded[:len(v.folded)]) == v.folded
}

func (v *criterionValue) matchDate(r DateRange) bool {
	q := v.dates
	within := q.Low <= r.Low && r.High <= q.High
	switch v.prefix {
	case "eq":
		return within
	case "ne":
		return !within
	case "gt":
		return r.High > q.High
	case "lt":
		return r.Low < q.Low
	case "ge":
		return r.High > q.High || within
	case "le":
		return r.Low < q.Low || within
	case "sa":
		return r.Low >= q.High
	case "eb":
		return r.High <= q.Low
	case "ap":
		// Without a clock: as much again on either side as the value itself covers.
		width := q.High - q.Low
		return r.Low < q.High+width && r.High > q.Low-width
	}
	return false
}

var slash = []byte("/")

func (v *criterionValue) matchReference(value []byte) bool {
	if v.text != "" {
		return string(value) == v.text
	}
	typ, id, ok := bytes.Cut(value, slash)
	return ok && string(id) == v.target.ID && (v.target.Type == "" || v.target.Type == string(typ))
}
