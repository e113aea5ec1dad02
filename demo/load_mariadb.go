package demo

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"
)

// mariadbLoad fills the pharmacy. Its DDL commits by itself, so an unfinished load is recognised by the note that is missing.
type mariadbLoad struct {
	db   *sql.DB
	conn *sql.Conn // one connection: warnings belong to it
}

func openMariaDBLoad(ctx context.Context, s *Servers) (*mariadbLoad, error) {
	db, err := openMariaDB(mariadbDSN(s.state.MariaDBPort, s.state.MariaDBKey, ""))
	if err != nil {
		return nil, err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(dbError("connect to MariaDB", err), db.Close())
	}
	return &mariadbLoad{db: db, conn: conn}, nil
}

func (m *mariadbLoad) pharma() bool { return true }

func (m *mariadbLoad) finished(ctx context.Context) (string, error) {
	var tables int
	err := m.conn.QueryRowContext(ctx, "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'demo_loader' AND table_name = 'finished'").Scan(&tables)
	if err != nil {
		return "", dbError("look for a finished load in MariaDB", err)
	}
	if tables == 0 {
		return "", nil
	}
	var print string
	err = m.conn.QueryRowContext(ctx, "SELECT fingerprint FROM demo_loader.finished").Scan(&print)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", dbError("look for a finished load in MariaDB", err)
	}
	return print, nil
}

func (m *mariadbLoad) begin(ctx context.Context) error {
	statements := []string{
		"DROP DATABASE IF EXISTS demo_loader", "DROP DATABASE IF EXISTS pharmacy",
		"CREATE DATABASE pharmacy", "USE pharmacy",
	}
	for _, s := range append(statements, splitStatements(mariadbSchema)...) {
		if _, err := m.conn.ExecContext(ctx, s); err != nil {
			return dbError("make MariaDB's tables", err)
		}
	}
	return nil
}

var sqlComment = regexp.MustCompile(`--[^\n]*`)

// splitStatements cuts our own schema file, in which no text holds a semicolon or two hyphens.
func splitStatements(file string) []string {
	var all []string
	for _, s := range strings.Split(sqlComment.ReplaceAllString(file, ""), ";") {
		if s = strings.TrimSpace(s); s != "" {
			all = append(all, s)
		}
	}
	return all
}

const mariadbColumns = `
	SELECT column_name, is_nullable = 'YES', data_type, column_type, coalesce(character_maximum_length, 0),
	       coalesce(numeric_precision, 0), coalesce(numeric_scale, 0)
	FROM information_schema.columns WHERE table_schema = 'pharmacy' AND table_name = ? ORDER BY ordinal_position`

func (m *mariadbLoad) columns(ctx context.Context, table string) ([]column, error) {
	rows, err := m.conn.QueryContext(ctx, mariadbColumns, table)
	if err != nil {
		return nil, dbError("describe "+table, err)
	}
	defer rows.Close()
	var cols []column
	for rows.Next() {
		var c column
		var kind, full string
		var length, precision, scale int
		if err := rows.Scan(&c.name, &c.null, &kind, &full, &length, &precision, &scale); err != nil {
			return nil, dbError("describe "+table, err)
		}
		if c.check = mariadbCheck(kind, full, length, precision, scale); c.check == nil {
			return nil, fmt.Errorf("demo: load %s: column %s has a type that the loader does not know: %s", table, c.name, full)
		}
		cols = append(cols, c)
	}
	if err := rows.Err(); err != nil {
		return nil, dbError("describe "+table, err)
	}
	return cols, nil
}

var enumWord = regexp.MustCompile(`'([^']*)'`)

func mariadbCheck(kind, full string, length, precision, scale int) check {
	unsigned := strings.Contains(full, "unsigned")
	switch kind {
	case "varchar":
		return textCheck(length, false)
	case "char":
		return textCheck(length, true)
	case "enum":
		var words []string
		for _, w := range enumWord.FindAllStringSubmatch(full, -1) {
			words = append(words, w[1])
		}
		return enumCheck(words)
	case "tinyint":
		return intCheck(8, unsigned)
	case "smallint":
		return intCheck(16, unsigned)
	case "int":
		return intCheck(32, unsigned)
	case "decimal":
		return decimalCheck(precision, scale)
	case "double":
		return doubleCheck
	case "datetime":
		return timestampCheck(time.DateTime)
	}
	return nil
}

// loads numbers the driver's registered readers, which are global to the process.
var loads atomic.Int64

func (m *mariadbLoad) write(ctx context.Context, w *rowWriter) error {
	name := fmt.Sprintf("demo-%d", loads.Add(1))
	mysql.RegisterReaderHandler(name, func() io.Reader { return bytes.NewReader(w.buf) })
	defer mysql.DeregisterReaderHandler(name)
	res, err := m.conn.ExecContext(ctx, fmt.Sprintf("LOAD DATA LOCAL INFILE 'Reader::%s' INTO TABLE %s CHARACTER SET utf8mb4 (%s)",
		name, w.table.name, w.columnList("`")))
	if err != nil {
		return dbError("load "+w.table.name, err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return dbError("load "+w.table.name, err)
	}
	// A local file's errors come as warnings, and its rows are skipped or bent.
	var level, text string
	var code int
	err = m.conn.QueryRowContext(ctx, "SHOW WARNINGS LIMIT 1").Scan(&level, &code, &text)
	if err == nil {
		return fmt.Errorf("demo: load %s: MariaDB says error %d about a row", w.table.name, code)
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return dbError("load "+w.table.name, err)
	}
	if n != int64(w.rows) {
		return fmt.Errorf("demo: load %s: MariaDB took %d of %d rows", w.table.name, n, w.rows)
	}
	return nil
}

func (m *mariadbLoad) finish(ctx context.Context, print string) error {
	for _, s := range []string{
		"CREATE DATABASE demo_loader",
		"CREATE TABLE demo_loader.finished (fingerprint CHAR(64) CHARACTER SET ascii PRIMARY KEY)",
		"INSERT INTO demo_loader.finished VALUES ('" + print + "')", // hex digits of our own
	} {
		if _, err := m.conn.ExecContext(ctx, s); err != nil {
			return dbError("finish the load of MariaDB", err)
		}
	}
	return nil
}

func (m *mariadbLoad) close() {
	_ = m.conn.Close()
	_ = m.db.Close()
}
