package mysql_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/capture/mysql"
)

// oracle is a MySQL server (root without password) for the tests of that
// flavour: TRIBUTARY_MYSQL_ADDRESS=host:port. They are skipped without.
func oracle(t *testing.T) string {
	at := os.Getenv("TRIBUTARY_MYSQL_ADDRESS")
	if at == "" {
		t.Skip("NO MYSQL SERVER (TRIBUTARY_MYSQL_ADDRESS): not tested")
	}
	return at
}

func TestMySQL(t *testing.T) {
	f := newFixtureAt(t, oracle(t), "t", `CREATE TABLE t (id INT PRIMARY KEY, member VARCHAR(10) NOT NULL, j JSON, u BIGINT UNSIGNED,
		d DECIMAL(12,3), f FLOAT, g DOUBLE, at DATETIME(6), ts TIMESTAMP(3) NULL, ti TIME(2), e ENUM('a','é'), s SET('x','y'),
		l VARCHAR(20) CHARACTER SET latin1, b BINARY(4), bl BLOB, y YEAR, bi BIT(9), i INT INVISIBLE DEFAULT 3)`)
	values := func(id int) string {
		return fmt.Sprintf(`(%d, 'm', '{"b": 1.0, "a": [null, true, "é\\n", 12345678901234567890], "d": 1e300}', 18446744073709551615,
			-12.345, 1.2345678, 0.1, '2024-02-29 01:02:03.000004', '2024-07-01 10:00:00.5', '-10:00:00.25', 'é', 'x,y', 'é€', 'ab', x'00ff', 1999, 257)`, id)
	}
	columns := "INSERT INTO t (id, member, j, u, d, f, g, at, ts, ti, e, s, l, b, bl, y, bi) VALUES "
	f.exec(columns+values(1), "INSERT INTO t (id, member) VALUES (2, 'n')")
	problems, err := mysql.Check(t.Context(), f.cfg)
	if err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
	r := f.run(newLog())
	r.log.await(t, func() bool { return len(r.log.marks) > 0 })
	f.exec(columns+values(3), "UPDATE t SET member='o', j=JSON_SET(j, '$.a', CAST('2024-01-01' AS DATE)) WHERE id=1",
		"SET SESSION binlog_transaction_compression=ON", columns+values(4), "UPDATE t SET id=9 WHERE id=2", "DELETE FROM t WHERE id=3")
	r.caughtUp()
	r.same("t")
	events := r.log.events("t")
	if events[0].Schema.AvroSchema() != events[2].Schema.AvroSchema() {
		t.Errorf("the snapshot's schema is not the log's:\n%+v\n%+v", events[0].Schema, events[2].Schema)
	}
	r.halt()
	f.exec("INSERT INTO t (id, member) VALUES (20, 'n')", "CREATE TABLE copy AS SELECT * FROM t")
	next := f.run(r.log.reopened())
	next.caughtUp()
	next.same("t")
	next.streaming()
	next.halt()

	other := next.log.reopened()
	other.resume.Durable.Token = strings.Replace(other.resume.Durable.Token, ":1-", ":1-99999", 1)
	f.run(other).failure(capture.History, "has executed")
}

func TestMySQLPurged(t *testing.T) {
	f := newFixtureAt(t, oracle(t), "t", ledger)
	r := f.run(newLog())
	r.caughtUp()
	r.halt()
	f.exec("INSERT INTO t VALUES (1, 'a', 1)", "FLUSH BINARY LOGS", "PURGE BINARY LOGS BEFORE NOW() + INTERVAL 1 DAY")
	f.run(r.log.reopened()).failure(capture.Gone, "tributary run --resnapshot src", "begins with")
}

func TestMySQLRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		statements []string
		word       string
	}{
		"xa":        {[]string{"XA START 'x'", "INSERT INTO t VALUES (1, 'a', 1)", "XA END 'x'", "XA PREPARE 'x'", "XA COMMIT 'x'"}, "XA"},
		"truncate":  {[]string{"TRUNCATE TABLE t"}, "TRUNCATE"},
		"statement": {[]string{"SET SESSION binlog_format=STATEMENT", "INSERT INTO t VALUES (1, 'a', 1)"}, "statement"},
		"partial":   {[]string{"ALTER TABLE t ADD j JSON", "INSERT INTO t VALUES (1, 'a', 1, JSON_ARRAY(1, 2, 3, 4, 5, 6, 7, 8, 9))", "SET SESSION binlog_row_value_options=PARTIAL_JSON", "UPDATE t SET j=JSON_SET(j, '$[0]', 2)"}, "JSON"},
		"vector":    {[]string{"ALTER TABLE t ADD v VECTOR(3)", "INSERT INTO t VALUES (1, 'a', 1, STRING_TO_VECTOR('[1,2,3]'))"}, "vector"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixtureAt(t, oracle(t), "t", ledger)
			r := f.run(newLog())
			r.log.await(t, func() bool { return len(r.log.marks) > 0 })
			f.exec(c.statements...)
			r.failure(capture.Unsupported, c.word)
		})
	}
}
