package kafka

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tributary-health/tributary/change"
)

// Format is how records are encoded.
type Format string

// The formats. Avro values carry the Confluent frame; JSON values carry the
// schema's id in the header schema-id.
const (
	Avro Format = "avro"
	JSON Format = "json"
)

const schemaHeader = "schema-id"

func (f Format) check() (Format, error) {
	switch f {
	case "":
		return Avro, nil
	case Avro, JSON:
		return f, nil
	}
	return f, fmt.Errorf("format %q: want avro or json", string(f))
}

// stamp is how a schema is named in a record: the frame before an Avro value or
// the header beside a JSON one.
type stamp struct {
	format Format
	frame  []byte
	header []byte
}

func newStamp(format Format, id uint32) stamp {
	return stamp{format, change.AppendFrame(nil, id), []byte(strconv.FormatUint(uint64(id), 10))}
}

func (s stamp) event(rec *kgo.Record, ev *change.Event) {
	if s.format == JSON {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: schemaHeader, Value: s.header})
		rec.Value = change.AppendJSON(rec.Value, ev)
		return
	}
	rec.Value = change.AppendAvro(append(rec.Value, s.frame...), ev)
}

func (s stamp) tx(rec *kgo.Record, tx *change.TxRecord) {
	if s.format == JSON {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: schemaHeader, Value: s.header})
		rec.Value = change.AppendTxJSON(rec.Value, tx)
		return
	}
	rec.Value = change.AppendTxAvro(append(rec.Value, s.frame...), tx)
}

// decoder decodes records of any schema, whichever format they are in. It is
// safe for concurrent use.
type decoder struct {
	registry Registry

	mu      sync.RWMutex
	schemas map[uint32]*known
}

// known is a schema and the topic in which its records lie.
type known struct {
	*change.Schema
	topic string
}

func newDecoder(r Registry) *decoder {
	return &decoder{registry: r, schemas: make(map[uint32]*known)}
}

func (d *decoder) event(ctx context.Context, rec *kgo.Record, ev *change.Event) error {
	for i := range rec.Headers {
		if rec.Headers[i].Key != schemaHeader {
			continue
		}
		id, err := strconv.ParseUint(string(rec.Headers[i].Value), 10, 32)
		if err != nil {
			return fmt.Errorf("header %s is no number", schemaHeader)
		}
		schema, err := d.schema(ctx, rec.Topic, uint32(id))
		if err != nil {
			return err
		}
		return change.DecodeJSON(rec.Value, schema, ev)
	}
	id, body, err := change.CutFrame(rec.Value)
	if err != nil {
		return err
	}
	schema, err := d.schema(ctx, rec.Topic, id)
	if err != nil {
		return err
	}
	return change.DecodeAvro(body, schema, ev)
}

// schema returns the schema with the id, of a record in the topic. Another
// table's record there is none of ours: it would be counted as that table's.
func (d *decoder) schema(ctx context.Context, topic string, id uint32) (*change.Schema, error) {
	d.mu.RLock()
	schema := d.schemas[id]
	d.mu.RUnlock()
	if schema == nil {
		text, err := d.registry.Schema(ctx, id)
		if err != nil {
			return nil, err
		}
		parsed, err := change.ParseAvroSchema(text)
		if err != nil {
			return nil, fmt.Errorf("schema %d: %w", id, err)
		}
		schema = d.first(id, &known{parsed, LandingTopic(parsed.Table)})
	}
	if schema.topic != topic {
		return nil, fmt.Errorf("schema %d is of table %s: something else wrote to the topic", id, schema.Table)
	}
	return schema.Schema, nil
}

// first keeps one pointer per schema.
func (d *decoder) first(id uint32, schema *known) *known {
	d.mu.Lock()
	defer d.mu.Unlock()
	if first := d.schemas[id]; first != nil {
		return first
	}
	d.schemas[id] = schema
	return schema
}

func decodeTx(rec *kgo.Record, tx *change.TxRecord) error {
	for i := range rec.Headers {
		if rec.Headers[i].Key == schemaHeader {
			return change.DecodeTxJSON(rec.Value, tx)
		}
	}
	_, body, err := change.CutFrame(rec.Value)
	if err != nil {
		return err
	}
	return change.DecodeTxAvro(body, tx)
}
