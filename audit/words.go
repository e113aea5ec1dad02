package audit

import "strings"

// only reports whether s is made of bytes of the class.
func only(s string, class func(c byte) bool) bool {
	for i := range len(s) {
		if !class(s[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) bool  { return 'a' <= c && c <= 'z' }
func letter(c byte) bool { return lower(c) || 'A' <= c && c <= 'Z' }
func digit(c byte) bool  { return '0' <= c && c <= '9' }

func in(c byte, set string) bool { return strings.IndexByte(set, c) >= 0 }

// isName: a client's id, a generation.
func isName(s string) bool {
	return s != "" && len(s) <= 64 && only(s, func(c byte) bool { return letter(c) || digit(c) || in(c, "._-") })
}

// isHex: lower case, may be empty.
func isHex(s string) bool {
	return len(s) <= 128 && only(s, func(c byte) bool { return digit(c) || 'a' <= c && c <= 'f' })
}

// isWord: no digit, so no date, number or key can be in it. May be empty.
func isWord(s string) bool {
	return len(s) <= 64 && only(s, func(c byte) bool { return lower(c) || c == '-' })
}

// isID: an id as FHIR has it.
func isID(s string) bool {
	return s != "" && len(s) <= 64 && only(s, func(c byte) bool { return letter(c) || digit(c) || in(c, "-.") })
}

// isVersion: Type/id/_history/number or Type/id.
func isVersion(s string, id func(string) bool) bool {
	typ, rest, ok := strings.Cut(s, "/")
	if !ok || typ == "" || len(typ) > 64 || !only(typ, letter) {
		return false
	}
	name, version, versioned := strings.Cut(rest, "/_history/")
	if versioned && (version == "" || len(version) > 20 || version[0] == '0' || !only(version, digit)) {
		return false
	}
	return isID(name) && id(name)
}

// isRequest: method, path pattern, names of parameters. No digit but in the name
// of a delivery's topic, which has a client's id in it: a value of a search
// mostly has one, a name of a parameter has none. May be empty.
func isRequest(s string, delivery bool) bool {
	if s == "" {
		return true
	}
	method, rest, _ := strings.Cut(s, " ")
	path, names, _ := strings.Cut(rest, " ")
	return len(s) <= maxRequest && method != "" && len(method) <= 8 &&
		only(method, func(c byte) bool { return 'A' <= c && c <= 'Z' }) &&
		path != "" && len(path) <= 256 &&
		only(path, func(c byte) bool { return letter(c) || in(c, "/[]$_-.") || delivery && digit(c) }) &&
		!strings.HasSuffix(s, " ") &&
		only(names, func(c byte) bool { return letter(c) || in(c, ",_-.:?") })
}
