package change

import "hash/fnv"

// RouteKind says how a table's rows find their place.
type RouteKind uint8

// The kinds of route.
const (
	// ByMember: Column holds the member key. The table whose primary key is the
	// member key is itself ByMember, with that column.
	ByMember RouteKind = iota + 1
	// ByParent: Column holds the primary key of a row of Parent.
	ByParent
	// Reference: the table belongs to no member. Its rows lie in partition 0,
	// which every composer reads.
	Reference
)

// Route is a table's route. Rows are kept, keyed and partitioned by the text of
// Column; a Reference table has none.
type Route struct {
	Kind   RouteKind
	Column string
	Parent Table
}

// Partition returns the partition of a route text among n: FNV-1a of the text,
// modulo n. The empty text, that of reference rows, is partition 0.
func Partition(route string, n int32) int32 {
	if route == "" || n <= 1 {
		return 0
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(route))
	return int32(h.Sum32() % uint32(n))
}
