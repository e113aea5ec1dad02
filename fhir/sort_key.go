package fhir

import "math"

// SortKey returns bytes that order resources by a date parameter's values, by
// _lastUpdated or by _id; ok is false for any other parameter. The earliest
// value counts, or the latest when descending; resources without a value come
// last either way.
func SortKey(dst []byte, v Version, param string, descending bool) (key []byte, ok bool) {
	switch param {
	case "_id":
		key = append(dst, v.ID...)
		key = append(key, 0)
		if descending {
			invert(key[len(dst):])
		}
		return key, true
	case "_lastUpdated":
		key = appendInt(append(dst, 0), v.Updated.UnixMicro())
	default:
		t := tableOf(v.Type)
		if t == nil {
			return dst, false
		}
		p := t.param(param)
		if p == nil || p.Kind != DateParam {
			return dst, false
		}
		if key = appendDateKey(dst, indexed(v.Index, p.stored), descending); key[len(dst)] != 0 {
			return key, true
		}
	}
	if descending {
		invert(key[len(dst)+1:])
	}
	return key, true
}

func invert(b []byte) {
	for i := range b {
		b[i] = ^b[i]
	}
}

func appendDateKey(dst, block []byte, latest bool) []byte {
	best, any := int64(math.MaxInt64), false
	if latest {
		best = math.MinInt64
	}
	eachValue(block, func(value []byte) bool {
		if r, ok := cutRange(value); ok {
			any = true
			if latest {
				best = max(best, r.High)
			} else {
				best = min(best, r.Low)
			}
		}
		return true
	})
	if !any {
		return appendInt(append(dst, 1), 0)
	}
	return appendInt(append(dst, 0), best)
}
