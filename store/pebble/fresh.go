package pebble

import (
	"hash/maphash"
	"sync/atomic"
)

// fresh tells, while no version was ever committed, which resources have none
// staged either: a first composition asks for each of its resources twice, and no
// level of the store has it. It may be asked and told at the same time; nil says
// nothing.
type fresh struct {
	seed maphash.Seed
	bits []atomic.Uint64
}

// freshBits leave one of 700 new resources in doubt when a million are staged, and
// one of 15 with ten million. In doubt the store is looked into.
const freshBits = 1 << 26

func newFresh() *fresh {
	return &fresh{maphash.MakeSeed(), make([]atomic.Uint64, freshBits/64)}
}

// places are two bits of the resource.
func (f *fresh) places(kind uint16, id string) [2]uint64 {
	var h maphash.Hash
	h.SetSeed(f.seed)
	_ = h.WriteByte(byte(kind >> 8))
	_ = h.WriteByte(byte(kind))
	_, _ = h.WriteString(id)
	sum := h.Sum64()
	return [2]uint64{sum % freshBits, sum >> 32 % freshBits}
}

// add says that the resource has a version.
func (f *fresh) add(kind uint16, id string) {
	if f == nil {
		return
	}
	for _, at := range f.places(kind, id) {
		f.bits[at/64].Or(1 << (at % 64))
	}
}

// lacks reports that the resource has no version; false means that it may have.
func (f *fresh) lacks(kind uint16, id string) bool {
	if f == nil {
		return false
	}
	for _, at := range f.places(kind, id) {
		if f.bits[at/64].Load()&(1<<(at%64)) == 0 {
			return true
		}
	}
	return false
}

// unversioned reports whether no version was ever committed: the outbox counts
// every one.
func (db *DB) unversioned() bool {
	for _, n := range db.state.Load().frontier.Outbox {
		if n != 0 {
			return false
		}
	}
	return true
}
