package fhir

import (
	"bytes"
	"strconv"
	"time"
)

// LastUpdatedLayout is the form of meta.lastUpdated as Stamp writes it, always
// in UTC.
const LastUpdatedLayout = "2006-01-02T15:04:05.000Z"

// Stamp appends content with `"versionId":"N","lastUpdated":"..."` put at the
// start of its meta object, everything else byte for byte as it is. content MUST
// be a resource with a meta object that has neither of the two; a resource
// without a meta object is a mistake of the caller, and Stamp panics.
func Stamp(dst, content []byte, versionID uint64, updated time.Time) []byte {
	at := metaStart(content)
	if at < 0 {
		panic("fhir: Stamp: content has no meta object")
	}
	dst = append(dst, content[:at]...)
	dst = append(dst, versionMark...)
	dst = strconv.AppendUint(dst, versionID, 10)
	dst = append(dst, updatedMark...)
	dst = updated.UTC().AppendFormat(dst, LastUpdatedLayout)
	dst = append(dst, '"')
	if next := skipBlanks(content, at); next < len(content) && content[next] != '}' {
		dst = append(dst, ',')
	}
	return append(dst, content[at:]...)
}

// Unstamp undoes Stamp: for every content, Unstamp(Stamp(nil, content, n, t)) is
// content. A body that is not stamped comes back as it is. The result may alias
// body, and body is not changed.
func Unstamp(body []byte) []byte {
	at := metaStart(body)
	if at < 0 {
		return body
	}
	rest, ok := bytes.CutPrefix(body[at:], []byte(versionMark))
	if !ok {
		return body
	}
	if _, rest, ok = bytes.Cut(rest, []byte(updatedMark)); !ok {
		return body
	}
	if _, rest, ok = bytes.Cut(rest, []byte{'"'}); !ok {
		return body
	}
	if len(rest) > 0 && rest[0] == ',' {
		rest = rest[1:]
	}
	out := make([]byte, 0, at+len(rest))
	return append(append(out, body[:at]...), rest...)
}

const (
	versionMark = `"versionId":"`
	updatedMark = `","lastUpdated":"`
)

// metaStart returns the index just after the brace of the resource's meta
// object, or -1.
func metaStart(resource []byte) int {
	at := -1
	_ = eachMember(resource, func(name []byte, start, _ int) bool {
		if string(name) != "meta" {
			return true
		}
		if resource[start] == '{' {
			at = start + 1
		}
		return false
	})
	return at
}
