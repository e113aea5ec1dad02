package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"sort"
)

// Member is one member of a population.
type Member struct {
	ID   string // the key of the member's row
	Rows int    // of the files; fills, which the loader makes, are not among them
}

// Made is a population that was written.
type Made struct {
	Members []Member
	Rows    int // in all files
	ByFile  map[string]int

	upTo []int // rows of the members up to each, for pick
}

// rows draws how long a member's record is to be.
func (p *Population) rows(r *rand.Rand) int {
	n := p.Median * math.Exp(p.Sigma*r.NormFloat64())
	return int(min(n, float64(p.Largest)))
}

// quantile is the record length that the fraction q of the members do not exceed.
func (m *Made) quantile(q float64) int {
	all := make([]int, len(m.Members))
	for i := range m.Members {
		all[i] = m.Members[i].Rows
	}
	slices.Sort(all)
	return all[min(int(q*float64(len(all))), len(all)-1)]
}

// pick draws one of the first n members, each as likely as its record is long:
// who has much care is also looked at often.
func (m *Made) pick(r *rand.Rand, n int) Member {
	if m.upTo == nil {
		sum := 0
		for _, one := range m.Members {
			sum += one.Rows
			m.upTo = append(m.upTo, sum)
		}
	}
	return m.Members[sort.SearchInts(m.upTo[:n], 1+r.IntN(m.upTo[n-1]))]
}
