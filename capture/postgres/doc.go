// Package postgres reads a PostgreSQL database's log through logical
// replication (pgoutput, protocol 1) as change events.
//
//	P1  The slot is made with an exported snapshot; rows as of its consistent
//	    point are read as Read events, then the slot is streamed from that very
//	    point: no gap, no overlap. Tables are locked ACCESS SHARE only; DDL that
//	    queues behind the open snapshot waits for its end.
//	P2  A position's ordinal is the LSN where the commit record begins: rows are
//	    sent before the record's end is known. The token is where it ends. Where
//	    the log was read up to an LSN W, by a watermark or a snapshot, the
//	    ordinal is W-1: a commit record may begin at W itself.
//	P3  The server is told only marks that a restart finds in the Log (see
//	    confirmer); a slot that was moved further than that is an error, since
//	    what lies between will never be sent again.
//	P4  A column's value is unknown (Unchanged) when the server did not send it:
//	    TOAST, and in old rows all outside the replica identity. Old and new row
//	    fill each other where one has what the other lacks.
//
// The server sends a transaction when its commit is flushed, which is before
// other sessions can see it and before a synchronous standby has it. A failover
// to a standby that lacks it begins another history, which is refused.
//
// Left out, because pgoutput does not send them: generated columns. Refused by
// name: partitioned, unlogged and foreign tables and views, TRUNCATE.
package postgres
