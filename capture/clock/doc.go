// Package clock is a source that reads no database: it lands one row, today's
// date, so that what depends on the day is composed from the log like all else,
// and again alike when the log is replayed. The row is that of the table
// clock.today: id (always 1) and date.
//
//	K1  The first start lands today's row as a snapshot. After that each day is
//	    one transaction with one Update, from the day before it to it.
//	K2  A transaction's position is generation 1, the day's number since
//	    1970-01-01, sequence 1. Its commit time is the day's first moment in the
//	    clock's zone.
//	K3  Days that were missed come one after the other, none is left out: a
//	    reader that died may have landed any of them already, and the log joins
//	    only what comes twice alike. After more than MaxMissed days there is a new
//	    snapshot instead.
//	K4  The log never goes back. Where today is before the day that was landed
//	    (the machine's clock was set back, the zone was changed to one further
//	    west) the clock waits for the days to meet, and says so once.
//	    --resnapshot sets it back, in a new generation.
//	K5  Watermarks follow twice a second, so the clock never holds freshness back.
package clock
