package pebble

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/store"
)

// state is what readers take as one: the frontier and what belongs to it. It is
// never changed, only replaced.
type state struct {
	frontier  commit.Frontier
	freshness []change.Freshness // of frontier.Sources, by name
	committed time.Time          // of frontier.Number's unit
}

func newState(f commit.Frontier, committed time.Time) *state {
	s := &state{frontier: cloneFrontier(f), committed: committed}
	for _, p := range s.frontier.Sources {
		s.freshness = append(s.freshness, p.Freshness)
	}
	slices.SortFunc(s.freshness, func(a, b change.Freshness) int { return strings.Compare(a.Source, b.Source) })
	return s
}

func (s *state) number() uint64 { return uint64(s.frontier.Number) }

// outbox returns the partition's last visible number.
func (s *state) outbox(partition int32) uint64 {
	if partition < 0 || int(partition) >= len(s.frontier.Outbox) {
		return 0
	}
	return s.frontier.Outbox[partition]
}

// cloneFrontier copies what a caller could still change.
func cloneFrontier(f commit.Frontier) commit.Frontier {
	f.Sources = maps.Clone(f.Sources)
	for name, p := range f.Sources {
		if p.Extra != nil {
			p.Extra = bytes.Clone(p.Extra)
			f.Sources[name] = p
		}
	}
	f.Offsets = maps.Clone(f.Offsets)
	f.Outbox = slices.Clone(f.Outbox)
	f.Extra = bytes.Clone(f.Extra)
	return f
}

// appendFrontier leaves out Extra, which is long and changes rarely. topic gives
// a topic's number.
func appendFrontier(dst []byte, f *commit.Frontier, topic func(string) (uint16, error)) ([]byte, error) {
	dst = binary.AppendUvarint(dst, uint64(f.Number))
	dst = appendString(dst, f.Generation)
	composed := byte(0)
	if f.Composed {
		composed = 1
	}
	dst = append(dst, composed)
	dst = binary.AppendUvarint(dst, uint64(len(f.Sources)))
	for name, p := range f.Sources {
		dst = appendString(dst, name)
		dst = appendFreshness(dst, &p.Freshness)
		dst = appendBytes(dst, p.Extra)
	}
	dst = binary.AppendUvarint(dst, uint64(len(f.Offsets)))
	for tp, offset := range f.Offsets {
		n, err := topic(tp.Topic)
		if err != nil {
			return nil, err
		}
		dst = binary.BigEndian.AppendUint16(dst, n)
		dst = binary.AppendVarint(dst, int64(tp.Partition))
		dst = binary.AppendVarint(dst, offset)
	}
	dst = binary.AppendUvarint(dst, uint64(len(f.Outbox)))
	for _, n := range f.Outbox {
		dst = binary.AppendUvarint(dst, n)
	}
	if f.Matching != 0 { // last and left out if zero: stores from before it had none
		dst = binary.AppendUvarint(dst, uint64(f.Matching))
	}
	return dst, nil
}

func decodeFrontier(b []byte, topic func(uint16) string) (commit.Frontier, error) {
	r := reader{b: b}
	f := commit.Frontier{
		Number:     commit.Number(r.uvarint()),
		Generation: r.string(),
		Composed:   r.byte() == 1,
		Sources:    map[string]commit.Progress{},
		Offsets:    map[commit.TopicPartition]int64{},
	}
	for range r.count() {
		name := r.string()
		p := commit.Progress{Freshness: r.freshness()}
		if extra := r.bytes(); len(extra) > 0 {
			p.Extra = bytes.Clone(extra)
		}
		f.Sources[name] = p
	}
	for range r.count() {
		n := r.take(2)
		if n == nil {
			break
		}
		name := topic(binary.BigEndian.Uint16(n))
		if name == "" {
			return f, fmt.Errorf("frontier names an unknown topic: %w", store.ErrCorrupt)
		}
		tp := commit.TopicPartition{Topic: name, Partition: int32(r.varint())}
		f.Offsets[tp] = r.varint()
	}
	for range r.count() {
		f.Outbox = append(f.Outbox, r.uvarint())
	}
	if len(r.b) > 0 {
		f.Matching = commit.Number(r.uvarint())
	}
	return f, r.done("frontier")
}
