package publish

import (
	"slices"
	"strconv"
	"strings"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
)

// The headers of a record of the change topic. All are text.
const (
	HeaderOperation  = "tributary-operation"  // create, update or delete
	HeaderResource   = "tributary-resource"   // "Type/id"
	HeaderVersion    = "tributary-version"    // the resource's version number
	HeaderGeneration = "tributary-generation" // the store's
	HeaderOutbox     = "tributary-outbox"     // number in the partition: from 1, dense
	HeaderCommit     = "tributary-commit"     // commit number of the unit
	HeaderIndex      = "tributary-index"      // place among the unit's versions, from 0
	HeaderCount      = "tributary-count"      // the unit's versions, over all partitions
	HeaderSource     = "tributary-source"     // whose transaction it was; empty for the first composition
	HeaderPosition   = "tributary-position"   // the transaction's; empty when there is none
	HeaderPositions  = "tributary-positions"  // how far every source was applied: "emr=1.9.0,pharmacy=1.4.0"; empty in a client's own topic
	HeaderCommitted  = "tributary-committed"  // the source's commit time, RFC 3339 with microseconds
	HeaderSynthetic  = "tributary-synthetic"  // whether it was made to test the flow
)

// committedLayout is RFC 3339 in UTC with exactly six digits.
const committedLayout = "2006-01-02T15:04:05.000000Z"

// NewRecord makes the change topic's record of an announcement. Its value is the
// stored body itself, or nil for a deletion. The key keeps a member's changes in
// one order: the member's id, or "Type/id" for a reference resource.
func NewRecord(number uint64, a *commit.Announcement) Record {
	v, in := &a.Version, &a.Info
	resource := v.ResourceID.String()
	key := v.Member
	if key == "" {
		key = resource
	}
	position := ""
	if !in.Position.IsZero() {
		position = in.Position.String()
	}
	r := Record{Key: []byte(key), Headers: []Header{
		{HeaderOperation, string(v.Op)},
		{HeaderResource, resource},
		{HeaderVersion, decimal(v.Number)},
		{HeaderGeneration, a.Generation},
		{HeaderOutbox, decimal(number)},
		{HeaderCommit, decimal(uint64(in.Number))},
		{HeaderIndex, decimal(uint64(v.Sequence))},
		{HeaderCount, decimal(uint64(in.Count))},
		{HeaderSource, in.Source},
		{HeaderPosition, position},
		{HeaderPositions, positions(in.Sources)},
		{HeaderCommitted, in.Committed.UTC().Format(committedLayout)},
		{HeaderSynthetic, "false"},
	}}
	if !v.Deleted {
		r.Value = v.Body
	}
	return r
}

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }

func positions(sources []change.Freshness) string {
	var parts []string
	for i := range sources {
		if !sources[i].Position.IsZero() {
			parts = append(parts, sources[i].Source+"="+sources[i].Position.String())
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, ",")
}
