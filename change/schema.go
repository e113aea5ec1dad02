package change

import "strings"

// Table names one captured table: the source's configured name and the table's
// name in it. A table outside the source's default schema carries it:
// "billing.claims".
type Table struct {
	Source string
	Name   string
}

// String prints "source.name", which is how mappings, topics and metrics spell
// a table.
func (t Table) String() string { return t.Source + "." + t.Name }

// ParseTable splits "source.name" at the first dot; ok is false when either
// part is empty.
func ParseTable(s string) (t Table, ok bool) {
	source, name, found := strings.Cut(s, ".")
	return Table{source, name}, found && source != "" && name != ""
}

// Type is a column's logical type and decides the text form of its values.
type Type uint8

// The types and their text forms. Text that a source has and the form cannot
// hold (a zero date, "infinity") is kept as the source prints it: a reader that
// needs a date refuses it there, by name.
const (
	String    Type = iota + 1 // UTF-8 text, whatever the source's charset
	Bool                      // "true", "false"
	Int                       // decimal, -2^63 to 2^63-1
	Uint                      // decimal, 0 to 2^64-1
	Float                     // shortest form that reads back equal; NaN, Infinity, -Infinity
	Decimal                   // the source's digits: "12.50"
	Bytes                     // the bytes themselves
	Date                      // 2006-01-02
	Time                      // 15:04:05, then a dot and the fraction if there is one; may be negative or beyond 24 h (MySQL)
	Timestamp                 // 2006-01-02T15:04:05[.ffffff], no zone
	Instant                   // 2006-01-02T15:04:05[.ffffff]Z, UTC
	UUID                      // lower case, with dashes
	JSON                      // JSON text, as the source prints it
	Enum                      // the member's text
	EnumSet                   // the members' texts, comma separated (MySQL SET)
)

// Column is one column of a Schema. Native is the source's own type name, for
// messages and for the schema registry ("numeric(12,2)").
type Column struct {
	Name     string
	Type     Type
	Nullable bool
	Key      bool // part of the primary key
	Native   string
}

// Schema is a table's columns at one time, in the source's order. It is
// immutable once shared; two schemas of a table that differ are two Schemas.
type Schema struct {
	Table   Table
	Columns []Column
}

// Column returns the index of the named column, or -1.
func (s *Schema) Column(name string) int {
	for i := range s.Columns {
		if s.Columns[i].Name == name {
			return i
		}
	}
	return -1
}

// KeyColumns returns the indexes of the primary key's columns, in order.
func (s *Schema) KeyColumns() []int {
	var key []int
	for i := range s.Columns {
		if s.Columns[i].Key {
			key = append(key, i)
		}
	}
	return key
}

// Key returns the row's primary key as one string: the key columns' texts, each
// with backslash and 0x1F escaped by a backslash, joined by 0x1F. A key of one
// column without those bytes is that column's text itself. ok is false when the
// table has no key or a key column is not Set.
func (s *Schema) Key(row []Value) (key string, ok bool) {
	var b strings.Builder
	n := 0
	for i := range s.Columns {
		if !s.Columns[i].Key {
			continue
		}
		if i >= len(row) || row[i].State != Set {
			return "", false
		}
		if n++; n > 1 {
			b.WriteByte(keySeparator)
		}
		escapeKey(&b, row[i].Text)
	}
	return b.String(), n > 0
}

// JoinKey makes from column texts the same string that Schema.Key makes.
func JoinKey(texts ...string) string {
	var b strings.Builder
	for i, t := range texts {
		if i > 0 {
			b.WriteByte(keySeparator)
		}
		escapeKey(&b, t)
	}
	return b.String()
}

const keySeparator = 0x1f

func escapeKey(b *strings.Builder, text string) {
	for i := 0; i < len(text); i++ {
		if text[i] == keySeparator || text[i] == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(text[i])
	}
}
