package postgres

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/change"
)

// Head returns the ordinal up to which the server's log is flushed now: what was
// committed before the call lies at or below it, and a watermark reaches it.
func Head(ctx context.Context, c Config) (uint64, error) {
	c = c.withDefaults()
	q, err := c.connect(ctx)
	if err != nil {
		return 0, err
	}
	defer q.Close(context.WithoutCancel(ctx))
	var text string
	if err := q.QueryRow(ctx, "SELECT pg_current_wal_flush_lsn()::text").Scan(&text); err != nil {
		return 0, c.fail(ctx, "read the log's end", err)
	}
	lsn, err := pglogrepl.ParseLSN(text)
	return uint64(lsn) - 1, err
}

// ReadSnapshot reads all tables at one point of the log into log, as a reader's
// first snapshot does, and returns what SnapshotEnd returns. It leaves nothing at
// the server: the slot that fixes the point is a temporary one, and publication
// and the configured slot are not touched.
func ReadSnapshot(ctx context.Context, c Config, log capture.Log) error {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return err
	}
	r := &Reader{cfg: c, log: log}
	s := &session{generation: 1}
	var err error
	if s.replication, s.in, err = c.connectReplication(ctx); err != nil {
		return err
	}
	defer s.close(ctx)
	slot := fmt.Sprintf("tributary_peek_%d_%d", os.Getpid(), time.Now().UnixNano())
	made, err := pglogrepl.CreateReplicationSlot(ctx, s.replication, slot, "pgoutput", pglogrepl.CreateReplicationSlotOptions{
		Temporary: true, Mode: pglogrepl.LogicalReplication, SnapshotAction: "EXPORT_SNAPSHOT"})
	if err != nil {
		return c.fail(ctx, "create temporary slot", err)
	}
	point, err := pglogrepl.ParseLSN(made.ConsistentPoint)
	if err != nil {
		return c.fail(ctx, "create temporary slot", err)
	}
	mark := change.Mark{Position: change.Position{Generation: 1, Ordinal: uint64(point) - 1}, Token: point.String()}
	at, err := r.readTables(ctx, s, made.SnapshotName, mark, 1)
	if err != nil {
		return c.fail(ctx, "snapshot", err)
	}
	tables := make([]change.Table, len(c.Tables))
	for i := range tables {
		tables[i] = c.Tables[i].Table
	}
	return log.SnapshotEnd(ctx, change.TxRecord{Status: change.SnapshotEnded, Source: c.Source, Mark: mark, Committed: at}, tables)
}
