package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/change"
)

// Check looks at the server's and the tables' settings and returns all that is
// wrong, each with the statement that mends it. It changes nothing. The error is
// for what kept it from looking.
func Check(ctx context.Context, c Config) ([]capture.Problem, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	q, tables, err := c.openCatalog(ctx)
	if err != nil {
		return nil, err
	}
	defer q.Close(context.WithoutCancel(ctx))
	problems, err := c.check(ctx, q, tables)
	return problems, c.fail(ctx, "check", err)
}

func (c Config) check(ctx context.Context, q *pgx.Conn, tables []*tableInfo) ([]capture.Problem, error) {
	problems, err := c.checkServer(ctx, q)
	if err != nil {
		return nil, err
	}
	for _, t := range tables {
		problems = append(problems, c.checkTable(t)...)
	}
	pub, err := c.loadPublication(ctx, q)
	if err != nil {
		return nil, err
	}
	return append(problems, c.checkPublication(pub, tables)...), nil
}

const serverSQL = `
SELECT current_setting('server_version_num')::int, current_setting('wal_level'), current_setting('server_encoding'),
       current_setting('max_replication_slots')::int, current_setting('max_wal_senders')::int, pg_is_in_recovery(),
       (SELECT count(*) FROM pg_replication_slots WHERE slot_name <> $1),
       (SELECT count(*) FROM pg_stat_replication r
        WHERE NOT EXISTS (SELECT FROM pg_replication_slots s WHERE s.slot_name = $1 AND s.active_pid = r.pid)),
       (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user)
         OR EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_replication' AND pg_has_role(oid, 'MEMBER')),
       current_user::text`

func (c Config) checkServer(ctx context.Context, q *pgx.Conn) ([]capture.Problem, error) {
	var version, maxSlots, maxSenders, slots, senders int
	var level, encoding, user string
	var standby, replicates bool
	err := q.QueryRow(ctx, serverSQL, c.Slot).Scan(&version, &level, &encoding, &maxSlots, &maxSenders, &standby,
		&slots, &senders, &replicates, &user)
	if err != nil {
		return nil, err
	}
	var problems []capture.Problem
	add := func(bad bool, hint, what string, args ...any) {
		if bad {
			problems = append(problems, capture.Problem{Source: c.Source, What: fmt.Sprintf(what, args...), Hint: hint})
		}
	}
	add(version < 130000, "upgrade the server", "PostgreSQL %d.%d is too old: 13 is the oldest supported", version/10000, version%10000)
	add(level != "logical", "ALTER SYSTEM SET wal_level = 'logical'; then restart the server", "wal_level is %s, not logical", level)
	add(maxSlots <= slots, fmt.Sprintf("ALTER SYSTEM SET max_replication_slots = %d; then restart the server", slots+4),
		"max_replication_slots is %d and %d slots are taken", maxSlots, slots)
	add(maxSenders <= senders, fmt.Sprintf("ALTER SYSTEM SET max_wal_senders = %d; then restart the server", senders+4),
		"max_wal_senders is %d and %d are taken", maxSenders, senders)
	add(standby, "connect to the primary", "the server is a standby")
	add(encoding == "SQL_ASCII", "use a database whose encoding is known, best UTF8", "the database's encoding is SQL_ASCII: its texts cannot be read for certain")
	add(!replicates, "ALTER ROLE "+quote(user)+" REPLICATION", "role %s lacks REPLICATION", user)
	return problems, nil
}

var relationKinds = map[string]string{
	"p": "a partitioned table: list its partitions instead", "v": "a view", "m": "a materialized view", "f": "a foreign table",
}

// role is who connects, as a statement names it.
func (c Config) role() string {
	cfg, err := pgx.ParseConfig(c.DSN)
	if err != nil || cfg.User == "" {
		return "the role of the DSN"
	}
	return quote(cfg.User)
}

// checkTable finds what is wrong with one table.
func (c Config) checkTable(t *tableInfo) []capture.Problem {
	var problems []capture.Problem
	add := func(hint, what string, args ...any) {
		problems = append(problems, capture.Problem{Source: c.Source, Table: t.Table.Table, What: fmt.Sprintf(what, args...), Hint: hint})
	}
	if t.oid == 0 {
		add("correct the name in the mapping; a table outside the default schema is SCHEMA.TABLE", "there is no table %s.%s", t.namespace, t.name)
		return problems
	}
	if what, ok := relationKinds[t.kind]; ok {
		add("name a table", "it is %s", what)
		return problems
	}
	if t.persistence != "p" {
		add("ALTER TABLE "+t.quoted()+" SET LOGGED", "it is unlogged or temporary: its changes are not in the log")
	}
	if !t.readable {
		add("GRANT SELECT ON "+t.quoted()+" TO "+c.role(), "the role may not read it")
	}
	columns, keyed, routed := t.needed()
	if !keyed {
		add("ALTER TABLE "+t.quoted()+" ADD PRIMARY KEY (...)", "it has no primary key")
	}
	if !routed {
		add("correct the column in the mapping", "it has no column %s, which its route names", t.Route.Column)
	}
	var hidden []string
	for _, col := range columns {
		switch {
		case col.generated:
			add("route by a stored column", "column %s is generated: the log does not carry it", col.Name)
		case !t.identifies(col):
			hidden = append(hidden, col.Name)
		}
	}
	if len(hidden) > 0 {
		hint := "ALTER TABLE " + t.quoted() + " REPLICA IDENTITY FULL"
		if t.Route.Kind == change.Reference && t.immediate {
			hint = "ALTER TABLE " + t.quoted() + " REPLICA IDENTITY DEFAULT"
		}
		add(hint, "its replica identity hides %s: a row that leaves would not say whose it was", strings.Join(hidden, ", "))
	}
	return problems
}

// needed returns the columns that an old row must carry: the primary key's and
// the route's. keyed and routed say whether there are such.
func (t *tableInfo) needed() (columns []*columnInfo, keyed, routed bool) {
	for i := range t.columns {
		c := &t.columns[i]
		isRoute := t.Route.Kind != change.Reference && c.Name == t.Route.Column
		keyed, routed = keyed || c.Key, routed || isRoute
		if c.Key || isRoute {
			columns = append(columns, c)
		}
	}
	return columns, keyed, routed || t.Route.Kind == change.Reference
}
