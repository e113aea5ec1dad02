package hashmatch

import (
	"strings"
	"unicode"
)

var (
	shortWord = inverted(streetWords)
	notLine   = set(placeholders["line"])
	// units are the words that begin what stands behind the street.
	units = set([]string{"APT", "APARTMENT", "UNIT", "STE", "SUITE", "FL", "FLOOR", "RM", "ROOM", "LOT", "BLDG", "BUILDING",
		"TRLR", "TRAILER", "SPC", "SPACE", "DEPT", "BSMT", "BASEMENT", "PH", "PENTHOUSE", "NO", "HASH"})
	directions = set([]string{"N", "S", "E", "W", "NE", "NW", "SE", "SW"})
)

// NormalLine is a street line in the manner of USPS Publication 28: upper case,
// no punctuation, words abbreviated, one space between them. The unit, such as
// an apartment, is left out: half of all records have it elsewhere or not at
// all. It is "" for a placeholder.
func NormalLine(s string) string {
	all := lineWords(s)
	if len(all) == 0 || notLine[all[0]] {
		return ""
	}
	if n, ok := box(all); ok {
		return postBox + n
	}
	for i, w := range all {
		if i >= 2 && units[w] {
			all = all[:i]
			break
		}
		if short, ok := shortWord[w]; ok {
			all[i] = short
		}
	}
	return strings.Join(all, " ")
}

// lineWords are the words of a line. A hyphen joins what stands around it, as in
// the house numbers of Queens; # becomes a word of its own.
func lineWords(s string) []string {
	s = strings.NewReplacer("#", " HASH ", "-", "", "‐", "", "–", "", ".", "").Replace(upper(s))
	return strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !isDigit(r) })
}

const postBox = "PO BOX "

// box is the number of a post office box, in any of the ways to say that it is
// one.
func box(all []string) (number string, ok bool) {
	for _, said := range []string{"P O BOX", "POST OFFICE BOX", "PO BOX", "POBOX", "BOX"} {
		w := strings.Fields(said)
		if len(all) > len(w) && strings.Join(all[:len(w)], " ") == said {
			return all[len(w)], true
		}
	}
	return "", false
}

// house is what tokens hold of an address: house number, how the street's first
// word sounds, and ZIP. Words behind it, abbreviations and most slips of the pen
// make no difference. It is "" without a number, a street or a ZIP.
func house(line, zip string) string {
	if n, ok := strings.CutPrefix(line, postBox); ok {
		return houseOf(n, "PO", zip)
	}
	all := strings.Fields(line)
	if len(all) < 2 || digits(all[0]) == "" {
		return ""
	}
	street := all[1]
	for _, w := range all[1:] {
		if !directions[w] {
			street = w
			break
		}
	}
	if n := digits(street); n != "" {
		return houseOf(all[0], n, zip)
	}
	return houseOf(all[0], sound(street), zip)
}

func houseOf(number, street, zip string) string {
	if number == "" || street == "" || zip == "" {
		return ""
	}
	return number + " " + street + " " + zip
}
