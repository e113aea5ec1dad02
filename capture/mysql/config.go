package mysql

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"strings"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/change"
)

// The flavours of server.
const (
	MariaDB = "mariadb"
	MySQL   = "mysql"
)

// Config says what to read and from where.
type Config struct {
	// Source is the source's configured name.
	Source string

	// DSN is go-sql-driver's "user:password@tcp(host:port)/database", or
	// "mysql://user:password@host:port/database". The database is the default
	// one: tables in it are named without it.
	DSN string

	// Flavor is MariaDB or MySQL; empty asks the server.
	Flavor string

	// ServerID is the replica's id that the server sees; it must be unique among
	// the server's replicas. 0 takes one at random for each run.
	ServerID uint32

	Tables []capture.Table

	// Heartbeat is how often a quiet server is asked to say so, and how often a
	// watermark is written. 0 means 500 ms.
	Heartbeat time.Duration

	Hooks capture.Hooks

	// Resnapshot begins with a snapshot although the log could be resumed, also
	// of another history than the log's. It is for one Run: whoever runs again
	// MUST clear it once Log.Resume shows a later snapshot.
	Resnapshot bool
}

func (c *Config) heartbeat() time.Duration { return cmp.Or(c.Heartbeat, 500*time.Millisecond) }

// CheckDSN tells whether DSN can be understood, without a connection.
func (c *Config) CheckDSN() error {
	_, err := c.parse()
	return err
}

// parse reads DSN. Its errors never hold the DSN, which has a password in it.
func (c *Config) parse() (*driver.Config, error) {
	cfg, err := parseDSN(c.DSN)
	if err != nil {
		return nil, c.errorf("open", capture.Configuration, "DSN: %w", err)
	}
	if cfg.DBName == "" {
		return nil, c.errorf("open", capture.Configuration, "DSN: names no database")
	}
	cfg.ParseTime = false
	cfg.InterpolateParams = true // one round trip, and no prepared statements left behind
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	return cfg, nil
}

func parseDSN(dsn string) (*driver.Config, error) {
	if !strings.HasPrefix(dsn, "mysql://") && !strings.HasPrefix(dsn, "mariadb://") {
		cfg, err := driver.ParseDSN(dsn)
		if err != nil {
			return nil, errors.New("not in the form user:password@tcp(host:port)/database")
		}
		if cfg.Net != "tcp" && cfg.Net != "unix" { // a misplaced password would be taken for a network, and shown
			return nil, errors.New("the network is neither tcp nor unix: want user:password@tcp(host:port)/database")
		}
		return cfg, nil
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return nil, errors.New("not in the form mysql://user:password@host:port/database")
	}
	address := net.JoinHostPort(cmp.Or(u.Hostname(), "127.0.0.1"), cmp.Or(u.Port(), "3306"))
	query := ""
	if u.RawQuery != "" {
		query = "?" + u.RawQuery
	}
	cfg, err := driver.ParseDSN("tcp(" + address + ")/" + url.PathEscape(strings.TrimPrefix(u.Path, "/")) + query)
	if err != nil {
		return nil, errors.New("a parameter after the question mark is not understood")
	}
	cfg.User = u.User.Username()
	cfg.Passwd, _ = u.User.Password()
	return cfg, nil
}

// open connects and finds out what the server is.
func (c *Config) open(ctx context.Context) (*sql.DB, *driver.Config, *server, error) {
	cfg, err := c.parse()
	if err != nil {
		return nil, nil, nil, err
	}
	connector, err := driver.NewConnector(cfg)
	if err != nil {
		return nil, nil, nil, c.errorf("open", capture.Configuration, "DSN: %w", err)
	}
	db := sql.OpenDB(connector)
	srv, err := readServer(ctx, db)
	if err != nil {
		_ = db.Close()
		return nil, nil, nil, c.sqlError("open", err)
	}
	if c.Flavor != "" && c.Flavor != srv.flavor {
		_ = db.Close()
		return nil, nil, nil, c.errorf("open", capture.Configuration,
			"the server is %s, the configuration says flavour %s", srv.flavor, c.Flavor)
	}
	return db, cfg, srv, nil
}

// serverID is the id this replica registers with: stable over restarts, so that
// the server drops the connection that an earlier run may have left.
func (c *Config) serverID(address string, own uint32) uint32 {
	if c.ServerID != 0 {
		return c.ServerID
	}
	// Two processes on one host may read the same source: nothing that they
	// share makes a good id, and a new one for each run is as good as any.
	id := rand.Uint32() | 1<<31
	if id == own {
		id ^= 1
	}
	return id
}

// name is where a captured table lies.
type name struct{ database, table string }

func (n name) String() string { return quote(n.database) + "." + quote(n.table) }

func quote(identifier string) string {
	return "`" + strings.ReplaceAll(identifier, "`", "``") + "`"
}

// nameOf finds the table of the server that t means.
func nameOf(t change.Table, database string) name {
	if db, table, ok := strings.Cut(t.Name, "."); ok {
		return name{db, table}
	}
	return name{database, t.Name}
}

func (c *Config) errorf(op string, kind capture.Kind, format string, args ...any) *capture.Error {
	return &capture.Error{Op: op, Kind: kind, Source: c.Source, Err: fmt.Errorf(format, args...)}
}

// sqlError classifies an error of a statement.
func (c *Config) sqlError(op string, err error) error {
	var known *capture.Error
	if err == nil || errors.As(err, &known) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	e := &capture.Error{Op: op, Kind: capture.Transient, Source: c.Source, Err: err}
	var server *driver.MySQLError
	if errors.As(err, &server) {
		switch server.Number {
		case 1045, 1698:
			e.Kind = capture.Configuration
			e.Hint = "the server knows no such user from this host, or the password is another"
		case 1044, 1142, 1143, 1227, 1370:
			e.Kind = capture.Configuration
			e.Hint = "grant the user SELECT on the captured tables; `tributary check` then names what else it lacks"
		case 1049, 1054, 1146:
			e.Kind = capture.Configuration
		}
	}
	return e
}
