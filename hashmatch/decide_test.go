package hashmatch

import (
	"slices"
	"testing"
)

// suffices reports whether agreement in tokens of so many kinds, or in one that
// is enough alone, names a person.
func suffices(f Factor, kinds int, alone bool) bool {
	return (kinds >= 2 || alone) && named()[f] == 1
}

// What any two people of one household can share names neither, whichever tokens
// agree, and whatever kinds of token a later version has.
func TestSharedFactsNameNobody(t *testing.T) {
	for _, c := range []struct {
		name   string
		shares Factor // all that can agree
	}{
		{"twins", Family | FamilySound | Sound | Birth | Year | Sex | ZIP | House | Phone | MemberID},
		{"twins whose names sound alike", Family | FamilySound | GivenSound | Sound | Birth | Year | Sex | ZIP | House | Phone | MemberID},
		{"junior and senior", Given | GivenSound | Family | FamilySound | Sound | Sex | ZIP | House | Phone | MemberID},
		{"a couple", Family | FamilySound | Sound | ZIP | House | Phone | MemberID},
		{"a couple with the same four digits", Family | FamilySound | Sound | ZIP | House | Phone | MemberID | SSN4},
		{"namesakes of one birth date elsewhere", Given | GivenSound | Family | FamilySound | Sound | Birth | Year | Sex},
		{"namesakes of one ZIP code and year", Given | GivenSound | Family | FamilySound | Sound | Year | ZIP},
		{"strangers with one birth date and four digits", Birth | Year | SSN4},
	} {
		if named()[c.shares] == 1 {
			t.Errorf("%s: what they share names the wrong one", c.name)
		}
	}
}

// Every factor is in some kind, every kind can help to a match, and each of the
// seven facts may be missing.
func TestKinds(t *testing.T) {
	var all Factor
	for _, k := range kinds {
		f := k.kind.Factors()
		if all |= f; f == 0 {
			t.Errorf("%s has no factors", k.kind)
		}
		if k.alone && (f&MemberID == 0 || !suffices(f, 1, true)) {
			t.Errorf("%s cannot be enough alone", k.kind)
		}
		if f&(Given|GivenSound|SSN4) == 0 {
			t.Errorf("%s says nothing of whom in a household is meant", k.kind)
		}
	}
	if all != MemberID<<1-1 {
		t.Errorf("factors in use: %b", all)
	}
	for _, missing := range []Factor{Family | FamilySound | Sound, Sex, House, House | ZIP, Phone, MemberID, SSN4} {
		var agree Factor
		n := 0
		for _, k := range kinds {
			if f := k.kind.Factors(); f&missing == 0 && !k.alone {
				agree |= f
				n++
			}
		}
		if !suffices(agree, n, false) {
			t.Errorf("without %b nobody is matched", missing)
		}
	}
}

// More agreement never makes less of a match.
func TestEvidenceGrows(t *testing.T) {
	for f := Factor(0); f < MemberID<<1; f++ {
		for one := Given; one <= MemberID; one <<= 1 {
			if more := f | one; bits(more) < bits(f) || own(more) < own(f) {
				t.Fatalf("%b says %d, with %b only %d", f, bits(f), one, bits(more))
			}
		}
	}
}

func TestDecide(t *testing.T) {
	tokens := func(kinds ...Kind) (all []Token) {
		for i, k := range kinds {
			all = append(all, Token{k, [TokenSize]byte{byte(i)}})
		}
		return all
	}
	name, house := Kind("name-birth"), Kind("given-birth-house")
	for _, c := range []struct {
		name    string
		tokens  []Token
		holders [][]string
		want    Verdict
	}{
		{"nobody", tokens(name, house), [][]string{nil, nil}, Verdict{Reason: Unknown}},
		{"no tokens", nil, nil, Verdict{Reason: Unknown}},
		{"two", tokens(name, house), [][]string{{"a"}, {"a"}}, Verdict{"a", Matched, 2}},
		{"one", tokens(name, house), [][]string{{"a"}, nil}, Verdict{Reason: Weak}},
		{"two of one kind", tokens(house, house), [][]string{{"a"}, {"a"}}, Verdict{Reason: Weak}},
		{"one each", tokens(name, house), [][]string{{"a"}, {"b"}}, Verdict{Reason: Weak}},
		{"shared", tokens(name, house), [][]string{{"a", "b"}, {"b", "a"}}, Verdict{Reason: Suppressed}},
		{"one shared", tokens(name, house), [][]string{{"a", "b"}, {"a"}}, Verdict{Reason: Weak}},
		{"a holder told twice", tokens(name, house), [][]string{{"a", "a"}, {"a"}}, Verdict{"a", Matched, 2}},
		{"two members", tokens(name, house, name, house), [][]string{{"a"}, {"a"}, {"b"}, {"b"}}, Verdict{Reason: Ambiguous}},
		{"by member id", tokens("member-given-year"), [][]string{{"a"}}, Verdict{"a", Matched, 1}},
		{"two by member id", tokens("member-given-year", "member-given-year"), [][]string{{"a"}, {"b"}}, Verdict{Reason: Ambiguous}},
		{"an unknown kind", tokens("all", name), [][]string{{"a"}, {"a"}}, Verdict{Reason: Weak}},
		{"a holder without a name", tokens(name, house), [][]string{{""}, {""}}, Verdict{Reason: Suppressed}},
	} {
		if got := Decide(c.tokens, func(i int) []string { return c.holders[i] }); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// Tokens beyond the limit do not count, and the order of tokens is no matter.
func TestDecideLimit(t *testing.T) {
	all := make([]Token, MaxTokens+2)
	for i := range all {
		all[i] = Token{"birth-ssn", [TokenSize]byte{byte(i)}}
	}
	all[MaxTokens].Kind, all[MaxTokens+1].Kind = "name-birth", "given-birth-house"
	asked := 0
	holders := func(i int) []string {
		asked++
		if i >= MaxTokens {
			return []string{"a"}
		}
		return nil
	}
	if got := Decide(all, holders); got.Reason != Unknown || asked != MaxTokens {
		t.Errorf("%+v after %d lookups", got, asked)
	}
	slices.Reverse(all)
	if got := Decide(all, func(i int) []string { return holders(MaxTokens + 1 - i) }); got.Member != "a" {
		t.Errorf("%+v", got)
	}
}

// A short form stands for at most three names: more would name nobody.
func TestNicknames(t *testing.T) {
	for short, long := range longNames {
		if len(long) > maxGiven-1 || NormalGiven(short) != short {
			t.Errorf("%s stands for %d names", short, len(long))
		}
		for _, l := range long {
			if NormalGiven(l) != l || l == short {
				t.Errorf("%s: %s is not normalised, or itself", short, l)
			}
			for _, chained := range longNames[l] {
				t.Errorf("%s stands for %s, and that for %s: two steps join different names", short, l, chained)
			}
		}
	}
	if len(longNames) < 150 {
		t.Errorf("only %d short forms", len(longNames))
	}
}

// Each word of a street list belongs to one short form, and none is itself
// abbreviated again.
func TestStreetWords(t *testing.T) {
	seen := map[string]string{}
	for short, all := range streetWords {
		for _, w := range all {
			if was, ok := seen[w]; ok || streetWords[w] != nil {
				t.Errorf("%s is abbreviated as %s and %s, or is a short form", w, short, was)
			}
			seen[w] = short
		}
	}
	if len(seen) < 150 {
		t.Errorf("only %d words", len(seen))
	}
}
