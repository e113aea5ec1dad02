package postgres

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/tributary-health/tributary/capture"
)

// Config says what to read. Source, DSN and Tables are required.
type Config struct {
	// Source is the source's configured name.
	Source string
	// DSN is a connection string or URL as libpq takes it. The role needs
	// REPLICATION and SELECT on the tables.
	DSN string
	// Slot and Publication are the names at the server; default
	// tributary_SOURCE, with what a slot's name cannot hold as underscores.
	Slot, Publication string
	// Tables are captured, and no others.
	Tables []capture.Table
	// ProgressEvery is after how many rows a snapshot reports; default 2,000.
	ProgressEvery int
	// Heartbeat is how often the server hears what is confirmed and says how far
	// its log is, and how often a watermark is written; default 500 ms.
	Heartbeat time.Duration
	// Resnapshot drops the slot and takes a new snapshot although the log has one.
	// The caller MUST clear it for the next Reader once Reader.Snapshotted is true.
	Resnapshot bool
	Hooks      capture.Hooks
}

func (c Config) withDefaults() Config {
	c.Slot = cmp.Or(c.Slot, "tributary_"+slotName(c.Source))
	c.Publication = cmp.Or(c.Publication, "tributary_"+slotName(c.Source))
	c.ProgressEvery = cmp.Or(c.ProgressEvery, 2000)
	c.Heartbeat = cmp.Or(c.Heartbeat, 500*time.Millisecond)
	return c
}

func (c Config) validate() error {
	var err error
	switch {
	case c.Source == "":
		err = errors.New("no source name")
	case len(c.Tables) == 0:
		err = errors.New("no tables")
	case c.Slot != slotName(c.Slot) || len(c.Slot) > 63:
		err = errors.New("slot name: only a-z, 0-9 and underscore, at most 63 of them")
	case len(c.Publication) > 63:
		err = errors.New("publication name: at most 63 bytes")
	}
	if err != nil {
		return &capture.Error{Op: "configure", Kind: capture.Configuration, Source: c.Source, Err: err}
	}
	return nil
}

// slotName maps a name to what PostgreSQL allows in a slot's.
func slotName(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '_':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '_'
	}, s)
}

// session are the settings that decide how values print. They are set on every
// connection, so that snapshot and log agree to the byte.
func (c Config) session() map[string]string {
	return map[string]string{
		"application_name":                    "tributary " + c.Source,
		"client_encoding":                     "UTF8",
		"DateStyle":                           "ISO",
		"IntervalStyle":                       "postgres",
		"TimeZone":                            "UTC",
		"extra_float_digits":                  "3",
		"bytea_output":                        "hex",
		"xmlbinary":                           "base64",
		"lc_monetary":                         "C",
		"statement_timeout":                   "0",
		"lock_timeout":                        "0",
		"idle_in_transaction_session_timeout": "0",
	}
}

// CheckDSN tells whether DSN can be understood, without a connection.
func (c Config) CheckDSN() error {
	_, err := pgx.ParseConfig(c.DSN)
	return c.badDSN(err)
}

// badDSN is an error for a DSN that was not understood. It shows nothing of it:
// where a password begins and ends in it is anybody's guess.
func (c Config) badDSN(err error) error {
	if err == nil {
		return nil
	}
	why := err.Error()
	why, _, _ = strings.Cut(why[strings.LastIndex(why, "`: ")+1:], " (")
	return &capture.Error{Op: "connect", Kind: capture.Configuration, Source: c.Source,
		Err:  errors.New("DSN: " + strings.TrimPrefix(why, ": ")),
		Hint: "a URL, postgres://user:password@host:port/database with %XX for special characters, or a connection string as libpq takes it"}
}

// connect opens a connection for queries.
func (c Config) connect(ctx context.Context) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(c.DSN)
	if err != nil {
		return nil, c.badDSN(err)
	}
	for k, v := range c.session() {
		cfg.RuntimeParams[k] = v
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, c.fail(ctx, "connect", err)
	}
	return conn, nil
}

// connectReplication opens a walsender. in is where its messages can be read
// from once the connection is hijacked.
func (c Config) connectReplication(ctx context.Context) (conn *pgconn.PgConn, in *framing, err error) {
	cfg, err := pgconn.ParseConfig(c.DSN)
	if err != nil {
		return nil, nil, c.badDSN(err)
	}
	for k, v := range c.session() {
		cfg.RuntimeParams[k] = v
	}
	cfg.RuntimeParams["replication"] = "database"
	cfg.BuildFrontend = frontend(&in)
	conn, err = pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, nil, c.fail(ctx, "connect for replication", err)
	}
	return conn, in, nil
}
