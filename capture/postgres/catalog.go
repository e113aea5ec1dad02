package postgres

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/change"
)

// tableInfo is what the catalog says about one configured table. A table that
// does not exist has oid 0.
type tableInfo struct {
	capture.Table
	namespace, name string
	oid             uint32
	kind            string // pg_class.relkind
	persistence     string // pg_class.relpersistence
	identity        string // pg_class.relreplident
	readable, owned bool
	rows            float64 // pg_class.reltuples; negative if never counted
	size            int64
	immediate       bool // the primary key's check is not deferrable
	columns         []columnInfo
	schema          *change.Schema // without generated columns
}

type columnInfo struct {
	change.Column
	oid       uint32
	modifier  int32
	generated bool
	inIndex   bool // part of the index that REPLICA IDENTITY names
}

// quoted is the table's name in SQL.
func (t *tableInfo) quoted() string { return quote(t.namespace) + "." + quote(t.name) }

// identifies reports whether the replica identity holds the column.
func (t *tableInfo) identifies(c *columnInfo) bool {
	switch t.identity {
	case "f":
		return true
	case "d":
		return c.Key && t.immediate
	case "i":
		return c.inIndex
	}
	return false
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

const tablesSQL = `
SELECT c.oid, n.nspname, c.relname, c.relkind::text, c.relpersistence::text, c.relreplident::text,
       has_table_privilege(c.oid, 'SELECT'), pg_has_role(c.relowner, 'USAGE'), c.reltuples::float8,
       CASE WHEN c.relkind = 'r' THEN pg_relation_size(c.oid) ELSE 0 END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN unnest($1::text[], $2::text[]) AS want (namespace, name)
  ON n.nspname = want.namespace AND c.relname = want.name
WHERE c.relkind NOT IN ('i', 'I', 'S', 't', 'c')`

const columnsSQL = `
SELECT a.attrelid, a.attname, a.atttypid, a.atttypmod, NOT a.attnotnull, a.attgenerated <> '',
       format_type(a.atttypid, a.atttypmod),
       coalesce(a.attnum = ANY ((pk.indkey::int2[])[0:pk.indnkeyatts - 1]), false), coalesce(pk.indimmediate, false),
       coalesce(a.attnum = ANY ((ri.indkey::int2[])[0:ri.indnkeyatts - 1]), false)
FROM pg_attribute a
LEFT JOIN pg_index pk ON pk.indrelid = a.attrelid AND pk.indisprimary
LEFT JOIN pg_index ri ON ri.indrelid = a.attrelid AND ri.indisreplident AND ri.indisvalid
WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum`

// loadTypes reads the database's own types.
func loadTypes(ctx context.Context, q *pgx.Conn) (*types, error) {
	t := &types{domains: map[uint32]uint32{}, enums: map[uint32]bool{}}
	rows, err := q.Query(ctx, `SELECT oid, typtype = 'd', typbasetype FROM pg_type WHERE typtype IN ('d', 'e')`)
	if err != nil {
		return nil, err
	}
	var oid, base uint32
	var domain bool
	_, err = pgx.ForEachRow(rows, []any{&oid, &domain, &base}, func() error {
		if domain {
			t.domains[oid] = base
		} else {
			t.enums[oid] = true
		}
		return nil
	})
	return t, err
}

// loadTables reads the configured tables from the catalog, in their order.
func (c Config) loadTables(ctx context.Context, q *pgx.Conn) ([]*tableInfo, error) {
	kinds, err := loadTypes(ctx, q)
	if err != nil {
		return nil, err
	}
	var def *string
	if err := q.QueryRow(ctx, `SELECT current_schema()`).Scan(&def); err != nil {
		return nil, err
	}
	tables := make([]*tableInfo, len(c.Tables))
	names := make(map[[2]string]*tableInfo)
	var spaces, rels []string
	for i, t := range c.Tables {
		info := &tableInfo{Table: t, namespace: "public", name: t.Table.Name}
		if def != nil {
			info.namespace = *def
		}
		if ns, name, ok := strings.Cut(t.Table.Name, "."); ok {
			info.namespace, info.name = ns, name
		}
		tables[i] = info
		names[[2]string{info.namespace, info.name}] = info
		spaces, rels = append(spaces, info.namespace), append(rels, info.name)
	}
	byOID, err := loadRelations(ctx, q, names, spaces, rels)
	if err != nil {
		return nil, err
	}
	return tables, loadColumns(ctx, q, byOID, kinds)
}

func loadRelations(ctx context.Context, q *pgx.Conn, names map[[2]string]*tableInfo, spaces, rels []string) (map[uint32]*tableInfo, error) {
	rows, err := q.Query(ctx, tablesSQL, spaces, rels)
	if err != nil {
		return nil, err
	}
	byOID := make(map[uint32]*tableInfo)
	var t tableInfo
	_, err = pgx.ForEachRow(rows, []any{&t.oid, &t.namespace, &t.name, &t.kind, &t.persistence, &t.identity,
		&t.readable, &t.owned, &t.rows, &t.size}, func() error {
		info := names[[2]string{t.namespace, t.name}]
		t.Table = info.Table
		*info = t
		byOID[t.oid] = info
		return nil
	})
	return byOID, err
}

func loadColumns(ctx context.Context, q *pgx.Conn, byOID map[uint32]*tableInfo, kinds *types) error {
	oids := make([]uint32, 0, len(byOID))
	for oid := range byOID {
		oids = append(oids, oid)
	}
	rows, err := q.Query(ctx, columnsSQL, oids)
	if err != nil {
		return err
	}
	var rel uint32
	var c columnInfo
	var immediate bool
	_, err = pgx.ForEachRow(rows, []any{&rel, &c.Name, &c.oid, &c.modifier, &c.Nullable, &c.generated,
		&c.Native, &c.Key, &immediate, &c.inIndex}, func() error {
		c.Type = kinds.logical(c.oid)
		byOID[rel].immediate = immediate
		byOID[rel].columns = append(byOID[rel].columns, c)
		return nil
	})
	for _, t := range byOID {
		t.schema = &change.Schema{Table: t.Table.Table}
		for i := range t.columns {
			if !t.columns[i].generated {
				t.schema.Columns = append(t.schema.Columns, t.columns[i].Column)
			}
		}
	}
	return err
}

// openCatalog connects and describes the configured tables. The caller closes
// the connection.
func (c Config) openCatalog(ctx context.Context) (*pgx.Conn, []*tableInfo, error) {
	q, err := c.connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	tables, err := c.loadTables(ctx, q)
	if err != nil {
		_ = q.Close(context.WithoutCancel(ctx))
		return nil, nil, c.fail(ctx, "read the catalog", err)
	}
	return q, tables, nil
}

// Schemas returns the schema of every configured table that exists, from the
// catalog. Generated columns are not part of it: the log does not carry them.
func Schemas(ctx context.Context, c Config) (map[change.Table]*change.Schema, error) {
	c = c.withDefaults()
	q, tables, err := c.openCatalog(ctx)
	if err != nil {
		return nil, err
	}
	defer q.Close(context.WithoutCancel(ctx))
	schemas := make(map[change.Table]*change.Schema, len(tables))
	for _, t := range tables {
		if t.schema != nil {
			schemas[t.Table.Table] = t.schema
		}
	}
	return schemas, nil
}
