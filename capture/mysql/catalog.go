package mysql

import (
	"context"
	"database/sql"
	"strings"

	proto "github.com/go-mysql-org/go-mysql/mysql"
)

// catalogTable is a table as the server's catalog describes it now.
type catalogTable struct {
	kind    string // "BASE TABLE" for a table that can be captured
	engine  string
	rows    int64 // an estimate
	columns []column
	// refused says of columns, by name, why they cannot be captured.
	refused map[string]string
	virtual []string
}

const catalogTables = `
SELECT TABLE_TYPE, COALESCE(ENGINE, ''), COALESCE(TABLE_ROWS, 0)
FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?`

const catalogColumns = `
SELECT c.COLUMN_NAME, LOWER(c.DATA_TYPE), c.COLUMN_TYPE, c.IS_NULLABLE = 'YES', c.EXTRA,
       COALESCE(c.CHARACTER_OCTET_LENGTH, 0), COALESCE(c.CHARACTER_SET_NAME, 'binary'),
       COALESCE(c.NUMERIC_PRECISION, 0), COALESCE(c.NUMERIC_SCALE, 0), COALESCE(c.DATETIME_PRECISION, 0),
       k.COLUMN_NAME IS NOT NULL
FROM information_schema.COLUMNS c
LEFT JOIN information_schema.KEY_COLUMN_USAGE k
  ON k.CONSTRAINT_NAME = 'PRIMARY' AND k.TABLE_SCHEMA = c.TABLE_SCHEMA
 AND k.TABLE_NAME = c.TABLE_NAME AND k.COLUMN_NAME = c.COLUMN_NAME
WHERE c.TABLE_SCHEMA = ? AND c.TABLE_NAME = ? ORDER BY c.ORDINAL_POSITION`

// readCatalogTable returns nil for a table that is not there.
func readCatalogTable(ctx context.Context, db querier, n name) (*catalogTable, error) {
	t := &catalogTable{refused: map[string]string{}}
	err := db.QueryRowContext(ctx, catalogTables, n.database, n.table).Scan(&t.kind, &t.engine, &t.rows)
	if err == sql.ErrNoRows {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, catalogColumns, n.database, n.table)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var c column
		var d catalogType
		err := rows.Scan(&c.name, &d.name, &d.full, &c.nullable, &d.extra, &d.octets,
			&c.charset, &d.digits, &d.scale, &d.fraction, &c.key)
		if err != nil {
			return nil, err
		}
		c.charset = charsetName(c.charset)
		if why := c.fromCatalog(d); why != "" {
			t.refused[c.name] = why
		}
		if strings.Contains(strings.ToUpper(d.extra), "VIRTUAL") {
			t.virtual = append(t.virtual, c.name)
		}
		t.columns = append(t.columns, c)
	}
	return t, rows.Err()
}

// catalogType is what the catalog says of a column's type.
type catalogType struct {
	name, full, extra       string
	octets                  int64
	digits, scale, fraction int
}

var catalogCodes = map[string]byte{
	"tinyint": proto.MYSQL_TYPE_TINY, "smallint": proto.MYSQL_TYPE_SHORT, "mediumint": proto.MYSQL_TYPE_INT24,
	"int": proto.MYSQL_TYPE_LONG, "bigint": proto.MYSQL_TYPE_LONGLONG, "float": proto.MYSQL_TYPE_FLOAT,
	"double": proto.MYSQL_TYPE_DOUBLE, "decimal": proto.MYSQL_TYPE_NEWDECIMAL, "year": proto.MYSQL_TYPE_YEAR,
	"bit": proto.MYSQL_TYPE_BIT, "date": proto.MYSQL_TYPE_DATE, "time": proto.MYSQL_TYPE_TIME2,
	"datetime": proto.MYSQL_TYPE_DATETIME2, "timestamp": proto.MYSQL_TYPE_TIMESTAMP2,
	"char": proto.MYSQL_TYPE_STRING, "binary": proto.MYSQL_TYPE_STRING,
	"varchar": proto.MYSQL_TYPE_VARCHAR, "varbinary": proto.MYSQL_TYPE_VARCHAR,
	"tinytext": proto.MYSQL_TYPE_BLOB, "text": proto.MYSQL_TYPE_BLOB, "mediumtext": proto.MYSQL_TYPE_BLOB,
	"longtext": proto.MYSQL_TYPE_BLOB, "tinyblob": proto.MYSQL_TYPE_BLOB, "blob": proto.MYSQL_TYPE_BLOB,
	"mediumblob": proto.MYSQL_TYPE_BLOB, "longblob": proto.MYSQL_TYPE_BLOB,
	"enum": proto.MYSQL_TYPE_ENUM, "set": proto.MYSQL_TYPE_SET, "json": proto.MYSQL_TYPE_JSON,
}

// fromCatalog makes of the catalog's description the same that the log's gives,
// and says why the column cannot be captured if it cannot.
func (c *column) fromCatalog(d catalogType) (refused string) {
	code, ok := catalogCodes[d.name]
	if !ok {
		return "of type " + d.name + ", which is not handled"
	}
	if strings.Contains(d.full, "COMPRESSED") {
		return "a COMPRESSED column"
	}
	if strings.Contains(d.full, "/* mariadb-5.3 */") || strings.Contains(d.full, "/* 5.5 binary format */") {
		return "a temporal type in the format of before MySQL 5.6 (ALTER TABLE ... FORCE rewrites it)"
	}
	c.code = code
	c.unsigned = strings.Contains(d.full, "unsigned") || strings.Contains(d.full, "zerofill")
	switch code {
	case proto.MYSQL_TYPE_STRING, proto.MYSQL_TYPE_VARCHAR:
		c.length = int(d.octets)
	case proto.MYSQL_TYPE_BLOB:
		c.length = blobLength(d.name)
	case proto.MYSQL_TYPE_BIT:
		c.length = d.digits
	case proto.MYSQL_TYPE_NEWDECIMAL:
		c.digits, c.scale = d.digits, d.scale
	case proto.MYSQL_TYPE_TIME2, proto.MYSQL_TYPE_DATETIME2, proto.MYSQL_TYPE_TIMESTAMP2:
		c.scale = d.fraction
	case proto.MYSQL_TYPE_ENUM, proto.MYSQL_TYPE_SET:
		c.members = listMembers(d.full)
	}
	if !c.hasCharset() {
		c.charset = ""
	} else if d.name == "varbinary" || d.name == "binary" || strings.HasSuffix(d.name, "blob") {
		c.charset = "binary"
	}
	return c.refusal()
}

func blobLength(native string) int {
	switch {
	case strings.HasPrefix(native, "tiny"):
		return 1
	case strings.HasPrefix(native, "medium"):
		return 3
	case strings.HasPrefix(native, "long"):
		return 4
	}
	return 2
}

// listMembers reads the members of "enum('a','b')", whose quotes are doubled.
func listMembers(full string) []string {
	var members []string
	_, rest, _ := strings.Cut(full, "(")
	for {
		_, after, ok := strings.Cut(rest, "'")
		if !ok {
			return members
		}
		var member strings.Builder
		for {
			text, tail, ok := strings.Cut(after, "'")
			member.WriteString(text)
			if after = tail; !ok || !strings.HasPrefix(tail, "'") {
				break
			}
			member.WriteByte('\'')
			after = tail[1:]
		}
		members = append(members, member.String())
		rest = after
	}
}
