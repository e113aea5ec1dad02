package storetest

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
)

// rowID names one row of the model.
type rowID struct {
	table      change.Table
	route, key string
}

// model is a store as simple as it can be: everything is kept, and every answer
// is computed by looking at all of it.
type model struct {
	rows     map[rowID][]byte
	versions map[fhir.ResourceID][]commit.Version
	parked   map[string]commit.Parked
	tokens   map[fhir.ResourceID][]tokensAt
	infos    []commit.Info // number n at n-1
	outbox   [partitions][]commit.Version
	frontier commit.Frontier
}

func newModel() *model {
	return &model{
		rows:     map[rowID][]byte{},
		versions: map[fhir.ResourceID][]commit.Version{},
		parked:   map[string]commit.Parked{},
		tokens:   map[fhir.ResourceID][]tokensAt{},
		frontier: commit.Frontier{Outbox: make([]uint64, partitions)},
	}
}

func (m *model) clone() *model {
	c := *m
	c.rows = maps.Clone(m.rows)
	c.versions = maps.Clone(m.versions)
	for id, vs := range c.versions {
		c.versions[id] = slices.Clip(vs)
	}
	c.parked = maps.Clone(m.parked)
	c.tokens = maps.Clone(m.tokens)
	for id, sets := range c.tokens {
		c.tokens[id] = slices.Clip(sets)
	}
	c.infos = slices.Clip(m.infos)
	for p := range c.outbox {
		c.outbox[p] = slices.Clip(m.outbox[p])
	}
	c.frontier.Outbox = slices.Clone(m.frontier.Outbox)
	return &c
}

// apply does what one unit, or a piece of one, does.
func (m *model) apply(u commit.Unit) {
	for _, r := range u.Rows {
		id := rowID{r.Table, r.Route, r.Key}
		if r.Deleted {
			delete(m.rows, id)
		} else {
			m.rows[id] = r.Body
		}
	}
	for _, v := range u.Versions {
		v.Commit = uint64(u.Number)
		m.versions[v.ResourceID] = append(m.versions[v.ResourceID], v)
		m.outbox[v.Partition] = append(m.outbox[v.Partition], v)
	}
	for _, p := range u.Parked {
		if p.Cleared {
			delete(m.parked, p.Root)
		} else {
			m.parked[p.Root] = p
		}
	}
	for _, s := range u.Tokens {
		m.tokens[s.Resource] = append(m.tokens[s.Resource], tokensAt{u.Number, s})
	}
	info := commit.Info{Number: u.Number, Source: u.Source, Position: u.Position, Committed: u.Committed, Count: u.Count, Sources: u.Sources}
	if int(u.Number) > len(m.infos) {
		m.infos = append(m.infos, info)
	} else {
		m.infos = append(slices.Clone(m.infos[:u.Number-1]), info)
	}
}

// tokensAt is a token set with the commit that it came with.
type tokensAt struct {
	number commit.Number
	commit.TokenSet
}

// holders lists the members that hold the token at a commit number, sorted.
func (m *model) holders(t commit.Token, number uint64) []string {
	var all []string
	for _, sets := range m.tokens {
		var last commit.TokenSet
		for _, s := range sets {
			if uint64(s.number) <= number {
				last = s.TokenSet
			}
		}
		if slices.Contains(last.Tokens, t) && !slices.Contains(all, last.Member) {
			all = append(all, last.Member)
		}
	}
	slices.Sort(all)
	return all
}

// head returns the resource's newest version.
func (m *model) head(id fhir.ResourceID) (commit.Version, bool) {
	vs := m.versions[id]
	if len(vs) == 0 {
		return commit.Version{}, false
	}
	return vs[len(vs)-1], true
}

// read returns the version current at a commit number.
func (m *model) read(id fhir.ResourceID, at uint64) (commit.Version, bool) {
	vs := m.versions[id]
	for i := len(vs) - 1; i >= 0; i-- {
		if vs[i].Commit <= at {
			return vs[i], true
		}
	}
	return commit.Version{}, false
}

// living returns what lived at a commit number, by (member, id).
func (m *model) living(resourceType string, at uint64) []commit.Version {
	var out []commit.Version
	for id := range m.versions {
		if v, ok := m.read(id, at); ok && id.Type == resourceType && !v.Deleted {
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b commit.Version) int {
		if c := strings.Compare(a.Member, b.Member); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}

func (m *model) hasRow(r *commit.Row) bool {
	_, ok := m.rows[rowID{r.Table, r.Route, r.Key}]
	return ok
}

// sortedRows returns a table's rows by (route, key).
func (m *model) sortedRows(table change.Table) []rowID {
	var out []rowID
	for id := range m.rows {
		if id.table == table {
			out = append(out, id)
		}
	}
	slices.SortFunc(out, func(a, b rowID) int {
		if c := strings.Compare(a.route, b.route); c != 0 {
			return c
		}
		return strings.Compare(a.key, b.key)
	})
	return out
}

// has says whether the version has a posting of the parameter in [low, high).
func has(v commit.Version, param string, low, high []byte) bool {
	return slices.ContainsFunc(v.Postings, func(p commit.Posting) bool {
		return p.Param == param && bytes.Compare(p.Value, low) >= 0 && bytes.Compare(p.Value, high) < 0
	})
}
