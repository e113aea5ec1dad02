package change

import "time"

// Status is the kind of a record on a source's tx topic.
type Status string

// The kinds.
//
//   - Started is written to every partition, and durable on all of them, before
//     the first row of its incarnation.
//   - SnapshotEnded goes to every partition after the last Read row.
//   - Ended goes to each partition that the transaction touched.
//   - Watermark goes to every partition, at a low rate: everything at or below
//     its Position is in the log.
const (
	Started       Status = "START"
	SnapshotEnded Status = "SNAPSHOT_END"
	Ended         Status = "END"
	Watermark     Status = "WATERMARK"
)

// TxRecord is one record of the tx topic cdc.<source>.tx, which has the same
// partition count as the table topics. One is written per partition it concerns,
// differing only in Partition and Counts.
type TxRecord struct {
	Status      Status
	Source      string
	Incarnation Incarnation

	// Mark is where the transaction, watermark or snapshot stands: Sequence 0.
	// For Started it is where the reader resumes; zero if it begins with a
	// snapshot.
	Mark Mark

	// Previous is the position of the transaction that the log holds before this
	// one: of this incarnation, or where the incarnation resumed, or its
	// snapshot's. A Watermark's is the last transaction at or below it.
	Previous Position

	// Durable is a mark at or below which everything was acknowledged by the
	// broker on every partition when this record was written. A restart resumes
	// after the largest Durable of all partitions' last records.
	Durable Mark

	// ID is the source's transaction id (xid, GTID), for people.
	ID string

	// Committed is the source's commit time; for Watermark and SnapshotEnded
	// the source's clock when it was read.
	Committed time.Time

	// Partition is the partition this record lies in; Partitions are all that
	// the transaction touched, ascending. Counts is, per table name, the number
	// of rows the transaction (or the snapshot) wrote to Partition. EventCount
	// is the number of rows in all partitions.
	Partition  int32
	Partitions []int32
	Counts     map[string]int64
	EventCount int64

	// Snapshot says, in a Started record, that this incarnation begins with a
	// snapshot. In SnapshotEnded, Counts names every table that the snapshot
	// covered, with 0 where the partition got no row: rows of these tables that
	// the snapshot did not name are gone at the source.
	Snapshot bool

	// History identifies the source's history that Generation counts, as the
	// source names it (system identifier and timeline; server UUID). A reader
	// that meets another one MUST stop rather than resume.
	History string
}
