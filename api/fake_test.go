package api_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tributary-health/tributary/api"
	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/fhir"
)

// fakeStore keeps every version in memory, as a store does by commit number.
type fakeStore struct {
	mu       sync.Mutex
	frontier uint64
	versions map[fhir.ResourceID][]fhir.Version // ascending
	posted   []fakePosting
	fault    error // returned by every read
	panics   any   // raised by every read
	viewed   []uint64
	opened   int
}

type fakePosting struct {
	typ, param string
	value      []byte
	member, id string
}

func newFakeStore() *fakeStore { return &fakeStore{versions: map[fhir.ResourceID][]fhir.Version{}} }

// write adds a version under the commit number, of content or a deletion, and
// shows it.
func (s *fakeStore) write(commit uint64, member string, id fhir.ResourceID, content []byte, at time.Time) {
	s.stage(commit, member, id, content, at)
	s.show(commit)
}

// show moves the frontier.
func (s *fakeStore) show(commit uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frontier = max(s.frontier, commit)
}

// stage is write without showing.
func (s *fakeStore) stage(commit uint64, member string, id fhir.ResourceID, content []byte, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.versions[id]
	v := fhir.Version{ResourceID: id, Member: member, Number: uint64(len(old)) + 1, Commit: commit, Updated: at, Deleted: content == nil}
	if content != nil {
		v.Body = fhir.Stamp(nil, content, v.Number, at)
		v.Index = fhir.AppendIndex(nil, id.Type, v.Body)
		for _, p := range fhir.Postings(id.Type, v.Body) {
			s.posted = append(s.posted, fakePosting{id.Type, p.Param, p.Value, member, id.ID})
		}
	}
	s.versions[id] = append(old, v)
}

// load reads testdata/store.ndjson: one version a line.
func (s *fakeStore) load(t testing.TB) {
	t.Helper()
	text, err := os.ReadFile("testdata/store.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		var v struct {
			Commit   uint64
			At       time.Time
			Member   string
			Resource json.RawMessage
			Delete   string
		}
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatal(err)
		}
		id, ok := fhir.ParseReference(v.Delete)
		if v.Resource != nil {
			id.Type, ok = fhir.Text(fhir.Member(v.Resource, "resourceType"))
			id.ID, _ = fhir.Text(fhir.Member(v.Resource, "id"))
		}
		if !ok {
			t.Fatalf("no resource in %s", line)
		}
		s.write(v.Commit, v.Member, id, v.Resource, v.At)
	}
}

func (s *fakeStore) At(number uint64) (api.View, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if number == 0 {
		number = s.frontier
	}
	if number > s.frontier {
		return nil, errors.New("fake: above the frontier")
	}
	s.opened++
	s.viewed = append(s.viewed, number)
	return &fakeView{s, number}, nil
}

func (s *fakeStore) Generation() string   { return "fake" }
func (s *fakeStore) FirstVersion() uint64 { return 1 }

type fakeView struct {
	*fakeStore
	number uint64
}

func (v *fakeView) Number() uint64 { return v.number }

func (v *fakeView) Read(id fhir.ResourceID) (fhir.Version, bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.panics != nil {
		panic(v.panics)
	}
	all := v.versions[id]
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].Commit <= v.number {
			return all[i], true, v.fault
		}
	}
	return fhir.Version{}, false, v.fault
}

func (v *fakeView) VRead(id fhir.ResourceID, version uint64) (fhir.Version, bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, one := range v.versions[id] {
		if one.Number == version && one.Commit <= v.number {
			return one, true, v.fault
		}
	}
	return fhir.Version{}, false, v.fault
}

func (v *fakeView) History(id fhir.ResourceID, before uint64, fn func(fhir.Version) bool) error {
	v.mu.Lock()
	all := slices.Clone(v.versions[id])
	v.mu.Unlock()
	slices.Reverse(all)
	for _, one := range all {
		if one.Commit <= v.number && (before == 0 || one.Number < before) && !fn(one) {
			break
		}
	}
	return v.fault
}

func (v *fakeView) Scan(typ, member string, all bool, afterMember, afterID string, fn func(fhir.Version) bool) error {
	v.mu.Lock()
	var found []fhir.Version
	for id, versions := range v.versions {
		if id.Type != typ {
			continue
		}
		for i := len(versions) - 1; i >= 0; i-- {
			one := versions[i]
			if one.Commit > v.number {
				continue
			}
			after := cmp.Or(cmp.Compare(one.Member, afterMember), cmp.Compare(one.ID, afterID)) > 0
			if !one.Deleted && after && (all || one.Member == member) {
				one.Body = nil
				found = append(found, one)
			}
			break
		}
	}
	v.mu.Unlock()
	slices.SortFunc(found, func(a, b fhir.Version) int {
		return cmp.Or(cmp.Compare(a.Member, b.Member), cmp.Compare(a.ID, b.ID))
	})
	for _, one := range found {
		if !fn(one) {
			break
		}
	}
	return v.fault
}

func (v *fakeView) Postings(typ, param string, low, high []byte, fn func(member, id string) bool) error {
	v.mu.Lock()
	var found []fakePosting
	for _, p := range v.posted {
		if p.typ == typ && p.param == param && bytes.Compare(p.value, low) >= 0 && bytes.Compare(p.value, high) < 0 {
			found = append(found, p)
		}
	}
	v.mu.Unlock()
	slices.SortFunc(found, func(a, b fakePosting) int {
		return cmp.Or(bytes.Compare(a.value, b.value), strings.Compare(b.id, a.id)) // by value; ids on purpose not in order
	})
	for _, p := range found {
		if !fn(p.member, p.id) {
			break
		}
	}
	return v.fault
}

func (v *fakeView) Freshness() []change.Freshness {
	at := time.Date(2026, 11, 20, 9, 59, 59, 500, time.UTC)
	return []change.Freshness{
		{Source: "emr", Position: change.Position{Generation: 1, Ordinal: 234}, Committed: at},
		{Source: "pharmacy", Position: change.Position{Generation: 1, Ordinal: 99}, Committed: at},
	}
}

func (v *fakeView) Committed() time.Time { return time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC) }

func (v *fakeView) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.opened--
	return nil
}
