package hashmatch_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tributary-health/tributary/hashmatch"
)

const testKeyHex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

func testKey(t testing.TB) hashmatch.EpochKey {
	t.Helper()
	k, err := hashmatch.ParseKey([]byte(testKeyHex + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	e, err := k.Derive("2026Q4")
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// panel is an index of members in memory, as the payer has one on disk.
type panel struct {
	key     hashmatch.EpochKey
	holders map[[16]byte][]string
}

const testClient = "partner"

func newPanel(key hashmatch.EpochKey) *panel {
	return &panel{key, map[[16]byte][]string{}}
}

func (p *panel) add(id string, d hashmatch.Demographics) {
	for _, t := range p.key.Tokens(hashmatch.Normalize(d).Inputs()) {
		at := hashmatch.IndexToken(testClient, p.key.Epoch(), t)
		p.holders[at] = append(p.holders[at], id)
	}
}

func (p *panel) ask(t testing.TB, d hashmatch.Demographics) hashmatch.Verdict {
	t.Helper()
	r, err := p.key.Request(d)
	if err != nil {
		return hashmatch.Verdict{Reason: hashmatch.Unknown}
	}
	return hashmatch.Decide(r.Tokens, func(i int) []string {
		return p.holders[hashmatch.IndexToken(testClient, r.Epoch, r.Tokens[i])]
	})
}

// accuracy is what asking gave.
type accuracy struct {
	members, found        int // asked about members; named rightly
	strangers, falseMatch int // asked about others; named somebody. Wrongly named members count too
	reasons               map[hashmatch.Reason]int
}

func (a accuracy) recall() float64 { return float64(a.found) / float64(max(a.members, 1)) }

func (a accuracy) row(name string) string {
	return fmt.Sprintf("| %s | %d | %.4f | %d | %d |", name, a.members, a.recall(), a.strangers, a.falseMatch)
}

func (a *accuracy) count(v hashmatch.Verdict, member string) {
	if a.reasons == nil {
		a.reasons = map[hashmatch.Reason]int{}
	}
	if member == "" {
		a.strangers++
	} else {
		a.members++
		a.reasons[v.Reason]++
	}
	switch {
	case v.Member == "":
	case v.Member == member:
		a.found++
	default:
		a.falseMatch++
	}
}

// half is which of n people are members, by seed.
func half(n int, seed uint64) []bool {
	r := rand.New(rand.NewPCG(seed, 1))
	is := make([]bool, n)
	for i := range is {
		is[i] = i < n/2
	}
	r.Shuffle(n, func(i, j int) { is[i], is[j] = is[j], is[i] })
	return slices.Clip(is)
}
