package change

import (
	"encoding/json"
	"fmt"
	"time"
)

type jsonMark struct {
	Position string `json:"position"`
	Token    string `json:"token,omitempty"`
}

type jsonCollection struct {
	Table string `json:"data_collection"`
	Count int64  `json:"event_count"`
}

type jsonTx struct {
	Status      Status           `json:"status"`
	ID          string           `json:"id"`
	EventCount  int64            `json:"event_count"`
	Collections []jsonCollection `json:"data_collections"`
	Millis      int64            `json:"ts_ms"`
	Micros      int64            `json:"ts_us"`
	Source      string           `json:"source"`
	Incarnation Incarnation      `json:"incarnation"`
	Mark        jsonMark         `json:"mark"`
	Previous    string           `json:"previous"`
	Durable     jsonMark         `json:"durable"`
	Partition   int32            `json:"partition"`
	Partitions  []int32          `json:"partitions"`
	Snapshot    bool             `json:"snapshot"`
	History     string           `json:"history"`
}

// AppendTxJSON appends the record as JSON, in the same names as its Avro form.
func AppendTxJSON(dst []byte, tx *TxRecord) []byte {
	j := jsonTx{
		Status: tx.Status, ID: tx.ID, EventCount: tx.EventCount,
		Millis: tx.Committed.UnixMilli(), Micros: tx.Committed.UnixMicro(),
		Source: tx.Source, Incarnation: tx.Incarnation,
		Mark:      jsonMark{tx.Mark.Position.String(), tx.Mark.Token},
		Previous:  tx.Previous.String(),
		Durable:   jsonMark{tx.Durable.Position.String(), tx.Durable.Token},
		Partition: tx.Partition, Partitions: tx.Partitions,
		Snapshot: tx.Snapshot, History: tx.History,
	}
	for _, t := range sortedTables(tx.Counts) {
		j.Collections = append(j.Collections, jsonCollection{t, tx.Counts[t]})
	}
	return append(dst, marshal(j)...)
}

// DecodeTxJSON reads what AppendTxJSON wrote into tx, replacing all of it.
func DecodeTxJSON(b []byte, tx *TxRecord) error {
	var j jsonTx
	if err := json.Unmarshal(b, &j); err != nil {
		return fmt.Errorf("tx record: %w", errShort)
	}
	*tx = TxRecord{
		Status: j.Status, ID: j.ID, EventCount: j.EventCount,
		Committed: time.UnixMicro(j.Micros).UTC(),
		Source:    j.Source, Incarnation: j.Incarnation,
		Partition: j.Partition, Partitions: j.Partitions,
		Snapshot: j.Snapshot, History: j.History,
	}
	var err error
	if tx.Mark.Position, err = ParsePosition(j.Mark.Position); err != nil {
		return err
	}
	if tx.Previous, err = ParsePosition(j.Previous); err != nil {
		return err
	}
	if tx.Durable.Position, err = ParsePosition(j.Durable.Position); err != nil {
		return err
	}
	tx.Mark.Token, tx.Durable.Token = j.Mark.Token, j.Durable.Token
	for _, c := range j.Collections {
		if tx.Counts == nil {
			tx.Counts = map[string]int64{}
		}
		tx.Counts[c.Table] = c.Count
	}
	return tx.check()
}
