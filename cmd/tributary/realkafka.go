package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tributary-health/tributary/kafka"
	"github.com/tributary-health/tributary/publish"
)

// publishTopic is a change topic, of the embedded broker or of a real Kafka.
type publishTopic interface {
	publish.Topic
	Close()
}

// openTopic opens the change topic: in transactions where they are safe. All
// that ever write the topic have one transactional id, whatever their store: so
// a process that was taken for dead while its store was made again is shut out.
func (p *pipeline) openTopic(ctx context.Context, spec kafka.TopicSpec) (publishTopic, error) {
	if p.broker != nil {
		topic, err := kafka.OpenChangeTopic(ctx, p.conn, spec)
		if err != nil {
			return nil, err
		}
		return changeTopic{topic}, nil
	}
	topic, err := kafka.OpenTransactionalTopic(ctx, p.conn, spec, kafka.TransactionConfig{
		ID: "tributary-" + spec.Name})
	if err != nil {
		return nil, err
	}
	return transactionalTopic{topic}, nil
}

// transactionalTopic makes a kafka.TransactionalTopic a publish.Transactional.
type transactionalTopic struct{ *kafka.TransactionalTopic }

func (t transactionalTopic) Append(ctx context.Context, partition int32, records []publish.Record) error {
	return t.Transact(ctx, func(write func(int32, publish.Record) error) error {
		for _, r := range records {
			if err := write(partition, r); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t transactionalTopic) Transact(ctx context.Context, fn func(write func(int32, publish.Record) error) error) error {
	err := t.TransactionalTopic.Transact(ctx, func(write func(int32, kafka.ChangeRecord) error) error {
		return fn(func(partition int32, r publish.Record) error { return write(partition, changeRecord(r)) })
	})
	if errors.Is(err, kafka.ErrFenced) {
		return fmt.Errorf("%w: does a second process run with a copy of the data folder? (%w)", publish.ErrFenced, err)
	}
	return err
}

// schemasTopic is where the schemas are kept on a real Kafka without a schema
// registry. The usual name is that of a registry server's own topic, which the
// cluster may have.
const schemasTopic = "tributary.schemas"

func (p *pipeline) openLocalRegistry(ctx context.Context) (*kafka.LocalRegistry, error) {
	if p.broker != nil {
		return kafka.OpenLocalRegistry(ctx, p.conn)
	}
	return kafka.OpenRegistryTopic(ctx, p.conn, p.cfg.Kafka.topic(schemasTopic, 1))
}

// logWaiting logs why the schema registry is waited for, twice a minute.
func logWaiting(log *slog.Logger) func(err error, again time.Duration) {
	var mu sync.Mutex
	var last time.Time
	return func(err error, _ time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		if now := time.Now(); now.Sub(last) >= 30*time.Second {
			last = now
			log.Warn("kafka: the schema registry does not answer; waiting for it", "error", err)
		}
	}
}

// awaitBroker waits until a broker can be reached. What waiting does not mend,
// as a refused login, is an error.
func awaitBroker(ctx context.Context, conn kafka.Connection, log *slog.Logger) error {
	for pause := time.Second; ; pause = min(2*pause, 30*time.Second) {
		asking, cancel := context.WithTimeout(ctx, 15*time.Second)
		err := conn.Ping(asking)
		cancel()
		if err == nil || ctx.Err() != nil || !kafka.Away(err) {
			return err
		}
		log.Warn("kafka: no broker can be reached; waiting", "brokers", conn.Brokers, "again in", pause, "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// logConnections logs when a broker goes away, and when it is back.
func logConnections(log *slog.Logger) func(broker string, err error) {
	var mu sync.Mutex
	away := map[string]bool{}
	return func(broker string, err error) {
		mu.Lock()
		was := away[broker]
		away[broker] = err != nil
		mu.Unlock()
		switch {
		case err != nil && !was:
			log.Warn("kafka: a broker cannot be reached; waiting for it", "broker", broker, "error", err)
		case err == nil && was:
			log.Info("kafka: a broker is back", "broker", broker)
		}
	}
}
