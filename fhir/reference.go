package fhir

import "strings"

// References lists the relative references ("Type/id") that the index has for a
// reference parameter, "*" meaning all of them, in order, repeats included.
func References(index []byte, resourceType, param string) []ResourceID {
	var ids []ResourceID
	for _, p := range SearchParams(resourceType) {
		if p.Kind != ReferenceParam || param != "*" && param != p.Name {
			continue
		}
		eachValue(indexed(index, p.stored), func(value []byte) bool {
			if id, ok := ParseReference(string(value)); ok {
				ids = append(ids, id)
			}
			return true
		})
	}
	return ids
}

// ParseReference reads a relative reference, "Type/id", with or without a
// version; ok is false for anything else.
func ParseReference(reference string) (id ResourceID, ok bool) {
	typ, rest, found := strings.Cut(unversioned(reference), "/")
	return ResourceID{typ, rest}, found && validType(typ) && ValidID(rest)
}

// ValidID reports whether id has the form of a FHIR id.
func ValidID(id string) bool {
	if len(id) == 0 || len(id) > 64 {
		return false
	}
	for _, c := range []byte(id) {
		if !(isLetter(c) || '0' <= c && c <= '9' || c == '-' || c == '.') {
			return false
		}
	}
	return true
}

func validType(name string) bool {
	for _, c := range []byte(name) {
		if !isLetter(c) {
			return false
		}
	}
	return name != "" && len(name) <= 64 && 'A' <= name[0] && name[0] <= 'Z'
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
