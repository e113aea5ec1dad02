package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// server is what is known of the server when a connection was opened.
type server struct {
	flavor     string
	version    string
	major      int
	minor      int
	id         uint32
	uuid       string // MySQL only
	collations map[uint64]string
	// ahead is the server's clock minus ours.
	ahead time.Duration
}

// querier is a database or one of its connections.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func readServer(ctx context.Context, db querier) (*server, error) {
	s := &server{flavor: MySQL}
	var micros float64
	before := time.Now()
	err := db.QueryRowContext(ctx, "SELECT VERSION(), @@server_id, UNIX_TIMESTAMP(NOW(6))").Scan(&s.version, &s.id, &micros)
	if err != nil {
		return nil, err
	}
	now := before.Add(time.Since(before) / 2)
	s.ahead = time.UnixMicro(int64(micros * 1e6)).Sub(now)
	if strings.Contains(s.version, "MariaDB") {
		s.flavor = MariaDB
	}
	_, _ = fmt.Sscanf(s.version, "%d.%d", &s.major, &s.minor)
	if s.flavor == MySQL {
		if err := db.QueryRowContext(ctx, "SELECT @@server_uuid").Scan(&s.uuid); err != nil {
			return nil, err
		}
	}
	s.collations, err = readCollations(ctx, db, s)
	return s, err
}

func (s *server) atLeast(major, minor int) bool {
	return s.major > major || s.major == major && s.minor >= minor
}

// history names the server's history; see the package's comment.
func (s *server) history(domain uint32) string {
	if s.flavor == MySQL {
		return s.uuid
	}
	return strconv.FormatUint(uint64(s.id), 10) + "/" + strconv.FormatUint(uint64(domain), 10)
}

// readCollations returns the character set of every collation id. Newer MariaDB
// servers give the ids of collations that several sets share only in a second
// table.
func readCollations(ctx context.Context, db querier, s *server) (map[uint64]string, error) {
	query := "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATIONS WHERE ID IS NOT NULL"
	if s.flavor == MariaDB && s.atLeast(10, 10) {
		query = "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY WHERE ID IS NOT NULL"
	}
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	sets := map[uint64]string{}
	for rows.Next() {
		var id uint64
		var set string
		if err := rows.Scan(&id, &set); err != nil {
			return nil, err
		}
		sets[id] = charsetName(set)
	}
	return sets, rows.Err()
}

// logEnd returns the binlog file and offset where the log ends now, and on MySQL
// the GTID set there. file is empty when the server writes no log.
func (s *server) logEnd(ctx context.Context, db querier) (file string, offset uint64, gtids string, err error) {
	statement := "SHOW MASTER STATUS"
	if s.flavor == MySQL && s.atLeast(8, 2) {
		statement = "SHOW BINARY LOG STATUS"
	}
	all, err := queryMaps(ctx, db, statement)
	if err != nil || len(all) == 0 {
		return "", 0, "", err
	}
	row := all[0]
	offset, err = strconv.ParseUint(row["Position"], 10, 64)
	return row["File"], offset, strings.ReplaceAll(row["Executed_Gtid_Set"], "\n", ""), err
}

// variables returns the server's global variables of these names.
func variables(ctx context.Context, db querier, names ...string) (map[string]string, error) {
	all, err := queryMaps(ctx, db,
		"SHOW GLOBAL VARIABLES WHERE Variable_name IN ('"+strings.Join(names, "','")+"')")
	if err != nil {
		return nil, err
	}
	vars := map[string]string{}
	for _, row := range all {
		vars[strings.ToLower(row["Variable_name"])] = row["Value"]
	}
	return vars, nil
}

// queryMaps reads a small result whole, by column name; NULL is the empty text.
func queryMaps(ctx context.Context, db querier, statement string, args ...any) ([]map[string]string, error) {
	rows, err := db.QueryContext(ctx, statement, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var all []map[string]string
	values := make([]sql.NullString, len(columns))
	into := make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		row := make(map[string]string, len(columns))
		for i, c := range columns {
			row[c] = values[i].String
		}
		all = append(all, row)
	}
	return all, rows.Err()
}

// now is the server's clock, by the difference found when it was asked.
func (s *server) now() time.Time { return s.clock(time.Now()) }

func (s *server) clock(ours time.Time) time.Time {
	return ours.Add(s.ahead).UTC().Truncate(time.Microsecond)
}
