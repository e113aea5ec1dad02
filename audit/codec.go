package audit

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Entry is an Event in its place in the chain. An event too long for one entry
// has Parts entries, one after the other, that differ in Subjects; Part counts
// from 1. Both are 0 for an event in one entry.
type Entry struct {
	Number      uint64
	Hash        Hash
	Part, Parts int
	Event
}

// Hash is a place in the chain.
type Hash [32]byte

// String prints it in hex.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// maxEntry bounds an entry's JSON, maxLine what a line may be.
const (
	maxEntry = 1 << 20
	maxLine  = maxEntry + maxRequest + 1024
)

// timeLayout sorts as text, for times of one length.
const timeLayout = "2006-01-02T15:04:05.000000Z"

// numberMark begins every entry; the rest of it is made before its number is
// known.
const numberMark = `{"n":`

// appendRest appends an entry's JSON behind its number. Fields have one order,
// and no value needs escaping: check saw to it.
func appendRest(dst []byte, e *Event, part, parts int, subjects []Subject) []byte {
	dst = append(dst, `,"time":"`...)
	dst = e.Time.UTC().AppendFormat(dst, timeLayout)
	for _, f := range [...]struct{ name, value string }{
		{`","kind":"`, e.Kind}, {`","client":"`, e.Client}, {`","policy":"`, e.Policy}, {`","outcome":"`, e.Outcome},
		{`","reason":"`, e.Reason}, {`","request":"`, e.Request}, {`","generation":"`, e.Generation},
	} {
		dst = append(append(dst, f.name...), f.value...)
	}
	dst = append(dst, `","commit":`...)
	dst = strconv.AppendUint(dst, e.Commit, 10)
	if e.Count > 0 {
		dst = strconv.AppendUint(append(dst, `,"count":`...), e.Count, 10)
		dst = e.First.UTC().AppendFormat(append(dst, `,"first":"`...), timeLayout)
		dst = append(dst, '"')
	}
	if parts > 0 {
		dst = append(dst, `,"part":`...)
		dst = strconv.AppendUint(dst, uint64(part), 10)
		dst = append(dst, `,"parts":`...)
		dst = strconv.AppendUint(dst, uint64(parts), 10)
	}
	dst = append(dst, `,"subjects":[`...)
	for i := range subjects {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, patientMark...), subjects[i].Patient...), `","resources":[`...)
		for j, r := range subjects[i].Resources {
			if j > 0 {
				dst = append(dst, ',')
			}
			dst = append(append(append(dst, '"'), r...), '"')
		}
		dst = append(dst, `]}`...)
	}
	return append(dst, `]}`...)
}

const patientMark = `{"patient":"`

// AppendJSON appends the entry as the log has it.
func (e Entry) AppendJSON(dst []byte) []byte {
	dst = strconv.AppendUint(append(dst, numberMark...), e.Number, 10)
	return appendRest(dst, &e.Event, e.Part, e.Parts, e.Subjects)
}

// split deals subjects out so that each share fits an entry. A subject with too
// many resources is in several.
func split(subjects []Subject) [][]Subject {
	const room = maxEntry - 1024
	var shares [][]Subject
	var share []Subject
	size := 0
	for _, s := range subjects {
		from := 0
		size += len(s.Patient) + 32
		for i, r := range s.Resources {
			if size += len(r) + 3; size <= room {
				continue
			}
			if i > from {
				share = append(share, Subject{s.Patient, s.Resources[from:i]})
			}
			if len(share) > 0 {
				shares, share = append(shares, share), nil
			}
			from, size = i, len(s.Patient)+32+len(r)+3
		}
		if size > room { // many subjects without resources
			shares, share, size = append(shares, share), nil, len(s.Patient)+32
		}
		share = append(share, Subject{s.Patient, s.Resources[from:]})
	}
	return append(shares, share)
}

var errForm = errors.New("not an entry")

// decodeEntry reads what AppendJSON wrote, and nothing else: an entry has one
// form.
func decodeEntry(b []byte) (Entry, error) {
	var e Entry
	c := &cursor{rest: string(b), ok: true}
	c.want(numberMark)
	e.Number = c.number()
	c.want(`,"time":"`)
	var err error
	if e.Time, err = time.Parse(timeLayout, c.text()); err != nil {
		return e, errForm
	}
	for _, f := range [...]struct {
		name  string
		value *string
	}{
		{`,"kind":"`, &e.Kind}, {`,"client":"`, &e.Client}, {`,"policy":"`, &e.Policy}, {`,"outcome":"`, &e.Outcome},
		{`,"reason":"`, &e.Reason}, {`,"request":"`, &e.Request}, {`,"generation":"`, &e.Generation},
	} {
		c.want(f.name)
		*f.value = c.text()
	}
	c.want(`,"commit":`)
	e.Commit = c.number()
	if c.take(`,"count":`) {
		if e.Count = c.number(); e.Count == 0 {
			return e, errForm
		}
		c.want(`,"first":"`)
		if e.First, err = time.Parse(timeLayout, c.text()); err != nil {
			return e, errForm
		}
	}
	if c.take(`,"part":`) {
		e.Part = c.count()
		c.want(`,"parts":`)
		if e.Parts = c.count(); e.Part < 1 || e.Part > e.Parts {
			return e, errForm
		}
	}
	c.want(`,"subjects":[`)
	e.Subjects = c.subjects()
	c.want(`]}`)
	if !c.ok || c.rest != "" {
		return e, errForm
	}
	if err := e.check(func(string) bool { return true }); err != nil {
		return e, fmt.Errorf("%w: %w", errForm, err)
	}
	return e, nil
}

// cursor reads from the front of a text. After the first surprise ok is false.
type cursor struct {
	rest string
	ok   bool
}

func (c *cursor) take(s string) bool {
	rest, found := strings.CutPrefix(c.rest, s)
	if found && c.ok {
		c.rest = rest
	}
	return found && c.ok
}

func (c *cursor) want(s string) { c.ok = c.take(s) }

// text reads to the next quotation mark.
func (c *cursor) text() string {
	s, rest, found := strings.Cut(c.rest, `"`)
	if c.ok = c.ok && found; c.ok {
		c.rest = rest
	}
	return s
}

// number reads a decimal without leading zeros.
func (c *cursor) number() uint64 {
	n := 0
	for n < len(c.rest) && digit(c.rest[n]) {
		n++
	}
	v, err := strconv.ParseUint(c.rest[:n], 10, 64)
	if err != nil || n > 1 && c.rest[0] == '0' {
		c.ok = false
		return 0
	}
	c.rest = c.rest[n:]
	return v
}

func (c *cursor) count() int {
	n := c.number()
	c.ok = c.ok && n <= maxResources
	return int(n)
}

func (c *cursor) subjects() []Subject {
	var all []Subject
	for c.ok && (len(all) > 0 && c.take(`,`+patientMark) || len(all) == 0 && c.take(patientMark)) {
		s := Subject{Patient: c.text()}
		c.want(`,"resources":[`)
		for c.ok && (len(s.Resources) > 0 && c.take(`,"`) || len(s.Resources) == 0 && c.take(`"`)) {
			s.Resources = append(s.Resources, c.text())
		}
		c.want(`]}`)
		all = append(all, s)
	}
	return all
}
