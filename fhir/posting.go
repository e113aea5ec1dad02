package fhir

import (
	"math"
	"slices"
	"strings"
	"time"
)

// Posting makes a resource findable across members by one search parameter.
// Values of one parameter order bytewise as a search needs them.
type Posting struct {
	Param string
	Value []byte
}

// Postings returns the postings of a resource of the type (identifiers, names,
// birth dates, whose role it is), each distinct one once. Everything else is searched within
// a member's record, by Index alone.
func Postings(resourceType string, body []byte) []Posting {
	x := newIndexer(resourceType, body)
	if x == nil {
		return nil
	}
	defer indexers.Put(x)
	return x.postings()
}

func (x *indexer) postings() (postings []Posting) {
	for i := range x.blocks {
		p := &x.table.params[i]
		if !p.Posted {
			continue
		}
		eachValue(x.blocks[i], func(value []byte) bool {
			posting := Posting{p.Name, postedValue(p.Kind, value)}
			if !slices.ContainsFunc(postings, func(q Posting) bool { return q.Param == posting.Param && string(q.Value) == string(posting.Value) }) {
				postings = append(postings, posting)
			}
			return true
		})
	}
	return postings
}

// postedValue turns an indexed value into a posting's: a token's code, folded,
// before its system, so that either the code alone or both are one range; a
// string folded; a date as it is, by its low end; a reference as it is.
func postedValue(kind ParamKind, value []byte) []byte {
	switch kind {
	case TokenParam:
		system, code := cutToken(value)
		out := make([]byte, 0, len(code)+1+len(system))
		return append(append(append(out, foldToken(string(code))...), 0), system...)
	case StringParam:
		_, folded, _ := cutSized(value)
		return slices.Clone(folded)
	}
	return slices.Clone(value)
}

// PostingRange is where candidates for a criterion lie: postings of Param with a
// value in [Low, High).
type PostingRange struct {
	Param string
	Low   []byte
	High  []byte
}

// PostingRanges returns ranges that hold every resource satisfying the
// criterion, and perhaps more; ok is false when postings cannot answer it.
func (c *Criterion) PostingRanges() (ranges []PostingRange, ok bool) {
	if c.param == nil || !c.param.Posted && c.param.PostedAs == "" {
		return nil, false
	}
	switch c.modifier {
	case "", "exact":
	default:
		if c.param.Kind != ReferenceParam || c.modifier == "missing" { // else a type
			return nil, false
		}
	}
	name := c.param.Name
	if c.param.PostedAs != "" {
		name = c.param.PostedAs
	}
	for i := range c.values {
		low, high, ok := c.values[i].postingRange(c.param.Kind)
		if !ok {
			return nil, false
		}
		ranges = append(ranges, PostingRange{name, low, high})
	}
	return ranges, len(ranges) > 0
}

func (v *criterionValue) postingRange(kind ParamKind) (low, high []byte, ok bool) {
	switch kind {
	case TokenParam:
		if v.anyCode {
			return nil, nil, false
		}
		low = append([]byte(v.folded), 0)
		if v.anySystem {
			return low, append([]byte(v.folded), 1), true
		}
		low = append(low, v.system...)
		return low, append(slices.Clone(low), 0), true
	case StringParam:
		if v.folded == "" {
			return nil, nil, false
		}
		low = []byte(v.folded)
		return low, after(low), true
	case DateParam:
		return v.datePostingRange()
	case ReferenceParam:
		if low = []byte(v.text); v.text == "" {
			low = []byte(v.target.String())
		}
		return low, append(slices.Clone(low), 0), v.text != "" || v.target.Type != ""
	}
	return nil, nil, false
}

// longest is more than the longest a single date covers: a year.
const longest = int64(367 * 24 * time.Hour / time.Microsecond)

// datePostingRange bounds the low end of the dates that may match. A posted
// date is never a Period: it covers a year at most.
func (v *criterionValue) datePostingRange() (low, high []byte, ok bool) {
	q := v.dates
	from, to := int64(math.MinInt64), int64(math.MaxInt64)
	switch v.prefix {
	case "eq":
		from, to = q.Low, q.High
	case "gt", "ge", "sa":
		from = q.Low - longest
	case "lt", "le", "eb":
		to = q.High
	case "ap":
		from, to = 2*q.Low-q.High-longest, 2*q.High-q.Low
	default:
		return nil, nil, false
	}
	return appendInt(nil, from), appendInt(nil, to), true
}

// after returns the smallest bytes behind everything that begins with prefix.
func after(prefix []byte) []byte {
	end := slices.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return []byte(strings.Repeat("\xff", len(prefix)+1))
}

// IDs returns the ids that an _id criterion asks for; ok is false for any other.
func (c *Criterion) IDs() (ids []string, ok bool) {
	if c.param != idParam {
		return nil, false
	}
	for i := range c.values {
		ids = append(ids, c.values[i].text)
	}
	return ids, true
}

// Members returns the Patients outside whose records nothing satisfies the
// criterion; ok is false when it says nothing of that.
func (c *Criterion) Members() (ids []string, ok bool) {
	if c.param == nil || !c.param.Member || c.modifier == "missing" {
		return nil, false
	}
	for i := range c.values {
		if c.values[i].text == "" && c.values[i].target.Type == "Patient" {
			ids = append(ids, c.values[i].target.ID)
		}
	}
	return ids, true
}

// Name returns the parameter's name with its modifier.
func (c *Criterion) Name() string {
	if c.modifier == "" {
		return c.name
	}
	return c.name + ":" + c.modifier
}
