package hashmatch

// Demographics is what one side holds of a person, as it stands there. Every
// part may be missing.
type Demographics struct {
	Names     []Name
	BirthDate string // see [NormalBirthDate]
	Sex       string // see [NormalSex]
	Addresses []Address
	Phones    []string
	MemberIDs []string
	SSN       string // the last four digits, or all nine: see [NormalSSN4]
}

// Name is one name of a person: the present one first, then others, such as the
// maiden name.
type Name struct {
	Family string
	// Given is the first name and, behind it, middle names. A first name of
	// several words is one element.
	Given []string
}

// Address is a street line and a ZIP code.
type Address struct {
	Line, ZIP string
}

// How many forms of each thing are kept, the first ones. Both sides keep as
// many.
const (
	maxGiven     = 4
	maxFamily    = 4
	maxAddresses = 3
	maxPhones    = 3
	maxMemberIDs = 6
)

// Person is normalised demographics: what tokens are made of. Lists hold each
// form once, the most likely first.
type Person struct {
	Given     []string // as written, with middle names, long forms of nicknames
	Family    []string // whole, then the parts of a double name
	BirthDate string   // YYYYMMDD
	Sex       string   // F or M
	Addresses []Address
	Phones    []string
	MemberIDs []string
	SSN4      string
}

// Normalize applies the rules of [Version]. What is no value, such as UNKNOWN, is
// as if it were missing.
func Normalize(d Demographics) Person {
	p := Person{BirthDate: NormalBirthDate(d.BirthDate), Sex: NormalSex(d.Sex), SSN4: NormalSSN4(d.SSN)}
	p.names(d.Names)
	for _, a := range d.Addresses {
		a = Address{NormalLine(a.Line), NormalZIP(a.ZIP)}
		if a != (Address{}) {
			p.Addresses = keep(p.Addresses, a, maxAddresses)
		}
	}
	for _, s := range d.Phones {
		p.Phones = keep(p.Phones, NormalPhone(s), maxPhones)
	}
	for _, s := range d.MemberIDs {
		p.MemberIDs = keep(p.MemberIDs, NormalMemberID(s), maxMemberIDs)
	}
	return p
}

// names fills in the forms of given and family names: first all that are
// written, then what is made of them. Of a name that is a placeholder as a whole
// nothing is made: a part of it would be a name that nobody bears.
func (p *Person) names(names []Name) {
	var double, families []string
	for _, n := range names {
		family := NormalFamily(n.Family)
		given := ""
		if len(n.Given) > 0 {
			given = NormalGiven(n.Given[0])
		}
		if nobodies[given+"|"+family] {
			continue
		}
		p.Given = keep(p.Given, given, maxGiven)
		if len(n.Given) > 1 && given != "" {
			if middle := NormalGiven(n.Given[1]); middle != "" {
				double = append(double, given+middle)
			}
		}
		if family != "" {
			p.Family = keep(p.Family, family, maxFamily)
			families = append(families, n.Family)
		}
	}
	for _, written := range p.Given {
		for _, long := range longNames[written] {
			p.Given = keep(p.Given, long, maxGiven)
		}
	}
	for _, s := range double {
		p.Given = keep(p.Given, s, maxGiven)
	}
	for _, family := range families {
		for _, part := range familyParts(family) {
			p.Family = keep(p.Family, part, maxFamily)
		}
	}
}

// keep appends a value that is none of list's, unless list is full or the value
// is nothing.
func keep[T comparable](list []T, value T, most int) []T {
	var nothing T
	if value == nothing || len(list) >= most {
		return list
	}
	for _, have := range list {
		if have == value {
			return list
		}
	}
	return append(list, value)
}
