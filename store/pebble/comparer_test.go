package pebble

import (
	"bytes"
	"cmp"
	"testing"
)

// TestGroups wants of each space's keys the group that is read together.
func TestGroups(t *testing.T) {
	for _, id := range []string{"", "a", "\x00", "a\x00", "\x00\x01", "\x01", "a\x00\xffb", "\xff"} {
		for _, rest := range []string{"", "k", "\x00", "\x00\x01", "\xff"} {
			for _, group := range [][]byte{
				rowPrefix(nil, place{table: 1}, id), rowPrefix(nil, place{table: 256}, id), memberPrefix(nil, 1, id), historyPrefix(nil, 0, id), ofPrefix(nil, id), bodyPrefix(nil, "m"+id), appendText([]byte{spaceGrouped}, id+"m"),
			} {
				if got := groupEnd(append(bytes.Clone(group), rest...)); got != len(group) {
					t.Errorf("the group of %q and %q ends at %d", group, rest, got)
				}
			}
			for _, alone := range [][]byte{
				currentKey(nil, 1, id+rest), tokensKey(nil, 1, id+rest), postingKey(nil, 1, 2, []byte(id), rest, "x"), after(rowPrefix(nil, place{table: 1}, id)),
				rowKey(nil, place{1, true}, "", id+rest), append(appendText([]byte{spaceGrouped}, ""), rest...),
				bodyKey(nil, "", 1, id+rest), append(bodyPrefix(nil, ""), rest...), after(bodyPrefix(nil, id)),
			} {
				if got := groupEnd(alone); got != len(alone) {
					t.Errorf("%q has a group that ends at %d", alone, got)
				}
			}
		}
	}
}

// FuzzGroups wants of any two keys, whole or not, what Pebble asks of an order
// with groups: it is that of the groups, and in one group that of the rest.
func FuzzGroups(f *testing.F) {
	keys := [][]byte{
		nil, {spaceRow}, {spaceRow, 0, 1}, rowKey(nil, place{table: 1}, "1041", "7"), rowKey(nil, place{table: 1}, "1041", ""), rowKey(nil, place{table: 1}, "1041\x00", "7"),
		rowKey(nil, place{1, true}, "1041", "7"), rowKey(nil, place{2, true}, "1041", ""), rowKey(nil, place{1, true}, "", "7"), rowPrefix(nil, place{1, true}, "1041\x00"),
		after(rowPrefix(nil, place{table: 1}, "1041")), memberKey(nil, 1, "m", "x"), ofKey(nil, "m", 1, "x"), historyKey(nil, 1, "x", 3), currentKey(nil, 1, "x"),
		bodyKey(nil, "m", 1, "x"), bodyKey(nil, "", 1, "x"), bodyPrefix(nil, ""), bodyKey(nil, "\x00", 1, "x"), bodyPrefix(nil, "m"),
	}
	for _, a := range keys {
		for _, b := range keys {
			f.Add(a, b)
		}
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		i, j := groupEnd(a), groupEnd(b)
		if want := cmp.Or(bytes.Compare(a[:i], b[:j]), bytes.Compare(a[i:], b[j:])); Order.Compare(a, b) != want {
			t.Errorf("%q and %q compare as %d, by group as %d", a, b, Order.Compare(a, b), want)
		}
		if groupEnd(a[:i]) != i {
			t.Errorf("the group %q of %q has another group", a[:i], a)
		}
		if len(a) > 0 && bytes.Compare(a, b) < 0 {
			if s := Order.Separator(nil, a, b); bytes.Compare(a, s) > 0 || bytes.Compare(s, b) >= 0 {
				t.Errorf("%q does not stand between %q and %q", s, a, b)
			}
		}
	})
}
