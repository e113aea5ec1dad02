package fhir

import "math"

// careDates names, for each type, the date parameter that says when the care
// was; that of the end, if the two are apart, comes second.
var careDates = map[string][2]string{
	"Encounter":            {"date"},
	"Condition":            {"onset-date", "abatement-date"},
	"Procedure":            {"date"},
	"Observation":          {"date"},
	"MedicationRequest":    {"authoredon"},
	"MedicationDispense":   {"whenhandedover"},
	"Immunization":         {"date"},
	"ExplanationOfBenefit": {"service-date"},
	"Coverage":             {"date"},
	"Composition":          {"date"},
	"Task":                 {"authored-on"},
}

// CareDate returns the time that a resource's care took, by its Index; ok is
// false for one that has no such date, or whose type has none. A condition that
// has not ended goes on.
func CareDate(v Version) (r DateRange, ok bool) {
	names, ok := careDates[v.Type]
	if !ok {
		return r, false
	}
	if r, ok = datesOf(v, names[0]); !ok || names[1] == "" {
		return r, ok
	}
	end, ended := datesOf(v, names[1])
	if r.High = math.MaxInt64; ended {
		r.High = max(end.High, r.Low)
	}
	return r, true
}

// datesOf returns the range from the first to the last of the parameter's dates.
func datesOf(v Version, param string) (all DateRange, any bool) {
	p := findParam(v.Type, param)
	if p == nil {
		return all, false
	}
	all = DateRange{math.MaxInt64, math.MinInt64}
	eachValue(indexed(v.Index, p.stored), func(value []byte) bool {
		if r, ok := cutRange(value); ok {
			all, any = DateRange{min(all.Low, r.Low), max(all.High, r.High)}, true
		}
		return true
	})
	return all, any
}

// Overlaps reports whether the two ranges have a moment in common.
func (r DateRange) Overlaps(other DateRange) bool { return r.Low < other.High && other.Low < r.High }
