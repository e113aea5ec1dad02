package mapping

import "github.com/tributary-health/tributary/change"

// fits reports whether a column of the type can ever be a value of the element.
// Text columns may hold anything.
func fits(t change.Type, p primitive) bool {
	switch t {
	case change.Bool:
		return p == booleanType
	case change.Int, change.Uint:
		return p <= idType || p >= decimalType
	case change.Float, change.Decimal:
		return p == decimalType || p == stringType || p == codeType
	case change.Date:
		return p == dateType || p == dateTimeType || p == stringType
	case change.Timestamp, change.Instant:
		return p == dateTimeType || p == instantType || p == stringType
	case change.Time:
		return p == timeType || p == stringType
	case change.Bytes:
		return p == base64Type
	case change.UUID:
		return p < base64Type
	}
	return true
}
