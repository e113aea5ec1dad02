package mysql_test

import (
	"strings"
	"testing"

	"github.com/tributary-health/tributary/capture"
)

func TestRefusals(t *testing.T) {
	const other = "CREATE TABLE other (id INT PRIMARY KEY, member VARCHAR(10)) ENGINE=MyISAM"
	for name, c := range map[string]struct {
		statements []string
		kind       capture.Kind
		words      []string
	}{
		"xa": {[]string{"XA START 'x'", "INSERT INTO t VALUES (1, 'a', 1)", "XA END 'x'", "XA PREPARE 'x'", "XA COMMIT 'x'"},
			capture.Unsupported, []string{"XA", "binlog.0", "GTID"}},
		"statement": {[]string{"SET SESSION binlog_format=STATEMENT", "INSERT INTO t VALUES (1, 'a', 1)"},
			capture.Unsupported, []string{"statement", "binlog_format"}},
		"truncate":       {[]string{"TRUNCATE TABLE t"}, capture.Unsupported, []string{"TRUNCATE", "table t", "binlog.0", "--resnapshot src"}},
		"drop":           {[]string{"DROP TABLE IF EXISTS other, t"}, capture.Unsupported, []string{"DROP TABLE", "table t"}},
		"rename":         {[]string{"RENAME TABLE other TO o2, t TO t2"}, capture.Unsupported, []string{"RENAME", "table t"}},
		"alter rename":   {[]string{"ALTER TABLE t RENAME TO t2"}, capture.Unsupported, []string{"RENAME", "table t"}},
		"create replace": {[]string{"CREATE OR REPLACE TABLE t (id INT PRIMARY KEY)"}, capture.Unsupported, []string{"REPLACE"}},
		"domain":         {[]string{"SET SESSION gtid_domain_id=7", "INSERT INTO t VALUES (1, 'a', 1)"}, capture.Unsupported, []string{"domain: 7"}},
		"minimal insert": {[]string{"SET SESSION binlog_row_image=MINIMAL", "INSERT INTO t (id, member) VALUES (1, 'a')"},
			capture.Unsupported, []string{"column amount", "binlog_row_image=FULL"}},
		"minimal move": {[]string{"INSERT INTO t VALUES (1, 'a', 1)", "SET SESSION binlog_row_image=MINIMAL", "UPDATE t SET member='b'"},
			capture.Unsupported, []string{"table t", "did not send"}},
		"uuid": {[]string{"ALTER TABLE t ADD COLUMN u UUID", "INSERT INTO t VALUES (1, 'a', 1, UUID())"},
			capture.Unsupported, []string{"column u", "uuid"}},
		"compressed": {[]string{"ALTER TABLE t ADD COLUMN c TEXT COMPRESSED", "INSERT INTO t VALUES (1, 'a', 1, 'x')"},
			capture.Unsupported, []string{"COMPRESSED"}},
		"charset": {[]string{"ALTER TABLE t ADD COLUMN c TEXT CHARACTER SET big5", "INSERT INTO t VALUES (1, 'a', 1, 'x')"},
			capture.Unsupported, []string{"column c", "big5"}},
		"no key": {[]string{"ALTER TABLE t ADD COLUMN k INT, DROP PRIMARY KEY"}, capture.Unsupported, []string{"primary key"}},
		"cascade": {[]string{"CREATE TABLE p (id INT PRIMARY KEY)", "ALTER TABLE t ADD FOREIGN KEY (id) REFERENCES p (id) ON DELETE CASCADE"},
			capture.Unsupported, []string{"cascades"}},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			f := newFixture(t, "t", strings.Replace(ledger, "NOT NULL)", "NOT NULL DEFAULT 5)", 1), other)
			if name == "domain" {
				// Other tests go on without the second domain.
				t.Cleanup(func() {
					f := newFixture(t, "t", "FLUSH BINARY LOGS")
					f.exec("DO 1")
					purgeAll(f)
					f.exec("FLUSH BINARY LOGS DELETE_DOMAIN_ID=(7)")
				})
			}
			r := f.run(newLog())
			r.log.await(t, func() bool { return len(r.log.marks) > 0 })
			f.exec(c.statements...)
			r.failure(c.kind, c.words...)
		})
	}
}

func purgeAll(f *fixture) {
	f.Helper()
	f.exec("FLUSH BINARY LOGS")
	var file, position, a, b string
	if err := f.db.QueryRow("SHOW MASTER STATUS").Scan(&file, &position, &a, &b); err != nil {
		f.Fatal(err)
	}
	// The server keeps a file as long as its engine may need it to recover.
	for first := ""; first != file; {
		f.exec("PURGE BINARY LOGS TO '" + file + "'")
		if err := f.db.QueryRow("SHOW BINARY LOGS").Scan(&first, &position); err != nil {
			f.Fatal(err)
		}
	}
}

// TestHarmless goes on over what looks like the refused but is not.
func TestHarmless(t *testing.T) {
	f := newFixture(t, "t", ledger, "CREATE TABLE other (id INT PRIMARY KEY, c TEXT COMPRESSED, g GEOMETRY, v VARCHAR(9) COMPRESSED)",
		"CREATE TABLE my (id INT) ENGINE=MyISAM")
	r := f.run(newLog())
	r.log.await(t, func() bool { return len(r.log.marks) > 0 })
	f.exec("XA START 'one'", "INSERT INTO t VALUES (1, 'a', 1)", "XA END 'one'", "XA COMMIT 'one' ONE PHASE",
		"BEGIN", "INSERT INTO t VALUES (2, 'a', 1)", "SAVEPOINT s", "INSERT INTO t VALUES (3, 'a', 1)",
		"ROLLBACK TO SAVEPOINT s", "INSERT INTO t VALUES (4, 'b', 1)", "COMMIT",
		"BEGIN", "INSERT INTO my VALUES (1)", "INSERT INTO t VALUES (5, 'b', 1)", "COMMIT",
		"INSERT INTO other VALUES (1, 'x', POINT(1, 2), 'y')", "TRUNCATE TABLE other", "DROP TABLE other",
		"CREATE TABLE copy AS SELECT * FROM t", "CREATE TEMPORARY TABLE tt (id INT)", "DROP TEMPORARY TABLE tt",
		"ANALYZE TABLE t", "OPTIMIZE TABLE t", "ALTER TABLE t ADD INDEX (amount)", "ALTER TABLE t FORCE",
		"CREATE USER IF NOT EXISTS 'harmless'@'localhost'", "DROP USER 'harmless'@'localhost'",
		"CREATE VIEW w AS SELECT * FROM t",
		"INSERT INTO t SELECT 100+seq, REPEAT('m', 9), seq FROM seq_1_to_50")
	r.caughtUp()
	r.same("t")
}
