// Package kafka carries change events across topics: the writer that lands a
// source's rows and transactions, the reader that gives them back, the change
// topic, the schema registry, and the embedded broker for those who run none.
//
//	K1  Nothing is called durable before every record of it, and of everything
//	    before it, was acknowledged: a contiguous prefix, not a count.
//	K2  A partition is read from a stated offset. An offset that the log does
//	    not hold is an error that names it; nothing is reset.
//	K3  A record's order within its partition is the order it was appended in.
//	K4  While the broker is away callers wait and memory stays bounded; nothing
//	    is dropped and nothing is given up.
//	K5  The embedded broker never compacts, never deletes and knows no
//	    transactions: neither survives a kill there.
//
// A source's topics are cdc.<source>.<table>, one per table, and cdc.<source>.tx;
// all have the same number of partitions.
package kafka
