package pebble

import (
	"encoding/binary"
	"fmt"
	"maps"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/store"
)

// The kinds of names; each has its own numbers' meaning but all share one count.
const (
	nameTable = 'b'
	nameParam = 'p'
	nameType  = 't'
	nameTopic = 'c'
)

// names gives long names that recur in keys two bytes. It is never changed, only
// replaced; a name once given stays.
type names struct {
	number map[string]uint16 // by kind and text
	text   []string          // by number; 0 is no name
	// grouped are the tables whose rows lie by route. What a table is when it gets
	// its number, it stays.
	grouped map[uint16]bool
}

// layoutGrouped follows the number of a table whose rows are grouped.
const layoutGrouped = 1

// table returns where the table's rows are, if it has any.
func (n *names) table(t change.Table) (place, bool) {
	number, ok := n.find(nameTable, tableName(t))
	return place{number, n.grouped[number]}, ok
}

func (n *names) find(kind byte, text string) (uint16, bool) {
	var room [64]byte
	number, ok := n.number[string(append(append(room[:0], kind), text...))]
	return number, ok
}

// textOf returns the text of a number of the kind, or "".
func (n *names) textOf(kind byte, number uint16) string {
	if int(number) >= len(n.text) {
		return ""
	}
	if t := n.text[number]; t != "" && t[0] == kind {
		return t[1:]
	}
	return ""
}

// with returns names that have one more. Names are few and new ones rare, so a
// copy costs less than a lock in every read.
func (n *names) with(kind byte, text string) (*names, uint16, error) {
	next := len(n.text)
	if next > 1<<16-1 {
		return nil, 0, fmt.Errorf("no number left for another name: 65535 tables, types, parameters and topics are known")
	}
	out := &names{number: maps.Clone(n.number), grouped: n.grouped, text: append(n.text[:next:next], string(kind)+text)}
	out.number[string(kind)+text] = uint16(next)
	return out, uint16(next), nil
}

// withGrouped returns names in which the table's rows are grouped.
func (n *names) withGrouped(table uint16) *names {
	out := *n
	if out.grouped = maps.Clone(n.grouped); out.grouped == nil {
		out.grouped = map[uint16]bool{}
	}
	out.grouped[table] = true
	return &out
}

// tableName cannot join source and name at a dot: either may hold one.
func tableName(t change.Table) string { return t.Source + "\x00" + t.Name }

func loadNames(db *engine.DB) (*names, error) {
	n := &names{number: map[string]uint16{}, text: []string{""}}
	it, err := db.NewIter(&engine.IterOptions{LowerBound: []byte{spaceName}, UpperBound: []byte{spaceName + 1}})
	if err != nil {
		return nil, err
	}
	defer func() { _ = it.Close() }()
	for it.First(); it.Valid(); it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return nil, err
		}
		text := string(it.Key()[1:])
		grouped := len(v) == 3 && v[2] == layoutGrouped
		if len(v) != 2 && !grouped || text == "" {
			return nil, fmt.Errorf("name record is malformed: %w", store.ErrCorrupt)
		}
		number := binary.BigEndian.Uint16(v)
		if grouped {
			n = n.withGrouped(number)
		}
		for len(n.text) <= int(number) {
			n.text = append(n.text, "")
		}
		n.text[number] = text
		n.number[text] = number
	}
	return n, it.Error()
}
