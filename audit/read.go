package audit

import (
	"errors"
	"io"
	"sort"
)

// since calls fn with every acknowledged entry from a time on.
func (l *Log) since(from string, fn func(Entry) bool) error {
	head := l.Head()
	segments, err := listSegments(l.dir)
	if err != nil {
		return err
	}
	if n := len(segments); n > 1 {
		// One that is being made has no header yet, and nothing acknowledged.
		if _, err := readHeader(l.dir, segments[n-1]); errors.Is(err, ErrDamaged) {
			segments = segments[:n-1]
		}
	}
	at, err := firstSince(l.dir, segments, from)
	if err != nil {
		return err
	}
	var p place
	for i, segment := range segments[at:] {
		if i == 0 {
			if p, err = readHeader(l.dir, segment); err != nil {
				return err
			}
		}
		if p.Number >= head.Number {
			return nil
		}
		more, err := eachIn(l.dir, segment, &p, head.Number, func(b line) (bool, error) {
			if b.time < from {
				return true, nil
			}
			e, err := decodeEntry(b.entry)
			if err != nil {
				return false, err
			}
			e.Hash = b.hash
			return fn(e), nil
		})
		if err != nil || !more {
			return err
		}
	}
	if p.Number < head.Number {
		return &Error{Op: "read", Err: ErrDamaged, Hint: "acknowledged entries are missing: `tributary audit verify` names them"}
	}
	return nil
}

// firstSince finds the last segment before which everything is older: a header
// holds the newest time before it, and that only grows, whatever the clock did.
func firstSince(dir string, segments []int, from string) (int, error) {
	var failed error
	n := sort.Search(len(segments), func(i int) bool {
		p, err := readHeader(dir, segments[i])
		if err != nil && failed == nil {
			failed = err
		}
		return err != nil || p.newest >= from
	})
	return max(n-1, 0), failed
}

// eachIn calls fn with the lines of a segment up to the entry of that number,
// each only if it follows p, which it moves.
func eachIn(dir string, segment int, p *place, upTo uint64, fn func(line) (bool, error)) (bool, error) {
	damaged := &Error{Op: "read", File: segmentName(segment), Err: ErrDamaged, Hint: "`tributary audit verify` names what is wrong"}
	l, err := openLines(dir, segment)
	if err != nil {
		return false, err
	}
	defer l.close()
	if first, err := l.next(); err != nil || string(first) != p.header(segment) {
		return false, damaged
	}
	for p.Number < upTo {
		b, err := l.next()
		if err == io.EOF {
			return true, nil
		}
		entry, ok := parseLine(b)
		if err != nil || !ok {
			return false, damaged
		}
		if *p, ok = p.follows(entry); !ok {
			return false, damaged
		}
		if more, err := fn(entry); err != nil || !more {
			return false, err
		}
	}
	return true, nil
}
