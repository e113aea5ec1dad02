package kafka

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
)

// AskForTest asks what the topic holds and how it is set, of a broker that is
// known already.
func (t *ChangeTopic) AskForTest(ctx context.Context) (offsets, settings func() error) {
	admin := kadm.NewClient(t.client)
	return func() error { _, err := listRanges(ctx, t.client, opening, t.topic); return err },
		func() error { _, err := topicSettings(ctx, admin, opening, []string{t.topic}); return err }
}

// ClusterForTest is the broker's cluster, to make it misbehave.
func (b *Broker) ClusterForTest() *kfake.Cluster { return b.cluster }

// SetReserveForTest changes the reserve and looks at the disk at once.
func (b *Broker) SetReserveForTest(bytes int64) {
	b.space.reserve.Store(bytes)
	b.space.check(0)
}

// MovedForTest is ready when the durable mark moved, or after the given time.
func (w *Writer) MovedForTest(atMost time.Duration) <-chan struct{} {
	_, moved := w.progress.now()
	ready := make(chan struct{})
	go func() {
		defer close(ready)
		select {
		case <-moved:
		case <-time.After(atMost):
		}
	}()
	return ready
}

// PassesForTest reports whether an error is waited out.
func PassesForTest(err error) bool { return passes(err) }
