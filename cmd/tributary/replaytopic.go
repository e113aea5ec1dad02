package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/compose"
	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/kafka"
	"github.com/tributary-health/tributary/publish"
)

// pastChanges reads the change topic in the order of commits: each partition is
// in it, so the least of their heads comes next.
type pastChanges struct {
	parts []*kafka.PartitionReader
	heads []*compose.Announced // nil at a partition's end
	begun bool

	total int64
	limit []uint64 // the outbox number in each partition behind which nothing is given
}

func (r *replay) openChanges(ctx context.Context) (*pastChanges, error) {
	ranges, err := kafka.Ranges(ctx, r.conn, changeTopicName)
	if err != nil {
		return nil, err
	}
	if len(ranges) != int(r.cfg.Partitions) {
		return nil, fmt.Errorf("topic %s has %d partitions, configured are %d", changeTopicName, len(ranges), r.cfg.Partitions)
	}
	c := &pastChanges{heads: make([]*compose.Announced, len(ranges))}
	for p := range r.cfg.Partitions {
		tp := kafka.TopicPartition{Topic: changeTopicName, Partition: p}
		part, err := kafka.OpenPartition(ctx, r.conn, tp)
		if err != nil {
			return nil, err
		}
		r.readers = append(r.readers, part)
		c.parts = append(c.parts, part)
		c.total += ranges[tp].End
	}
	return c, nil
}

// Next implements compose.Announcements.
func (c *pastChanges) Next(ctx context.Context) (*compose.Announced, error) {
	if !c.begun {
		c.begun = true
		for p := range c.parts {
			if err := c.fill(ctx, p); err != nil {
				return nil, err
			}
		}
	}
	least := -1
	for p, h := range c.heads {
		if h != nil && (least < 0 || before(h, c.heads[least])) {
			least = p
		}
	}
	if least < 0 {
		return nil, io.EOF
	}
	a := c.heads[least]
	return a, c.fill(ctx, least)
}

func before(a, b *compose.Announced) bool {
	return cmp.Or(cmp.Compare(a.Info.Number, b.Info.Number), cmp.Compare(a.Version.Sequence, b.Version.Sequence)) < 0
}

func (c *pastChanges) fill(ctx context.Context, p int) error {
	c.heads[p] = nil
	rec, err := c.parts[p].Next(ctx)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return err
	}
	a, err := announcedOf(rec)
	if err != nil {
		return fmt.Errorf("topic %s, partition %d, offset %d: %w", rec.Topic, rec.Partition, rec.Offset, err)
	}
	if a.Version.Outbox <= c.limit[p] {
		c.heads[p] = a
	}
	return nil
}

// errNoChange says that a record of the change topic is none of ours.
var errNoChange = errors.New("it is no announced change: something else wrote to the topic")

// announcedOf reads a record of the change topic back.
func announcedOf(rec *kafka.TailRecord) (*compose.Announced, error) {
	bad := false
	number := func(header string) uint64 {
		n, err := strconv.ParseUint(rec.Header(header), 10, 64)
		bad = bad || err != nil
		return n
	}
	position := func(text string) (p change.Position) {
		if text != "" {
			var err error
			p, err = change.ParsePosition(text)
			bad = bad || err != nil
		}
		return p
	}
	committed, err := time.Parse(time.RFC3339Nano, rec.Header(publish.HeaderCommitted))
	resource, key := rec.Header(publish.HeaderResource), string(rec.Key)
	typ, id, ok := strings.Cut(resource, "/")
	a := &compose.Announced{Info: commit.Info{
		Number: commit.Number(number(publish.HeaderCommit)), Source: rec.Header(publish.HeaderSource),
		Position: position(rec.Header(publish.HeaderPosition)), Committed: committed, Count: uint32(number(publish.HeaderCount)),
	}}
	for _, part := range strings.Split(rec.Header(publish.HeaderPositions), ",") {
		source, at, _ := strings.Cut(part, "=")
		a.Info.Sources = append(a.Info.Sources, change.Freshness{Source: source, Position: position(at), Committed: committed})
	}
	v := &a.Version
	v.ResourceID = fhir.ResourceID{Type: typ, ID: id}
	v.Number, v.Outbox, v.Sequence = number(publish.HeaderVersion), number(publish.HeaderOutbox), uint32(number(publish.HeaderIndex))
	v.Op, v.Partition, v.Body, v.Commit = commit.Op(rec.Header(publish.HeaderOperation)), rec.Partition, rec.Value, uint64(a.Info.Number)
	v.Deleted = v.Op == commit.Delete
	if v.Member = key; key == resource {
		v.Member = ""
	}
	if bad || err != nil || !ok || v.Deleted != (len(rec.Value) == 0) {
		return nil, errNoChange
	}
	return a, nil
}
