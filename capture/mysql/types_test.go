package mysql_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/capture/mysql"
	"github.com/tributary-health/tributary/change"
)

// TestTypes takes every testdata/types/*.txtar: a table, its rows, and what the
// log gives for them; a snapshot of the same rows must give the same. Lines of
// rows are value lists for INSERT; of want: the row's values but id and member,
// quoted, or NULL.
func TestTypes(t *testing.T) {
	files, err := filepath.Glob("testdata/types/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			part := map[string][]string{}
			for _, f := range txtar.Parse(text).Files {
				part[f.Name] = strings.Split(strings.TrimSpace(string(f.Data)), "\n")
			}
			columns := strings.Join(part["columns"], " ")
			f := newFixture(t, "t", "SET SESSION sql_mode=''",
				"CREATE TABLE t (id INT PRIMARY KEY, member VARCHAR(10) NOT NULL, "+columns+")")
			r := f.run(newLog())
			r.log.await(t, func() bool { return len(r.log.marks) > 0 })
			statements := []string{"SET NAMES utf8mb4", "SET SESSION time_zone='+02:00', sql_mode=''"}
			for i, row := range part["rows"] {
				statements = append(statements, fmt.Sprintf("INSERT INTO t VALUES (%d, 'm', %s)", i+1, row))
			}
			f.exec(statements...)
			r.caughtUp()
			events := r.log.events("t")
			var got []string
			for _, c := range events[0].Schema.Columns[2:] {
				got = append(got, fmt.Sprintf("%s %s %s", c.Name, c.Type, c.Native))
			}
			compare(t, "types", got, part["types"])
			got = nil
			for _, ev := range events {
				var values []string
				for _, v := range ev.After[2:] {
					values = append(values, printValue(v))
				}
				got = append(got, strings.Join(values, " "))
			}
			compare(t, "values", got, part["want"])
			r.same("t")
			schemas, err := mysql.Schemas(t.Context(), f.cfg)
			if err != nil {
				t.Fatal(err)
			}
			catalog := schemas[change.Table{Source: "src", Name: "t"}]
			if catalog.AvroSchema() != events[0].Schema.AvroSchema() {
				t.Errorf("the catalog's schema is not the log's:\n%+v\n%+v", catalog, events[0].Schema)
			}
		})
	}
}

func printValue(v change.Value) string {
	switch v.State {
	case change.Null:
		return "NULL"
	case change.Unchanged:
		return "UNCHANGED"
	}
	return fmt.Sprintf("%q", v.Text)
}

func compare(t *testing.T, what string, got, want []string) {
	t.Helper()
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("%s: got\n%s\nwant\n%s", what, g, w)
	}
}

// TestEveryByte compares all bytes of the one-byte character set, and strings
// around the length where their lengths take two bytes.
func TestEveryByte(t *testing.T) {
	f := newFixture(t, "t", "CREATE TABLE t (id INT PRIMARY KEY, member VARCHAR(10), l VARCHAR(300) CHARACTER SET latin1, b VARBINARY(300), c CHAR(200) CHARACTER SET utf8mb4)")
	r := f.run(newLog())
	r.log.await(t, func() bool { return len(r.log.marks) > 0 })
	f.exec("INSERT INTO t SELECT seq, 'm', UNHEX(LPAD(HEX(seq), 2, '0')), UNHEX(LPAD(HEX(seq), 2, '0')), REPEAT('ä', seq MOD 200) FROM seq_0_to_255",
		"INSERT INTO t SELECT 1000+seq, 'm', REPEAT('x', seq), REPEAT('y', seq), REPEAT('€', seq-100) FROM seq_250_to_260")
	r.caughtUp()
	r.same("t")
}

func TestCheckListsAll(t *testing.T) {
	f := newFixture(t, "good nokey myisam child:p_id gone noroute types",
		"CREATE TABLE good (id INT PRIMARY KEY, member INT)",
		"CREATE TABLE nokey (id INT, member INT)",
		"CREATE TABLE myisam (id INT PRIMARY KEY, member INT) ENGINE=MyISAM",
		"CREATE TABLE child (id INT PRIMARY KEY, p_id INT, CONSTRAINT fk FOREIGN KEY (p_id) REFERENCES good (id) ON DELETE CASCADE ON UPDATE SET NULL)",
		"CREATE TABLE noroute (id INT PRIMARY KEY)",
		"CREATE TABLE types (id INT PRIMARY KEY, member INT, u UUID, i INET6, g GEOMETRY, c TEXT COMPRESSED, j TEXT CHARACTER SET big5)",
		"DROP USER IF EXISTS 'poor'@'%'", "CREATE USER 'poor'@'%'", "GRANT SELECT ON good TO 'poor'@'%'")
	f.global("binlog_row_image", "MINIMAL")
	f.global("binlog_row_metadata", "MINIMAL")
	f.global("binlog_format", "MIXED")
	check := func(user string) string {
		cfg := f.cfg
		cfg.DSN = strings.Replace(cfg.DSN, "root@", user+"@", 1)
		problems, err := mysql.Check(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, p := range problems {
			if p.Hint == "" || p.Source != "src" {
				t.Errorf("no hint or source: %+v", p)
			}
			fmt.Fprintf(&b, "%s: %s -> %s\n", p.Table.Name, p.What, p.Hint)
		}
		return b.String()
	}
	got := check("root")
	for _, want := range []string{
		": binlog_format is MIXED", "SET GLOBAL binlog_format=ROW", ": binlog_row_metadata is MINIMAL",
		"good: binlog_row_image is MINIMAL: the log lacks of a deleted row the column member",
		"nokey: the table has no primary key", "myisam: the engine MyISAM", "child: foreign key fk to good is ON DELETE CASCADE ON UPDATE SET NULL",
		"DROP FOREIGN KEY `fk`", "gone: there is no table", "noroute: there is no column member",
		"types: column u is of type uuid", "types: column i is of type inet6", "types: column g is of type geometry",
		"types: column c is a COMPRESSED column", `types: column j is in the character set "big5"`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the list lacks %q:\n%s", want, got)
		}
	}
	got = check("poor")
	for _, want := range []string{"REPLICATION SLAVE ON *.* TO 'poor'@'%'", "BINLOG MONITOR ON *.*", "nokey: there is no table"} {
		if !strings.Contains(got, want) {
			t.Errorf("the list lacks %q:\n%s", want, got)
		}
	}
	r := f.run(newLog())
	r.failure(capture.Configuration, "binlog_format is MIXED", "SET GLOBAL binlog_format=ROW")
}

func TestCheckOfAGoodSource(t *testing.T) {
	f := newFixture(t, "t", ledger, "DROP USER IF EXISTS 'tributary'@'%'",
		"CREATE USER 'tributary'@'%' IDENTIFIED BY 's3cret'", "GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO 'tributary'@'%'",
		"GRANT SELECT ON t TO 'tributary'@'%'", "INSERT INTO t VALUES (1, 'a', 5)")
	f.cfg.DSN = strings.Replace(strings.Replace(f.cfg.DSN, "root@tcp(", "mysql://tributary:s3cret@", 1), ")", "", 1)
	problems, err := mysql.Check(t.Context(), f.cfg)
	if err != nil || len(problems) != 0 {
		t.Fatal(problems, err)
	}
	r := f.run(newLog())
	r.log.await(t, func() bool { return len(r.log.marks) > 0 })
	f.exec("INSERT INTO t VALUES (2, 'b', 6)")
	r.caughtUp()
	if n := len(r.log.events("t")); n != 2 {
		t.Errorf("%d events with the least privileges, want 2", n)
	}
}

func TestBadConfig(t *testing.T) {
	if address == "" {
		t.Skip("NO MARIADB SERVER: not tested")
	}
	for _, c := range []struct {
		cfg  mysql.Config
		kind capture.Kind
		want string
	}{
		{mysql.Config{DSN: "nonsense with s3cret"}, capture.Configuration, "not in the form"},
		{mysql.Config{DSN: "mysql://u:s3cret@127.0.0.1"}, capture.Configuration, "names no database"},
		{mysql.Config{DSN: "u:s3cret@tcp(127.0.0.1:1)/d"}, capture.Transient, "refused"},
		{mysql.Config{DSN: "nobody:s3cret@tcp(" + address + ")/d"}, capture.Configuration, "denied"},
		{mysql.Config{DSN: dsn("mysql"), Flavor: mysql.MySQL}, capture.Configuration, "the server is mariadb"},
	} {
		c.cfg.Source = "src"
		_, err := mysql.Check(t.Context(), c.cfg)
		e, ok := err.(*capture.Error)
		if !ok || e.Kind != c.kind || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %s with %q", err, c.kind, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the error holds the password: %v", err)
		}
	}
}
