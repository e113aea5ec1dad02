package hashmatch

import (
	"slices"
	"strings"
)

// Factor is one thing that an agreeing token says agrees. Factors are a set.
type Factor uint16

// The factors. A sound is of a name; Sound is of the given or the family name,
// nobody knows which.
const (
	Given Factor = 1 << iota
	Family
	GivenSound
	FamilySound
	Sound
	Birth // day, month and year; day and month may be swapped
	Year
	Sex
	ZIP
	House // house number, how the street sounds, and ZIP
	Phone
	SSN4
	MemberID
)

// Kind names a combination of facts that tokens are made of.
type Kind string

// slot is where one value of a token's input comes from.
type slot uint8

const (
	bothNames  slot = iota // given and family name, in ascending order
	bothSounds             // how they sound, in ascending order
	givenName
	givenSound
	anySound // how the given or the family name sounds
	birthDay
	birthYear
	sexMark
	zipCode
	houseKey
	phoneNumber
	ssnEnd
	memberNumber
)

var slotFactors = [...]Factor{
	bothNames: Given | Family, bothSounds: GivenSound | FamilySound, givenName: Given, givenSound: GivenSound,
	anySound: Sound, birthDay: Birth | Year, birthYear: Year, sexMark: Sex, zipCode: ZIP, houseKey: House | ZIP,
	phoneNumber: Phone, ssnEnd: SSN4, memberNumber: MemberID,
}

type kindDef struct {
	kind  Kind
	slots []slot
	alone bool // one agreeing token is enough
}

// kinds are all of them, in the order that a request has them. Two who share a
// household and a birth date, or a household and a whole name, agree in none of
// them but sounds-birth-sex: every other kind has the given name or SSN4, and the
// year of birth or SSN4. A card may be the household's, so MemberID stands for
// neither.
var kinds = []kindDef{
	{"member-given-year", []slot{memberNumber, givenName, birthYear}, true},
	{"name-birth", []slot{bothNames, birthDay}, false},
	{"given-birth-phone", []slot{givenName, birthDay, phoneNumber}, false},
	{"given-birth-house", []slot{givenName, birthDay, houseKey}, false},
	{"given-birth-zip", []slot{givenName, birthDay, zipCode}, false},
	{"birth-ssn", []slot{birthDay, ssnEnd}, false},
	{"birth-zip-ssn", []slot{birthDay, zipCode, ssnEnd}, false},
	{"sound-year-ssn", []slot{anySound, birthYear, ssnEnd}, false},
	{"sounds-ssn", []slot{bothSounds, ssnEnd}, false},
	{"sound-zip-ssn", []slot{anySound, zipCode, ssnEnd}, false},
	{"sound-house-ssn", []slot{givenSound, houseKey, ssnEnd}, false},
	{"name-year-phone", []slot{bothNames, birthYear, phoneNumber}, false},
	{"name-year-house", []slot{bothNames, birthYear, houseKey}, false},
	{"sounds-birth-sex", []slot{bothSounds, birthDay, sexMark}, false},
}

var kindOf = func() map[Kind]*kindDef {
	m := map[Kind]*kindDef{}
	for i := range kinds {
		m[kinds[i].kind] = &kinds[i]
	}
	return m
}()

// The same by place among kinds, for Decide.
var (
	kindFactors = make([]Factor, len(kinds))
	aloneFlags  = make([]uint64, len(kinds)) // 1: enough alone
)

func init() {
	for i, def := range kinds {
		kindFactors[i] = def.kind.Factors()
		if def.alone {
			aloneFlags[i] = 1
		}
	}
}

// Kinds are the kinds of [Version].
func Kinds() []Kind {
	all := make([]Kind, len(kinds))
	for i, k := range kinds {
		all[i] = k.kind
	}
	return all
}

// slotMost is how many values one person has in a slot, at most.
var slotMost = [...]int{
	bothNames: maxGiven * maxFamily, bothSounds: maxGiven * maxFamily, givenName: maxGiven, givenSound: maxGiven,
	anySound: maxGiven + maxFamily, birthDay: 1, birthYear: 1, sexMark: 1, zipCode: maxAddresses, houseKey: maxAddresses,
	phoneNumber: maxPhones, ssnEnd: 1, memberNumber: maxMemberIDs,
}

// most is how many tokens of the kind one person has, at most.
func (k Kind) most() int {
	n := 1
	for _, s := range kindOf[k].slots {
		n *= slotMost[s]
	}
	return n
}

// Factors are what an agreeing token of the kind says agrees; none for an
// unknown kind.
func (k Kind) Factors() Factor {
	def, ok := kindOf[k]
	if !ok {
		return 0
	}
	var f Factor
	for _, s := range def.slots {
		f |= slotFactors[s]
	}
	return f
}

// Input is what a token is made of: its kind and the normalised values, joined
// by |. It names a person: it never leaves the process.
type Input struct {
	Kind Kind
	Text string
	rank int // 0: from the first form of everything
}

// Inputs are the inputs of all tokens of p, at most [MaxHeld], those of the first
// forms first. Equal persons have equal inputs.
func (p Person) Inputs() []Input {
	var all []Input
	var forms [memberNumber + 1][]form
	for s := range forms {
		forms[s] = p.forms(slot(s))
	}
	for _, def := range kinds {
		made := []form{{}}
		for _, s := range def.slots {
			made = times(made, forms[s])
		}
		for _, m := range distinct(made) {
			all = append(all, Input{def.kind, m.value, m.rank})
		}
	}
	slices.SortStableFunc(all, func(a, b Input) int { return a.rank - b.rank })
	return all[:min(len(all), MaxHeld)]
}

// form is one value of a slot and how many forms came before it.
type form struct {
	value string
	rank  int
}

func (p Person) forms(s slot) []form {
	switch s {
	case bothNames:
		return pairs(p.Given, p.Family)
	case bothSounds:
		return pairs(sounds(p.Given), sounds(p.Family))
	case givenName:
		return ranked(p.Given)
	case givenSound:
		return ranked(sounds(p.Given))
	case anySound:
		return distinct(append(ranked(sounds(p.Given)), ranked(sounds(p.Family))...))
	case birthDay:
		return ranked([]string{dayEitherWay(p.BirthDate)})
	case birthYear:
		return ranked([]string{p.BirthDate[:min(4, len(p.BirthDate))]})
	case sexMark:
		return ranked([]string{p.Sex})
	case phoneNumber:
		return ranked(p.Phones)
	case ssnEnd:
		return ranked([]string{p.SSN4})
	case memberNumber:
		return ranked(p.MemberIDs)
	}
	var all []string
	for _, a := range p.Addresses {
		if s == zipCode {
			all = append(all, a.ZIP)
		} else {
			all = append(all, house(a.Line, a.ZIP))
		}
	}
	return ranked(all)
}

func ranked(values []string) []form {
	var all []form
	for i, v := range values {
		if v != "" {
			all = append(all, form{v, i})
		}
	}
	return distinct(all)
}

func sounds(names []string) []string {
	all := make([]string, len(names))
	for i, n := range names {
		all[i] = sound(n)
	}
	return all
}

// pairs are each given with each family name, in ascending order: swapped names
// are the same pair.
func pairs(given, family []string) []form {
	var all []form
	for i, g := range given {
		for j, f := range family {
			if g != "" && f != "" {
				all = append(all, form{min(g, f) + "|" + max(g, f), i + j})
			}
		}
	}
	return distinct(all)
}

func times(a, b []form) []form {
	all := make([]form, 0, len(a)*len(b))
	for _, x := range a {
		for _, y := range b {
			all = append(all, form{strings.TrimPrefix(x.value+"|"+y.value, "|"), x.rank + y.rank})
		}
	}
	return all
}

// distinct keeps each value once, with its lowest rank, in ascending order of
// ranks and otherwise as they came.
func distinct(all []form) []form {
	slices.SortStableFunc(all, func(a, b form) int { return a.rank - b.rank })
	kept := all[:0]
	for _, f := range all {
		if !slices.ContainsFunc(kept, func(k form) bool { return k.value == f.value }) {
			kept = append(kept, f)
		}
	}
	return kept
}
