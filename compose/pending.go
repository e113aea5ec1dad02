package compose

import "github.com/tributary-health/tributary/commit"

// hold keeps records pending until what they belong to is applied or dropped.
type hold struct{ done bool }

// run is a stretch of records of one topic-partition that share a hold.
type run struct {
	first int64
	hold  *hold
}

// pending is what of one topic-partition was read and is not yet applied, first
// in, first out. A transaction of five million rows is one run.
type pending struct {
	runs []run
	next int64
}

// add takes the record before next. A nil hold means that it needs no keeping.
func (p *pending) add(next int64, h *hold) {
	p.next = next
	if h == nil || h.done {
		return
	}
	if n := len(p.runs); n > 0 && p.runs[n-1].hold == h {
		return
	}
	p.runs = append(p.runs, run{next - 1, h})
}

// offset returns the first offset that is not yet applied.
func (p *pending) offset() int64 {
	i := 0
	for i < len(p.runs) && p.runs[i].hold.done {
		i++
	}
	if p.runs = p.runs[i:]; len(p.runs) == 0 {
		p.runs = nil
		return p.next
	}
	return p.runs[0].first
}

// offsets is pending for every topic-partition.
type offsets map[commit.TopicPartition]*pending

func newOffsets(from map[commit.TopicPartition]int64) offsets {
	o := make(offsets, len(from))
	for tp, next := range from {
		o[tp] = &pending{next: next}
	}
	return o
}

// add takes a record. A record before what the partition already gave is an
// error of the feed; it reports false.
func (o offsets) add(rec *Record, h *hold) bool {
	p := o[rec.From]
	if p == nil {
		p = &pending{}
		o[rec.From] = p
	}
	if rec.Next <= p.next {
		return false
	}
	p.add(rec.Next, h)
	return true
}

// snapshot returns the first offset not yet applied of every partition.
func (o offsets) snapshot() map[commit.TopicPartition]int64 {
	m := make(map[commit.TopicPartition]int64, len(o))
	for tp, p := range o {
		m[tp] = p.offset()
	}
	return m
}
