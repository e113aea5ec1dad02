package compose_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
)

var errInjected = errors.New("injected failure")

// place is where a row lies.
type place struct {
	table      change.Table
	route, key string
}

// memStore keeps the Store contract in memory: what is staged is read back at
// once and is gone at a reopen, a Commit is all or nothing, and numbers, counts
// and outbox numbers are checked as they come.
type memStore struct {
	committed image
	work      image // committed and staged
	calls     atomic.Int64
	sorting   sync.Mutex // of work.sorted, which reading makes
	failAt    int        // the call that fails, 0 for none
	failAfter bool
	faults    []string
	staged    int // most versions and rows ever staged in one piece
	commits   int
	tokens    tokenCheck
}

// image is everything the store holds.
type image struct {
	frontier commit.Frontier
	rows     map[place][]byte
	sorted   map[change.Table]map[string][]string // routes and keys
	versions map[fhir.ResourceID][]commit.Version
	parked   map[string]commit.Parked
	units    map[commit.Number]*commit.Info
	counts   map[commit.Number]int
	order    []commit.Version
	sets     map[fhir.ResourceID][]setAt
	parkings []parking
}

// setAt is a token set and the unit that it came with.
type setAt struct {
	number commit.Number
	commit.TokenSet
}

// parking is a root that parked, or came back, and the unit that says so.
type parking struct {
	number commit.Number
	commit.Parked
}

func newMemStore() *memStore {
	im := image{
		rows: map[place][]byte{}, versions: map[fhir.ResourceID][]commit.Version{}, parked: map[string]commit.Parked{},
		units: map[commit.Number]*commit.Info{}, counts: map[commit.Number]int{},
		sets: map[fhir.ResourceID][]setAt{}, frontier: commit.Frontier{Generation: "g"},
	}
	return &memStore{committed: im, work: im.clone()}
}

func (im image) clone() image {
	c := im
	c.rows, c.versions, c.parked = maps.Clone(im.rows), maps.Clone(im.versions), maps.Clone(im.parked)
	c.units, c.counts, c.order = maps.Clone(im.units), maps.Clone(im.counts), slices.Clone(im.order)
	for id, v := range c.versions {
		c.versions[id] = slices.Clone(v)
	}
	c.sets, c.parkings = maps.Clone(im.sets), slices.Clone(im.parkings)
	for id, sets := range c.sets {
		c.sets[id] = slices.Clone(sets)
	}
	c.sorted = nil
	return c
}

// reopen is a restart: what was staged is gone.
func (s *memStore) reopen() {
	s.work = s.committed.clone()
	s.failAt = 0
}

func (s *memStore) call() error {
	if n := int(s.calls.Add(1)); s.failAt > 0 && n >= s.failAt {
		return errInjected
	}
	return nil
}

func (s *memStore) fault(format string, args ...any) {
	s.faults = append(s.faults, fmt.Sprintf(format, args...))
}

func (s *memStore) Frontier() commit.Frontier { return s.committed.frontier }

func (s *memStore) Row(table change.Table, route, key string) ([]byte, error) {
	return s.work.rows[place{table, route, key}], s.call()
}

// index sorts the keys by table and route when something changed.
func (s *memStore) index() map[change.Table]map[string][]string {
	s.sorting.Lock()
	defer s.sorting.Unlock()
	if s.work.sorted == nil {
		m := map[change.Table]map[string][]string{}
		for p := range s.work.rows {
			if m[p.table] == nil {
				m[p.table] = map[string][]string{}
			}
			m[p.table][p.route] = append(m[p.table][p.route], p.key)
		}
		for _, routes := range m {
			for _, keys := range routes {
				slices.Sort(keys)
			}
		}
		s.work.sorted = m
	}
	return s.work.sorted
}

func (s *memStore) Rows(table change.Table, route string, fn func(string, []byte) bool) error {
	for _, key := range s.index()[table][route] {
		if !fn(key, s.work.rows[place{table, route, key}]) {
			break
		}
	}
	return s.call()
}

func (s *memStore) AllRows(table change.Table, afterRoute, afterKey string, fn func(string, string, []byte) bool) error {
	routes := s.index()[table]
	for _, route := range slices.Sorted(maps.Keys(routes)) {
		for _, key := range routes[route] {
			if cmp.Or(cmp.Compare(route, afterRoute), cmp.Compare(key, afterKey)) <= 0 {
				continue
			}
			if !fn(route, key, s.work.rows[place{table, route, key}]) {
				return s.call()
			}
		}
	}
	return s.call()
}

func (s *memStore) Routes(table change.Table, fn func(string) bool) error {
	for _, route := range slices.Sorted(maps.Keys(s.index()[table])) {
		if !fn(route) {
			break
		}
	}
	return s.call()
}

func (s *memStore) Head(id fhir.ResourceID) (commit.Head, bool, error) {
	h, ok := s.work.head(id)
	return h, ok, s.call()
}

func (s *memStore) HeadOf(_ string, id fhir.ResourceID) (commit.Head, bool, error) { return s.Head(id) }

func (im *image) head(id fhir.ResourceID) (commit.Head, bool) {
	vs := im.versions[id]
	if len(vs) == 0 {
		return commit.Head{}, false
	}
	v := vs[len(vs)-1]
	return commit.Head{Number: v.Number, Hash: v.Hash, Updated: v.Updated, Deleted: v.Deleted, Member: v.Member}, true
}

func (s *memStore) Resources(member string, fn func(fhir.ResourceID) bool) error {
	for id := range s.work.versions {
		if h, _ := s.work.head(id); h.Member == member && !h.Deleted && !fn(id) {
			break
		}
	}
	return s.call()
}

func (s *memStore) Newest(id fhir.ResourceID) (v fhir.Version, ok bool, err error) {
	if vs := s.work.versions[id]; len(vs) > 0 {
		v, ok = vs[len(vs)-1].Version, true
	}
	return v, ok, s.call()
}

func (s *memStore) Living(resourceType, afterID string, fn func(fhir.Version) bool) error {
	for _, id := range slices.SortedFunc(maps.Keys(s.work.versions), func(a, b fhir.ResourceID) int { return strings.Compare(a.ID, b.ID) }) {
		vs := s.work.versions[id]
		if v := vs[len(vs)-1]; id.Type == resourceType && id.ID > afterID && !v.Deleted && !fn(v.Version) {
			break
		}
	}
	return s.call()
}

func (s *memStore) Parked() ([]commit.Parked, error) {
	return slices.Collect(maps.Values(s.work.parked)), s.call()
}

func (s *memStore) Stage(_ context.Context, b commit.Batch) error {
	if err := s.call(); err != nil {
		return err
	}
	s.apply(b)
	return nil
}

func (s *memStore) Commit(_ context.Context, b commit.Batch, f commit.Frontier) error {
	if err := s.call(); err != nil && !s.failAfter {
		return err
	} else if err != nil {
		defer func() { s.failAt = 1 }()
		s.finish(b, f)
		return err // durable, but the caller never learns
	}
	s.finish(b, f)
	return nil
}

func (s *memStore) finish(b commit.Batch, f commit.Frontier) {
	s.commits++
	s.apply(b)
	if f.Number < s.committed.frontier.Number {
		s.fault("the frontier went back from %d to %d", s.committed.frontier.Number, f.Number)
	}
	for n := s.committed.frontier.Number + 1; n <= f.Number; n++ {
		info := s.work.units[n]
		if info == nil {
			s.fault("unit %d is missing below frontier %d", n, f.Number)
			continue
		}
		if int(info.Count) != s.work.counts[n] {
			s.fault("unit %d says %d versions and has %d", n, info.Count, s.work.counts[n])
		}
		if len(info.Sources) == 0 {
			s.fault("unit %d does not say how far its sources are", n)
		}
	}
	for n := range s.work.units {
		if n > f.Number {
			s.fault("unit %d lies above frontier %d", n, f.Number)
		}
	}
	for tp, o := range s.committed.frontier.Offsets {
		if f.Offsets[tp] < o {
			s.fault("offset of %v went back from %d to %d", tp, o, f.Offsets[tp])
		}
	}
	for source, p := range s.committed.frontier.Sources {
		if f.Sources[source].Position.Compare(p.Position) < 0 {
			s.fault("source %s went back", source)
		}
	}
	before := s.committed.frontier.Number
	s.work.frontier = f
	s.committed = s.work.clone()
	s.checkTokens(before)
}

func (s *memStore) apply(b commit.Batch) {
	last := commit.Number(0)
	size := 0
	for i := range b.Units {
		u := &b.Units[i]
		if u.Number <= last {
			s.fault("unit %d after unit %d in one batch", u.Number, last)
		}
		last = u.Number
		if u.Number <= s.committed.frontier.Number {
			s.fault("unit %d is at or below the frontier", u.Number)
		}
		s.work.units[u.Number] = &commit.Info{Number: u.Number, Source: u.Source, Position: u.Position,
			Committed: u.Committed, Count: u.Count, Sources: u.Sources}
		size += len(u.Rows) + len(u.Versions)
		s.applyUnit(u)
	}
	s.staged = max(s.staged, size)
}

func (s *memStore) applyUnit(u *commit.Unit) {
	seen := map[place]bool{}
	for _, r := range u.Rows {
		p := place{r.Table, r.Route, r.Key}
		if seen[p] {
			s.fault("unit %d changes a row twice in one piece", u.Number)
		}
		if seen[p] = true; r.Deleted {
			delete(s.work.rows, p)
		} else {
			s.work.rows[p] = bytes.Clone(r.Body)
		}
	}
	s.work.sorted = nil
	for _, v := range u.Versions {
		s.checkVersion(u, &v)
		s.work.versions[v.ResourceID] = append(s.work.versions[v.ResourceID], v)
		s.work.order = append(s.work.order, v)
		s.work.counts[u.Number]++
	}
	for _, p := range u.Parked {
		if p.Cleared {
			delete(s.work.parked, p.Root)
		} else {
			s.work.parked[p.Root] = p
		}
		s.work.parkings = append(s.work.parkings, parking{u.Number, p})
	}
	for _, set := range u.Tokens {
		if err := set.Check(); err != nil {
			s.fault("unit %d: %v", u.Number, err)
		}
		for _, was := range s.work.sets[set.Resource] {
			if was.number == u.Number && len(set.Tokens) > 0 && was.Member == set.Member && slices.Equal(was.Tokens, set.Tokens) {
				s.fault("unit %d writes the tokens of %s twice", u.Number, set.Resource)
			}
		}
		s.work.sets[set.Resource] = append(s.work.sets[set.Resource], setAt{u.Number, set})
	}
}

func (s *memStore) checkVersion(u *commit.Unit, v *commit.Version) {
	h, ok := s.work.head(v.ResourceID)
	switch {
	case v.Number != h.Number+1:
		s.fault("%s: version %d after %d", v.ResourceID, v.Number, h.Number)
	case ok && v.Updated.Before(h.Updated):
		s.fault("%s: version %d is older than the one before", v.ResourceID, v.Number)
	case v.Op == commit.Create && ok && !h.Deleted, v.Op == commit.Update && (!ok || h.Deleted), v.Op == commit.Delete && (!ok || h.Deleted):
		s.fault("%s: %s where head is %v %+v", v.ResourceID, v.Op, ok, h)
	case v.Op == commit.Update && v.Hash == h.Hash && v.Member == h.Member:
		s.fault("%s: a version without a change", v.ResourceID)
	case v.Deleted != (v.Body == nil) || v.Deleted != (v.Op == commit.Delete):
		s.fault("%s: deleted and body disagree", v.ResourceID)
	case int(v.Sequence) != s.work.counts[u.Number]:
		s.fault("%s: sequence %d, want %d", v.ResourceID, v.Sequence, s.work.counts[u.Number])
	case v.Commit != uint64(u.Number):
		s.fault("%s: commit %d in unit %d", v.ResourceID, v.Commit, u.Number)
	case v.Body != nil && !strings.Contains(string(v.Body), fmt.Sprintf(`"versionId":"%d"`, v.Number)):
		s.fault("%s: body without its version", v.ResourceID)
	}
	for i := len(s.work.order) - 1; i >= 0 && s.work.order[i].Commit == v.Commit; i-- {
		// Two only for a move: out of one record, into another.
		if w := &s.work.order[i]; w.ResourceID == v.ResourceID && (!w.Deleted || v.Deleted || w.Member == v.Member) {
			s.fault("%s: two versions in unit %d", v.ResourceID, u.Number)
		}
	}
}

// outboxDense checks that each partition's numbers are dense and in order.
func (s *memStore) outboxDense() error {
	last := map[int32]uint64{}
	for _, v := range s.committed.order {
		if v.Outbox != last[v.Partition]+1 {
			return fmt.Errorf("partition %d: outbox %d after %d", v.Partition, v.Outbox, last[v.Partition])
		}
		last[v.Partition] = v.Outbox
	}
	for p, n := range s.committed.frontier.Outbox {
		if last[int32(p)] != n {
			return fmt.Errorf("partition %d: frontier says %d, last is %d", p, n, last[int32(p)])
		}
	}
	return nil
}

// current lists the current resources without version and time.
func (s *memStore) current() map[fhir.ResourceID]string {
	m := map[fhir.ResourceID]string{}
	for id, vs := range s.committed.versions {
		if v := vs[len(vs)-1]; !v.Deleted {
			m[id] = v.Member + " " + string(fhir.Unstamp(v.Body))
		}
	}
	return m
}

// histories lists each member's versions in order, as the topic shows them.
func (s *memStore) histories() map[string][]string {
	m := map[string][]string{}
	for _, v := range s.committed.order {
		key := v.Member
		if key == "" {
			key = v.ResourceID.String()
		}
		m[key] = append(m[key], fmt.Sprintf("%s %s/%d %x %s", v.Op, v.ResourceID, v.Number, v.Hash, v.Updated.Format(time.RFC3339Nano)))
	}
	return m
}
