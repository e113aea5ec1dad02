package audit

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Mark is a place in the log: an entry's number and hash.
type Mark struct {
	Number uint64
	Hash   Hash
}

// String prints "number:hash", which ParseMark reads.
func (m Mark) String() string { return fmt.Sprintf("%d:%s", m.Number, m.Hash) }

// ParseMark reads what String printed.
func ParseMark(s string) (Mark, error) {
	number, hash, _ := strings.Cut(s, ":")
	n, err := strconv.ParseUint(number, 10, 64)
	m := Mark{Number: n}
	if err != nil || !parseHash(&m.Hash, hash) {
		return m, fmt.Errorf("%q is no head: a head is NUMBER:HASH with 64 hex digits, as `tributary audit verify` prints it", s)
	}
	return m, nil
}

// parseHash takes lower case only: a hash has one form.
func parseHash[T string | []byte](h *Hash, text T) bool {
	if len(text) != 2*len(h) {
		return false
	}
	for i := range h {
		high, low := hexDigits[text[2*i]], hexDigits[text[2*i+1]]
		if high|low > 15 {
			return false
		}
		h[i] = high<<4 | low
	}
	return true
}

// hexDigits holds each digit's value, and 255 for what is none.
var hexDigits = func() (values [256]byte) {
	for i := range values {
		values[i] = 255
	}
	for i, c := range []byte("0123456789abcdef") {
		values[c] = byte(i)
	}
	return values
}()

// genesis stands where entry 1 has the hash before it.
func genesis(key ed25519.PublicKey) Hash {
	return sha256.Sum256(append([]byte("tributary audit log 1\n"), key...))
}

// after is the hash of an entry's JSON behind the hash before it.
func after(before Hash, entry []byte) Hash {
	h := sha256.New()
	h.Write(before[:])
	h.Write(entry)
	var sum Hash
	h.Sum(sum[:0])
	return sum
}

// place is how far the chain has come, and the newest time so far, as text.
type place struct {
	Mark
	newest string
}

const noTime = "0001-01-01T00:00:00.000000Z"

// header is the first line of a segment.
func (p place) header(segment int) string {
	return fmt.Sprintf("tributary-audit-log 1 segment %06d first %d before %s newest %s", segment, p.Number+1, p.Hash, p.newest)
}

// parseHeader returns the place that a header goes on from.
func parseHeader(line []byte, segment int) (place, bool) {
	var p place
	words := strings.Split(string(line), " ")
	if len(words) != 10 {
		return p, false
	}
	first, err := strconv.ParseUint(words[5], 10, 64)
	if err != nil || first == 0 || !parseHash(&p.Hash, words[7]) || !isTime(words[9]) {
		return p, false
	}
	p.Number, p.newest = first-1, words[9]
	return p, p.header(segment) == string(line)
}

func isTime(s string) bool {
	return len(s) == len(timeLayout) && only(s, func(c byte) bool { return digit(c) || in(c, "-T:.Z") })
}

// line is an entry as a segment has it.
type line struct {
	number uint64
	time   string
	entry  []byte
	hash   Hash
}

// appendLine appends an entry's line and returns the place behind it.
func appendLine(dst []byte, p place, rest []byte) ([]byte, place) {
	at := len(dst)
	dst = strconv.AppendUint(append(dst, numberMark...), p.Number+1, 10)
	dst = append(dst, rest...)
	p.Number++
	p.Hash = after(p.Hash, dst[at:])
	p.newest = max(p.newest, string(rest[len(`,"time":"`):][:len(timeLayout)]))
	dst = hex.AppendEncode(append(dst, ' '), p.Hash[:])
	return append(dst, '\n'), p
}

// parseLine takes a line apart; it does not look into the entry beyond its time.
func parseLine(b []byte) (line, bool) {
	var l line
	at := len(b) - 2*len(l.hash) - 1
	if at < 0 || b[at] != ' ' || !parseHash(&l.hash, b[at+1:]) {
		return l, false
	}
	l.entry = b[:at]
	rest, ok := bytes.CutPrefix(l.entry, []byte(numberMark))
	if !ok {
		return l, false
	}
	for len(rest) > 0 && digit(rest[0]) && l.number < 1<<59 {
		l.number = l.number*10 + uint64(rest[0]-'0')
		rest = rest[1:]
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(`,"time":"`)); !ok || len(rest) < len(timeLayout) {
		return l, false
	}
	l.time = string(rest[:len(timeLayout)])
	return l, isTime(l.time)
}

// follows reports whether the line is the next one, and returns the place behind
// it.
func (p place) follows(l line) (place, bool) {
	if l.number != p.Number+1 || after(p.Hash, l.entry) != l.hash {
		return p, false
	}
	return place{Mark{l.number, l.hash}, max(p.newest, l.time)}, true
}
