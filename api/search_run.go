package api

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/tributary-health/tributary/fhir"
)

// candidateBatch is how many candidates of postings are held at a time.
const candidateBatch = 16 << 10

// hit is one match; key is its place by the search's sort.
type hit struct {
	fhir.Version
	key string
}

func (h *hit) cursor() cursor { return cursor{h.key, h.Member, h.ID} }

// load reads the body, which a scan leaves out.
func (h *hit) load(view View) error {
	if h.Body != nil {
		return nil
	}
	v, ok, err := view.Read(h.ResourceID)
	if err == nil && (!ok || v.Deleted) {
		err = fmt.Errorf("listed in the view, and not there")
	}
	if err != nil {
		return fmt.Errorf("api: read %s: %w", h.Type, err)
	}
	h.Body = v.Body
	return nil
}

func (c cursor) compare(d cursor) int {
	return cmp.Or(cmp.Compare(c.key, d.key), cmp.Compare(c.member, d.member), cmp.Compare(c.id, d.id))
}

// results collects the first matches behind a place, one more than a page holds,
// whatever order they come in. It holds at most twice as many.
type results struct {
	query   *query
	further further // looks at what satisfies the criteria
	after   cursor
	ordered bool // candidates come in the order of results
	counted bool // total is the number of all matches
	total   uint64
	hits    []hit
	full    bool // there are enough, all before last: what comes behind is too late
	last    cursor
	key     []byte // room for one
}

// add takes a candidate and reports whether more are wanted.
func (f *results) add(v fhir.Version) bool {
	q := f.query
	for i := range q.criteria {
		if !q.criteria[i].Match(v) {
			return true
		}
	}
	if !f.further.take(v) {
		return f.further.failed == nil
	}
	f.total++
	limit := q.count + 1
	if f.ordered && len(f.hits) >= limit {
		return f.counted
	}
	f.key = q.appendSortKey(f.key[:0], v)
	if f.full && string(f.key) > f.last.key {
		return true
	}
	h := hit{Version: v, key: string(f.key)}
	if at := h.cursor(); at.compare(f.after) > 0 && (!f.full || at.compare(f.last) < 0) {
		f.hits = append(f.hits, h)
		if !f.ordered && len(f.hits) >= 2*limit {
			f.keep(limit)
			f.full, f.last = true, f.hits[limit-1].cursor()
		}
	}
	return f.counted || !f.ordered || len(f.hits) < limit
}

// keep drops all but the first n hits.
func (f *results) keep(n int) {
	slices.SortFunc(f.hits, func(a, b hit) int { return a.cursor().compare(b.cursor()) })
	if len(f.hits) > n {
		clear(f.hits[n:])
		f.hits = f.hits[:n]
	}
}

func (q *query) appendSortKey(key []byte, v fhir.Version) []byte {
	for _, s := range q.sort {
		key, _ = fhir.SortKey(key, v, s.param, s.descending)
	}
	return key
}

// run finds the matches behind the page's place. It takes the narrowest source
// of candidates that the criteria give: ids, members, postings, or all there is.
func (q *query) run(ctx context.Context, view View, at page) (*results, error) {
	there, err := q.follow(ctx, view)
	if there && err == nil {
		there, err = q.lookBack(ctx, view)
	}
	if there && err == nil {
		err = q.needsNarrow()
	}
	if err != nil {
		return nil, err
	}
	q.cheapFirst()
	f := &results{query: q, after: at.after, ordered: len(q.sort) == 0, further: further{ctx: ctx, view: view, query: q}}
	if !there {
		f.counted = true
		return f, nil
	}
	f.counted = at.total == 0 && (q.summary || q.total == "accurate" || q.total == "estimate")
	if err := cmp.Or(q.candidates(ctx, view, at, f), f.further.failed); err != nil {
		return nil, fmt.Errorf("api: search %s: %w", q.typ, err)
	}
	f.keep(q.count + 1)
	return f, nil
}

// cheapFirst puts what nearly all candidates satisfy last: within a record,
// whose it is.
func (q *query) cheapFirst() {
	slices.SortStableFunc(q.criteria, func(a, b fhir.Criterion) int {
		_, x := a.Members()
		_, y := b.Members()
		switch {
		case x == y:
			return 0
		case x:
			return 1
		}
		return -1
	})
}

func (q *query) candidates(ctx context.Context, view View, at page, f *results) error {
	cheap := at.total == 0 && q.total != "none"
	for i := range q.criteria {
		if ids, ok := q.criteria[i].IDs(); ok {
			f.counted = f.counted || cheap
			return q.fromIDs(view, ids, f)
		}
	}
	for i := range q.criteria {
		if members, ok := q.criteria[i].Members(); ok {
			f.counted = f.counted || cheap
			return q.fromMembers(ctx, view, members, f)
		}
	}
	if members, ok := q.records(); ok {
		f.counted = f.counted || cheap
		return q.fromMembers(ctx, view, members, f)
	}
	var ranges []fhir.PostingRange
	for i := range q.criteria {
		if more, ok := q.criteria[i].PostingRanges(); ok && (ranges == nil || more[0].Param == "identifier") {
			ranges = more
		}
	}
	if ranges != nil {
		return q.fromPostings(ctx, view, ranges, f)
	}
	return q.scan(ctx, view, "", true, f)
}

// start is where a scan in the order of results may begin.
func (f *results) start() (member, id string) {
	if f.ordered && !f.counted {
		return f.after.member, f.after.id
	}
	return "", ""
}

// scan goes over one member's resources of the type, or over all of them.
func (q *query) scan(ctx context.Context, view View, member string, all bool, f *results) error {
	afterMember, afterID := f.start()
	if !all {
		if afterMember > member {
			return nil
		}
		if afterMember < member {
			afterID = ""
		}
		afterMember = member
	}
	seen := 0
	err := view.Scan(q.typ, member, all, afterMember, afterID, func(v fhir.Version) bool {
		seen++
		return f.add(v) && (seen%1024 != 0 || ctx.Err() == nil)
	})
	return cmp.Or(err, ctx.Err())
}

func (q *query) fromMembers(ctx context.Context, view View, members []string, f *results) error {
	slices.Sort(members)
	for _, member := range slices.Compact(members) {
		if err := q.scan(ctx, view, member, false, f); err != nil {
			return err
		}
		if f.ordered && !f.counted && len(f.hits) > q.count {
			return nil
		}
	}
	return nil
}

func (q *query) fromIDs(view View, ids []string, f *results) error {
	f.ordered = false // members are not in the order of ids
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		v, ok, err := view.Read(fhir.ResourceID{Type: q.typ, ID: id})
		if err != nil {
			return err
		}
		if ok && !v.Deleted {
			f.add(v)
		}
	}
	return nil
}

// candidate is a resource that a posting names.
type candidate struct {
	member, id string
}

func (c candidate) compare(d candidate) int {
	return cmp.Or(cmp.Compare(c.member, d.member), cmp.Compare(c.id, d.id))
}

// fromPostings brings the candidates into the order of results, a batch at a
// time, each once, and reads and checks them.
func (q *query) fromPostings(ctx context.Context, view View, ranges []fhir.PostingRange, f *results) error {
	member, id := f.start()
	after := candidate{member, id}
	for {
		batch, full, err := q.nextCandidates(ctx, view, ranges, after)
		if err != nil {
			return err
		}
		for _, c := range batch {
			v, ok, err := view.Read(fhir.ResourceID{Type: q.typ, ID: c.id})
			if err != nil {
				return err
			}
			// A posting of a record that the resource has left is stale: the
			// one of the record it is in now gives it, and once.
			if ok && !v.Deleted && v.Member == c.member && !f.add(v) {
				return nil
			}
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		if !full {
			return nil
		}
		after = batch[len(batch)-1]
	}
}

// nextCandidates returns the first candidates behind a place, in order; full
// says that there may be more.
func (q *query) nextCandidates(ctx context.Context, view View, ranges []fhir.PostingRange, after candidate) (batch []candidate, full bool, err error) {
	shrink := func() {
		slices.SortFunc(batch, candidate.compare)
		batch = slices.Compact(batch)
		if len(batch) > candidateBatch {
			batch, full = batch[:candidateBatch], true
		}
	}
	for _, r := range ranges {
		err = view.Postings(q.typ, r.Param, r.Low, r.High, func(member, id string) bool {
			if c := (candidate{member, id}); c.compare(after) > 0 {
				if batch = append(batch, c); len(batch) >= 2*candidateBatch {
					shrink()
				}
			}
			return ctx.Err() == nil
		})
		if err = cmp.Or(err, ctx.Err()); err != nil {
			return nil, false, err
		}
	}
	shrink()
	return batch, full, nil
}
