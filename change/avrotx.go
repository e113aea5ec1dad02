package change

import (
	"fmt"
	"sort"
	"time"
)

// TxAvroSchema returns the Avro schema of every source's tx topic: the fields of
// Debezium's transaction records (status, id, event_count, data_collections,
// ts_ms), then Tributary's own. Positions are "generation.ordinal.sequence".
func TxAvroSchema() string {
	collection := avroRecord{Type: "record", Name: "Collection", Fields: []avroField{
		{Name: "data_collection", Type: "string"}, {Name: "event_count", Type: "long"}}}
	mark := avroRecord{Type: "record", Name: "Mark", Fields: []avroField{
		{Name: "generation", Type: "int"}, {Name: "ordinal", Type: "long"},
		{Name: "sequence", Type: "long"}, {Name: "token", Type: "string"}}}
	return marshal(avroRecord{Type: "record", Name: "Transaction", Namespace: "cdc.tx", Fields: []avroField{
		{Name: "status", Type: "string"},
		{Name: "id", Type: "string"},
		{Name: "event_count", Type: "long"},
		{Name: "data_collections", Type: map[string]any{"type": "array", "items": collection}},
		{Name: "ts_ms", Type: "long"},
		{Name: "ts_us", Type: "long"},
		{Name: "source", Type: "string"},
		{Name: "incarnation", Type: "long"},
		{Name: "mark", Type: mark},
		{Name: "previous", Type: "Mark"},
		{Name: "durable", Type: "Mark"},
		{Name: "partition", Type: "int"},
		{Name: "partitions", Type: map[string]string{"type": "array", "items": "int"}},
		{Name: "snapshot", Type: "boolean"},
		{Name: "history", Type: "string"},
	}})
}

// AppendTxAvro appends the record's Avro body in TxAvroSchema, without a frame.
func AppendTxAvro(dst []byte, tx *TxRecord) []byte {
	dst = appendString(dst, string(tx.Status))
	dst = appendString(dst, tx.ID)
	dst = appendLong(dst, tx.EventCount)
	if tables := sortedTables(tx.Counts); len(tables) > 0 {
		dst = appendLong(dst, int64(len(tables)))
		for _, t := range tables {
			dst = appendLong(appendString(dst, t), tx.Counts[t])
		}
	}
	dst = append(dst, 0)
	micros := tx.Committed.UnixMicro()
	dst = appendLong(dst, micros/1000)
	dst = appendLong(dst, micros)
	dst = appendString(dst, tx.Source)
	dst = appendLong(dst, int64(tx.Incarnation))
	dst = appendMark(dst, tx.Mark)
	dst = appendMark(dst, Mark{Position: tx.Previous})
	dst = appendMark(dst, tx.Durable)
	dst = appendLong(dst, int64(tx.Partition))
	if len(tx.Partitions) > 0 {
		dst = appendLong(dst, int64(len(tx.Partitions)))
		for _, p := range tx.Partitions {
			dst = appendLong(dst, int64(p))
		}
	}
	dst = append(dst, 0, boolByte(tx.Snapshot))
	return appendString(dst, tx.History)
}

// DecodeTxAvro reads what AppendTxAvro wrote into tx, replacing all of it.
func DecodeTxAvro(b []byte, tx *TxRecord) error {
	d := avroReader{b: b}
	*tx = TxRecord{Status: Status(d.string()), ID: d.string(), EventCount: d.long()}
	d.array(func() {
		if tx.Counts == nil {
			tx.Counts = map[string]int64{}
		}
		table := d.string()
		if _, twice := tx.Counts[table]; twice {
			d.fail()
		}
		tx.Counts[table] = d.long()
	})
	d.long()
	tx.Committed = time.UnixMicro(d.long()).UTC()
	tx.Source = d.string()
	tx.Incarnation = Incarnation(d.long())
	tx.Mark = d.mark()
	tx.Previous = d.mark().Position
	tx.Durable = d.mark()
	tx.Partition = int32(d.long())
	d.array(func() { tx.Partitions = append(tx.Partitions, int32(d.long())) })
	tx.Snapshot = d.byte() == 1
	tx.History = d.string()
	if d.bad || d.at != len(b) {
		return fmt.Errorf("tx record: %w", errShort)
	}
	return tx.check()
}

func appendMark(dst []byte, m Mark) []byte {
	dst = appendLong(dst, int64(int32(m.Position.Generation)))
	dst = appendLong(dst, int64(m.Position.Ordinal))
	dst = appendLong(dst, int64(m.Position.Sequence))
	return appendString(dst, m.Token)
}

func (d *avroReader) mark() Mark {
	return Mark{Position{uint32(d.long()), uint64(d.long()), uint64(d.long())}, d.string()}
}

// check refuses a record of a kind this version does not know.
func (tx *TxRecord) check() error {
	switch tx.Status {
	case Started, SnapshotEnded, Ended, Watermark:
		return nil
	}
	return fmt.Errorf("change: tx record of unknown status %q", tx.Status)
}

func sortedTables(counts map[string]int64) []string {
	tables := make([]string, 0, len(counts))
	for t := range counts {
		tables = append(tables, t)
	}
	sort.Strings(tables)
	return tables
}
