package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// postgresLoad fills the EMR in one transaction: a load that is cut short leaves nothing.
type postgresLoad struct {
	conn *pgx.Conn
	tx   pgx.Tx
}

func openPostgresLoad(ctx context.Context, s *Servers) (*postgresLoad, error) {
	conn, err := pgx.Connect(ctx, s.PostgresDSN())
	if err != nil {
		return nil, dbError("connect to PostgreSQL", err)
	}
	return &postgresLoad{conn: conn}, nil
}

func (p *postgresLoad) pharma() bool { return false }

func (p *postgresLoad) finished(ctx context.Context) (string, error) {
	var have bool
	if err := p.conn.QueryRow(ctx, "SELECT to_regclass('demo_loader.finished') IS NOT NULL").Scan(&have); err != nil {
		return "", dbError("look for a finished load in PostgreSQL", err)
	}
	if !have {
		return "", nil
	}
	var print string
	err := p.conn.QueryRow(ctx, "SELECT fingerprint FROM demo_loader.finished").Scan(&print)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", dbError("look for a finished load in PostgreSQL", err)
	}
	return print, nil
}

func (p *postgresLoad) begin(ctx context.Context) error {
	tx, err := p.conn.Begin(ctx)
	if err != nil {
		return dbError("load PostgreSQL", err)
	}
	p.tx = tx
	fresh := `DROP SCHEMA IF EXISTS public, demo_loader CASCADE; CREATE SCHEMA public; CREATE SCHEMA demo_loader;
		CREATE TABLE demo_loader.finished (fingerprint text NOT NULL);` + postgresSchema
	if _, err := p.conn.PgConn().Exec(ctx, fresh).ReadAll(); err != nil {
		return dbError("make PostgreSQL's tables", err)
	}
	return nil
}

// postgresColumns describes a table; enums bring their words.
const postgresColumns = `
	SELECT c.column_name, c.is_nullable = 'YES', c.data_type, coalesce(c.character_maximum_length, 0),
	       coalesce(c.numeric_precision, 0), coalesce(c.numeric_scale, -1),
	       array(SELECT e.enumlabel::text FROM pg_enum e JOIN pg_type t ON t.oid = e.enumtypid
	             WHERE t.typname = c.udt_name ORDER BY e.enumsortorder)
	FROM information_schema.columns c WHERE c.table_schema = 'public' AND c.table_name = $1 ORDER BY c.ordinal_position`

func (p *postgresLoad) columns(ctx context.Context, table string) ([]column, error) {
	rows, err := p.tx.Query(ctx, postgresColumns, table)
	if err != nil {
		return nil, dbError("describe "+table, err)
	}
	defer rows.Close()
	var cols []column
	for rows.Next() {
		var c column
		var kind string
		var length, precision, scale int
		var words []string
		if err := rows.Scan(&c.name, &c.null, &kind, &length, &precision, &scale, &words); err != nil {
			return nil, dbError("describe "+table, err)
		}
		if c.check = postgresCheck(kind, length, precision, scale, words); c.check == nil {
			return nil, fmt.Errorf("demo: load %s: column %s has a type that the loader does not know: %s", table, c.name, kind)
		}
		cols = append(cols, c)
	}
	if err := rows.Err(); err != nil {
		return nil, dbError("describe "+table, err)
	}
	return cols, nil
}

func postgresCheck(kind string, length, precision, scale int, words []string) check {
	switch kind {
	case "text":
		return textCheck(maxText, false)
	case "character":
		return textCheck(length, true)
	case "USER-DEFINED":
		return enumCheck(words)
	case "uuid":
		return uuidCheck
	case "boolean":
		return boolCheck
	case "integer":
		return intCheck(32, false)
	case "numeric":
		return decimalCheck(precision, scale)
	case "date":
		return dateCheck
	case "timestamp with time zone":
		return timestampCheck(time.RFC3339)
	}
	return nil
}

func (p *postgresLoad) write(ctx context.Context, w *rowWriter) error {
	sql := fmt.Sprintf("COPY %s (%s) FROM STDIN", w.table.name, w.columnList(`"`))
	tag, err := p.conn.PgConn().CopyFrom(ctx, bytes.NewReader(w.buf), sql)
	if err != nil {
		return dbError("load "+w.table.name, err)
	}
	if tag.RowsAffected() != int64(w.rows) {
		return fmt.Errorf("demo: load %s: PostgreSQL took %d of %d rows", w.table.name, tag.RowsAffected(), w.rows)
	}
	return nil
}

func (p *postgresLoad) finish(ctx context.Context, print string) error {
	if _, err := p.tx.Exec(ctx, "INSERT INTO demo_loader.finished VALUES ($1)", print); err != nil {
		return dbError("finish the load of PostgreSQL", err)
	}
	if _, err := p.tx.Exec(ctx, "ANALYZE"); err != nil {
		return dbError("finish the load of PostgreSQL", err)
	}
	if err := p.tx.Commit(ctx); err != nil {
		return dbError("finish the load of PostgreSQL", err)
	}
	return nil
}

// close ends the connection, and with it a transaction that did not commit.
func (p *postgresLoad) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = p.conn.Close(ctx)
}
