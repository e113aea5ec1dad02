package pebble

import (
	"bytes"
	"errors"
	"fmt"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/store"
)

// Row returns the row's body, or nil if there is none. The body is the
// caller's.
func (db *DB) Row(table change.Table, route, key string) ([]byte, error) {
	p, ok := db.names.Load().table(table)
	if !ok {
		return nil, nil
	}
	var room [128]byte
	body, err := db.get(rowKey(room[:0], p, route, key))
	if err != nil {
		return nil, fmt.Errorf("read row of %s: %w", table, err)
	}
	return body, nil
}

// Rows calls fn for each row of the table with the route, in key order, until fn
// returns false. The bodies are fn's.
func (db *DB) Rows(table change.Table, route string, fn func(key string, body []byte) bool) error {
	p, ok := db.names.Load().table(table)
	if !ok {
		return nil
	}
	prefix := rowPrefix(nil, p, route)
	var bodies arena
	row := func(key, body []byte) (bool, error) {
		if !bytes.HasPrefix(key, prefix) {
			return false, nil // the group's next table
		}
		return fn(string(key[len(prefix):]), bodies.copy(body)), nil
	}
	var err error
	if p.grouped && route == "" {
		err = db.each(prefix, after(prefix), row) // each of them is a group
	} else {
		err = db.own(prefix, row)
	}
	if err != nil {
		return fmt.Errorf("read rows of %s: %w", table, err)
	}
	return nil
}

// AllRows calls fn for the rows of the table in the order of (route, key),
// starting after the given pair ("" and "" for the start), until fn returns
// false. The bodies are fn's.
func (db *DB) AllRows(table change.Table, afterRoute, afterKey string, fn func(route, key string, body []byte) bool) error {
	p, ok := db.names.Load().table(table)
	if !ok {
		return nil
	}
	var from []byte
	if afterRoute != "" || afterKey != "" {
		from = append(rowKey(nil, p, afterRoute, afterKey), 0)
	}
	var bodies arena
	var route string
	err := db.tableRows(p, from, func(it *engine.Iterator, text, key []byte) (bool, error) {
		if string(text) != route {
			route = string(text)
		}
		body, err := it.ValueAndErr()
		if err != nil || !fn(route, string(key), bodies.copy(body)) {
			return false, err
		}
		it.Next()
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("read rows of %s: %w", table, err)
	}
	return nil
}

// Routes calls fn for each distinct route of the table, in order, until fn
// returns false. It seeks from one to the next and does not read their rows.
func (db *DB) Routes(table change.Table, fn func(route string) bool) error {
	p, ok := db.names.Load().table(table)
	if !ok {
		return nil
	}
	err := db.tableRows(p, nil, func(it *engine.Iterator, text, key []byte) (bool, error) {
		end := len(it.Key()) - len(key)
		if p.grouped {
			end -= 2 // the route's other tables are of no use
		}
		next := after(it.Key()[:end])
		if !fn(string(text)) {
			return false, nil
		}
		it.SeekGE(next)
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("read routes of %s: %w", table, err)
	}
	return nil
}

// tableRows calls fn with the iterator at a row of the table, the first one at or
// after the key from; fn moves it on, or returns false. Where rows are grouped the
// other tables' are passed over: to list one of many tables costs two seeks a
// route.
func (db *DB) tableRows(p place, from []byte, fn func(it *engine.Iterator, route, key []byte) (bool, error)) (err error) {
	space := appendName(nil, spaceRow, p.table)
	if p.grouped {
		space = []byte{spaceGrouped}
	}
	it, err := db.eng.NewIter(&engine.IterOptions{LowerBound: space, UpperBound: after(space)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	var room []byte
	for it.SeekGE(from); it.Valid(); {
		route, rest, err := cutText(it.Key()[len(space):])
		if err != nil {
			return err
		}
		if p.grouped {
			if len(rest) < 2 {
				return fmt.Errorf("key of a row is malformed: %w", store.ErrCorrupt)
			}
			group := it.Key()[:len(it.Key())-len(rest)]
			if other := uint16(rest[0])<<8 | uint16(rest[1]); other < p.table {
				room = append(append(room[:0], group...), byte(p.table>>8), byte(p.table))
				it.SeekGE(room)
				continue
			} else if other > p.table {
				it.SeekGE(after(group))
				continue
			}
			rest = rest[2:]
		}
		if more, err := fn(it, route, rest); err != nil || !more {
			return err
		}
	}
	return it.Error()
}
