package change

import (
	"encoding/json"
	"fmt"
	"strings"
)

// typeNames are the spellings of Type in schemas and messages.
var typeNames = [...]string{
	String: "string", Bool: "bool", Int: "int", Uint: "uint", Float: "float", Decimal: "decimal",
	Bytes: "bytes", Date: "date", Time: "time", Timestamp: "timestamp", Instant: "instant",
	UUID: "uuid", JSON: "json", Enum: "enum", EnumSet: "set",
}

// String is the type's name as schemas and messages spell it.
func (t Type) String() string {
	if int(t) < len(typeNames) && typeNames[t] != "" {
		return typeNames[t]
	}
	return fmt.Sprintf("type(%d)", uint8(t))
}

func parseType(s string) (Type, bool) {
	for t, name := range typeNames {
		if name == s && s != "" {
			return Type(t), true
		}
	}
	return 0, false
}

// avroColumn is what a column's field says beside Avro's own attributes.
type avroColumn struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Native   string `json:"native,omitempty"`
	Key      bool   `json:"key,omitempty"`
	Nullable bool   `json:"nullable,omitempty"`
}

type avroField struct {
	Name    string          `json:"name"`
	Type    any             `json:"type"`
	Default json.RawMessage `json:"default,omitempty"`
	Column  *avroColumn     `json:"tributary.column,omitempty"`
}

// absent is the default of every column: a reader of a schema with one more column
// can read what was written without it, as registries want it of a new version.
var absent = json.RawMessage("null")

type avroRecord struct {
	Type      string      `json:"type"`
	Name      string      `json:"name"`
	Namespace string      `json:"namespace,omitempty"`
	Table     string      `json:"tributary.table,omitempty"`
	Fields    []avroField `json:"fields"`
}

// avroTypes are the union a column's value is one of: null (also for Unchanged,
// which the envelope's unchanged lists tell apart), the type's own form, and
// for types with a form of their own also text, for what it cannot hold.
func avroTypes(t Type) []string {
	switch t {
	case Bool:
		return []string{"null", "boolean", "string"}
	case Int:
		return []string{"null", "long", "string"}
	case Float:
		return []string{"null", "double", "string"}
	case Bytes:
		return []string{"null", "bytes"}
	default:
		return []string{"null", "string"}
	}
}

// AvroSchema returns the Avro schema of the table's envelope, in Debezium's
// names: before, after, source, op, ts_ms. Beside them: which columns of before
// and after the source did not send, by index from 0. The schema carries what
// ParseAvroSchema needs to give back s. Equal schemas give equal text.
func (s *Schema) AvroSchema() string {
	namespace := "cdc." + avroName(s.Table.Source) + "." + avroName(s.Table.Name)
	value := avroRecord{Type: "record", Name: "Value", Table: s.Table.String(), Fields: []avroField{}}
	taken := map[string]bool{}
	for i, c := range s.Columns {
		name := avroName(c.Name)
		if taken[name] {
			name = fmt.Sprintf("%s_%d", name, i)
		}
		taken[name] = true
		value.Fields = append(value.Fields, avroField{name, avroTypes(c.Type), absent,
			&avroColumn{c.Name, c.Type.String(), c.Native, c.Key, c.Nullable}})
	}
	source := avroRecord{Type: "record", Name: "Source", Fields: []avroField{
		{Name: "connector", Type: "string"}, {Name: "name", Type: "string"}, {Name: "table", Type: "string"},
		{Name: "snapshot", Type: "boolean"}, {Name: "ts_us", Type: "long"}, {Name: "generation", Type: "int"},
		{Name: "ordinal", Type: "long"}, {Name: "sequence", Type: "long"}, {Name: "incarnation", Type: "long"},
	}}
	indexes := map[string]string{"type": "array", "items": "int"}
	return marshal(avroRecord{Type: "record", Name: "Envelope", Namespace: namespace, Fields: []avroField{
		{Name: "before", Type: []any{"null", value}},
		{Name: "after", Type: []any{"null", "Value"}},
		{Name: "source", Type: source},
		{Name: "op", Type: "string"},
		{Name: "ts_ms", Type: "long"},
		{Name: "unchanged_before", Type: indexes},
		{Name: "unchanged_after", Type: indexes},
	}})
}

// ParseAvroSchema recovers the Schema from text that AvroSchema made.
func ParseAvroSchema(text string) (*Schema, error) {
	var envelope struct {
		Fields []struct {
			Name string          `json:"name"`
			Type json.RawMessage `json:"type"`
		} `json:"fields"`
	}
	if err := json.Unmarshal([]byte(text), &envelope); err != nil {
		return nil, fmt.Errorf("change: avro schema: %w", err)
	}
	if len(envelope.Fields) == 0 || envelope.Fields[0].Name != "before" {
		return nil, fmt.Errorf("change: avro schema: not an envelope")
	}
	var branches []json.RawMessage
	var value avroRecord
	if err := json.Unmarshal(envelope.Fields[0].Type, &branches); err != nil || len(branches) != 2 {
		return nil, fmt.Errorf("change: avro schema: before is no union of null and a record")
	}
	if err := json.Unmarshal(branches[1], &value); err != nil {
		return nil, fmt.Errorf("change: avro schema: %w", err)
	}
	table, ok := ParseTable(value.Table)
	if !ok {
		return nil, fmt.Errorf("change: avro schema: names no table")
	}
	s := &Schema{Table: table}
	for _, f := range value.Fields {
		if f.Column == nil {
			return nil, fmt.Errorf("change: avro schema: table %s: field %s describes no column", table, f.Name)
		}
		t, ok := parseType(f.Column.Type)
		if !ok {
			return nil, fmt.Errorf("change: avro schema: table %s, column %s: unknown type %q", table, f.Column.Name, f.Column.Type)
		}
		s.Columns = append(s.Columns, Column{f.Column.Name, t, f.Column.Nullable, f.Column.Key, f.Column.Native})
	}
	return s, nil
}

// avroName makes an Avro name of any text: letters, digits and underscores, not
// beginning with a digit.
func avroName(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == '_', r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', i > 0 && r >= '0' && r <= '9':
			b.WriteRune(r)
		default:
			b.WriteByte('_')
		}
	}
	if b.Len() == 0 {
		return "_"
	}
	return b.String()
}

// marshal is for values that cannot fail to be JSON.
func marshal(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("change: " + err.Error())
	}
	return string(b)
}
