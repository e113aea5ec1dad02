package storetest

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
)

const partitions = 3

// The names of the generated world are few, so that things meet, and ugly, so
// that a store that joins them carelessly mixes them up.
var (
	types   = []string{"Patient", "Claim", "Pat", "X"}
	ids     = []string{"a", "ab", "b", "a\x00", "a\x00\x01", "a\x00\xffb", "\x00", "z-1.9", "\xff\xff"}
	members = []string{"", "a", "ab", "a\x00b", "a\x00", "\xff", "m1"}
	params  = []string{"name", "na", "birthdate"}
	values  = []string{"", "a", "a\x00", "a\x00\x01b", "ab", "b", "\xff\xff", "\xff"}
	keys    = []string{"1", "10", "2", "a\x1fb", "\x00", "a\x00\x01", "", "\xff"}
	routes  = []string{"", "1", "10", "1\x00", "1\x00\x01", "2", "\xff"}
	tables  = []change.Table{{Source: "emr", Name: "t"}, {Source: "emr", Name: "t.u"}, {Source: "emr.t", Name: "u"}, {Source: "pharmacy", Name: "t"}}
	tokens  = []commit.Token{{}, {1}, {1, 0, 1}, {15: 1}, {0xff}, {0: 0xff, 15: 0xff}}
	roots   = []string{"a", "b", "emr.t/1"}
	epoch   = time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
)

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// random returns the numbers that decide one step of a history: of the seed and
// the step alone, so that a history can be made again up to any point.
func random(seed, step uint64) *rand.Rand {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	binary.LittleEndian.PutUint64(key[8:], step)
	return rand.New(rand.NewChaCha8(key))
}

// step is what composition does at once: pieces staged one after the other,
// then the last batch with its frontier.
type step struct {
	staged   []commit.Batch
	last     commit.Batch
	frontier commit.Frontier
}

// next makes the step that follows m, and applies it to m.
func next(seed uint64, m *model) step {
	number := uint64(m.frontier.Number)
	r := random(seed, number+1)
	var s step
	if r.IntN(3) == 0 { // one unit in pieces
		pieces := 1 + r.IntN(3)
		var sequence uint32
		for range pieces {
			u := unit(r, m, number+1, &sequence, 8)
			m.apply(u)
			s.staged = append(s.staged, commit.Batch{Units: []commit.Unit{u}})
		}
		if r.IntN(4) > 0 {
			u := unit(r, m, number+1, &sequence, 8)
			m.apply(u)
			s.last.Units = append(s.last.Units, u)
		}
		number++
	} else { // a group of units
		for range 1 + r.IntN(3) {
			var sequence uint32
			number++
			u := unit(r, m, number, &sequence, 5)
			m.apply(u)
			s.last.Units = append(s.last.Units, u)
		}
	}
	s.frontier = frontier(r, m, number)
	m.frontier = s.frontier
	return s
}

func frontier(r *rand.Rand, m *model, number uint64) commit.Frontier {
	f := commit.Frontier{
		Number:     commit.Number(number),
		Generation: m.frontier.Generation,
		Composed:   number > 2,
		Sources:    map[string]commit.Progress{},
		Offsets:    map[commit.TopicPartition]int64{},
		Extra:      []byte(fmt.Sprintf("extra %d", number/5)),
		Matching:   commit.Number(min(number, 2)),
	}
	for p := range m.outbox {
		f.Outbox = append(f.Outbox, uint64(len(m.outbox[p])))
	}
	for i, name := range []string{"pharmacy", "emr"} {
		p := commit.Progress{Freshness: fresh(name, number+uint64(i))}
		if r.IntN(2) == 0 {
			p.Extra = []byte{byte(number), 0}
		}
		f.Sources[name] = p
		for q := range int32(partitions) {
			f.Offsets[commit.TopicPartition{Topic: "cdc." + name + ".t", Partition: q}] = int64(number)*10 + int64(q)
		}
	}
	if r.IntN(12) == 0 {
		f.Matching = 0
	}
	return f
}

func fresh(name string, n uint64) change.Freshness {
	return change.Freshness{
		Source:    name,
		Position:  change.Position{Generation: 1, Ordinal: n << 33, Sequence: n},
		Token:     fmt.Sprintf("0-1-%d", n),
		Committed: epoch.Add(time.Duration(n) * 1234567 * time.Microsecond),
	}
}

func unit(r *rand.Rand, m *model, number uint64, sequence *uint32, size int) commit.Unit {
	f := fresh(pick(r, []string{"emr", "pharmacy"}), number)
	u := commit.Unit{Number: commit.Number(number), Source: f.Source, Position: f.Position, Token: f.Token, Committed: f.Committed}
	u.Sources = []change.Freshness{fresh("emr", number), fresh("pharmacy", number)}
	for range r.IntN(size) {
		row := commit.Row{
			Table: pick(r, tables), Route: pick(r, routes), Key: pick(r, keys),
			Deleted: r.IntN(4) == 0, Body: bodyOf(r),
		}
		row.Grouped = row.Table.Source == "emr" || row.Table.Source == "pharmacy" && r.IntN(2) == 0 // its first row decides
		row.New = !m.hasRow(&row) && r.IntN(2) == 0
		u.Rows = append(u.Rows, row)
	}
	var outbox [partitions]uint64
	touched := map[fhir.ResourceID]bool{}
	for range r.IntN(size) {
		id := fhir.ResourceID{Type: pick(r, types), ID: pick(r, ids)}
		if touched[id] {
			continue
		}
		touched[id] = true
		v := versionOf(r, m, id)
		v.Sequence = *sequence
		*sequence++
		outbox[v.Partition]++
		v.Outbox = uint64(len(m.outbox[v.Partition])) + outbox[v.Partition]
		u.Versions = append(u.Versions, v)
	}
	u.Count = *sequence
	if r.IntN(4) == 0 {
		u.Parked = append(u.Parked, commit.Parked{
			Root: pick(r, roots), Since: f.Committed, Attempts: r.IntN(5),
			Reason: "compose claim.status of t", Cleared: r.IntN(3) == 0,
		})
	}
	for range r.IntN(size) {
		s := commit.TokenSet{Resource: fhir.ResourceID{Type: pick(r, types), ID: pick(r, ids)}, Member: pick(r, members)}
		for range r.IntN(len(tokens)) {
			s.Tokens = append(s.Tokens, pick(r, tokens))
		}
		u.Tokens = append(u.Tokens, s)
	}
	return u
}

func bodyOf(r *rand.Rand) []byte {
	b := make([]byte, r.IntN(40))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// versionOf makes what may follow the resource's newest version.
func versionOf(r *rand.Rand, m *model, id fhir.ResourceID) commit.Version {
	v := commit.Version{Op: commit.Create, Partition: r.Int32N(partitions)}
	v.ResourceID, v.Number, v.Member = id, 1, pick(r, members)
	if old, ok := m.head(id); ok {
		v.Number = old.Number + 1
		if !old.Deleted {
			v.Op = commit.Update
			if r.IntN(4) == 0 {
				v.Op, v.Deleted = commit.Delete, true
			}
		}
		if r.IntN(4) > 0 || v.Deleted {
			v.Member = old.Member
		}
	}
	v.Updated = epoch.Add(time.Duration(v.Number) * time.Millisecond)
	if v.Deleted {
		return v
	}
	v.Hash = [16]byte{byte(v.Number), byte(r.Uint32())}
	v.Body = []byte(fmt.Sprintf(`{"resourceType":%q,"version":%d,"r":%d}`, id.Type, v.Number, r.Uint32()))
	v.Index = append([]byte{0}, bodyOf(r)...)
	for range r.IntN(4) {
		v.Postings = append(v.Postings, commit.Posting{Param: pick(r, params), Value: []byte(pick(r, values))})
	}
	return v
}
