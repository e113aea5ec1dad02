package postgres

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/tributary-health/tributary/capture"
)

// fail makes err the Error a reader stops with, unless it is one already or the
// stop was asked for.
func (c Config) fail(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var lf logFailure
	if errors.As(err, &lf) {
		return err
	}
	var known *capture.Error
	if errors.As(err, &known) {
		return err
	}
	kind, hint := classify(err)
	if kind == capture.Gone {
		hint = c.resnapshotHint()
	}
	return &capture.Error{Op: op, Kind: kind, Source: c.Source, Err: bare(err), Hint: hint}
}

func (c Config) resnapshotHint() string {
	return "the missing changes cannot be had again; take a new snapshot: tributary run --resnapshot " + c.Source
}

// classify sorts an error by what can be done about it. What is not known to
// need a hand is worth another try: trying again loses nothing.
func classify(err error) (capture.Kind, string) {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return capture.Transient, ""
	}
	switch {
	case strings.HasPrefix(pg.Code, "28"):
		return capture.Configuration, "check user, password and pg_hba.conf; a replication connection needs the role's REPLICATION attribute"
	case pg.Code == "42501":
		return capture.Configuration, "grant the role REPLICATION, and SELECT on the tables"
	case pg.Code == "3D000":
		return capture.Configuration, "the database does not exist"
	case pg.Code == "58P01", pg.Code == "55000" && strings.Contains(pg.Message, "slot"):
		return capture.Gone, ""
	case pg.Code == "55006":
		return capture.Transient, "another process, or this one's last connection, still uses the slot"
	case strings.HasPrefix(pg.Code, "42"):
		return capture.Configuration, "the tables are not as the catalog said; run tributary check"
	}
	return capture.Transient, ""
}

// bare drops from a server's error all that may quote a row: only the code and
// the classes of message that name objects remain.
func bare(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err
	}
	if strings.HasPrefix(pg.Code, "22") || strings.HasPrefix(pg.Code, "23") {
		return errors.New("server error, SQLSTATE " + pg.Code)
	}
	return errors.New(pg.Message + " (SQLSTATE " + pg.Code + ")")
}
