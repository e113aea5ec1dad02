package fhir

import "time"

// ResourceID names one resource: "Patient", "x7k2...". IDs that Tributary makes
// are opaque: a keyed hash of the source key.
type ResourceID struct {
	Type string
	ID   string
}

// String prints "Type/id", which is also the relative reference.
func (r ResourceID) String() string { return r.Type + "/" + r.ID }

// Version is one stored version of a resource. Body is the complete JSON as
// served, meta.versionId and meta.lastUpdated included, and nil for a deletion;
// it MUST NOT be modified. Number counts the resource's versions from 1. Commit
// is the commit number that wrote it. Index is what AppendIndex made of Body.
type Version struct {
	ResourceID
	Member  string // id of the Patient whose record it belongs to; empty for reference resources
	Number  uint64
	Commit  uint64
	Updated time.Time
	Deleted bool
	Body    []byte
	Index   []byte
}
