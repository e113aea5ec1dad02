package projection_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/projection"
	"github.com/tributary-health/tributary/store/pebble"
)

var (
	ctx   = context.Background()
	epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	small = pebble.Options{CacheBytes: 1 << 20, MemTableBytes: 256 << 10}
)

// policy hides the element note, Coverage, and the members whose id begins with
// an x.
type policy struct{ id string }

func (p policy) ID() string               { return p.id }
func (policy) MaySee(typ string) bool     { return typ != "Coverage" }
func (policy) MayKnow(member string) bool { return member == "" || member[0] != 'x' }

var errMalformed = errors.New("malformed")

func (policy) Redact(dst []byte, _ string, body []byte) ([]byte, error) {
	before, rest, ok := bytes.Cut(body, []byte(`,"note":"`))
	if !ok {
		return nil, errMalformed
	}
	_, rest, ok = bytes.Cut(rest, []byte{'"'})
	if !ok {
		return nil, errMalformed
	}
	return append(append(dst, before...), rest...), nil
}

// content is a resource before it is stamped.
func content(id fhir.ResourceID, status, note string) []byte {
	return fmt.Appendf(nil, `{"resourceType":%q,"id":%q,"meta":{"source":"t"},"status":%q,"note":%q,"end":1}`, id.Type, id.ID, status, note)
}

// put is one write of a generated unit; a deletion has no status.
type put struct {
	id           fhir.ResourceID
	member       string
	status, note string
}

// gone reports whether the put deletes.
func (p *put) gone() bool { return p.status == "" }

// base is a base store, and composition's side of it.
type base struct {
	*pebble.DB
	t       testing.TB
	disk    *vfs.MemFS
	number  commit.Number
	outbox  []uint64
	heads   map[fhir.ResourceID]commit.Head
	waits   []commit.Unit
	noise   uint64 // moves positions
	silent  bool   // a move is one version
	sources map[string]change.Freshness
}

const partitions = 3

func newBase(t testing.TB) *base {
	t.Helper()
	b := &base{t: t, disk: vfs.NewMem(), outbox: make([]uint64, partitions), heads: map[fhir.ResourceID]commit.Head{}, sources: map[string]change.Freshness{}}
	b.DB = openAt(t, "base", b.disk)
	t.Cleanup(func() { _ = b.DB.Close() })
	return b
}

func openAt(t testing.TB, dir string, disk vfs.FS) *pebble.DB {
	t.Helper()
	o := small
	o.FS = disk
	db, err := pebble.Open(dir, o)
	must(t, err)
	return db
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Watermarks come so far apart, and not at round times.
const (
	watermarks = 500 * time.Millisecond
	phase      = 250 * time.Millisecond
)

// see moves the sources on to a time: one by a transaction, all by watermarks.
func (b *base) see(source string, at time.Time) {
	b.noise++
	for _, name := range []string{"emr", "pharmacy"} {
		t := at.Add(-phase).Truncate(watermarks).Add(phase)
		if name == source {
			t = at
		}
		if f := b.sources[name]; t.After(f.Committed) {
			b.sources[name] = change.Freshness{Source: name, Committed: t, Position: change.Position{Generation: 1, Ordinal: b.noise}, Token: fmt.Sprint(b.noise)}
		}
	}
}

func (b *base) fresh() []change.Freshness {
	return []change.Freshness{b.sources["emr"], b.sources["pharmacy"]}
}

// unit writes one unit of the puts. Those that change nothing make no version,
// as composition does.
func (b *base) unit(source string, at time.Time, puts []put) {
	b.number++
	b.see(source, at)
	u := commit.Unit{Number: b.number, Source: source, Committed: at, Position: change.Position{Generation: 1, Ordinal: b.noise}, Token: fmt.Sprint(b.noise)}
	for i := range puts {
		b.put(&u, &puts[i])
	}
	u.Count, u.Sources = uint32(len(u.Versions)), b.fresh()
	b.waits = append(b.waits, u)
}

func (b *base) put(u *commit.Unit, p *put) {
	head, ok := b.heads[p.id]
	alive := ok && !head.Deleted
	if p.gone() {
		if alive {
			b.version(u, p.id, head.Member, nil)
		}
		return
	}
	c := content(p.id, p.status, p.note)
	if alive && head.Member == p.member && head.Hash == hash(c) {
		return
	}
	if alive && head.Member != p.member && !b.silent {
		b.version(u, p.id, head.Member, nil)
	}
	b.version(u, p.id, p.member, c)
}

func hash(content []byte) (h [16]byte) {
	sum := sha256.Sum256(content)
	copy(h[:], sum[:])
	return h
}

func (b *base) version(u *commit.Unit, id fhir.ResourceID, member string, content []byte) {
	head, ok := b.heads[id]
	v := commit.Version{Op: commit.Update, Sequence: uint32(len(u.Versions))}
	v.ResourceID, v.Member, v.Commit, v.Number, v.Updated = id, member, uint64(u.Number), head.Number+1, u.Committed.Truncate(time.Millisecond)
	switch {
	case content == nil:
		v.Op, v.Deleted = commit.Delete, true
	default:
		if !ok || head.Deleted {
			v.Op = commit.Create
		}
		v.Hash = hash(content)
		v.Body = fhir.Stamp(nil, content, v.Number, v.Updated)
		v.Index, _ = fhir.Index(id.Type, v.Body)
	}
	key := member
	if key == "" {
		key = id.String()
	}
	v.Partition = change.Partition(key, partitions)
	b.outbox[v.Partition]++
	v.Outbox = b.outbox[v.Partition]
	u.Versions = append(u.Versions, v)
	b.heads[id] = commit.Head{Number: v.Number, Hash: v.Hash, Updated: v.Updated, Deleted: v.Deleted, Member: v.Member}
}

// stage writes what waits above the frontier.
func (b *base) stage() {
	b.t.Helper()
	must(b.t, b.DB.Stage(ctx, commit.Batch{Units: b.waits}))
	b.waits = nil
}

// commit makes everything visible.
func (b *base) commit() {
	b.t.Helper()
	f := commit.Frontier{Number: b.number, Composed: true, Outbox: append([]uint64(nil), b.outbox...), Sources: map[string]commit.Progress{}}
	for name, s := range b.sources {
		f.Sources[name] = commit.Progress{Freshness: s}
	}
	must(b.t, b.DB.Commit(ctx, commit.Batch{Units: b.waits}, f))
	b.waits = nil
}

var (
	members  = []string{"a", "b", "c", "x1", "x2"}
	statuses = []string{"draft", "active", "done"}
)

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// randomPuts are the writes of one unit. hidden draws what the policy hides: it
// may be another generator, and changes nothing else.
func randomPuts(r, hidden *rand.Rand, most int) []put {
	var puts []put
	for range r.IntN(most + 1) {
		p := put{status: pick(r, statuses), note: fmt.Sprint(hidden.IntN(3))}
		switch r.IntN(7) {
		case 0:
			p.member = pick(r, members[:3])
			p.id = fhir.ResourceID{Type: "Patient", ID: p.member}
		case 1:
			p.id = fhir.ResourceID{Type: "Organization", ID: fmt.Sprint("o", r.IntN(3))}
		default:
			p.member = pick(r, members[:3])
			p.id = fhir.ResourceID{Type: pick(r, []string{"Claim", "Task"}), ID: fmt.Sprint("r", r.IntN(12))}
			if r.IntN(5) == 0 { // leaves for a member who is not shown, or comes back later
				p.member = "x1"
				if hidden.IntN(2) == 0 {
					p.member = "x2"
				}
			}
		}
		if r.IntN(5) == 0 {
			p.status = ""
		}
		puts = append(puts, p)
		if hidden.IntN(3) == 0 {
			puts = append(puts, hiddenPut(hidden))
		}
	}
	return puts
}

// hiddenPut is a write of which the policy shows nothing.
func hiddenPut(r *rand.Rand) put {
	p := put{member: pick(r, members[3:]), status: pick(r, statuses), note: fmt.Sprint(r.IntN(3))}
	p.id = fhir.ResourceID{Type: "Claim", ID: fmt.Sprint("h", r.IntN(8))}
	switch r.IntN(4) {
	case 0:
		p.member = pick(r, members)
		p.id = fhir.ResourceID{Type: "Coverage", ID: fmt.Sprint("c", r.IntN(8))}
	case 1:
		p.id = fhir.ResourceID{Type: "Patient", ID: p.member}
	}
	if r.IntN(5) == 0 {
		p.status = ""
	}
	return p
}

// client is a client's store and its projection.
type client struct {
	t     testing.TB
	disk  *vfs.MemFS
	db    *pebble.DB
	cfg   projection.Config
	p     *projection.Projection
	steps int
}

func newClient(t testing.TB, b *base) *client {
	t.Helper()
	c := &client{t: t, disk: vfs.NewCrashableMem()}
	c.cfg = projection.Config{Base: b, Policy: policy{"p1"}, Client: "cm", Partitions: 2}
	c.db = openAt(t, "client", c.disk)
	t.Cleanup(func() { _ = c.db.Close() })
	c.start(nil)
	return c
}

// start makes a projection of what the disk has; wrap may put something before
// the store.
func (c *client) start(wrap func(projection.Store) projection.Store) {
	c.t.Helper()
	c.cfg.Store = c.db
	if wrap != nil {
		c.cfg.Store = wrap(c.db)
	}
	p, err := projection.New(c.cfg)
	must(c.t, err)
	c.p = p
}

// lose is a power loss: a random part of what was not synced is gone.
func (c *client) lose(r *rand.Rand) {
	cfg := vfs.CrashCloneCfg{RNG: r}
	if r.IntN(2) == 0 {
		cfg.UnsyncedDataPercent = 50
	}
	c.disk = c.disk.CrashClone(cfg)
	_ = c.db.Close()
	c.db = openAt(c.t, "client", c.disk)
}

// catchUp steps until nothing is left.
func (c *client) catchUp() error {
	for range 100_000 {
		c.steps++
		if done, err := c.p.Step(ctx); done || err != nil {
			return err
		}
	}
	return errors.New("never caught up")
}
