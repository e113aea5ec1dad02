package pebble

import (
	"bytes"

	engine "github.com/cockroachdb/pebble/v2"
)

// Order is that of bytes. It only tells Pebble which keys are read together, so
// that one filter per table says whether it has any of them: without that every
// level is looked into for each of a member's tables. Its name is a part of the
// format. It is exported for whoever opens a store's files with Pebble itself.
var Order = func() *engine.Comparer {
	c := *engine.DefaultComparer
	c.Name = "tributary.3"
	c.Split = groupEnd
	return &c
}()

// groupEnd returns how much of a key names its group: a route's rows in a table,
// a route's rows in all grouped tables, a member's entries of a type, a resource's
// history, a member's list, a member's bodies. Of other spaces each key is its own
// group, and so are a grouped row of no route and a body of no member, which are
// many that nobody reads together, and a key without an end of text, such as a
// bound. Where one group's name begins with another's, the other is such a
// key and has nothing after its name: so the order of bytes is that of groups
// first and of what follows in them second, as Pebble wants it.
func groupEnd(key []byte) int {
	if len(key) == 0 {
		return 0
	}
	at := 3 // the letter and a name
	switch key[0] {
	case spaceRow, spaceMember, spaceHistory:
	case spaceOf:
		at = 1
	case spaceGrouped, spaceBody:
		if at = 1; len(key) > 2 && key[1] == escape && key[2] == textEnd {
			return len(key)
		}
	default:
		return len(key)
	}
	for at < len(key) {
		i := bytes.IndexByte(key[at:], escape)
		if i < 0 || at+i+1 >= len(key) {
			break
		}
		at += i + 2
		if key[at-1] == textEnd {
			return at
		}
	}
	return len(key)
}
