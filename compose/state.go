package compose

import (
	"maps"
	"slices"
	"sync"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
)

// reader is the part of a Store that composition reads through. The zero-size
// nothing is one that holds nothing.
type reader interface {
	Row(table change.Table, route, key string) ([]byte, error)
	Rows(table change.Table, route string, fn func(key string, body []byte) bool) error
	AllRows(table change.Table, afterRoute, afterKey string, fn func(route, key string, body []byte) bool) error
	Routes(table change.Table, fn func(route string) bool) error
	Head(id fhir.ResourceID) (head commit.Head, ok bool, err error)
	HeadOf(member string, id fhir.ResourceID) (head commit.Head, ok bool, err error)
	Resources(member string, fn func(fhir.ResourceID) bool) error
}

// state is the store with what was not yet given to it laid over it. It may be
// read by several goroutines while none changes it.
type state struct {
	mu     sync.Mutex // of what reading changes: sorted keys and known heads
	store  reader
	routes map[change.Table]map[string]*bucket
	heads  map[fhir.ResourceID]commit.Head
	bytes  int // of what lies over the store
	known  headCache
}

// headCache keeps heads that were read or written lately, as they are in the
// store: the younger half, and the older half until the younger is full. The zero
// Head is a resource that never was.
type headCache struct {
	limit        int // of each half; none is kept if it is 0
	young, older map[fhir.ResourceID]commit.Head
}

// knownHeads is the limit of a worker's headCache, some 10 MB each half.
const knownHeads = 50_000

func (c *headCache) get(id fhir.ResourceID) (h commit.Head, ok bool) {
	if h, ok = c.young[id]; ok {
		return h, true
	}
	if h, ok = c.older[id]; ok {
		c.put(id, h)
	}
	return h, ok
}

func (c *headCache) put(id fhir.ResourceID, h commit.Head) {
	if c.limit == 0 {
		return
	}
	if len(c.young) >= c.limit || c.young == nil {
		c.young, c.older = make(map[fhir.ResourceID]commit.Head), c.young
	}
	c.young[id] = h
}

// bucket is the changed rows of one table and route; a nil body is a row that is
// gone.
type bucket struct {
	rows   map[string][]byte
	sorted []string // nil when it has to be made again
}

func newState(store reader) *state {
	s := &state{store: store}
	s.reset()
	return s
}

// reset forgets what lies over the store, which has it now.
func (s *state) reset() {
	for id, h := range s.heads {
		s.known.put(id, h)
	}
	s.routes = make(map[change.Table]map[string]*bucket)
	s.heads = make(map[fhir.ResourceID]commit.Head)
	s.bytes = 0
}

// put changes a row; a nil body removes it.
func (s *state) put(table change.Table, route, key string, body []byte) {
	routes := s.routes[table]
	if routes == nil {
		routes = make(map[string]*bucket)
		s.routes[table] = routes
	}
	b := routes[route]
	if b == nil {
		b = &bucket{rows: make(map[string][]byte)}
		routes[route] = b
	}
	if _, ok := b.rows[key]; !ok {
		b.sorted = nil
		s.bytes += 2*(len(route)+len(key)) + 128
	}
	b.rows[key] = body
	s.bytes += len(body)
}

// row returns the row's body, or nil.
func (s *state) row(table change.Table, route, key string) ([]byte, error) {
	if b := s.routes[table][route]; b != nil {
		if body, ok := b.rows[key]; ok {
			return body, nil
		}
	}
	return s.store.Row(table, route, key)
}

func (b *bucket) keys() []string {
	if b == nil {
		return nil
	}
	if b.sorted == nil {
		b.sorted = slices.Sorted(maps.Keys(b.rows))
	}
	return b.sorted
}

// rows calls fn for each row of the route in key order until it returns false.
// fn MUST NOT change rows.
func (s *state) rows(table change.Table, route string, fn func(key string, body []byte) bool) error {
	s.mu.Lock()
	over := s.routes[table][route].keys()
	s.mu.Unlock()
	b := s.routes[table][route]
	going := true
	next := func() { // gives the first of over
		if body := b.rows[over[0]]; body != nil {
			going = fn(over[0], body)
		}
		over = over[1:]
	}
	err := s.store.Rows(table, route, func(key string, body []byte) bool {
		for going && len(over) > 0 && over[0] < key {
			next()
		}
		switch {
		case !going:
		case len(over) > 0 && over[0] == key:
			next()
		default:
			going = fn(key, body)
		}
		return going
	})
	for err == nil && going && len(over) > 0 {
		next()
	}
	return err
}

// allRoutes returns the table's routes in order.
func (s *state) allRoutes(table change.Table) ([]string, error) {
	set := make(map[string]bool)
	err := s.store.Routes(table, func(route string) bool {
		set[route] = true
		return true
	})
	for route := range s.routes[table] {
		set[route] = true
	}
	return slices.Sorted(maps.Keys(set)), err
}

// head returns the newest version's head.
func (s *state) head(id fhir.ResourceID) (commit.Head, bool, error) {
	return s.headBy(id, s.store.Head)
}

// headOf is head, of a resource that is likely there and the member's.
func (s *state) headOf(member string, id fhir.ResourceID) (commit.Head, bool, error) {
	return s.headBy(id, func(id fhir.ResourceID) (commit.Head, bool, error) { return s.store.HeadOf(member, id) })
}

func (s *state) headBy(id fhir.ResourceID, read func(fhir.ResourceID) (commit.Head, bool, error)) (commit.Head, bool, error) {
	if h, ok := s.heads[id]; ok {
		return h, true, nil
	}
	s.mu.Lock()
	h, ok := s.known.get(id)
	s.mu.Unlock()
	if ok {
		return h, h.Number > 0, nil
	}
	h, ok, err := read(id)
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.known.put(id, h)
	}
	return h, ok, err
}

func (s *state) putHead(id fhir.ResourceID, h commit.Head) {
	s.heads[id] = h
	s.bytes += 256
}

// resources returns the ids of the member's resources that are not deleted, in
// order; an empty member has the reference resources.
func (s *state) resources(member string) ([]fhir.ResourceID, error) {
	var ids []fhir.ResourceID
	err := s.store.Resources(member, func(id fhir.ResourceID) bool {
		if _, ok := s.heads[id]; !ok {
			ids = append(ids, id)
		}
		return true
	})
	for id, h := range s.heads {
		if h.Member == member && !h.Deleted {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, compareIDs)
	return ids, err
}

func compareIDs(a, b fhir.ResourceID) int {
	if a.Type != b.Type {
		if a.Type < b.Type {
			return -1
		}
		return 1
	}
	if a.ID < b.ID {
		return -1
	}
	if a.ID > b.ID {
		return 1
	}
	return 0
}

// nothing is a reader without anything in it.
type nothing struct{}

func (nothing) Row(change.Table, string, string) ([]byte, error)           { return nil, nil }
func (nothing) Rows(change.Table, string, func(string, []byte) bool) error { return nil }
func (nothing) Routes(change.Table, func(string) bool) error               { return nil }
func (nothing) Head(fhir.ResourceID) (commit.Head, bool, error)            { return commit.Head{}, false, nil }
func (nothing) HeadOf(string, fhir.ResourceID) (commit.Head, bool, error) {
	return commit.Head{}, false, nil
}
func (nothing) Resources(string, func(fhir.ResourceID) bool) error { return nil }
func (nothing) AllRows(change.Table, string, string, func(string, string, []byte) bool) error {
	return nil
}
