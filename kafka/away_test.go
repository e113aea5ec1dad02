package kafka_test

import (
	"testing"

	"github.com/tributary-health/tributary/kafka"
)

// Whoever knows which broker leads a partition, and finds it dead, waits until it
// is back: each way to ask what a topic holds and how it is set.
func TestLeaderAway(t *testing.T) {
	dir := t.TempDir()
	b := startBroker(t, kafka.BrokerConfig{Dir: dir})
	addr := b.Addr()
	spec := kafka.TopicSpec{Name: "a", Partitions: 1}
	missed := make(chan struct{}, 64)
	conn := b.Connection()
	conn.Connected = func(_ string, err error) {
		if err != nil {
			select {
			case missed <- struct{}{}:
			default:
			}
		}
	}
	if err := kafka.EnsureTopics(timeout(t), conn, []kafka.TopicSpec{spec}); err != nil {
		t.Fatal(err)
	}
	topic, err := kafka.OpenChangeTopic(timeout(t), conn, spec)
	if err != nil {
		t.Fatal(err)
	}
	defer topic.Close()
	if err := topic.Append(timeout(t), 0, []kafka.ChangeRecord{{Key: []byte("k"), Headers: []kafka.Header{{Key: "tributary-outbox", Value: "1"}}}}); err != nil {
		t.Fatal(err)
	}
	offsets, settings := topic.AskForTest(timeout(t))
	asks := map[string]func() error{
		"last change": func() error { _, _, err := topic.Last(timeout(t), 0); return err },
		"offsets":     offsets,
		"settings":    settings,
	}
	for name, ask := range asks {
		b.Close()
		answer := make(chan error, 1)
		go func() { answer <- ask() }()
		for range 3 { // the library's own attempts, and ours
			select {
			case <-missed:
			case err := <-answer:
				t.Fatalf("%s: answered without a broker: %v", name, err)
			}
		}
		b = startBroker(t, kafka.BrokerConfig{Dir: dir, Addr: addr})
		if err := <-answer; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
