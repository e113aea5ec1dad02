package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/tributary-health/tributary/capture"
)

// publication is a publication as the catalog has it; nil if there is none.
type publication struct {
	all     bool // FOR ALL TABLES, or of whole schemas
	ops     bool // publishes all operations
	owned   bool
	tables  map[string]bool // by quoted name; true if filtered or only some columns
	creator bool            // the role may create publications
}

// loadPublication reads the publication. With exists false only creator is set.
func (c Config) loadPublication(ctx context.Context, q *pgx.Conn) (pub *publication, err error) {
	pub = &publication{}
	err = q.QueryRow(ctx, `SELECT has_database_privilege(current_database(), 'CREATE')`).Scan(&pub.creator)
	if err != nil {
		return nil, err
	}
	err = q.QueryRow(ctx, `
SELECT puballtables, pubinsert AND pubupdate AND pubdelete AND pubtruncate, pg_has_role(pubowner, 'USAGE')
FROM pg_publication WHERE pubname = $1`, c.Publication).Scan(&pub.all, &pub.ops, &pub.owned)
	if err == pgx.ErrNoRows {
		return pub, nil
	}
	if err != nil {
		return nil, err
	}
	var version int
	if err := q.QueryRow(ctx, `SELECT current_setting('server_version_num')::int`).Scan(&version); err != nil {
		return nil, err
	}
	partial := "false"
	if version >= 150000 {
		partial = "pr.prqual IS NOT NULL OR pr.prattrs IS NOT NULL"
		err := q.QueryRow(ctx, `SELECT $2 OR EXISTS (SELECT FROM pg_publication_namespace pn
			JOIN pg_publication p ON p.oid = pn.pnpubid WHERE p.pubname = $1)`, c.Publication, pub.all).Scan(&pub.all)
		if err != nil {
			return nil, err
		}
	}
	pub.tables = make(map[string]bool)
	rows, err := q.Query(ctx, `SELECT n.nspname, c.relname, `+partial+`
FROM pg_publication_rel pr JOIN pg_publication p ON p.oid = pr.prpubid
JOIN pg_class c ON c.oid = pr.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE p.pubname = $1`, c.Publication)
	if err != nil {
		return nil, err
	}
	var ns, name string
	var some bool
	_, err = pgx.ForEachRow(rows, []any{&ns, &name, &some}, func() error {
		pub.tables[quote(ns)+"."+quote(name)] = some
		return nil
	})
	return pub, err
}

func (p *publication) exists() bool { return p.tables != nil }

// missing returns the tables that the publication does not publish whole.
func (p *publication) missing(tables []*tableInfo) []*tableInfo {
	var out []*tableInfo
	for _, t := range tables {
		if some, ok := p.tables[t.quoted()]; t.oid != 0 && (!ok || some) {
			out = append(out, t)
		}
	}
	return out
}

// exact reports whether it publishes all of these tables and nothing else.
func (p *publication) exact(tables []*tableInfo) bool {
	return p.exists() && p.ops && !p.all && len(p.missing(tables)) == 0 && len(p.tables) == len(tables)
}

func tableList(tables []*tableInfo) string {
	names := make([]string, 0, len(tables))
	for _, t := range tables {
		if t.oid != 0 {
			names = append(names, "ONLY "+t.quoted())
		}
	}
	return strings.Join(names, ", ")
}

const publishAll = "publish = 'insert, update, delete, truncate'"

func (c Config) createSQL(tables []*tableInfo) string {
	return "CREATE PUBLICATION " + quote(c.Publication) + " FOR TABLE " + tableList(tables) + " WITH (" + publishAll + ")"
}

// checkPublication finds what keeps the publication from being made right.
func (c Config) checkPublication(p *publication, tables []*tableInfo) []capture.Problem {
	one := func(what, hint string) []capture.Problem {
		return []capture.Problem{{Source: c.Source, What: what, Hint: hint}}
	}
	owned := true
	for _, t := range tables {
		owned = owned && (t.oid == 0 || t.owned)
	}
	switch {
	case p.exists() && p.all:
		return one("publication "+c.Publication+" is for all tables: a table added later would be captured without its first rows",
			"DROP PUBLICATION "+quote(c.Publication)+"; the right one is then made at the start")
	case p.exact(tables):
		return nil
	case !p.exists() && !(p.creator && owned):
		return one("publication "+c.Publication+" does not exist, and the role may not create it", c.createSQL(tables))
	case p.exists() && !(p.owned && owned):
		return one("publication "+c.Publication+" is not for exactly the captured tables and all operations, and the role may not alter it",
			"ALTER PUBLICATION "+quote(c.Publication)+" SET TABLE "+tableList(tables)+"; ALTER PUBLICATION "+quote(c.Publication)+" SET ("+publishAll+")")
	}
	return nil
}

// publish makes the publication right before a snapshot.
func (c Config) publish(ctx context.Context, q *pgx.Conn, tables []*tableInfo) error {
	p, err := c.loadPublication(ctx, q)
	if err != nil || p.exact(tables) {
		return err
	}
	if !p.exists() {
		_, err = q.Exec(ctx, c.createSQL(tables))
		return err
	}
	if _, err := q.Exec(ctx, "ALTER PUBLICATION "+quote(c.Publication)+" SET TABLE "+tableList(tables)); err != nil {
		return err
	}
	_, err = q.Exec(ctx, "ALTER PUBLICATION "+quote(c.Publication)+" SET ("+publishAll+")")
	return err
}

// republish looks at the publication before the log is read on. Tables that are
// no longer captured leave it. A table that it did not publish may have changed
// unseen, and one that is new was never read: only a snapshot helps.
func (c Config) republish(ctx context.Context, q *pgx.Conn, tables []*tableInfo) error {
	p, err := c.loadPublication(ctx, q)
	if err != nil || p.exact(tables) {
		return err
	}
	lost := func(table, format string, args ...any) error {
		return &capture.Error{Op: "resume", Kind: capture.Gone, Source: c.Source, Table: table,
			Err: fmt.Errorf(format, args...), Hint: c.resnapshotHint()}
	}
	missing := p.missing(tables)
	switch {
	case !p.exists():
		return lost("", "publication %s is gone", c.Publication)
	case !p.ops:
		return lost("", "publication %s does not publish all operations", c.Publication)
	case len(missing) > 0:
		return lost(missing[0].Table.Table.Name, "publication %s did not have the whole table: it is newly captured, or changes were left out", c.Publication)
	}
	_, err = q.Exec(ctx, "ALTER PUBLICATION "+quote(c.Publication)+" SET TABLE "+tableList(tables))
	return err
}
