package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/change"
)

// Check lists all that is wrong with the source's settings, tables and the
// user's privileges, each with what mends it. The error is for a server that
// could not be asked.
func Check(ctx context.Context, cfg Config) ([]capture.Problem, error) {
	db, dsn, srv, err := cfg.open(ctx)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	problems, err := cfg.checkServer(ctx, db, srv)
	if err != nil {
		return nil, cfg.sqlError("check", err)
	}
	granted, err := cfg.checkPrivileges(ctx, db, srv)
	if err != nil {
		return nil, cfg.sqlError("check", err)
	}
	problems = append(problems, granted...)
	image, err := variables(ctx, db, "binlog_row_image")
	if err != nil {
		return nil, cfg.sqlError("check", err)
	}
	for _, t := range cfg.Tables {
		c := &tableCheck{cfg: &cfg, db: db, target: &target{t, nameOf(t.Table, dsn.DBName)},
			image: strings.ToUpper(image["binlog_row_image"])}
		if err := c.all(ctx); err != nil {
			return nil, cfg.sqlError("check", err)
		}
		problems = append(problems, c.problems...)
	}
	return problems, nil
}

// Schemas describes the source's tables as its catalog has them now. A table that
// is not there is left out.
func Schemas(ctx context.Context, cfg Config) (map[change.Table]*change.Schema, error) {
	db, dsn, _, err := cfg.open(ctx)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	schemas := map[change.Table]*change.Schema{}
	for _, t := range cfg.Tables {
		n := nameOf(t.Table, dsn.DBName)
		described, err := readCatalogTable(ctx, db, n)
		if err != nil {
			return nil, cfg.sqlError("read the catalog", err)
		}
		if described == nil {
			continue
		}
		schemas[t.Table] = schemaOf(t.Table, described.columns)
	}
	return schemas, nil
}

// checkServer checks the settings that no row can be read without.
func (c *Config) checkServer(ctx context.Context, db querier, srv *server) ([]capture.Problem, error) {
	vars, err := variables(ctx, db, "log_bin", "binlog_format", "binlog_row_metadata", "binlog_row_value_options",
		"gtid_mode", "gtid_binlog_pos", "log_slave_updates", "log_replica_updates")
	if err != nil {
		return nil, err
	}
	var problems []capture.Problem
	add := func(what, hint string) {
		problems = append(problems, capture.Problem{Source: c.Source, What: what, Hint: hint})
	}
	if vars["log_bin"] != "ON" {
		add("the server writes no binary log", "in the server's configuration: log_bin=ON and a server_id; then restart it")
	}
	if f := vars["binlog_format"]; f != "" && f != "ROW" {
		add("binlog_format is "+f+": the log holds statements, not rows",
			"SET GLOBAL binlog_format=ROW, and in the server's configuration; reconnect all sessions")
	}
	switch m, ok := vars["binlog_row_metadata"]; {
	case !ok:
		add("the server is too old to name columns in its log", "MariaDB 10.5 or MySQL 8.0.1 at least")
	case m != "FULL":
		add("binlog_row_metadata is "+m+": the log does not name columns, signs, character sets and members",
			"SET GLOBAL binlog_row_metadata=FULL, and in the server's configuration")
	}
	if strings.Contains(vars["binlog_row_value_options"], "PARTIAL_JSON") {
		add("binlog_row_value_options is PARTIAL_JSON: the log holds parts of JSON values",
			"SET GLOBAL binlog_row_value_options='', and in the server's configuration")
	}
	if srv.flavor == MySQL && vars["gtid_mode"] != "ON" {
		add("gtid_mode is "+vars["gtid_mode"]+": transactions have no names to resume after",
			"in the server's configuration: gtid_mode=ON and enforce_gtid_consistency=ON; then restart it")
	}
	if domains := gtidDomains(vars["gtid_binlog_pos"]); srv.flavor == MariaDB && len(domains) > 1 {
		add(fmt.Sprintf("the log has several GTID domains (%s), which have no order between them", strings.Join(domains, ", ")),
			"let all writers use one gtid_domain_id; when the others' transactions are no longer in the log: FLUSH BINARY LOGS DELETE_DOMAIN_ID=(...)")
	}
	return problems, nil
}

func gtidDomains(position string) []string {
	var domains []string
	for _, gtid := range strings.Split(position, ",") {
		if domain, _, ok := strings.Cut(strings.TrimSpace(gtid), "-"); ok {
			domains = append(domains, domain)
		}
	}
	return domains
}

// checkPrivileges tries what reading needs of the server as a whole. Whether
// tables can be read is tried table by table.
func (c *Config) checkPrivileges(ctx context.Context, db *sql.DB, srv *server) ([]capture.Problem, error) {
	grants, err := grantedPrivileges(ctx, db)
	if err != nil {
		return nil, err
	}
	need := map[string][]string{
		"REPLICATION SLAVE": {"REPLICATION SLAVE"},
	}
	if srv.flavor == MariaDB {
		need["BINLOG MONITOR"] = []string{"BINLOG MONITOR", "REPLICATION CLIENT"}
	} else {
		need["REPLICATION CLIENT"] = []string{"REPLICATION CLIENT"}
		need["RELOAD"] = []string{"RELOAD"}
	}
	var problems []capture.Problem
	for _, privilege := range []string{"REPLICATION SLAVE", "BINLOG MONITOR", "REPLICATION CLIENT", "RELOAD"} {
		any, ok := need[privilege]
		if !ok || grants["ALL PRIVILEGES"] || grants[any[0]] || grants[any[len(any)-1]] {
			continue
		}
		problems = append(problems, capture.Problem{Source: c.Source,
			What: "the user lacks the privilege " + privilege,
			Hint: "GRANT " + privilege + " ON *.* TO " + currentUser(ctx, db)})
	}
	return problems, nil
}

// grantedPrivileges are the user's privileges on everything.
func grantedPrivileges(ctx context.Context, db *sql.DB) (map[string]bool, error) {
	rows, err := db.QueryContext(ctx, "SHOW GRANTS")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	granted := map[string]bool{}
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return nil, err
		}
		list, _, ok := strings.Cut(strings.TrimPrefix(line, "GRANT "), " ON *.* TO ")
		if !ok {
			continue
		}
		for _, p := range strings.Split(list, ",") {
			granted[strings.TrimSpace(p)] = true
		}
	}
	return granted, rows.Err()
}

func currentUser(ctx context.Context, db *sql.DB) string {
	var user string
	if db.QueryRowContext(ctx, "SELECT CURRENT_USER()").Scan(&user) != nil {
		return "the user"
	}
	name, host, _ := strings.Cut(user, "@")
	return "'" + name + "'@'" + host + "'"
}
