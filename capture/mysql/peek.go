package mysql

import (
	"context"

	"github.com/tributary-health/tributary/capture"
)

// Head returns the ordinal at which the server's log ends now: what was
// committed before the call lies at or below it, and a watermark reaches it.
func Head(ctx context.Context, c Config) (uint64, error) {
	db, _, srv, err := c.open(ctx)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	file, offset, _, err := srv.logEnd(ctx, db)
	if err != nil {
		return 0, c.sqlError("read the log's end", err)
	}
	number, err := fileNumber(file)
	if err != nil {
		return 0, c.errorf("read the log's end", capture.Unsupported, "%w", err)
	}
	return ordinal(number, offset), nil
}

// ReadSnapshot reads all tables at one point of the log into log, as a reader's
// first snapshot does, and returns what SnapshotEnd returns. It leaves nothing at
// the server.
func ReadSnapshot(ctx context.Context, c Config, log capture.Log) error {
	c.Resnapshot = true
	run := &run{cfg: &c, log: log, resume: log.Resume()}
	err := run.peek(ctx)
	if run.db != nil {
		_ = run.db.Close()
	}
	return err
}

func (r *run) peek(ctx context.Context) error {
	if err := r.connect(ctx); err != nil {
		return err
	}
	if err := r.identify(ctx); err != nil {
		return err
	}
	r.incarnation, r.generation = 1, 1
	return r.snapshot(ctx)
}
