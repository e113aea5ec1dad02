package hashmatch

import "strings"

// soundClass is Soundex's class of each letter A to Z; '0' has none. Of these, H
// and W are passed over, and the others separate.
const soundClass = "01230120022455012623010202"

// firstSounds are beginnings that sound like another letter.
var firstSounds = []struct{ written, heard string }{
	{"PH", "F"}, {"KN", "N"}, {"GN", "N"}, {"WR", "R"}, {"PS", "S"}, {"CZ", "S"},
	{"CE", "SE"}, {"CI", "SI"}, {"CY", "SY"}, {"C", "K"}, {"Q", "K"}, {"Z", "S"}, {"X", "S"},
}

// sound is the American Soundex code of a normalised name, after its beginning
// is written as it is heard. A name with a letter outside A to Z has none.
func sound(name string) string {
	for _, r := range name {
		if r < 'A' || r > 'Z' {
			return ""
		}
	}
	for _, f := range firstSounds {
		if rest, ok := strings.CutPrefix(name, f.written); ok {
			name = f.heard + rest
			break
		}
	}
	if name == "" {
		return ""
	}
	code := []byte{name[0]}
	last := soundClass[name[0]-'A']
	for i := 1; i < len(name) && len(code) < 4; i++ {
		class := soundClass[name[i]-'A']
		if class != '0' && class != last {
			code = append(code, class)
		}
		if name[i] != 'H' && name[i] != 'W' {
			last = class
		}
	}
	for len(code) < 4 {
		code = append(code, '0')
	}
	return string(code)
}
