package hashmatch

import (
	"slices"
	"strings"
)

var (
	suffixes      = set([]string{"JR", "SR", "JNR", "SNR", "JUNIOR", "SENIOR", "II", "III", "IV", "2ND", "3RD", "4TH"})
	honorifics    = set([]string{"MR", "MRS", "MS", "MISS", "DR", "REV", "PROF", "SR", "SRA"})
	notGiven      = set(placeholders["given"])
	notFamily     = set(placeholders["family"])
	nobodies      = set(placeholders["nobody"])
	longNames     = longNamesOf(nicknames)
	particles     = set([]string{"DE", "DEL", "DELA", "LA", "LAS", "LOS", "EL", "AL", "DI", "DA", "DO", "DOS", "DAS", "DU", "LE", "VAN", "VON", "DER", "DEN", "TEN", "TER", "ZU", "ST", "SAINT", "SAN", "SANTA", "MC", "MAC", "O", "ABU", "BEN", "BIN", "IBN"})
	conjunctions  = set([]string{"Y", "E", "I"})
	minNameLetter = 2
)

// longNamesOf maps a short form to the given names it can stand for, sorted.
func longNamesOf(list map[string][]string) map[string][]string {
	long := map[string][]string{}
	for name, short := range list {
		for _, s := range short {
			long[s] = append(long[s], name)
		}
	}
	for _, names := range long {
		slices.Sort(names)
	}
	return long
}

// nameWords are a name's words without suffixes behind it and digits in them.
func nameWords(s string) []string {
	all := words(s)
	for len(all) > 1 && suffixes[all[len(all)-1]] {
		all = all[:len(all)-1]
	}
	kept := all[:0]
	for _, w := range all {
		if w = withoutDigits(w); w != "" {
			kept = append(kept, w)
		}
	}
	return kept
}

// NormalGiven is a given name as tokens hold it: letters alone, in upper case,
// joined. Honorifics before it, suffixes and single letters behind it are left
// out. It is "" for a placeholder and for less than two letters.
func NormalGiven(s string) string {
	all := nameWords(s)
	for len(all) > 1 && honorifics[all[0]] {
		all = all[1:]
	}
	for len(all) > 1 && letters(all[len(all)-1]) == 1 {
		all = all[:len(all)-1]
	}
	return joined(all, notGiven)
}

// NormalFamily is a family name as tokens hold it: letters alone, in upper case,
// joined, without suffixes behind it. It is "" for a placeholder and for less
// than two letters.
func NormalFamily(s string) string { return joined(nameWords(s), notFamily) }

func joined(all []string, not map[string]bool) string {
	if len(all) == 0 || not[all[0]] {
		return ""
	}
	s := strings.Join(all, "")
	if letters(s) < minNameLetter || not[s] {
		return ""
	}
	return s
}

func letters(s string) int { return len([]rune(s)) }

// familyParts are the names that a double family name is made of, or none: DE
// and the like go with the word behind them.
func familyParts(s string) []string {
	var parts []string
	held := ""
	for _, w := range nameWords(s) {
		switch {
		case particles[w]:
			held += w
		case conjunctions[w] && len(parts) > 0:
		default:
			parts = append(parts, held+w)
			held = ""
		}
	}
	if held != "" || len(parts) < 2 {
		return nil
	}
	kept := parts[:0]
	for _, p := range parts {
		if letters(p) > minNameLetter && !notFamily[p] {
			kept = append(kept, p)
		}
	}
	return kept
}
