package mysql

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	proto "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/change"
)

// tableInfo is a captured table as a TABLE_MAP event described it.
type tableInfo struct {
	target  *target
	columns []column
	schema  *change.Schema
	json    bool
}

// keepTables is how many descriptions of tables are kept; they change with ALTER
// TABLE, so this many is never reached.
const keepTables = 4096

// tableMap takes a TABLE_MAP event: it says what the rows after it look like. A
// table that was described before with the same bytes is not described again.
func (d *decoder) tableMap(ctx context.Context, e arrived) error {
	head, err := readMapHead(eventBody(e.RawData, d.checksum))
	if err != nil {
		return d.fault(capture.Corrupt, err)
	}
	t, captured := d.targets[head.name]
	if !captured {
		d.maps[head.id] = nil
		return nil
	}
	info, known := d.tables[string(head.body)]
	if !known || info.json { // the library must know the table to decode its JSON
		info, err = d.describe(ctx, t, head, e.RawData)
		if err != nil {
			return err
		}
		if len(d.tables) >= keepTables {
			clear(d.tables)
		}
		d.tables[string(head.body)] = info
	}
	d.maps[head.id] = info
	return nil
}

func (d *decoder) describe(ctx context.Context, t *target, head mapHead, raw []byte) (*tableInfo, error) {
	known := d.tables[string(head.body)]
	fail := func(kind capture.Kind, column, hint string, err error) (*tableInfo, error) {
		e := d.fault(kind, err)
		e.Table, e.Column, e.Hint = t.Table.Table.Name, column, hint
		return nil, e
	}
	if bytes.IndexByte(head.types, columnBlobCompressed) >= 0 || bytes.IndexByte(head.types, columnVarcharCompressed) >= 0 {
		return fail(capture.Unsupported, "", "ALTER TABLE ... MODIFY the column without COMPRESSED",
			errors.New("the table has a COMPRESSED column"))
	}
	parsed, err := d.parse(raw)
	if err != nil {
		return fail(capture.Corrupt, "", "", err)
	}
	if known != nil {
		return known, nil
	}
	event, ok := parsed.Event.(*replication.TableMapEvent)
	if !ok {
		return fail(capture.Corrupt, "", "", errTableMap)
	}
	columns, err := mapColumns(event, d.srv.collations)
	if errors.Is(err, errMetadata) {
		return fail(capture.Configuration, "", "SET GLOBAL binlog_row_metadata=FULL; then take a new snapshot: "+d.resnapshot(), err)
	}
	if err != nil {
		return fail(capture.Corrupt, "", "", err)
	}
	info := &tableInfo{target: t, columns: columns, schema: schemaOf(t.Table.Table, columns)}
	for i := range columns {
		if why := columns[i].refusal(); why != "" {
			return fail(capture.Unsupported, columns[i].name, "", fmt.Errorf("it is %s", why))
		}
		info.json = info.json || columns[i].code == proto.MYSQL_TYPE_JSON
	}
	if err := checkShape(t, info.schema); err != nil {
		return fail(capture.Unsupported, "", "", err)
	}
	return info, d.disguised(ctx, t, columns)
}

// checkShape refuses a table without a primary key or without its route column.
func checkShape(t *target, s *change.Schema) error {
	if len(s.KeyColumns()) == 0 {
		return errors.New("the table has no primary key")
	}
	if t.Route.Kind != change.Reference && s.Column(t.Route.Column) < 0 {
		return fmt.Errorf("the table has no column %s, which says whose its rows are", t.Route.Column)
	}
	return nil
}

// disguised refuses columns of types that the log shows as plain bytes (MariaDB's
// uuid and inet): only the catalog tells them apart.
func (d *decoder) disguised(ctx context.Context, t *target, columns []column) error {
	now, err := readCatalogTable(ctx, d.db, t.name)
	if err != nil {
		return d.cfg.sqlError("describe a table", err)
	}
	if now == nil {
		return nil
	}
	for i := range columns {
		if why := now.refused[columns[i].name]; why != "" {
			e := d.refuse(fmt.Errorf("it is %s", why))
			e.Table, e.Column = t.Table.Table.Name, columns[i].name
			return e
		}
	}
	return nil
}

// json lets the library decode a rows event of a table with JSON columns; the
// rest of its work is not used.
func (d *decoder) json(info *tableInfo, raw []byte) ([][]any, error) {
	if !info.json {
		return nil, nil
	}
	parsed, err := d.parse(raw)
	if err != nil {
		return nil, err
	}
	rows, ok := parsed.Event.(*replication.RowsEvent)
	if !ok {
		return nil, errRows
	}
	return rows.Rows, nil
}

// refuseTable refuses a table, as the catalog has it, that cannot be captured.
func (r *run) refuseTable(t *target, described *catalogTable) error {
	fail := func(column string, err error) error {
		e := r.cfg.errorf("snapshot", capture.Unsupported, "%w", err)
		e.Table, e.Column, e.Hint = t.Table.Table.Name, column, "`tributary check` lists all that is wrong"
		return e
	}
	if described == nil {
		return fail("", errors.New("there is no such table, or the user may not see it"))
	}
	for _, c := range described.columns {
		if why := described.refused[c.name]; why != "" {
			return fail(c.name, fmt.Errorf("it is %s", why))
		}
	}
	if err := checkShape(t, schemaOf(t.Table.Table, described.columns)); err != nil {
		return fail("", err)
	}
	return nil
}

// tableError gives an error the table, and the column if it is about one.
func (r *run) tableError(op string, t *target, err error) error {
	var e *capture.Error
	if !errors.As(err, &e) {
		if errors.Is(err, context.Canceled) {
			return err
		}
		e = r.cfg.errorf(op, capture.Corrupt, "%w", err)
	}
	e.Table = t.Table.Table.Name
	var column *columnError
	if errors.As(err, &column) {
		e.Column, e.Err = column.column, column.err
	}
	return e
}
