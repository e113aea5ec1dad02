package audit

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// VerifyOptions says what is known from elsewhere. The zero value verifies the
// log against itself.
type VerifyOptions struct {
	// Fingerprint is that of the key the log must be signed with; empty: the key
	// in the folder is believed.
	Fingerprint string
	// Expect are heads that were noted: each must still be in the chain.
	Expect []Mark
	// From is the head up to which segments were moved to an archive: the chain
	// begins behind it.
	From *Mark

	impatient bool // for tests: nobody writes beside us
}

// pause lets a process that is writing get on with it.
func (o VerifyOptions) pause(d time.Duration) {
	if !o.impatient {
		<-time.After(d)
	}
}

// Finding is one thing that is wrong, and where.
type Finding struct {
	File   string
	Offset int64
	Entry  uint64 // 0: none in particular
	What   string
}

// String prints it in one line.
func (f Finding) String() string {
	at := f.File
	if f.Offset > 0 || f.Entry > 0 {
		at += fmt.Sprintf(", offset %d", f.Offset)
	}
	if f.Entry > 0 {
		at += fmt.Sprintf(", entry %d", f.Entry)
	}
	return at + ": " + f.What
}

// Report is what a pass over the log saw. It is sound if there are no findings.
type Report struct {
	Head           Mark   // acknowledged; note it elsewhere
	Fingerprint    string // of the key
	First          uint64 // the first entry that is there
	Entries        uint64 // verified, up to the head
	Segments       int
	Bytes          int64
	Oldest, Newest time.Time
	Unacknowledged uint64 // whole entries behind the head: nobody was told that they are there
	Findings       []Finding
	More           bool // there are more findings than were kept
}

const maxFindings = 100

// Verify reads the whole log in bounded memory, beside a running process too:
// then up to the head that it read first. An error says that it could not find
// out; what it found wrong is in the report.
func Verify(dir string, o VerifyOptions) (Report, error) { return verify(dir, o, nil) }

// verify calls see with the lines up to the head, as they come. A line that is
// not in the chain is not seen.
func verify(dir string, o VerifyOptions, see func(line) error) (Report, error) {
	v := &verifier{dir: dir, options: o, see: see}
	v.expect = map[uint64]Hash{}
	v.heads()
	segments, err := listSegments(dir)
	if err != nil {
		return v.Report, err
	}
	if v.key == nil && len(segments) == 0 {
		return v.Report, &Error{Op: "verify " + dir, Err: errors.New("there is no log")}
	}
	if err := v.begin(segments); err != nil {
		return v.Report, err
	}
	for i, segment := range segments {
		if i > 0 && segment != segments[i-1]+1 {
			v.find(Finding{File: segmentName(segments[i-1] + 1), What: fmt.Sprintf("the segment is missing: %06d is followed by %06d", segments[i-1], segment)})
		}
		if err := v.segment(segment); err != nil {
			return v.Report, err
		}
	}
	v.finish()
	return v.Report, v.behindHead()
}

// verifier is one pass.
type verifier struct {
	Report
	dir     string
	options VerifyOptions
	key     ed25519.PublicKey
	known   bool // the head is
	expect  map[uint64]Hash
	see     func(line) error

	place
	also    Hash // what the last entry's hash should have been, if it is another: the next may go on from either
	started bool
	oldest  string
	reached spot     // where the head lies
	behind  *Finding // the first thing behind the head that is no whole entry
}

// spot is a place in the files.
type spot struct {
	segment int
	at      int64
	ok      bool
}

func (v *verifier) find(f Finding) {
	if len(v.Findings) == maxFindings {
		v.More = true
		return
	}
	v.Findings = append(v.Findings, f)
}

// heads reads keys and head, and notes which hashes must be met.
func (v *verifier) heads() {
	public, private, err := readKeys(v.dir)
	if err != nil {
		v.find(Finding{File: fileOf(err, publicFile), What: err.Error()})
	}
	if private != nil {
		clear(private) // only its public half was wanted
	}
	if v.key = public; public == nil {
		return
	}
	v.Fingerprint = Fingerprint(public)
	if want := v.options.Fingerprint; want != "" && want != v.Fingerprint {
		v.find(Finding{File: publicFile, What: "is not the key that was expected: its fingerprint is " + v.Fingerprint})
	}
	h, err := v.settledHeads()
	if err != nil {
		v.find(Finding{File: headFile, What: err.Error()})
		return
	}
	for i, err := range h.errs {
		if err != nil {
			v.find(Finding{File: headFile, Offset: int64(i * slotSize), What: fmt.Sprintf("half %d of the head: %v: changed, or torn by a power failure, which the next start mends", i+1, err)})
			continue
		}
		v.expect[h.marks[i].Number] = h.marks[i].Hash
	}
	if h.errs[0] == nil && h.errs[1] == nil && h.marks[0] != h.marks[1] && !v.moves(h) {
		v.find(Finding{File: headFile, What: fmt.Sprintf("its halves differ, entries %d and %d: entries were cut off behind it, or the power failed; start the process and verify again",
			h.marks[0].Number, h.marks[1].Number)})
	}
	_, v.Head, v.known = h.newest()
}

// settledHeads reads the head again while it may be one that is being written.
func (v *verifier) settledHeads() (heads, error) {
	h, err := readHeads(v.dir, v.key)
	for try := 0; try < 20 && err == nil && (h.errs[0] != nil || h.errs[1] != nil); try++ {
		v.options.pause(5 * time.Millisecond)
		h, err = readHeads(v.dir, v.key)
	}
	return h, err
}

// moves reports whether somebody is writing the head.
func (v *verifier) moves(h heads) bool {
	for range 20 {
		v.options.pause(5 * time.Millisecond)
		again, err := readHeads(v.dir, v.key)
		if err == nil && again.marks != h.marks {
			return true
		}
	}
	return false
}

func fileOf(err error, other string) string {
	var e *Error
	if errors.As(err, &e) && e.File != "" {
		return e.File
	}
	return other
}

// begin says where the chain must begin.
func (v *verifier) begin(segments []int) error {
	v.place, v.First = place{newest: noTime}, 1
	switch {
	case v.options.From != nil:
		v.Mark, v.First = *v.options.From, v.options.From.Number+1
		if len(segments) > 0 && segments[0] > 1 {
			if p, err := readHeader(v.dir, segments[0]); err == nil {
				v.newest = p.newest // of what is in the archive
			}
		}
	case v.key != nil:
		v.Hash = genesis(v.key)
	}
	for number, hash := range v.expect {
		if number == v.Number && hash != v.Hash {
			v.find(Finding{File: headFile, Entry: number, What: "the head is of another log"})
		}
	}
	for _, m := range v.options.Expect {
		switch {
		case m.Number < v.Number:
			return &Error{Op: "verify", Err: fmt.Errorf("the noted head of entry %d lies in the archive", m.Number), Hint: "verify the archive with it"}
		case m.Number == v.Number && m.Hash != v.Hash:
			v.find(Finding{File: segmentName(1), Entry: m.Number, What: "the noted head is of another log"})
		case v.known && m.Number > v.Head.Number:
			v.find(Finding{File: headFile, Entry: m.Number, What: fmt.Sprintf("the noted head is ahead of the log, which ends with entry %d: log and head were taken back", v.Head.Number)})
		}
	}
	return nil
}

// segment verifies one file.
func (v *verifier) segment(n int) error {
	name := segmentName(n)
	l, err := openLines(v.dir, n)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			v.wrong(Finding{File: name, What: "the segment is missing"})
			return nil
		}
		return err
	}
	defer l.close()
	v.Segments++
	defer func() { v.Bytes += l.at }()
	first, err := l.next()
	if err != nil && err != errCut && err != io.EOF && !errors.Is(err, errLong) {
		return &Error{Op: "read", File: name, Err: err}
	}
	v.header(name, n, first, err)
	if !v.started {
		v.First, v.started = v.Number+1, true
	}
	for v.note(n, l.at); ; v.note(n, l.at) {
		at := l.at
		b, err := l.next()
		switch {
		case err == io.EOF:
			return nil
		case err == errCut, errors.Is(err, errLong):
			v.wrong(Finding{File: name, Offset: at, Entry: v.Number + 1, What: err.Error()})
			continue
		case err != nil:
			return &Error{Op: "read", File: name, Err: err}
		}
		if err := v.line(name, at, b); err != nil {
			return err
		}
	}
}

// note remembers where the head lies.
func (v *verifier) note(segment int, at int64) {
	if v.known && !v.reached.ok && v.Number == v.Head.Number {
		v.reached = spot{segment, at, true}
	}
}

// wrong is a finding, unless it lies behind the head.
func (v *verifier) wrong(f Finding) {
	if !v.reached.ok {
		v.find(f)
	} else if v.behind == nil {
		v.behind = &f
	}
}

// header holds a segment's first line against the chain.
func (v *verifier) header(name string, n int, first []byte, err error) {
	p, ok := parseHeader(first, n)
	switch {
	case err != nil || !ok:
		v.wrong(Finding{File: name, What: "the first line is not the header of this segment"})
	case !v.started && v.options.From == nil && p.Number > 0:
		v.wrong(Finding{File: name, Entry: p.Number + 1, What: fmt.Sprintf("the log begins here: entries 1 to %d are missing; if they are in an archive, give the head that it ends with", p.Number)})
		v.place = p
	case p.Mark != v.Mark && p.Mark != (Mark{v.Number, v.also}):
		v.wrong(Finding{File: name, Entry: p.Number + 1, What: fmt.Sprintf("the segment goes on from entry %d, and the chain before it ends with another entry %d", p.Number, v.Number)})
		v.place = p
	case p.newest != v.newest && !(v.options.From != nil && !v.started):
		v.wrong(Finding{File: name, What: "the newest time in the header is not that of the entries before it"})
		fallthrough
	default:
		v.place = p
	}
	v.also = v.Hash
}

// line holds an entry against the chain. After a fault the chain goes on from
// what the entry says of itself, so that each fault is named once.
func (v *verifier) line(name string, at int64, b []byte) error {
	l, ok := parseLine(b)
	if !ok {
		v.wrong(Finding{File: name, Offset: at, Entry: v.Number + 1, What: "is not an entry"})
		v.Number++ // its place
		v.Hash, v.also = Hash{}, Hash{}
		return nil
	}
	sum := after(v.Hash, l.entry)
	chained := sum == l.hash || v.also != v.Hash && after(v.also, l.entry) == l.hash
	lost := v.Hash == Hash{} // the line before was no entry: this one's place cannot be checked
	switch {
	case l.number > v.Number+1:
		v.wrong(Finding{File: name, Offset: at, Entry: l.number, What: fmt.Sprintf("entries %d to %d are missing before it", v.Number+1, l.number-1)})
	case l.number <= v.Number:
		v.wrong(Finding{File: name, Offset: at, Entry: l.number, What: fmt.Sprintf("stands where entry %d belongs", v.Number+1)})
		return nil
	case !chained && !lost:
		v.wrong(Finding{File: name, Offset: at, Entry: l.number, What: "was changed, or what stands before it: its hash does not follow"})
	case v.reached.ok:
		v.Unacknowledged++
	case !lost:
		if err := v.sound(l); err != nil {
			return err
		}
	}
	v.place = place{Mark{l.number, l.hash}, max(v.newest, l.time)}
	v.also = sum
	v.meets(name, at)
	return nil
}

// sound is for an entry that follows the chain, up to the head.
func (v *verifier) sound(l line) error {
	v.Entries++
	if v.oldest == "" || l.time < v.oldest {
		v.oldest = l.time
	}
	if v.see == nil || v.known && l.number > v.Head.Number {
		return nil
	}
	return v.see(l)
}

// meets compares an entry with the heads that name it.
func (v *verifier) meets(name string, at int64) {
	if hash, ok := v.expect[v.Number]; ok && hash != v.Hash {
		v.wrong(Finding{File: name, Offset: at, Entry: v.Number, What: "is not the entry that the head was signed for"})
	}
	for _, m := range v.options.Expect {
		if m.Number == v.Number && m.Hash != v.Hash {
			v.find(Finding{File: name, Offset: at, Entry: v.Number, What: "is not the entry of the noted head: the log was written anew"})
		}
	}
}

// finish says what is missing at the end.
func (v *verifier) finish() {
	if v.oldest != "" { // as they were formatted, or the chain says otherwise
		v.Oldest, _ = time.Parse(timeLayout, v.oldest)
		v.Newest, _ = time.Parse(timeLayout, v.newest)
	}
	if v.known && !v.reached.ok && v.Number < v.Head.Number {
		v.find(Finding{File: headFile, Entry: v.Number + 1, What: fmt.Sprintf("entries %d to %d are missing: the head acknowledges them", v.Number+1, v.Head.Number)})
	}
	for _, m := range v.options.Expect {
		if m.Number > v.Number && !(v.known && m.Number > v.Head.Number) {
			v.find(Finding{File: headFile, Entry: m.Number, What: "the noted head is not in the log"})
		}
	}
	if !v.known && len(v.Findings) == 0 {
		v.find(Finding{File: headFile, What: "there is no head"})
	}
}

// behindHead decides about what is no entry behind the head: a running process
// may have been writing it just then. It is looked at again until the head has
// moved, or for half a second.
func (v *verifier) behindHead() error {
	if v.behind == nil {
		return nil
	}
	for range 10 {
		if h, err := readHeads(v.dir, v.key); err == nil {
			if _, m, ok := h.newest(); ok && m.Number != v.Head.Number {
				v.Unacknowledged = 0
				return nil
			}
		}
		if v.whole() {
			return nil
		}
		v.options.pause(50 * time.Millisecond)
	}
	f := *v.behind
	f.What += ". It lies behind the head, so nobody was told that it is there: a write that a crash cut off, which the next start sets aside, or an addition: start the process and verify again"
	v.find(f)
	return nil
}

// whole reports whether by now everything behind the head is in the chain.
func (v *verifier) whole() bool {
	e, err := findEnd(v.dir, v.Head, genesis(v.key))
	if err != nil || len(e.behind) > 0 {
		return false
	}
	info, err := os.Stat(filepath.Join(v.dir, segmentName(e.segment)))
	return err == nil && info.Size() == e.size
}
