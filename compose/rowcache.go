package compose

import (
	"container/list"
	"sort"
	"strings"
	"sync"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/compose/mapping"
)

// rowCache keeps the decoded rows of the routes that were read last, as they are
// with everything applied. A table that it gave out never changes: a change of a
// row makes another. It is safe for concurrent use.
type rowCache struct {
	mu     sync.Mutex
	limit  int
	bytes  int
	routes map[routeID]*list.Element // of *cachedRoute
	recent list.List                 // the one read last in front
}

type routeID struct {
	table change.Table
	route string
}

type cachedRoute struct {
	id     routeID
	table  *viewTable
	bytes  int
	unread int // changes since it was last read
}

const (
	// rowCost is what a decoded row costs beside its text.
	rowCost = 512
	// maxUnread is how many changes a route is kept through without being read.
	maxUnread = 256
)

func newRowCache(limit int) *rowCache {
	return &rowCache{limit: limit, routes: make(map[routeID]*list.Element)}
}

// onceBytes is the limit of the cache while every member is read once: a record's
// tables are read several times while it is composed, and not after.
const onceBytes = 32 << 20

// readOnce lets a small cache do until the function that it returns is called.
func (e *engine) readOnce() (end func()) {
	if e.cache == nil {
		return func() {}
	}
	limit := e.cache.limit
	e.cache = newRowCache(min(onceBytes, limit))
	return func() { e.cache = newRowCache(limit) }
}

func (c *rowCache) get(id routeID) *viewTable {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	el := c.routes[id]
	if el == nil {
		return nil
	}
	c.recent.MoveToFront(el)
	r := el.Value.(*cachedRoute)
	r.unread = 0
	return r.table
}

// peek is get for one row, which is no reason to keep the rest.
func (c *rowCache) peek(id routeID) *viewTable {
	if c != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if el := c.routes[id]; el != nil {
			return el.Value.(*cachedRoute).table
		}
	}
	return nil
}

// keep takes a table that was just read, and lets the oldest go for it.
func (c *rowCache) keep(id routeID, t *viewTable, bytes int) {
	if c == nil || bytes > c.limit/4 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.routes[id] != nil {
		return
	}
	c.routes[id] = c.recent.PushFront(&cachedRoute{id: id, table: t, bytes: bytes})
	for c.bytes += bytes; c.bytes > c.limit; {
		c.drop(c.recent.Back())
	}
}

func (c *rowCache) drop(el *list.Element) {
	r := c.recent.Remove(el).(*cachedRoute)
	delete(c.routes, r.id)
	c.bytes -= r.bytes
}

// change follows a change of a row; a row without schema is gone. decode is
// called only if the route is kept.
func (c *rowCache) change(id routeID, key string, size int, decode func() (mapping.Row, error)) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	el := c.routes[id]
	if el == nil {
		return
	}
	r := el.Value.(*cachedRoute)
	row, err := decode()
	if r.unread++; r.unread > maxUnread || err != nil {
		c.drop(el) // what is wrong with the row, its next reader finds
		return
	}
	row.Key = key
	r.table = r.table.changed(key, row)
	r.bytes += size
	c.bytes += size
}

// gathered makes a table of rows of several routes, which are in key order.
func (p *plan) gathered(t change.Table, rows []placed) *viewTable {
	vt := &viewTable{routes: make([]string, len(rows))}
	plain := make([]mapping.Row, len(rows))
	for i := range rows {
		vt.routes[i], plain[i] = rows[i].route, rows[i].row
	}
	vt.plain = p.made(t, plain...)
	return vt
}

// changed returns the table with one row put in or, without schema, taken out.
func (vt *viewTable) changed(key string, row mapping.Row) *viewTable {
	i, found := vt.find(key)
	end := i
	if found {
		end++
	}
	return &viewTable{route: vt.route, plain: vt.plain.Splice(i, end, row)}
}

// find returns where the row with the key is, or would be, in a table of one
// route.
func (vt *viewTable) find(key string) (i int, found bool) {
	return sort.Find(vt.plain.Len(), func(i int) int { return strings.Compare(key, vt.plain.At(i).Key) })
}
