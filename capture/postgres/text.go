package postgres

import (
	"encoding/hex"
	"errors"

	"github.com/tributary-health/tributary/change"
)

// appendText appends the text form of a value that the server printed as raw,
// as change.Type describes it. What the form cannot hold (infinity, years BC or
// beyond 9999) stays as printed.
func appendText(dst []byte, t change.Type, raw []byte) ([]byte, error) {
	switch t {
	case change.Bool:
		switch {
		case len(raw) == 1 && raw[0] == 't':
			return append(dst, "true"...), nil
		case len(raw) == 1 && raw[0] == 'f':
			return append(dst, "false"...), nil
		}
		return dst, errors.New("not a boolean's text")
	case change.Bytes:
		if len(raw) < 2 || raw[0] != '\\' || raw[1] != 'x' {
			return dst, errors.New("not a bytea's hexadecimal text")
		}
		return hex.AppendDecode(dst, raw[2:])
	case change.Timestamp:
		if !plainTimestamp(raw) {
			return append(dst, raw...), nil
		}
		return appendT(dst, raw), nil
	case change.Instant:
		n := len(raw) - 3
		if n < 0 || string(raw[n:]) != "+00" || !plainTimestamp(raw[:n]) {
			return append(dst, raw...), nil
		}
		return append(appendT(dst, raw[:n]), 'Z'), nil
	default:
		return append(dst, raw...), nil
	}
}

// plainTimestamp reports whether b is 2006-01-02 15:04:05 with or without a
// fraction, and nothing more.
func plainTimestamp(b []byte) bool {
	if len(b) < 19 || b[4] != '-' || b[7] != '-' || b[10] != ' ' || b[13] != ':' || b[16] != ':' {
		return false
	}
	return len(b) == 19 || b[19] == '.' && b[len(b)-1] != 'C'
}

func appendT(dst, b []byte) []byte {
	dst = append(dst, b[:10]...)
	dst = append(dst, 'T')
	return append(dst, b[11:]...)
}

// The server's own type numbers that have a form other than text.
const (
	oidBool        = 16
	oidBytea       = 17
	oidInt8        = 20
	oidInt2        = 21
	oidInt4        = 23
	oidOID         = 26
	oidJSON        = 114
	oidFloat4      = 700
	oidFloat8      = 701
	oidDate        = 1082
	oidTime        = 1083
	oidTimestamp   = 1114
	oidTimestamptz = 1184
	oidNumeric     = 1700
	oidUUID        = 2950
	oidJSONB       = 3802
)

// types knows the database's own types: domains stand for what they are over,
// enums are enums. All else that is not listed is text.
type types struct {
	domains map[uint32]uint32
	enums   map[uint32]bool
}

func (t *types) logical(oid uint32) change.Type {
	for range 32 { // domains over domains; the catalog has no cycles
		base, ok := t.domains[oid]
		if !ok {
			break
		}
		oid = base
	}
	if t.enums[oid] {
		return change.Enum
	}
	switch oid {
	case oidBool:
		return change.Bool
	case oidBytea:
		return change.Bytes
	case oidInt2, oidInt4, oidInt8, oidOID:
		return change.Int
	case oidFloat4, oidFloat8:
		return change.Float
	case oidNumeric:
		return change.Decimal
	case oidDate:
		return change.Date
	case oidTime:
		return change.Time
	case oidTimestamp:
		return change.Timestamp
	case oidTimestamptz:
		return change.Instant
	case oidUUID:
		return change.UUID
	case oidJSON, oidJSONB:
		return change.JSON
	}
	return change.String
}
