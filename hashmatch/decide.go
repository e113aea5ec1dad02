package hashmatch

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
)

// Reason is why a request was answered as it was. It is for the audit record
// alone: the asker must not learn it.
type Reason string

// The reasons.
const (
	Matched    Reason = "matched"
	Unknown    Reason = "unknown"    // no token is held by one member alone
	Weak       Reason = "weak"       // tokens agree, and not enough of them: a typo, a relative
	Ambiguous  Reason = "ambiguous"  // enough agrees for several members
	Suppressed Reason = "suppressed" // all tokens that agree are held by several members
)

// Verdict is what Decide says.
type Verdict struct {
	Member string // empty unless Reason is Matched
	Reason Reason
	// Agreeing is how many of the request's tokens the member alone holds, or several
	// do. A request of one person has few others; many others are guesses.
	Agreeing int
}

// weights are how many bits of evidence an agreement is: minus the binary
// logarithm of how often two people agree in it by chance.
var weights = []struct {
	has  Factor
	bits int
}{ // of one group the first that agrees counts
	{Given, 7}, {GivenSound, 6},
	{Family, 9}, {FamilySound, 8},
	{Birth, 14}, {Year, 6},
	{House, 22}, {ZIP, 10},
	{Sex, 1}, {Phone, 20}, {SSN4, 13}, {MemberID, 24},
}

// enough finds the wrong one of five million members for less than one stranger
// in two thousand.
const enough = 33

func bits(f Factor) int {
	n := 0
	for _, w := range weights {
		if f&w.has != 0 {
			n += w.bits
			f &^= implied[w.has]
		}
	}
	if f&Sound != 0 { // one of the two names, if neither counted
		n += 6
	}
	return n
}

// implied are the factors that say nothing more beside another one.
var implied = map[Factor]Factor{
	Given: GivenSound | Sound, GivenSound: Sound, Family: FamilySound | Sound, FamilySound: Sound,
	Birth: Year, House: ZIP,
}

// own counts what agrees of the person and not of the household: given name,
// birth and social security number. How a given name sounds counts only beside
// that number, because twins' names sound alike; a card may be both twins'.
func own(f Factor) int {
	n := 0
	if f&Given != 0 || f&GivenSound != 0 && f&SSN4 != 0 {
		n++
	}
	if f&(Birth|Year) != 0 {
		n++
	}
	if f&SSN4 != 0 {
		n++
	}
	return n
}

// named is, for every set of factors, 1 if agreement in it names a person: a look
// at it takes as long whatever the set.
var named = sync.OnceValue(func() *[MemberID << 1]uint8 {
	var table [MemberID << 1]uint8
	for f := range table {
		if own(Factor(f)) >= 2 && bits(Factor(f)) >= enough {
			table[f] = 1
		}
	}
	return &table
})

// Decide names the one member whose tokens agree enough with a request's.
// holders(i) are the members that hold token i; two of them say as much as more.
// Tokens that several members hold do not count. Of tokens beyond [MaxTokens]
// none does. The work is the same for every answer, but for the time that
// holders takes.
func Decide(tokens []Token, holders func(i int) []string) Verdict {
	var t tally
	for i := range MaxTokens {
		var held []string
		if i < len(tokens) {
			held = holders(i)
		}
		t.add(i, tokens, held)
	}
	return t.verdict()
}

// tally has a place for each token of the largest request, used or not.
type tally struct {
	member  [MaxTokens]string
	digest  [MaxTokens][2]uint64 // of the member, to compare all alike
	counts  [MaxTokens]uint64    // 1: held by one member
	kind    [MaxTokens]int       // its place among kinds
	factors [MaxTokens]Factor
	alone   [MaxTokens]uint64 // 1: enough alone
	several int               // tokens that several hold
}

func (t *tally) add(i int, tokens []Token, held []string) {
	member := ""
	if len(held) > 0 {
		member = held[0]
	}
	one := member != ""
	for _, h := range held {
		one = one && h == member
	}
	if len(held) > 0 && !one {
		t.several++
	}
	sum := sha256.Sum256([]byte(member))
	t.digest[i] = [2]uint64{binary.BigEndian.Uint64(sum[:]), binary.BigEndian.Uint64(sum[8:])}
	var kind Kind
	if i < len(tokens) {
		kind = tokens[i].Kind
	}
	for n, def := range kinds {
		if one && def.kind == kind {
			t.counts[i] = 1
		}
		if def.kind == kind {
			t.member[i], t.kind[i], t.factors[i], t.alone[i] = member, n, kindFactors[n], aloneFlags[n]
		}
	}
}

// equal is 1 for equal digests and 0 for others, without a branch.
func equal(a, b [2]uint64) uint64 {
	d := a[0] ^ b[0] | a[1] ^ b[1]
	return (d|-d)>>63 ^ 1
}

func (t *tally) verdict() Verdict {
	table := named()
	agreeing, winners, found, own := 0, 0, 0, 0
	for i := range MaxTokens {
		var f Factor
		var kinds, alone, earlier, held uint64
		for j := range MaxTokens {
			same := equal(t.digest[i], t.digest[j]) & t.counts[i] & t.counts[j]
			f |= t.factors[j] * Factor(same)
			kinds |= same << t.kind[j]
			alone |= same & t.alone[j]
			held += same
			if j < i {
				earlier |= same
			}
		}
		agreeing += int(t.counts[i])
		several := kinds&(kinds-1) != 0
		if (several || alone == 1) && table[f] == 1 && earlier == 0 { // each member once
			winners++
			found, own = i, int(held)
		}
	}
	return t.conclude(agreeing, winners, found, own)
}

func (t *tally) conclude(agreeing, winners, found, own int) Verdict {
	switch {
	case winners == 1:
		return Verdict{t.member[found], Matched, own + t.several}
	case winners > 1:
		return Verdict{Reason: Ambiguous}
	case agreeing > 0:
		return Verdict{Reason: Weak}
	case t.several > 0:
		return Verdict{Reason: Suppressed}
	}
	return Verdict{Reason: Unknown}
}
