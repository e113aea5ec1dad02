package postgres_test

import (
	"context"
	"strings"
	"testing"

	"github.com/tributary-health/tributary/capture/postgres"
	"github.com/tributary-health/tributary/change"
)

func TestCheckListsEverythingAtOnce(t *testing.T) {
	d := database(t, "CREATE TABLE nokey (id int, member text)",
		"CREATE TABLE hidden (id int PRIMARY KEY, member text)",
		"CREATE TABLE nothing (id int PRIMARY KEY)", "ALTER TABLE nothing REPLICA IDENTITY NOTHING",
		"CREATE UNLOGGED TABLE fleeting (id int PRIMARY KEY)",
		"CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id)",
		"CREATE VIEW seen AS SELECT 1 AS id",
		"CREATE TABLE computed (id int PRIMARY KEY, member text GENERATED ALWAYS AS ('x') STORED)", "ALTER TABLE computed REPLICA IDENTITY FULL",
		"CREATE TABLE wrong (id int PRIMARY KEY)", "CREATE TABLE good (id int PRIMARY KEY, member text NOT NULL, UNIQUE (id, member))",
		"ALTER TABLE good REPLICA IDENTITY USING INDEX good_id_member_key",
		"DROP ROLE IF EXISTS weak", "CREATE ROLE weak LOGIN", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO weak", "REVOKE SELECT ON wrong FROM weak")
	cfg := d.config(member("nokey", "member"), member("hidden", "member"), reference("nothing"), reference("fleeting"), reference("parted"),
		reference("seen"), member("computed", "member"), member("wrong", "patient"), member("good", "member"), reference("absent"), reference("billing.absent"))
	cfg.DSN = strings.Replace(d.dsn, "postgres@", "weak@", 1)
	problems, err := postgres.Check(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, p := range problems {
		lines = append(lines, p.Table.Name+": "+p.What+" -- "+p.Hint)
	}
	all := strings.Join(lines, "\n")
	for _, want := range []string{
		`: role weak lacks REPLICATION -- ALTER ROLE "weak" REPLICATION`,
		"nokey: it has no primary key",
		`nokey: its replica identity hides member: a row that leaves would not say whose it was -- ALTER TABLE "public"."nokey" REPLICA IDENTITY FULL`,
		`hidden: its replica identity hides member: a row that leaves would not say whose it was -- ALTER TABLE "public"."hidden" REPLICA IDENTITY FULL`,
		`nothing: its replica identity hides id: a row that leaves would not say whose it was -- ALTER TABLE "public"."nothing" REPLICA IDENTITY DEFAULT`,
		"fleeting: it is unlogged", "parted: it is a partitioned table", "seen: it is a view", "computed: column member is generated",
		"wrong: it has no column patient", `wrong: the role may not read it -- GRANT SELECT ON "public"."wrong" TO "weak"`,
		"absent: there is no table public.absent", "billing.absent: there is no table billing.absent",
		"publication tributary_src does not exist, and the role may not create it -- CREATE PUBLICATION",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("missing %q in\n%s", want, all)
		}
	}
	if strings.Contains(all, "good:") {
		t.Errorf("a good table is faulted:\n%s", all)
	}
	if err := postgres.New(cfg, newLog()).Run(context.Background()); err == nil || !strings.Contains(err.Error(), "more: tributary check lists all") {
		t.Errorf("Run: %v", err)
	}
	schemas, err := postgres.Schemas(context.Background(), cfg)
	if s := schemas[change.Table{Source: "src", Name: "good"}]; err != nil || s == nil || len(s.Columns) != 2 {
		t.Errorf("schemas %v, %v", schemas, err)
	}
}

func TestCheckServer(t *testing.T) {
	if server == nil {
		t.Skip("SKIPPED: ", errNoBinaries)
	}
	own, err := startServer("wal_level=replica", "max_replication_slots=0")
	if err != nil {
		t.Fatal(err)
	}
	defer own.remove()
	d := own.database(t, items)
	problems, err := postgres.Check(context.Background(), d.config(member("items", "id")))
	if err != nil || len(problems) != 2 || !strings.Contains(problems[0].What, "wal_level") || !strings.Contains(problems[1].What, "max_replication_slots") {
		t.Errorf("problems %v, error %v", problems, err)
	}
	d.conn.Close(context.Background())
}
