package kafka

import (
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

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
