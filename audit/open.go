package audit

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const defaultSegment = 64 << 20

// Open takes the folder for this process and goes on where the log ends. A
// folder that is not there, or empty, becomes a new log with a key of its own. A
// log whose acknowledged entries are not all there is refused with ErrDamaged.
// Behind the head, entries that are whole and in the chain are kept and become
// acknowledged; from the first that is not, everything is copied into a file
// torn-..., and cut off.
func Open(dir string, o Options) (*Log, error) {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = defaultSegment
	}
	if o.Stretch <= 0 {
		o.Stretch = defaultStretch
	}
	if o.Refusals <= 0 {
		o.Refusals = defaultRefusals
	}
	if o.open == nil {
		o.open = openFile
	}
	if err := begin(dir); err != nil {
		return nil, err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	l := &Log{dir: dir, options: o, lock: lock, turn: make(chan struct{}, 1), stopped: make(chan struct{}), next: newBatch(),
		folds: folds{stretch: o.Stretch, first: o.Refusals, clients: map[string]*folded{}}}
	if err := l.recover(); err != nil {
		_ = lock.Close()
		return nil, err
	}
	return l, nil
}

// begin makes a new log where there is none: whole, or not at all.
func begin(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &Error{Op: "open " + dir, Err: cause(err)}
	}
	if len(entries) > 0 {
		return nil
	}
	parent := filepath.Dir(filepath.Clean(dir))
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return &Error{Op: "begin " + dir, Err: cause(err)}
	}
	made, err := os.MkdirTemp(parent, filepath.Base(dir)+".new-")
	if err != nil {
		return &Error{Op: "begin " + dir, Err: cause(err)}
	}
	err = fill(made)
	if err == nil {
		err = os.NewSyscallError("rename", syscall.Rename(made, dir)) // onto an empty folder, too: os.Rename refuses that
	}
	if err != nil {
		err = &Error{Op: "begin " + dir, Err: errors.Join(cause(err), os.RemoveAll(made)), Hint: beginHint(err)}
		if entries, _ := os.ReadDir(dir); len(entries) > 0 {
			return nil // another process was first
		}
		return err
	}
	return syncDir(parent)
}

// beginHint says what to do about a folder that cannot be replaced.
func beginHint(err error) string {
	if errors.Is(err, syscall.EBUSY) {
		return "a mount point cannot be the log's folder itself: name a folder in it"
	}
	return ""
}

func fill(dir string) error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	p := place{Mark{0, genesis(public)}, noTime}
	head := make([]byte, headSize)
	for slot := range 2 {
		copy(head[slot*slotSize:], appendSlot(nil, p.Mark, private))
	}
	return errors.Join(
		writeFile(filepath.Join(dir, keyFile), 0o600, encodeKey(private)),
		writeFile(filepath.Join(dir, publicFile), 0o644, encodePublic(public)),
		writeFile(filepath.Join(dir, segmentName(1)), 0o640, []byte(p.header(1)+"\n")),
		writeFile(filepath.Join(dir, headFile), 0o640, head),
		syncDir(dir),
	)
}

// recover finds the end of the log, and makes the files and the head agree on
// it.
func (l *Log) recover() error {
	public, private, err := readKeys(l.dir)
	if err != nil {
		return err
	}
	if private == nil {
		return &Error{Op: "open", File: keyFile, Err: fs.ErrNotExist, Hint: "restore it from a copy; a log cannot go on under another key"}
	}
	l.key = private
	h, err := readHeads(l.dir, public)
	if err != nil {
		return err
	}
	slot, head, ok := h.newest()
	if !ok {
		return &Error{Op: "open", File: headFile, Err: ErrDamaged, Hint: "neither half is signed by " + publicFile + ": restore log and head from one copy"}
	}
	end, err := findEnd(l.dir, head, genesis(public))
	if err != nil {
		return err
	}
	l.recovered.Entries = end.Number - head.Number
	l.recovered.Slot = h.errs[1-slot] != nil || h.marks[0] != h.marks[1]
	if err := l.cut(end); err != nil {
		return err
	}
	l.tail = tail{place: end.place, segment: end.segment, size: end.size}
	if l.tail.log, err = l.options.open(filepath.Join(l.dir, segmentName(end.segment)), false); err != nil {
		return &Error{Op: "open", File: segmentName(end.segment), Err: cause(err)}
	}
	if l.tail.head, err = l.options.open(filepath.Join(l.dir, headFile), false); err != nil {
		return errors.Join(&Error{Op: "open", File: headFile, Err: cause(err)}, l.tail.log.Close())
	}
	if err = l.rewrite(end); err == nil {
		err = l.tail.log.Sync()
	}
	if err == nil {
		err = l.tail.acknowledge(l)
	}
	if err != nil {
		return errors.Join(&Error{Op: "open", Err: err}, l.tail.log.Close(), l.tail.head.Close())
	}
	l.tail.reserve()
	return nil
}

// rewrite writes again what the head does not cover. If a sync of it failed, the
// system may take it for written and only remember it: then the next sync would
// succeed, and a power failure still lose it.
func (l *Log) rewrite(e end) error {
	f, err := os.Open(filepath.Join(l.dir, segmentName(e.segment)))
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, 1<<20)
	for at := e.from; at < e.size; {
		n, err := f.ReadAt(b[:min(int64(len(b)), e.size-at)], at)
		if err != nil {
			return err
		}
		if _, err := l.tail.log.WriteAt(b[:n], at); err != nil {
			return err
		}
		at += int64(n)
	}
	return nil
}

// end is where the chain ends: in which segment, and how long that is then.
type end struct {
	place
	segment int
	size    int64
	from    int64 // in that segment, what is behind the head begins
	behind  []int // segments that hold nothing of the chain
}

// findEnd follows the chain from the segment that the head lies in, to the last
// entry that is whole.
func findEnd(dir string, head Mark, first Hash) (end, error) {
	segments, err := listSegments(dir)
	if err != nil {
		return end{}, err
	}
	at, start, err := segmentOf(dir, segments, head.Number)
	if err != nil {
		return end{}, err
	}
	if segments[at] == 1 && start.Mark != (Mark{0, first}) {
		return end{}, notAcknowledged(segments[at], 0, head.Number)
	}
	e := end{place: start}
	for i, segment := range segments[at:] {
		if i > 0 && segment != e.segment+1 || !e.follow(dir, segment, head) {
			e.behind = segments[at+i:]
			break
		}
	}
	if e.Number < head.Number || e.Number == head.Number && e.Hash != head.Hash {
		return end{}, notAcknowledged(max(e.segment, 1), e.size, head.Number)
	}
	return e, nil
}

func notAcknowledged(segment int, at int64, number uint64) error {
	return &Error{Op: "open", File: segmentName(segment), Err: ErrDamaged,
		Hint: fmt.Sprintf("the head acknowledges entry %d, and the chain breaks at offset %d: `tributary audit verify` names what is wrong; restore log and head from one copy", number, at)}
}

// segmentOf returns the last segment that begins at or before the entry, and the
// place that it goes on from.
func segmentOf(dir string, segments []int, number uint64) (int, place, error) {
	for i := len(segments) - 1; i >= 0; i-- {
		p, err := readHeader(dir, segments[i])
		if err == nil && (p.Number < number || p.Number == 0) {
			return i, p, nil
		}
		if i == 0 {
			return 0, p, errors.Join(&Error{Op: "open", File: segmentName(segments[0]), Err: ErrDamaged, Hint: "no segment holds the entry of the head: restore log and head from one copy"}, err)
		}
	}
	return 0, place{}, &Error{Op: "open", Err: ErrDamaged, Hint: "there is a head, and no segment: restore log and head from one copy"}
}

// follow goes on through a segment, to its end or to what is not in the chain.
// It reports whether the segment belongs to the chain at all.
func (e *end) follow(dir string, segment int, head Mark) bool {
	l, err := openLines(dir, segment)
	if err != nil {
		return false
	}
	defer l.close()
	first, err := l.next()
	if err != nil || string(first) != e.header(segment) {
		return false
	}
	e.segment, e.size, e.from = segment, l.at, 0
	for {
		if e.Number == head.Number {
			e.from = e.size
		}
		b, err := l.next()
		if err != nil {
			return true
		}
		entry, ok := parseLine(b)
		if !ok {
			return true
		}
		next, ok := e.follows(entry)
		if !ok || next.Number == head.Number && next.Hash != head.Hash {
			return true
		}
		if _, err := decodeEntry(entry.entry); err != nil && next.Number > head.Number {
			return true
		}
		e.place, e.size = next, l.at
	}
}

// cut sets aside what follows the end: first a durable copy, then the cut.
func (l *Log) cut(e end) error {
	stamp := time.Now().UTC().Format("20060102T150405.000000Z")
	path := filepath.Join(l.dir, segmentName(e.segment))
	info, err := os.Stat(path)
	if err != nil {
		return &Error{Op: "open", File: segmentName(e.segment), Err: cause(err)}
	}
	if rest := info.Size() - e.size; rest > 0 {
		name := fmt.Sprintf("torn-%06d-%d-%s", e.segment, e.size, stamp)
		if err := l.aside(path, name, e.size); err != nil {
			return &Error{Op: "set aside the end of", File: segmentName(e.segment), Err: cause(err)}
		}
		l.recovered.Cut += rest
		l.recovered.Aside = append(l.recovered.Aside, name)
	}
	for _, segment := range e.behind {
		name := fmt.Sprintf("torn-%06d-0-%s", segment, stamp)
		path := filepath.Join(l.dir, segmentName(segment))
		if info, err := os.Stat(path); err == nil {
			l.recovered.Cut += info.Size()
		}
		if err := errors.Join(os.Rename(path, filepath.Join(l.dir, name)), syncDir(l.dir)); err != nil {
			return &Error{Op: "set aside", File: segmentName(segment), Err: err}
		}
		l.recovered.Aside = append(l.recovered.Aside, name)
	}
	return nil
}

// aside copies a file from an offset on, and cuts it there.
func (l *Log) aside(path, name string, from int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	torn, err := os.OpenFile(filepath.Join(l.dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	_, err = io.Copy(torn, io.NewSectionReader(f, from, 1<<62))
	if err = errors.Join(err, torn.Sync(), torn.Close(), syncDir(l.dir)); err != nil {
		return err
	}
	return errors.Join(f.Truncate(from), f.Sync())
}
