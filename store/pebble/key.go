package pebble

import (
	"encoding/binary"
	"fmt"

	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/store"
)

// The key spaces; the package comment says what each holds.
const (
	spaceMeta     = 'A'
	spaceTokens   = 'B'
	spaceCurrent  = 'C'
	spaceOf       = 'E'
	spaceFrontier = 'F'
	spaceGrouped  = 'G'
	spaceHistory  = 'H'
	spaceParked   = 'K'
	spaceLog      = 'L'
	spaceMember   = 'M'
	spaceName     = 'N'
	spaceOutbox   = 'O'
	spaceMark     = 'P'
	spaceRow      = 'R'
	spacePosting  = 'S'
	spaceToken    = 'T'
	spaceUndo     = 'U'
	spaceBody     = 'V'
	spaceExtra    = 'X'
)

// The ways in which a text is escaped: 0x00 becomes 0x00 0xFF, and the end is
// 0x00 0x01. No escaped text is a prefix of another, and they sort as the texts.
const (
	escape     = 0x00
	escapedNul = 0xff
	textEnd    = 0x01
)

// appendText appends s, which may hold any bytes, as a part of a key.
func appendText[T string | []byte](dst []byte, s T) []byte {
	for i := 0; i < len(s); i++ {
		if dst = append(dst, s[i]); s[i] == escape {
			dst = append(dst, escapedNul)
		}
	}
	return append(dst, escape, textEnd)
}

// cutText reads one escaped text from the front of key. The result may alias
// key.
func cutText(key []byte) (text, rest []byte, err error) {
	for i := 0; i+1 < len(key); i++ {
		if key[i] != escape {
			continue
		}
		if key[i+1] == textEnd {
			return key[:i], key[i+2:], nil
		}
		return cutEscaped(key, i)
	}
	return nil, nil, fmt.Errorf("key without end of text: %w", store.ErrCorrupt)
}

// cutEscaped goes on at the first escaped byte, which costs a copy.
func cutEscaped(key []byte, i int) (text, rest []byte, err error) {
	out := append([]byte(nil), key[:i]...)
	for ; i < len(key); i++ {
		if key[i] != escape {
			out = append(out, key[i])
			continue
		}
		i++
		switch {
		case i < len(key) && key[i] == textEnd:
			return out, key[i+1:], nil
		case i < len(key) && key[i] == escapedNul:
			out = append(out, escape)
		default:
			return nil, nil, fmt.Errorf("key with a broken escape: %w", store.ErrCorrupt)
		}
	}
	return nil, nil, fmt.Errorf("key without end of text: %w", store.ErrCorrupt)
}

// after returns the first key that no key with the prefix reaches. The prefixes
// begin with a letter, so there is one.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; ; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
}

func appendName(dst []byte, space byte, name uint16) []byte {
	return binary.BigEndian.AppendUint16(append(dst, space), name)
}

func currentKey(dst []byte, kind uint16, id string) []byte {
	return append(appendName(dst, spaceCurrent, kind), id...)
}

func historyPrefix(dst []byte, kind uint16, id string) []byte {
	return appendText(appendName(dst, spaceHistory, kind), id)
}

// historyKey sorts newer versions first.
func historyKey(dst []byte, kind uint16, id string, version uint64) []byte {
	return binary.BigEndian.AppendUint64(historyPrefix(dst, kind, id), ^version)
}

func memberPrefix(dst []byte, kind uint16, member string) []byte {
	return appendText(appendName(dst, spaceMember, kind), member)
}

func memberKey(dst []byte, kind uint16, member, id string) []byte {
	return append(memberPrefix(dst, kind, member), id...)
}

func ofPrefix(dst []byte, member string) []byte {
	return appendText(append(dst, spaceOf), member)
}

func ofKey(dst []byte, member string, kind uint16, id string) []byte {
	return append(binary.BigEndian.AppendUint16(ofPrefix(dst, member), kind), id...)
}

func bodyPrefix[T string | []byte](dst []byte, member T) []byte {
	return appendText(append(dst, spaceBody), member)
}

func bodyKey[T string | []byte](dst []byte, member T, kind uint16, id string) []byte {
	return append(binary.BigEndian.AppendUint16(bodyPrefix(dst, member), kind), id...)
}

func postingPrefix(dst []byte, kind, param uint16) []byte {
	return binary.BigEndian.AppendUint16(appendName(dst, spacePosting, kind), param)
}

func postingKey(dst []byte, kind, param uint16, value []byte, member, id string) []byte {
	dst = appendText(postingPrefix(dst, kind, param), value)
	return append(appendText(dst, member), id...)
}

// place is where a table's rows are: its number, and whether they lie with those
// of other tables.
type place struct {
	table   uint16
	grouped bool
}

// rowPrefix is what the keys of one route's rows in one table begin with.
func rowPrefix(dst []byte, p place, route string) []byte {
	if p.grouped {
		return binary.BigEndian.AppendUint16(appendText(append(dst, spaceGrouped), route), p.table)
	}
	return appendText(appendName(dst, spaceRow, p.table), route)
}

func rowKey(dst []byte, p place, route, key string) []byte {
	return append(rowPrefix(dst, p, route), key...)
}

func outboxKey(dst []byte, partition int32, number uint64) []byte {
	dst = binary.BigEndian.AppendUint32(append(dst, spaceOutbox), uint32(partition))
	return binary.BigEndian.AppendUint64(dst, number)
}

func markKey(dst []byte, partition int32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, spaceMark), uint32(partition))
}

func tokensKey(dst []byte, kind uint16, id string) []byte {
	return append(appendName(dst, spaceTokens, kind), id...)
}

func tokenPrefix(dst []byte, t commit.Token) []byte {
	return append(append(dst, spaceToken), t[:]...)
}

// tokenKey sorts what was added later first.
func tokenKey(dst []byte, t commit.Token, member string, kind uint16, id string, added uint64) []byte {
	dst = appendText(tokenPrefix(dst, t), member)
	dst = appendText(binary.BigEndian.AppendUint16(dst, kind), id)
	return binary.BigEndian.AppendUint64(dst, ^added)
}

// numberKey is the form of L and U.
func numberKey(dst []byte, space byte, number uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, space), number)
}
