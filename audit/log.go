package audit

import (
	"context"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// Options is how a log is kept. The zero value works.
type Options struct {
	// SegmentBytes is how long a segment grows before the next begins; 64 MiB if
	// it is 0.
	SegmentBytes int64
	// ID narrows what counts as a resource id, beyond FHIR's own rule: ids that
	// are keyed hashes have one form, and whatever else comes is a mistake that
	// must not be written down. Nil: FHIR's rule alone.
	ID func(string) bool
	// Stretch is how long refusals alike are counted before one entry tells of
	// them; a minute if it is 0.
	Stretch time.Duration
	// Refusals is how many of a client's in a stretch have entries of their own; 100
	// if it is 0.
	Refusals int

	open func(path string, create bool) (file, error) // for tests that fail writes
}

// Recovered is what Open found behind the head: what a crash left there.
type Recovered struct {
	Entries uint64 // whole and in the chain: kept, and acknowledged now
	Cut     int64  // bytes that were not, set aside
	Aside   []string
	Slot    bool // half of the head file was torn or behind, and was written again
}

// Log is an open log. Its methods may be called concurrently.
type Log struct {
	dir       string
	options   Options
	key       ed25519.PrivateKey
	lock      *os.File
	recovered Recovered

	turn    chan struct{} // holds a token while somebody writes; guards tail
	tail    tail
	head    atomic.Pointer[Mark] // acknowledged
	stopped chan struct{}

	folds folds

	mu   sync.Mutex // guards what follows; nothing is awaited under it
	next *batch
	err  error
}

// tail is where the log is written.
type tail struct {
	place
	segment int
	log     file
	size    int64 // of the segment
	room    int64 // that is reserved for it
	head    file
	buf     []byte
}

// batch is what goes to disk at once. done is closed when err is final.
type batch struct {
	entries [][]byte
	done    chan struct{}
	err     error
}

func newBatch() *batch { return &batch{done: make(chan struct{})} }

// Append puts the event into the log. It returns nil only when the event is
// durable and acknowledged (A1); on any other outcome the caller MUST NOT send
// what the event is about. After ctx has ended the event may still come to be
// in the log. An event that holds anything but ids, types and fixed words is
// refused with ErrRefused, and the log goes on; any other failure but ctx's is
// final: from then on every Append fails with ErrStopped.
//
// Of events that fold (Event.Folds) a client's first 100 in a stretch are put into
// the log like all others. Those behind them are counted, and Append returns nil
// at once: when the stretch ends, and at Close, one entry for each kind and reason
// is written that says how many they were. A process that is killed loses what the
// stretch has counted, and no more.
func (l *Log) Append(ctx context.Context, e Event) error {
	if err := e.check(l.id); err != nil {
		return err
	}
	if err := l.Err(); err != nil {
		return err
	}
	if e.Folds && l.fold(&e) {
		return nil
	}
	return l.add(ctx, &e)
}

// add is Append for an event that was checked.
func (l *Log) add(ctx context.Context, e *Event) error {
	entries := encode(e)
	l.mu.Lock()
	if l.err != nil {
		defer l.mu.Unlock()
		return l.err
	}
	b := l.next
	b.entries = append(b.entries, entries...)
	l.mu.Unlock()

	// Whoever gets the turn writes for all that came in the meantime.
	select {
	case <-b.done:
	case l.turn <- struct{}{}:
		l.write(b)
		<-l.turn
	case <-ctx.Done():
		return ctx.Err()
	}
	return b.err
}

// id is Options.ID.
func (l *Log) id(id string) bool { return l.options.ID == nil || l.options.ID(id) }

// encode makes the event's entries, each without its number.
func encode(e *Event) [][]byte {
	rest := appendRest(nil, e, 0, 0, e.Subjects)
	if len(rest) <= maxEntry {
		return [][]byte{rest}
	}
	shares := split(e.Subjects)
	entries := make([][]byte, len(shares))
	for i, s := range shares {
		entries[i] = appendRest(nil, e, i+1, len(shares), s)
	}
	return entries
}

// write commits the batch unless that was done while the caller waited for its
// turn, which it MUST have.
func (l *Log) write(b *batch) {
	select {
	case <-b.done:
		return
	default:
	}
	l.mu.Lock()
	l.next = newBatch()
	b.err = l.err
	l.mu.Unlock()
	if b.err == nil {
		if err := l.tail.commit(l, b.entries); err != nil {
			b.err = l.stop(err)
		}
	}
	close(b.done)
}

// stop makes the failure final, and returns what callers are told.
func (l *Log) stop(failure error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = &Error{Op: "append", Err: errors.Join(ErrStopped, failure), Hint: "nothing is disclosed until the log is opened again; see to the disk first"}
		close(l.stopped)
	}
	return l.err
}

// commit writes the entries, makes them durable, and only then lets the head say
// so: a head that is ahead of its log would look like a log that was cut.
func (t *tail) commit(l *Log, entries [][]byte) error {
	size := 0
	for _, e := range entries {
		size += len(e) + 128
	}
	if t.size+int64(size) > l.options.SegmentBytes && t.size > headerRoom {
		if err := t.rotate(l); err != nil {
			return err
		}
	}
	p := t.place
	t.buf = t.buf[:0]
	for _, e := range entries {
		t.buf, p = appendLine(t.buf, p, e)
	}
	t.reserve()
	if _, err := t.log.WriteAt(t.buf, t.size); err != nil {
		return &Error{Op: "write", File: segmentName(t.segment), Err: cause(err)}
	}
	if err := t.log.Sync(); err != nil {
		return &Error{Op: "sync", File: segmentName(t.segment), Err: cause(err)}
	}
	t.size += int64(len(t.buf))
	if cap(t.buf) > maxLine {
		t.buf = nil
	}
	t.place = p
	return t.acknowledge(l)
}

// A segment has room on the disk ahead of what is written, taken anew when less
// than half is left: a disk that others fill does not stop what may be read at
// once.
const reserved = 4 << 20

// reserve keeps the room, as far as the disk and its file system give any.
func (t *tail) reserve() {
	f, ok := t.log.(interface{ reserve(from, bytes int64) error })
	if !ok || t.room-t.size > reserved/2 {
		return
	}
	if f.reserve(t.size, reserved) == nil {
		t.room = t.size + reserved
	}
}

// headerRoom is longer than any header: a segment beyond it has an entry.
const headerRoom = 256

// acknowledge lets the head say that everything up to here is in the log. Both
// halves say it before anybody is told: a half that kept a signed mark of before
// would, in the other's place, vouch for a log that was cut.
func (t *tail) acknowledge(l *Log) error {
	mark := appendSlot(nil, t.Mark, l.key)
	for slot := range 2 {
		if _, err := t.head.WriteAt(mark, int64(slot*slotSize)); err != nil {
			return &Error{Op: "write", File: headFile, Err: cause(err)}
		}
	}
	if err := t.head.Sync(); err != nil {
		return &Error{Op: "sync", File: headFile, Err: cause(err)}
	}
	m := t.Mark
	l.head.Store(&m)
	return nil
}

// rotate begins the next segment.
func (t *tail) rotate(l *Log) error {
	name := segmentName(t.segment + 1)
	next, err := l.options.open(filepath.Join(l.dir, name), true)
	if err != nil {
		return &Error{Op: "make", File: name, Err: cause(err)}
	}
	header := []byte(t.header(t.segment+1) + "\n")
	_, err = next.WriteAt(header, 0)
	if err = errors.Join(err, next.Sync(), syncDir(l.dir)); err != nil {
		_ = next.Close()
		return &Error{Op: "begin", File: name, Err: cause(err)}
	}
	former := t.log
	t.log, t.segment, t.size, t.room = next, t.segment+1, int64(len(header)), 0
	return former.Close()
}

// Head returns the last acknowledged place. Noted elsewhere, it is what finds a
// log and a head that were both taken back.
func (l *Log) Head() Mark { return *l.head.Load() }

// PublicKey is the key that the head is signed with.
func (l *Log) PublicKey() ed25519.PublicKey { return l.key.Public().(ed25519.PublicKey) }

// Recovered is what Open found behind the head.
func (l *Log) Recovered() Recovered { return l.recovered }

// Stopped is closed when the log takes no entry any more, for a failure of the
// disk or by Close; Err says why.
func (l *Log) Stopped() <-chan struct{} { return l.stopped }

// Err is nil while the log takes entries.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Close writes what was counted, waits for what is being written, and then takes
// no more. Events that nobody waits for any more are not written.
func (l *Log) Close() error {
	l.lastFolds()
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	l.mu.Lock()
	if l.err == nil {
		l.err = &Error{Op: "append", Err: errors.Join(ErrStopped, os.ErrClosed)}
		close(l.stopped)
	}
	b := l.next
	b.err = l.err
	l.next = newBatch()
	l.mu.Unlock()
	close(b.done)
	if l.lock == nil {
		return nil
	}
	err := errors.Join(l.tail.log.Close(), l.tail.head.Close(), l.lock.Close())
	l.lock = nil
	return err
}

// Since calls fn with every acknowledged event of time t or later, in the order
// of the chain, until fn returns false. It reads from the first segment that can
// hold one, and verifies what it reads. An event that was split comes as its
// parts.
func (l *Log) Since(t time.Time, fn func(Event) bool) error {
	from := t.UTC().Format(timeLayout)
	return l.since(from, func(e Entry) bool { return fn(e.Event) })
}
