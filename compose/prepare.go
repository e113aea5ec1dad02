package compose

import (
	"context"
	"crypto/sha256"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/compose/mapping"
	"github.com/tributary-health/tributary/fhir"
)

// Preparing runs in parallel, committing is one order: members are composed,
// compared and encoded several at a time, each by one goroutine, while nobody
// changes rows; then they are written one after the other, in the order of their
// keys. So what is written does not depend on how many prepare, nor on how many
// are prepared before any is written: enough that nobody waits long for the last
// of them, and not more than fits in Config.PreparedBytes.

const preparedAtOnce = 64 // members for each that prepares

// prepared is one member's part of a unit, composed and not yet written.
type prepared struct {
	member string // its key
	part   int    // of a wave, that it is of
	set    *memberSet
	newest []newestDate // of a whole member: to be put
	batch  *batch
	err    error
}

// members composes what of the members is affected.
func (r *recomposer) members(ctx context.Context, keys []string, sets map[string]*memberSet) error {
	for len(keys) > 0 {
		chunk, err := r.settle(keys, sets)
		if err != nil {
			return err
		}
		keys = keys[len(chunk):]
		for len(chunk) > 0 {
			done := chunk[:r.prepare(chunk, workers())]
			for i := range done {
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := r.write(ctx, &done[i]); err != nil {
					return err
				}
			}
			clear(done)
			chunk = chunk[len(done):]
		}
	}
	return nil
}

// settle takes the next members and brings what their parts depend on up to
// date.
func (r *recomposer) settle(keys []string, sets map[string]*memberSet) ([]prepared, error) {
	var chunk []prepared
	for _, m := range keys[:min(len(keys), preparedAtOnce*workers())] {
		p := prepared{member: m, set: sets[m], batch: r.e.newBatch()}
		if _, parked := r.w.parked[m]; parked {
			p.set.whole, p.batch.remake = true, true
		}
		if r.remake {
			p.batch.remake = true
		}
		if !p.set.whole {
			if err := r.settleMember(m, p.set); err != nil {
				return nil, err
			}
		}
		chunk = append(chunk, p)
	}
	return chunk, nil
}

func (r *recomposer) settleMember(m string, s *memberSet) error {
	moved, err := r.e.settleNewest(m, s)
	if moved && err == nil {
		err = r.addNewest(m, s)
	}
	return err
}

// workers is how many members are prepared at once.
func workers() int { return runtime.GOMAXPROCS(0) }

// prepare prepares the first of the members, so many at once, and returns how
// many it did, one at least: all, unless they have too many bytes.
func (r *recomposer) prepare(chunk []prepared, workers int) int {
	var taken, bytes atomic.Int64
	work := func() {
		for bytes.Load() < int64(r.w.cfg.PreparedBytes) {
			i := taken.Add(1) - 1
			if i >= int64(len(chunk)) {
				return
			}
			p := &chunk[i]
			p.err = r.e.prepare(p)
			bytes.Add(int64(p.batch.bytes))
		}
	}
	var others sync.WaitGroup
	for range min(workers, len(chunk)) - 1 {
		others.Go(work)
	}
	work()
	others.Wait()
	return int(min(taken.Load(), int64(len(chunk))))
}

// prepare composes one member's part. It changes nothing.
func (e *engine) prepare(p *prepared) error {
	id := e.plan.memberID(p.member)
	v := e.view(p.member)
	if p.set.whole {
		var err error
		if p.newest, err = e.rescanNewest(p.member); err != nil {
			return err
		}
		v.newest, v.dated = newestOf(p.newest), true
		return v.whole(func(c composed) error { return p.batch.take(e, c, known, id) })
	}
	for i := range p.set.instances {
		p.batch.order = append(p.batch.order, i)
	}
	slices.SortFunc(p.batch.order, compareInstances)
	for _, i := range p.batch.order {
		c, err := v.compose(i, mapping.Row{})
		if err != nil {
			return err
		}
		if err := p.batch.take(e, c, p.set.instances[i], id); err != nil {
			return err
		}
	}
	return nil
}

// write writes what was prepared: all of it or, when any of it fails, nothing.
func (r *recomposer) write(ctx context.Context, p *prepared) error {
	for _, d := range p.newest {
		r.e.putNewest(p.member, d.table, d.stored, d.now)
	}
	if failed, err := r.failed(ctx, p.member, p.err); failed || err != nil {
		return err
	}
	if p.set.whole {
		if err := p.batch.goneOf(r.e, r.e.plan.memberID(p.member)); err != nil {
			return err
		}
		r.w.unpark(p.member)
	}
	return r.keep(ctx, p.batch)
}

// encoded is a version's bytes, made before it is its turn.
type encoded struct {
	number   uint64
	updated  time.Time
	body     []byte
	index    []byte
	postings []commit.Posting
}

func encode(typ string, content []byte, number uint64, updated time.Time) *encoded {
	x := &encoded{number: number, updated: updated}
	x.body = fhir.Stamp(nil, content, number, updated)
	var postings []fhir.Posting
	x.index, postings = fhir.Index(typ, x.body)
	for _, p := range postings {
		x.postings = append(x.postings, commit.Posting(p))
	}
	return x
}

// take compares one instance with what is stored, and encodes what is to be
// written.
func (b *batch) take(e *engine, c composed, o origin, member string) error {
	if r := &e.plan.resources[c.resource]; r.skipped != "" {
		b.done = append(b.done, composed{instance: c.instance, skipped: c.skipped})
	}
	if c.content == nil {
		b.gone = append(b.gone, candidate{c.id, member})
		return nil
	}
	b.alive[c.id] = true
	look := e.state.head
	if o == known {
		look = func(id fhir.ResourceID) (commit.Head, bool, error) { return e.state.headOf(member, id) }
	}
	head, ok, err := look(c.id)
	if err != nil {
		return err
	}
	d := &draft{id: c.id, head: head, existed: ok, content: c.content, member: member}
	sum := sha256.Sum256(c.content)
	copy(d.hash[:], sum[:])
	if ok && !head.Deleted && head.Hash == d.hash && head.Member == member {
		return b.again(e, c, member)
	}
	if d.tokens, err = e.tokens.of(c.id.Type, member, c.content); err != nil {
		return err
	}
	d.encoded = encode(c.id.Type, c.content, head.Number+1, head.UpdatedAt(b.committed))
	b.drafts = append(b.drafts, d)
	b.bytes += len(d.content) + len(d.encoded.body) + len(d.encoded.index)
	return nil
}

// again makes the tokens of a resource that has not changed, if they are missing.
func (b *batch) again(e *engine, c composed, member string) error {
	if !b.remake || !e.tokens.has(c.id.Type, member) {
		return nil
	}
	tokens, err := e.tokens.of(c.id.Type, member, c.content)
	if err == nil {
		b.tokens = append(b.tokens, commit.TokenSet{Resource: c.id, Member: member, Tokens: tokens})
	}
	return err
}

// newestDate is the newest date of one table in a member's record, as it was
// stored and as it is.
type newestDate struct {
	table       change.Table
	stored, now string
}

func newestOf(dates []newestDate) (newest string) {
	for _, d := range dates {
		newest = later(newest, d.now)
	}
	return newest
}
