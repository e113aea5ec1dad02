package mysql

import (
	"fmt"
	"strconv"
	"strings"

	proto "github.com/go-mysql-org/go-mysql/mysql"

	"github.com/tributary-health/tributary/change"
)

// column is a column as both the log and the catalog describe it. The same
// column has the same description from either, so that a snapshot and the log
// make equal Schemas.
type column struct {
	name     string
	code     byte // the protocol's type; ENUM and SET as themselves
	unsigned bool
	nullable bool
	key      bool
	charset  string // of text, enum and set columns; "binary" for bytes
	length   int    // char, varchar: bytes; blob: bytes of the length; bit: bits; enum, set: bytes stored
	digits   int    // decimal: precision
	scale    int    // decimal: digits after the point; temporal types: digits of a second's fraction
	members  []string
}

// native is the column's type in the server's own words.
func (c *column) native() string {
	switch c.code {
	case proto.MYSQL_TYPE_TINY:
		return c.sign("tinyint")
	case proto.MYSQL_TYPE_SHORT:
		return c.sign("smallint")
	case proto.MYSQL_TYPE_INT24:
		return c.sign("mediumint")
	case proto.MYSQL_TYPE_LONG:
		return c.sign("int")
	case proto.MYSQL_TYPE_LONGLONG:
		return c.sign("bigint")
	case proto.MYSQL_TYPE_FLOAT:
		return c.sign("float")
	case proto.MYSQL_TYPE_DOUBLE:
		return c.sign("double")
	case proto.MYSQL_TYPE_NEWDECIMAL:
		return c.sign(fmt.Sprintf("decimal(%d,%d)", c.digits, c.scale))
	case proto.MYSQL_TYPE_YEAR:
		return "year"
	case proto.MYSQL_TYPE_DATE:
		return "date"
	case proto.MYSQL_TYPE_TIME2:
		return c.fraction("time")
	case proto.MYSQL_TYPE_DATETIME2:
		return c.fraction("datetime")
	case proto.MYSQL_TYPE_TIMESTAMP2:
		return c.fraction("timestamp")
	case proto.MYSQL_TYPE_BIT:
		return fmt.Sprintf("bit(%d)", c.length)
	case proto.MYSQL_TYPE_STRING:
		return c.sized("binary", "char")
	case proto.MYSQL_TYPE_VARCHAR:
		return c.sized("varbinary", "varchar")
	case proto.MYSQL_TYPE_BLOB:
		return c.blob()
	case proto.MYSQL_TYPE_ENUM:
		return c.list("enum")
	case proto.MYSQL_TYPE_SET:
		return c.list("set")
	case proto.MYSQL_TYPE_JSON:
		return "json"
	}
	return "type " + strconv.Itoa(int(c.code))
}

func (c *column) sign(native string) string {
	if c.unsigned {
		return native + " unsigned"
	}
	return native
}

func (c *column) fraction(native string) string {
	if c.scale > 0 {
		return fmt.Sprintf("%s(%d)", native, c.scale)
	}
	return native
}

func (c *column) sized(bytes, text string) string {
	if c.charset == "binary" {
		return fmt.Sprintf("%s(%d)", bytes, c.length)
	}
	return fmt.Sprintf("%s(%d)", text, c.length/max(charsets[c.charset], 1))
}

func (c *column) blob() string {
	sizes := [...]string{1: "tiny", 2: "", 3: "medium", 4: "long"}
	if c.charset == "binary" {
		return sizes[c.length] + "blob"
	}
	return sizes[c.length] + "text"
}

func (c *column) list(native string) string {
	quoted := make([]string, len(c.members))
	for i, m := range c.members {
		quoted[i] = "'" + strings.ReplaceAll(m, "'", "''") + "'"
	}
	return native + "(" + strings.Join(quoted, ",") + ")"
}

// logical is the column's change.Type, or zero if it is not handled.
func (c *column) logical() change.Type {
	switch c.code {
	case proto.MYSQL_TYPE_TINY, proto.MYSQL_TYPE_SHORT, proto.MYSQL_TYPE_INT24,
		proto.MYSQL_TYPE_LONG, proto.MYSQL_TYPE_LONGLONG:
		if c.unsigned {
			return change.Uint
		}
		return change.Int
	case proto.MYSQL_TYPE_YEAR:
		return change.Int
	case proto.MYSQL_TYPE_BIT:
		return change.Uint
	case proto.MYSQL_TYPE_FLOAT, proto.MYSQL_TYPE_DOUBLE:
		return change.Float
	case proto.MYSQL_TYPE_NEWDECIMAL:
		return change.Decimal
	case proto.MYSQL_TYPE_DATE:
		return change.Date
	case proto.MYSQL_TYPE_TIME2:
		return change.Time
	case proto.MYSQL_TYPE_DATETIME2:
		return change.Timestamp
	case proto.MYSQL_TYPE_TIMESTAMP2:
		return change.Instant
	case proto.MYSQL_TYPE_STRING, proto.MYSQL_TYPE_VARCHAR, proto.MYSQL_TYPE_BLOB:
		if c.charset == "binary" {
			return change.Bytes
		}
		return change.String
	case proto.MYSQL_TYPE_ENUM:
		return change.Enum
	case proto.MYSQL_TYPE_SET:
		return change.EnumSet
	case proto.MYSQL_TYPE_JSON:
		return change.JSON
	}
	return 0
}

// refusal says why the column cannot be captured, or nothing.
func (c *column) refusal() string {
	switch c.code {
	case proto.MYSQL_TYPE_TIMESTAMP, proto.MYSQL_TYPE_DATETIME, proto.MYSQL_TYPE_TIME:
		return "a temporal type in the format of before MySQL 5.6 (ALTER TABLE ... FORCE rewrites it)"
	case proto.MYSQL_TYPE_GEOMETRY:
		return "a geometry"
	case proto.MYSQL_TYPE_VECTOR:
		return "a vector"
	case columnBlobCompressed, columnVarcharCompressed:
		return "a COMPRESSED column"
	}
	if c.logical() == 0 {
		return "of a type that is not handled (" + c.native() + ")"
	}
	if c.hasCharset() {
		if _, ok := charsets[c.charset]; !ok {
			return fmt.Sprintf("in the character set %q, which is not handled", c.charset)
		}
	}
	return ""
}

func (c *column) hasCharset() bool {
	switch c.code {
	case proto.MYSQL_TYPE_STRING, proto.MYSQL_TYPE_VARCHAR, proto.MYSQL_TYPE_BLOB,
		proto.MYSQL_TYPE_ENUM, proto.MYSQL_TYPE_SET:
		return true
	}
	return false
}

// MariaDB's types of compressed columns, which go-mysql does not know.
const (
	columnBlobCompressed    = 140
	columnVarcharCompressed = 141
)

// schemaOf makes the Schema that the columns have.
func schemaOf(t change.Table, columns []column) *change.Schema {
	s := &change.Schema{Table: t, Columns: make([]change.Column, len(columns))}
	for i := range columns {
		c := &columns[i]
		s.Columns[i] = change.Column{
			Name: c.name, Type: c.logical(), Nullable: c.nullable, Key: c.key, Native: c.native(),
		}
	}
	return s
}

// logicalBlob says whether binlog_row_image=NOBLOB counts the column as a blob.
func (c *column) logicalBlob() bool {
	return c.code == proto.MYSQL_TYPE_BLOB || c.code == proto.MYSQL_TYPE_JSON
}
