package mysql

import (
	"context"
	"errors"
	"fmt"
	"strings"

	driver "github.com/go-sql-driver/mysql"

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/change"
)

// tableCheck gathers what is wrong with one table.
type tableCheck struct {
	cfg      *Config
	db       querier
	target   *target
	image    string // binlog_row_image
	problems []capture.Problem
}

func (c *tableCheck) add(what, hint string) {
	c.problems = append(c.problems, capture.Problem{Source: c.cfg.Source, Table: c.target.Table.Table, What: what, Hint: hint})
}

func (c *tableCheck) all(ctx context.Context) error {
	described, err := readCatalogTable(ctx, c.db, c.target.name)
	if err != nil {
		return err
	}
	n := c.target.name
	if described == nil {
		c.add("there is no table "+n.String()+", or the user may not see it",
			"correct the configuration, or GRANT SELECT ON "+n.String()+" TO the user")
		return nil
	}
	switch described.kind {
	case "BASE TABLE":
	case "SYSTEM VERSIONED":
		c.add("the table is system-versioned: the log mixes its history with its rows",
			"ALTER TABLE "+n.String()+" DROP SYSTEM VERSIONING")
	default:
		c.add("it is no table but a "+strings.ToLower(described.kind), "capture the tables beneath it")
		return nil
	}
	c.engine(described)
	c.columns(described)
	c.rowImage(described)
	if err := c.cascades(ctx); err != nil {
		return err
	}
	return c.readable(ctx)
}

func (c *tableCheck) engine(t *catalogTable) {
	switch strings.ToLower(t.engine) {
	case "innodb", "rocksdb", "tokudb":
	default:
		c.add("the engine "+t.engine+" has no transactions", "ALTER TABLE "+c.target.name.String()+" ENGINE=InnoDB")
	}
}

func (c *tableCheck) columns(t *catalogTable) {
	n := c.target.name.String()
	schema := schemaOf(c.target.Table.Table, t.columns)
	if len(schema.KeyColumns()) == 0 {
		c.add("the table has no primary key", "ALTER TABLE "+n+" ADD PRIMARY KEY (...)")
	}
	if route := c.target.Route; route.Kind != change.Reference && schema.Column(route.Column) < 0 {
		c.add("there is no column "+route.Column+", which says whose the rows are", "correct the configuration")
	}
	for _, column := range t.columns {
		if why := t.refused[column.name]; why != "" {
			c.add("column "+column.name+" is "+why, "ALTER TABLE "+n+" MODIFY "+quote(column.name)+" ... to another type")
		}
	}
}

// rowImage checks that the log tells of a row that leaves whose it was, and of a
// new row all columns: with MINIMAL, columns that took their default are left
// out, and with NOBLOB the texts and blobs among them.
func (c *tableCheck) rowImage(t *catalogTable) {
	missing := ""
	switch c.image {
	case "MINIMAL":
		missing = "columns that took their default"
		if route := c.target.Route; route.Kind != change.Reference {
			for i := range t.columns {
				if t.columns[i].name == route.Column && !t.columns[i].key {
					missing = "of a deleted row the column " + route.Column + ", which says whose it was"
				}
			}
		}
	case "NOBLOB":
		for i := range t.columns {
			if t.columns[i].logicalBlob() {
				missing = "column " + t.columns[i].name + " of a row where it is not set or not changed"
				break
			}
		}
	}
	if missing != "" {
		c.add("binlog_row_image is "+c.image+": the log lacks "+missing,
			"SET GLOBAL binlog_row_image=FULL, and in the server's configuration; reconnect all sessions")
	}
}

const cascadingKeys = `
SELECT CONSTRAINT_NAME, REFERENCED_TABLE_NAME, DELETE_RULE, UPDATE_RULE
FROM information_schema.REFERENTIAL_CONSTRAINTS
WHERE CONSTRAINT_SCHEMA = ? AND TABLE_NAME = ?
  AND (DELETE_RULE IN ('CASCADE', 'SET NULL', 'SET DEFAULT') OR UPDATE_RULE IN ('CASCADE', 'SET NULL', 'SET DEFAULT'))
ORDER BY CONSTRAINT_NAME`

// cascades refuses foreign keys through which the storage engine changes the
// table's rows: it does so below the log.
func (c *tableCheck) cascades(ctx context.Context) error {
	keys, err := queryMaps(ctx, c.db, cascadingKeys, c.target.name.database, c.target.name.table)
	if err != nil {
		return err
	}
	for _, k := range keys {
		c.add(fmt.Sprintf("foreign key %s to %s is ON DELETE %s ON UPDATE %s: what it changes is not in the log",
			k["CONSTRAINT_NAME"], k["REFERENCED_TABLE_NAME"], k["DELETE_RULE"], k["UPDATE_RULE"]),
			fmt.Sprintf("ALTER TABLE %s DROP FOREIGN KEY %s, and ADD it with ON DELETE RESTRICT ON UPDATE RESTRICT",
				c.target.name, quote(k["CONSTRAINT_NAME"])))
	}
	return nil
}

// readable tries whether the user may read the table.
func (c *tableCheck) readable(ctx context.Context) error {
	_, err := queryMaps(ctx, c.db, "SELECT 1 FROM "+c.target.name.String()+" LIMIT 0")
	var refused *driver.MySQLError
	if errors.As(err, &refused) && (refused.Number == 1142 || refused.Number == 1143) {
		c.add("the user may not read the table", "GRANT SELECT ON "+c.target.name.String()+" TO the user")
		return nil
	}
	return err
}
