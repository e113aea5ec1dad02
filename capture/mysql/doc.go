// Package mysql reads the binary log of MariaDB and MySQL as change events.
//
// It keeps to the log: a row event is decoded with the column names, types,
// signs, character sets, enum members and primary key that the log itself
// carries (binlog_row_metadata=FULL), never with what the server's catalog says
// now, so a reader that lags behind an ALTER TABLE decodes what was written.
//
//	M1  A transaction's Ordinal is the binlog file's number times 2^32 plus the
//	    offset of the last byte of its GTID event. It is known before the first
//	    row, it grows from transaction to transaction, and reading the log again
//	    gives the same. A watermark's and a snapshot's is the offset of the last
//	    byte before the boundary they stand for: not below any transaction they
//	    include, and below the next.
//	M2  A mark's Token is the GTID set after it. The set and the Ordinal
//	    must agree at the server, or the reader stops: it is another history.
//	M3  Reading begins after a whole transaction, always: a lost connection ends
//	    Run with a Transient error, and the next incarnation resumes from what
//	    is durable.
//	M4  The same value has the same text in a snapshot and in the log.
//	M5  What is not handled stops the reader by name: XA transactions, a second
//	    GTID domain, statements instead of rows, TRUNCATE, rows without all
//	    columns where a whole row is needed, types and character sets that are
//	    not known, binlog files of which a transaction begins beyond 4 GiB.
//
// A DDL statement makes a new change.Schema with the next row of its table. What
// the statement itself did to rows already there (a new column's default, a
// conversion) is not in the log as rows.
//
// History is "server_id/domain" on MariaDB, whose servers have no identity that
// survives a move, and M2 is what tells two histories apart; it is server_uuid
// on MySQL.
package mysql
