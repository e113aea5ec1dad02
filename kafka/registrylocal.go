package kafka

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// SchemasTopic is the topic that a LocalRegistry keeps its schemas in, in the
// form that Confluent's registry uses.
const SchemasTopic = "_schemas"

// LocalRegistry is a schema registry inside this process. Its memory is a topic,
// one partition: what is written there first holds, so several
// processes may use one.
type LocalRegistry struct {
	topic    string
	conn     Connection
	producer *kgo.Client

	writing sync.Mutex // held while a schema is registered; taken before mu

	mu       sync.RWMutex
	next     int64 // first offset not read yet
	highest  uint32
	schemas  map[uint32]string
	ids      map[string]uint32            // by schema text
	subjects map[string][]schemaVersion   // versions ascending from 1
	known    map[string]map[string]uint32 // by subject, by text
}

type schemaVersion struct {
	version int
	id      uint32
}

type schemaKey struct {
	KeyType string `json:"keytype"`
	Subject string `json:"subject"`
	Version int    `json:"version"`
	Magic   int    `json:"magic"`
}

type schemaValue struct {
	Subject string `json:"subject"`
	Version int    `json:"version"`
	ID      uint32 `json:"id"`
	Schema  string `json:"schema"`
	Deleted bool   `json:"deleted"`
}

// OpenLocalRegistry creates the topic _schemas if it is missing and reads it.
// Close ends what it starts.
func OpenLocalRegistry(ctx context.Context, conn Connection) (*LocalRegistry, error) {
	return OpenRegistryTopic(ctx, conn, TopicSpec{Name: SchemasTopic, Partitions: 1})
}

// OpenRegistryTopic is OpenLocalRegistry on another topic, of one partition: the
// usual one may be a registry server's.
func OpenRegistryTopic(ctx context.Context, conn Connection, spec TopicSpec) (*LocalRegistry, error) {
	if err := EnsureTopics(ctx, conn, []TopicSpec{spec}); err != nil {
		return nil, err
	}
	batch, _, err := conn.batchLimit(ctx, []string{spec.Name})
	if err != nil {
		return nil, err
	}
	producer, err := conn.client(kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerBatchMaxBytes(batch), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return nil, err
	}
	l := &LocalRegistry{
		topic: spec.Name, conn: conn, producer: producer,
		schemas: make(map[uint32]string), ids: make(map[string]uint32),
		subjects: make(map[string][]schemaVersion), known: make(map[string]map[string]uint32),
	}
	if err := l.read(ctx); err != nil {
		producer.Close()
		return nil, err
	}
	return l, nil
}

// Close ends the registry's connection.
func (l *LocalRegistry) Close() { l.producer.Close() }

// ID implements Registry.
func (l *LocalRegistry) ID(ctx context.Context, subject, schema string) (uint32, error) {
	if id, ok := l.lookup(subject, schema); ok {
		return id, nil
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	for {
		// What an earlier, abandoned attempt or another process wrote comes first.
		if err := l.producer.Flush(ctx); err != nil {
			return 0, fail("register a schema", err)
		}
		if err := l.read(ctx); err != nil {
			return 0, err
		}
		if id, ok := l.lookup(subject, schema); ok {
			return id, nil
		}
		if err := l.propose(ctx, subject, schema); err != nil {
			return 0, err
		}
	}
}

// Schema implements Registry.
func (l *LocalRegistry) Schema(ctx context.Context, id uint32) (string, error) {
	if text, ok := l.schema(id); ok {
		return text, nil
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.read(ctx); err != nil {
		return "", err
	}
	if text, ok := l.schema(id); ok {
		return text, nil
	}
	return "", fail(fmt.Sprintf("read schema %d", id), ErrUnknownSchema)
}

func (l *LocalRegistry) schema(id uint32) (string, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	text, ok := l.schemas[id]
	return text, ok
}

func (l *LocalRegistry) lookup(subject, schema string) (uint32, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	id, ok := l.known[subject][schema]
	return id, ok
}

// propose writes the next id or version for the schema. Whether it holds is
// known when it is read back.
func (l *LocalRegistry) propose(ctx context.Context, subject, schema string) error {
	l.mu.RLock()
	id, ok := l.ids[schema]
	if !ok {
		id = l.highest + 1
	}
	version := len(l.subjects[subject]) + 1
	l.mu.RUnlock()

	key, err := json.Marshal(schemaKey{"SCHEMA", subject, version, 1})
	if err != nil {
		return fail("register a schema", err)
	}
	value, err := json.Marshal(schemaValue{Subject: subject, Version: version, ID: id, Schema: schema})
	if err != nil {
		return fail("register a schema", err)
	}
	if err := l.producer.ProduceSync(ctx, &kgo.Record{Topic: l.topic, Key: key, Value: value}).FirstErr(); err != nil {
		return failTopic("register a schema", l.topic, 0, err)
	}
	return nil
}

// read takes in what the topic holds beyond what was read. Only the opener and
// the holder of writing call it.
func (l *LocalRegistry) read(ctx context.Context) error {
	ranges, err := listRanges(ctx, l.producer, opening, l.topic)
	if err != nil {
		return err
	}
	tp := TopicPartition{l.topic, 0}
	r := ranges[tp]
	if r.Start > 0 || r.End < l.next {
		return &Error{Op: "read schemas", Topic: l.topic, Partition: 0,
			Err:  fmt.Errorf("the log holds offsets %d to %d, read were those below %d", r.Start, r.End, l.next),
			Hint: "the topic lost records; it must be kept without limit"}
	}
	r.Start = l.next
	if err := l.conn.fetchRanges(ctx, map[TopicPartition]Range{tp: r}, l.take); err != nil {
		return err
	}
	l.next = r.End
	return nil
}

// take applies one record. A record that gives an id or a version another
// meaning than an earlier one is ignored: its writer reads that too, and tries
// again.
func (l *LocalRegistry) take(rec *kgo.Record) error {
	var key schemaKey
	var v schemaValue
	if err := json.Unmarshal(rec.Key, &key); err != nil || key.KeyType != "SCHEMA" || rec.Value == nil {
		return nil // another kind of record of Confluent's registry
	}
	if err := json.Unmarshal(rec.Value, &v); err != nil {
		return failTopic("read schemas", l.topic, 0, fmt.Errorf("offset %d: %w", rec.Offset, err))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if text, ok := l.schemas[v.ID]; ok && text != v.Schema {
		return nil
	}
	versions := l.subjects[v.Subject]
	if slices.ContainsFunc(versions, func(have schemaVersion) bool { return have.version == v.Version }) {
		return nil
	}
	l.schemas[v.ID] = v.Schema
	if _, ok := l.ids[v.Schema]; !ok {
		l.ids[v.Schema] = v.ID
	}
	l.highest = max(l.highest, v.ID)
	l.subjects[v.Subject] = append(versions, schemaVersion{v.Version, v.ID})
	if l.known[v.Subject] == nil {
		l.known[v.Subject] = make(map[string]uint32)
	}
	if _, ok := l.known[v.Subject][v.Schema]; !ok {
		l.known[v.Subject][v.Schema] = v.ID
	}
	return nil
}
