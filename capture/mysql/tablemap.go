package mysql

import (
	"errors"
	"fmt"

	proto "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
)

// mapHead is what must be known of a TABLE_MAP event to tell whether its table
// is captured, without decoding the rest.
type mapHead struct {
	id    uint64
	name  name
	types []byte
	body  []byte // all after the id: equal bodies describe equal tables
}

var errTableMap = errors.New("a TABLE_MAP event is cut short")

func readMapHead(body []byte) (mapHead, error) {
	c := cursor{b: body}
	var h mapHead
	h.id = c.little(6)
	h.body = c.b
	c.take(2) // flags
	h.name.database = string(c.take(int(c.little(1))))
	c.take(1)
	h.name.table = string(c.take(int(c.little(1))))
	c.take(1)
	h.types = c.take(int(c.packed()))
	if c.bad {
		return h, errTableMap
	}
	return h, nil
}

// mapColumns describes the columns of a TABLE_MAP event. It is an error when the
// event lacks what binlog_row_metadata=FULL adds.
func mapColumns(e *replication.TableMapEvent, collations map[uint64]string) ([]column, error) {
	if len(e.ColumnName) != int(e.ColumnCount) {
		return nil, errMetadata
	}
	unsigned, texts, lists := e.UnsignedMap(), e.CollationMap(), e.EnumSetCollationMap()
	enums, sets := e.EnumStrValueMap(), e.SetStrValueMap()
	columns := make([]column, e.ColumnCount)
	for i := range columns {
		c := &columns[i]
		c.name = string(e.ColumnName[i])
		c.unsigned = unsigned[i]
		_, c.nullable = e.Nullable(i)
		c.describe(e.ColumnType[i], e.ColumnMeta[i])
		var collation uint64
		switch {
		case e.IsEnumColumn(i):
			c.members, collation = enums[i], lists[i]
		case e.IsSetColumn(i):
			c.members, collation = sets[i], lists[i]
		case c.hasCharset():
			collation = texts[i]
		default:
			continue
		}
		if collation == 0 {
			return nil, errMetadata
		}
		if c.charset = collations[collation]; c.charset == "" {
			c.charset = fmt.Sprintf("collation %d", collation)
		}
		if err := c.transcodeMembers(); err != nil {
			return nil, fmt.Errorf("column %s: members: %w", c.name, err)
		}
	}
	for _, i := range e.PrimaryKey {
		if i < uint64(len(columns)) {
			columns[i].key = true
		}
	}
	return columns, nil
}

var errMetadata = errors.New("the log does not name the columns")

// describe fills in what the type's two bytes of description say.
func (c *column) describe(code byte, meta uint16) {
	c.code = code
	switch code {
	case proto.MYSQL_TYPE_STRING:
		// The real type, and in two of its bits the upper bits of the length.
		real, length := byte(meta>>8), int(meta&0xff)
		if real&0x30 != 0x30 {
			length |= int(real&0x30^0x30) << 4
			real |= 0x30
		}
		c.code, c.length = real, length
	case proto.MYSQL_TYPE_VAR_STRING:
		c.code, c.length = proto.MYSQL_TYPE_VARCHAR, int(meta)
	case proto.MYSQL_TYPE_VARCHAR, proto.MYSQL_TYPE_BLOB, proto.MYSQL_TYPE_JSON:
		c.length = int(meta)
	case proto.MYSQL_TYPE_BIT:
		c.length = int(meta>>8)*8 + int(meta&0xff)
	case proto.MYSQL_TYPE_NEWDECIMAL:
		c.digits, c.scale = int(meta>>8), int(meta&0xff)
	case proto.MYSQL_TYPE_TIME2, proto.MYSQL_TYPE_DATETIME2, proto.MYSQL_TYPE_TIMESTAMP2:
		c.scale = int(meta)
	}
}

func (c *column) transcodeMembers() error {
	if _, ok := charsets[c.charset]; !ok || c.charset == "binary" {
		return nil // refused by refusal, or nothing to do
	}
	members := make([]string, len(c.members))
	for i, m := range c.members {
		text, err := appendText(nil, []byte(m), c.charset)
		if err != nil {
			return err
		}
		members[i] = string(text)
	}
	c.members = members
	return nil
}

// cursor walks bytes. After the first fault bad is set and every read gives
// zero, so callers check once, at the end.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.bad = true
		c.b = nil
		return nil
	}
	head := c.b[:n]
	c.b = c.b[n:]
	return head
}

// little reads a little-endian number of n bytes.
func (c *cursor) little(n int) uint64 {
	var v uint64
	for i, b := range c.take(n) {
		v |= uint64(b) << (8 * i)
	}
	return v
}

// big reads a big-endian number of n bytes.
func (c *cursor) big(n int) uint64 {
	var v uint64
	for _, b := range c.take(n) {
		v = v<<8 | uint64(b)
	}
	return v
}

// packed reads a length-encoded integer.
func (c *cursor) packed() uint64 {
	switch first := c.little(1); first {
	case 0xfb, 0xff:
		c.bad = true
		return 0
	case 0xfc:
		return c.little(2)
	case 0xfd:
		return c.little(3)
	case 0xfe:
		n := c.little(8)
		if n > 1<<31 {
			c.bad = true
			return 0
		}
		return n
	default:
		return first
	}
}

// eventBody cuts the common header and the checksum, if there is one, off an
// event.
func eventBody(raw []byte, checksum bool) []byte {
	body := raw[replication.EventHeaderSize:]
	if checksum && len(body) >= replication.BinlogChecksumLength {
		body = body[:len(body)-replication.BinlogChecksumLength]
	}
	return body
}
