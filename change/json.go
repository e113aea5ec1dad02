package change

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// AppendJSON appends the event as JSON, in the same names as its Avro form, the
// columns as members of before and after. Numbers and booleans whose JSON form
// gives the same text again are written so, bytes as base64, all else as text.
// Columns that the source did not send are absent and listed by name in
// unchanged_before and unchanged_after. Texts MUST be valid UTF-8.
func AppendJSON(dst []byte, ev *Event) []byte {
	dst = appendJSONRow(append(dst, `{"before":`...), ev.Schema, ev.Before)
	dst = appendJSONRow(append(dst, `,"after":`...), ev.Schema, ev.After)
	dst = appendJSONText(append(dst, `,"source":{"connector":"tributary","name":`...), ev.Schema.Table.Source)
	dst = appendJSONText(append(dst, `,"table":`...), ev.Schema.Table.Name)
	dst = strconv.AppendBool(append(dst, `,"snapshot":`...), ev.Op == Read)
	micros := ev.Committed.UnixMicro()
	dst = strconv.AppendInt(append(dst, `,"ts_us":`...), micros, 10)
	dst = strconv.AppendUint(append(dst, `,"generation":`...), uint64(ev.Position.Generation), 10)
	dst = strconv.AppendUint(append(dst, `,"ordinal":`...), ev.Position.Ordinal, 10)
	dst = strconv.AppendUint(append(dst, `,"sequence":`...), ev.Position.Sequence, 10)
	dst = strconv.AppendUint(append(dst, `,"incarnation":`...), uint64(ev.Incarnation), 10)
	dst = appendJSONText(append(dst, `},"op":`...), string(ev.Op))
	dst = strconv.AppendInt(append(dst, `,"ts_ms":`...), micros/1000, 10)
	dst = appendJSONUnchanged(append(dst, `,"unchanged_before":`...), ev.Schema, ev.Before)
	dst = appendJSONUnchanged(append(dst, `,"unchanged_after":`...), ev.Schema, ev.After)
	return append(dst, '}')
}

func appendJSONRow(dst []byte, s *Schema, row []Value) []byte {
	if row == nil {
		return append(dst, "null"...)
	}
	dst = append(dst, '{')
	first := true
	for i := range s.Columns {
		if row[i].State == Unchanged {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(appendJSONText(dst, s.Columns[i].Name), ':')
		dst = appendJSONValue(dst, s.Columns[i].Type, row[i])
	}
	return append(dst, '}')
}

func appendJSONValue(dst []byte, t Type, v Value) []byte {
	switch {
	case v.State == Null:
		return append(dst, "null"...)
	case t == Bytes:
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, []byte(v.Text))
		return append(dst, '"')
	case t == Bool && (v.Text == "true" || v.Text == "false"):
		return append(dst, v.Text...)
	case t == Int:
		if _, ok := canonicalInt(v.Text); ok {
			return append(dst, v.Text...)
		}
	case t == Float:
		if _, ok := canonicalFloat(v.Text); ok && json.Valid([]byte(v.Text)) {
			return append(dst, v.Text...)
		}
	}
	return appendJSONText(dst, v.Text)
}

func appendJSONUnchanged(dst []byte, s *Schema, row []Value) []byte {
	dst = append(dst, '[')
	n := 0
	for i := range row {
		if row[i].State != Unchanged {
			continue
		}
		if n++; n > 1 {
			dst = append(dst, ',')
		}
		dst = appendJSONText(dst, s.Columns[i].Name)
	}
	return append(dst, ']')
}

func appendJSONText(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

type jsonEvent struct {
	Before map[string]json.RawMessage `json:"before"`
	After  map[string]json.RawMessage `json:"after"`
	Source struct {
		Micros      int64       `json:"ts_us"`
		Generation  uint32      `json:"generation"`
		Ordinal     uint64      `json:"ordinal"`
		Sequence    uint64      `json:"sequence"`
		Incarnation Incarnation `json:"incarnation"`
	} `json:"source"`
	Op              string   `json:"op"`
	UnchangedBefore []string `json:"unchanged_before"`
	UnchangedAfter  []string `json:"unchanged_after"`
}

// DecodeJSON reads what AppendJSON wrote with the schema s into ev, replacing
// all of it.
func DecodeJSON(b []byte, s *Schema, ev *Event) error {
	var j jsonEvent
	if !utf8.Valid(b) {
		return fmt.Errorf("table %s: %w", s.Table, errShort)
	}
	if err := json.Unmarshal(b, &j); err != nil || len(j.Op) != 1 {
		return fmt.Errorf("table %s: %w", s.Table, errShort)
	}
	*ev = Event{
		Schema:      s,
		Position:    Position{j.Source.Generation, j.Source.Ordinal, j.Source.Sequence},
		Incarnation: j.Source.Incarnation,
		Op:          Op(j.Op[0]),
		Committed:   time.UnixMicro(j.Source.Micros).UTC(),
	}
	var err error
	if ev.Before, err = jsonRow(s, j.Before, j.UnchangedBefore); err != nil {
		return err
	}
	ev.After, err = jsonRow(s, j.After, j.UnchangedAfter)
	return err
}

func jsonRow(s *Schema, columns map[string]json.RawMessage, unchanged []string) ([]Value, error) {
	if columns == nil {
		return nil, nil
	}
	row := make([]Value, len(s.Columns))
	for _, name := range unchanged {
		i := s.Column(name)
		if i < 0 {
			return nil, fmt.Errorf("table %s: unchanged column is not in the schema: %w", s.Table, errShort)
		}
		row[i].State = Unchanged
	}
	seen := 0
	for i, c := range s.Columns {
		raw, ok := columns[c.Name]
		if ok == (row[i].State == Unchanged) {
			return nil, fmt.Errorf("table %s, column %s: absent, or both sent and unchanged: %w", s.Table, c.Name, errShort)
		}
		if !ok {
			continue
		}
		seen++
		v, err := jsonValue(c.Type, raw)
		if err != nil {
			return nil, fmt.Errorf("table %s, column %s: %w", s.Table, c.Name, err)
		}
		row[i] = v
	}
	if seen != len(columns) {
		return nil, fmt.Errorf("table %s: columns that are not in the schema: %w", s.Table, errShort)
	}
	return row, nil
}

func jsonValue(t Type, raw json.RawMessage) (Value, error) {
	if bytes.Equal(raw, []byte("null")) {
		return Value{}, nil
	}
	if len(raw) > 0 && raw[0] != '"' {
		if raw[0] == '{' || raw[0] == '[' {
			return Value{}, errShort
		}
		return Of(string(raw)), nil
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return Value{}, errShort
	}
	if t == Bytes {
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return Value{}, errShort
		}
		text = string(b)
	}
	return Of(text), nil
}
