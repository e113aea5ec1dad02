package clock

import (
	"context"

	"github.com/tributary-health/tributary/capture"
)

// Head returns the ordinal of today: a watermark reaches it. Where the clock
// waits because the landed day is after today, it lies below what was landed.
func Head(c Config) (uint64, error) {
	t, err := c.timer()
	if err != nil {
		return 0, err
	}
	today, err := t.today()
	return uint64(today), err
}

// ReadSnapshot writes today's row into log, as a reader's first snapshot does, and
// returns what SnapshotEnd returns.
func ReadSnapshot(ctx context.Context, c Config, log capture.Log) error {
	t, err := c.timer()
	if err != nil {
		return err
	}
	today, err := t.today()
	if err != nil {
		return err
	}
	r := &run{timer: t, cfg: &c, log: log, incarnation: 1, generation: 1}
	return r.land(ctx, today)
}
