package demo

import (
	"database/sql"
	"errors"
	"fmt"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
)

// dbError says what was tried and the server's code for the failure. A server's own message may quote a row, so it is left out.
func dbError(op string, err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		where := pg.TableName
		if pg.ConstraintName != "" {
			where += " constraint " + pg.ConstraintName
		}
		return &serverError{op: op, code: "SQLSTATE " + pg.Code, where: where, err: err}
	}
	var my *mysql.MySQLError
	if errors.As(err, &my) {
		return &serverError{op: op, code: fmt.Sprintf("error %d (%s)", my.Number, my.SQLState[:]), err: err}
	}
	return fmt.Errorf("demo: %s: %w", op, err)
}

// A serverError prints without the server's message and unwraps to it.
type serverError struct {
	op, code, where string
	err             error
}

func (e *serverError) Error() string {
	if e.where != "" {
		return "demo: " + e.op + ": " + e.code + " " + e.where
	}
	return "demo: " + e.op + ": " + e.code
}

func (e *serverError) Unwrap() error { return e.err }

// openMariaDB opens a pool that connects on use.
func openMariaDB(dsn string) (*sql.DB, error) {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, fmt.Errorf("demo: MariaDB: %w", err)
	}
	cfg.Logger = quiet{}
	cfg.InterpolateParams = true
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, fmt.Errorf("demo: MariaDB: %w", err)
	}
	return sql.OpenDB(connector), nil
}
