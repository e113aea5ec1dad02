package compose

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/compose/mapping"
	"github.com/tributary-health/tributary/fhir"
)

// schemas numbers the table schemas that row bodies are written with, from 0.
type schemas struct {
	list []*change.Schema
	ids  map[*change.Schema]uint64
}

// id returns the schema's number, a new one if the table's newest is another.
func (s *schemas) id(schema *change.Schema) uint64 {
	if id, ok := s.ids[schema]; ok {
		return id
	}
	// Only the table's newest: a schema that comes back after another is written
	// down again, so that the last one always is what rows were last written with.
	for i := len(s.list) - 1; i >= 0; i-- {
		if s.list[i].Table != schema.Table {
			continue
		}
		if slices.Equal(s.list[i].Columns, schema.Columns) {
			s.remember(schema, uint64(i))
			return uint64(i)
		}
		break
	}
	id := uint64(len(s.list))
	s.list = append(s.list, schema)
	s.remember(schema, id)
	return id
}

// known reports whether rows were written with this very schema.
func (s *schemas) known(schema *change.Schema) bool {
	_, ok := s.ids[schema]
	return ok
}

// retyped names a column whose type is another than in the schema that the
// table's rows were last written with.
func (s *schemas) retyped(schema *change.Schema) (string, bool) {
	for i := len(s.list) - 1; i >= 0; i-- {
		if s.list[i].Table != schema.Table {
			continue
		}
		for _, old := range s.list[i].Columns {
			if j := schema.Column(old.Name); j >= 0 {
				if now := schema.Columns[j]; now.Type != old.Type || !grew(old.Native, now.Native) {
					return old.Name, true
				}
			}
		}
		return "", false
	}
	return "", false
}

// grew reports whether a native type is the same, or the same with no smaller
// length: varchar(20) after varchar(10).
func grew(old, now string) bool {
	if old == now {
		return true
	}
	split := func(s string) (base string, size int) {
		head, rest, ok := strings.Cut(s, "(")
		if !ok {
			return s, -1
		}
		digits, tail, _ := strings.Cut(rest, ")")
		n, err := strconv.Atoi(digits)
		if err != nil { // precision and scale: more of one is less of the other
			return s, -1
		}
		return head + tail, n
	}
	a, m := split(old)
	b, n := split(now)
	return a == b && m >= 0 && n >= m
}

func (s *schemas) remember(schema *change.Schema, id uint64) {
	if s.ids == nil || len(s.ids) > 4096 { // callers that parse the same schema again and again
		s.ids = make(map[*change.Schema]uint64)
	}
	s.ids[schema] = id
}

// appendBody appends a row's body: schema number, incarnation, values.
func (s *schemas) appendBody(dst []byte, schema *change.Schema, stamp change.Incarnation, row []change.Value) []byte {
	dst = binary.AppendUvarint(dst, s.id(schema))
	dst = binary.AppendUvarint(dst, uint64(stamp))
	return change.AppendValues(dst, row)
}

var errBody = errors.New("compose: a stored row's body is damaged")

// decode reads a body.
func (s *schemas) decode(body []byte) (mapping.Row, change.Incarnation, error) {
	c := cursor{b: body}
	id, stamp := c.uvarint(), c.uvarint()
	if c.bad || id >= uint64(len(s.list)) {
		return mapping.Row{}, 0, errBody
	}
	schema := s.list[id]
	values, err := change.DecodeValues(c.b, make([]change.Value, 0, len(schema.Columns)))
	if err != nil || len(values) != len(schema.Columns) {
		return mapping.Row{}, 0, errBody
	}
	return mapping.Row{Schema: schema, Values: values}, change.Incarnation(stamp), nil
}

// extra is composition's own state in Frontier.Extra.
type extra struct {
	Schemas json.RawMessage `json:"schemas,omitempty"` // made anew only when there are more
	// Composed says that every resource was composed since the last snapshot
	// ended; while it is false, transactions change row state only.
	Composed bool `json:"composed,omitempty"`
	// Mapping is the version of the mappings that the reserved rows and the
	// resources were made with.
	Mapping string `json:"mapping,omitempty"`
	// Index is the version of the search entries that the store holds.
	Index string `json:"index,omitempty"`
	// Skipped counts the rows that gave no resource, by "source.table" and the
	// mapping's name for it.
	Skipped map[string]map[string]int64 `json:"skipped,omitempty"`

	// Tokens says which match tokens the store holds.
	Tokens tokensMade `json:"tokens,omitzero"`

	encoded int // schemas in Schemas
}

type schemaJSON struct {
	Source  string   `json:"source"`
	Name    string   `json:"name"`
	Columns []column `json:"columns"`
}

type column struct {
	Name     string      `json:"n"`
	Type     change.Type `json:"t"`
	Nullable bool        `json:"o,omitempty"`
	Key      bool        `json:"k,omitempty"`
	Native   string      `json:"s,omitempty"`
}

func decodeExtra(b []byte) (x extra, s *schemas, err error) {
	s = &schemas{}
	var list []schemaJSON
	if len(b) > 0 {
		err = json.Unmarshal(b, &x)
	}
	if err == nil && len(x.Schemas) > 0 {
		err = json.Unmarshal(x.Schemas, &list)
	}
	if err != nil {
		return x, nil, fmt.Errorf("compose: read the frontier's own state: %w", err)
	}
	for _, j := range list {
		schema := &change.Schema{Table: change.Table{Source: j.Source, Name: j.Name}}
		for _, c := range j.Columns {
			schema.Columns = append(schema.Columns, change.Column(c))
		}
		s.list = append(s.list, schema)
	}
	x.encoded = len(list)
	if x.Skipped == nil {
		x.Skipped = make(map[string]map[string]int64)
	}
	return x, s, nil
}

func (x *extra) encode(s *schemas) ([]byte, error) {
	if x.encoded != len(s.list) {
		list := make([]schemaJSON, 0, len(s.list))
		for _, schema := range s.list {
			j := schemaJSON{Source: schema.Table.Source, Name: schema.Table.Name}
			for _, c := range schema.Columns {
				j.Columns = append(j.Columns, column(c))
			}
			list = append(list, j)
		}
		b, err := json.Marshal(list)
		if err != nil {
			return nil, err
		}
		x.Schemas, x.encoded = b, len(list)
	}
	x.Index = fhir.IndexVersion()
	return json.Marshal(x)
}
