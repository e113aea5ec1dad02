package postgres_test

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/capture/postgres"
	"github.com/tributary-health/tributary/change"
)

const patience = 30 * time.Second

func member(name, column string) capture.Table {
	return capture.Table{Table: change.Table{Source: "src", Name: name}, Route: change.Route{Kind: change.ByMember, Column: column}}
}

func reference(name string) capture.Table {
	return capture.Table{Table: change.Table{Source: "src", Name: name}, Route: change.Route{Kind: change.Reference}}
}

func (d *db) config(tables ...capture.Table) postgres.Config {
	return postgres.Config{Source: "src", DSN: d.dsn, Slot: "slot_" + d.name, Tables: tables, Heartbeat: 20 * time.Millisecond}
}

// running is a Reader at work.
type running struct {
	t    testing.TB
	log  *memLog
	stop context.CancelFunc
	done chan error
}

func run(t testing.TB, log *memLog, cfg postgres.Config) *running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, log: log, stop: cancel, done: make(chan error, 1)}
	log.mu.Lock()
	log.stop = cancel
	log.mu.Unlock()
	reader := postgres.New(cfg, log)
	go func() { r.done <- reader.Run(ctx) }()
	t.Cleanup(func() { r.end() })
	return r
}

// end stops the reader and returns its error, nil if it only stopped.
func (r *running) end() error {
	r.stop()
	err := <-r.done
	r.done <- err
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// fails waits for the reader to stop by itself and returns its error.
func (r *running) fails(kind capture.Kind) *capture.Error {
	r.t.Helper()
	select {
	case err := <-r.done:
		r.done <- err
		var ce *capture.Error
		if !errors.As(err, &ce) || ce.Kind != kind {
			r.t.Fatalf("reader stopped with %v, want kind %s", err, kind)
		}
		return ce
	case <-time.After(patience):
		r.t.Fatalf("reader goes on, want kind %s", kind)
		return nil
	}
}

// await waits for the log, or the reader's end.
func (r *running) await(what string, done func(*memLog) bool) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	go func() {
		select {
		case err := <-r.done:
			r.done <- err
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := r.log.await(ctx, done); err != nil {
		select {
		case stopped := <-r.done:
			r.done <- stopped
			r.t.Fatalf("waiting for %s: reader stopped: %v", what, stopped)
		default:
			r.t.Fatalf("waiting for %s: %v", what, err)
		}
	}
}

// caughtUp waits until all that the database has committed is durable.
func (r *running) caughtUp(d *db) {
	r.t.Helper()
	head, err := pglogrepl.ParseLSN(d.text("SELECT pg_current_wal_insert_lsn()::text"))
	if err != nil {
		r.t.Fatal(err)
	}
	d.exec("SELECT pg_switch_wal()") // so that there is something beyond it
	r.await("the server's end", func(l *memLog) bool {
		lsn, _ := pglogrepl.ParseLSN(l.durable.Token)
		return lsn >= head
	})
}

// same compares a table with what the log makes of it.
func (d *db) same(log *memLog, table, columns string) *state {
	d.t.Helper()
	st, err := log.apply()
	if err != nil {
		d.t.Fatal(err)
	}
	want := d.rows("SELECT concat_ws('|', " + columns + ") FROM " + table + " ORDER BY id")
	if got := st.dump(table); got != want {
		d.t.Fatalf("table %s: the log gives\n%s\nthe database has\n%s", table, clip(got), clip(want))
	}
	return st
}

func clip(s string) string {
	if len(s) > 2000 {
		return s[:2000] + "..."
	}
	return s
}

const items = `CREATE TABLE items (id bigint PRIMARY KEY, member text, n int NOT NULL DEFAULT 0, note text)`

// writers change rows until stopped: each owns ids of its own residue.
func writers(d *db, n int) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	for w := range n {
		group.Go(func() {
			conn, err := pgx.Connect(context.Background(), d.dsn)
			if err != nil {
				d.t.Error(err)
				return
			}
			defer conn.Close(context.Background())
			for i := 0; ctx.Err() == nil; i++ {
				id := (rand.Int64N(40))*int64(n) + int64(w)
				sql := fmt.Sprintf(`BEGIN;
					INSERT INTO items VALUES (%[1]d, 'm%[2]d', 1, repeat('x', %[3]d)) ON CONFLICT (id) DO UPDATE SET n = items.n + 1;
					UPDATE items SET member = 'm' || (n %% 7) WHERE id = %[1]d;
					DELETE FROM items WHERE id = %[4]d; COMMIT`, id, i%5, rand.IntN(3000), (id+int64(n)*7)%(40*int64(n)))
				if _, err := conn.Exec(context.Background(), sql); err != nil {
					d.t.Error(err)
					return
				}
			}
		})
	}
	stop = func() { cancel(); group.Wait() }
	d.t.Cleanup(stop)
	return stop
}

func TestSnapshotHandsOverWithoutGapOrOverlap(t *testing.T) {
	for range 5 {
		d := database(t, items, "ALTER TABLE items REPLICA IDENTITY FULL",
			"INSERT INTO items SELECT i, 'm' || i % 7, 0, repeat('y', 500) FROM generate_series(1000, 4000) i")
		stop := writers(d, 3)
		log := newLog()
		r := run(t, log, d.config(member("items", "member")))
		r.await("rows after the snapshot", func(l *memLog) bool {
			n := 0
			for i := len(l.entries) - 1; i >= 0 && (l.entries[i].tx == nil || l.entries[i].tx.Status != change.SnapshotEnded); i-- {
				n++
			}
			return n < len(l.entries) && n > 200
		})
		stop()
		r.caughtUp(d)
		d.same(log, "items", "id, coalesce(member,'NULL'), n, coalesce(note,'NULL')")
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestResumeAfterAnyStop stops the reader wherever it is, lets the log lose any
// part of what was not acknowledged, and goes on; the server forgets what was
// confirmed, so that a confirmation before durability shows as loss.
func TestResumeAfterAnyStop(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	d := database(t, items, "ALTER TABLE items REPLICA IDENTITY FULL", "CREATE TABLE counts (id int PRIMARY KEY, n bigint)",
		"INSERT INTO counts VALUES (1, 0)",
		"INSERT INTO items SELECT i, 'm' || i % 7, 0, 'z' FROM generate_series(1000, 1400) i")
	cfg := d.config(member("items", "member"), reference("counts"))
	cfg.Heartbeat = 3 * time.Millisecond
	log := newLog()
	stop := writers(d, 2)
	for i := range 60 {
		log.mu.Lock()
		log.hold = rnd.IntN(2) == 0
		log.after = 1 + rnd.IntN(900)
		hold := log.hold
		log.mu.Unlock()
		r := run(t, log, cfg)
		for hold { // acknowledge now and then, never all
			select {
			case err := <-r.done:
				r.done <- err
				hold = false
			case <-time.After(time.Duration(rnd.IntN(8)) * time.Millisecond):
				log.ack(rnd.IntN(40))
			}
		}
		select {
		case err := <-r.done:
			r.done <- err
		case <-time.After(patience):
			t.Fatal("the reader does not come to its stop")
		}
		if err := r.end(); err != nil {
			var ce *capture.Error
			if errors.As(err, &ce) && ce.Kind == capture.Transient {
				t.Log(err)
			} else {
				t.Fatalf("round %d: %v", i, err)
			}
		}
		d.exec("UPDATE counts SET n = n + 1", "CHECKPOINT")
		log = log.crash(rnd.IntN(60))
	}
	stop()
	r := run(t, log, cfg)
	r.caughtUp(d)
	d.same(log, "items", "id, coalesce(member,'NULL'), n, coalesce(note,'NULL')")
	d.same(log, "counts", "id, n")
}

func TestSnapshotThatDiedLeavesNoGhosts(t *testing.T) {
	d := database(t, items, "ALTER TABLE items REPLICA IDENTITY FULL",
		"INSERT INTO items SELECT i, 'm', 0, 'z' FROM generate_series(1, 500) i")
	cfg := d.config(member("items", "member"))
	log := newLog()
	for range 3 {
		log.after = 250
		r := run(t, log, cfg)
		<-r.done
		r.done <- nil
		d.exec("DELETE FROM items WHERE id IN (SELECT id FROM items ORDER BY id LIMIT 20)")
		log = log.crash(1000)
	}
	r := run(t, log, cfg)
	r.caughtUp(d)
	d.same(log, "items", "id, member, n, note")
}

func TestTypes(t *testing.T) {
	d := database(t, "CREATE TYPE mood AS ENUM ('sad', 'so so')", "CREATE DOMAIN posint AS int CHECK (VALUE > 0)",
		"CREATE DOMAIN posintmood AS mood", "CREATE TYPE pair AS (a int, b text)",
		// Settings that would change how values print must not matter.
		"ALTER ROLE postgres IN DATABASE "+fmt.Sprintf("t%d", server1().dbs+1)+" SET TimeZone = 'Asia/Tokyo'",
		"ALTER ROLE postgres IN DATABASE "+fmt.Sprintf("t%d", server1().dbs+1)+" SET DateStyle = 'German'",
		"ALTER ROLE postgres IN DATABASE "+fmt.Sprintf("t%d", server1().dbs+1)+" SET bytea_output = 'escape'")
	f, err := os.Open("testdata/types.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	type typeCase struct{ native, sql, logical, text string }
	var cases []typeCase
	columns, values := []string{"id int PRIMARY KEY"}, []string{"1"}
	for in := bufio.NewScanner(f); in.Scan(); {
		if p := strings.Split(in.Text(), " | "); len(p) == 4 && !strings.HasPrefix(p[0], "#") {
			cases = append(cases, typeCase{p[0], p[1], p[2], p[3]})
			columns = append(columns, fmt.Sprintf("c%d %s", len(cases), p[0]))
			values = append(values, "("+p[1]+")::"+p[0])
		}
	}
	if len(cases) < 50 {
		t.Fatalf("only %d cases", len(cases))
	}
	d.exec("SET TimeZone = 'UTC'", "SET DateStyle = 'ISO'", "CREATE TABLE kinds ("+strings.Join(columns, ", ")+", gen int GENERATED ALWAYS AS (id + 1) STORED)",
		"INSERT INTO kinds VALUES ("+strings.Join(values, ", ")+")")
	log := newLog()
	r := run(t, log, d.config(reference("kinds")))
	r.caughtUp(d)
	d.exec("INSERT INTO kinds VALUES (2, " + strings.Join(values[1:], ", ") + ")")
	r.caughtUp(d)
	var rows []*change.Event
	for _, e := range log.entries {
		if e.ev != nil {
			rows = append(rows, e.ev)
		}
	}
	if len(rows) != 2 || rows[0].Op != change.Read || rows[1].Op != change.Create {
		t.Fatalf("%d events", len(rows))
	}
	for _, ev := range rows {
		if len(ev.After) != len(cases)+1 {
			t.Fatalf("%d columns, want %d without the generated one", len(ev.After), len(cases)+1)
		}
		for i, tt := range cases {
			want := change.Of(tt.text)
			if b, ok := strings.CutPrefix(tt.text, `\x`); ok && tt.logical == "bytes" {
				raw, _ := hex.DecodeString(b)
				want = change.Of(string(raw))
			}
			if tt.text == "NULL" {
				want = change.Value{}
			}
			if got := ev.After[i+1]; got != want {
				t.Errorf("%c %s %s: %q, want %q", ev.Op, tt.native, tt.sql, got.Text, want.Text)
			}
			if got := ev.Schema.Columns[i+1].Type.String(); got != tt.logical {
				t.Errorf("%s: type %s, want %s", tt.native, got, tt.logical)
			}
		}
	}
	native := rows[0].Schema.Columns
	for i := range cases {
		if cases[i].native == "numeric(12,2)" && native[i+1].Native != "numeric(12,2)" {
			t.Errorf("native type %q", native[i+1].Native)
		}
	}
	if rows[0].Schema.Columns[0].Nullable || !rows[0].Schema.Columns[0].Key {
		t.Error("id is nullable or no key")
	}
}

func server1() *pgServer {
	if server == nil {
		return &pgServer{}
	}
	return server
}

// changes runs the statements under a reader and returns the events they made.
func changes(t *testing.T, d *db, tables []capture.Table, statements ...string) []entry {
	t.Helper()
	log := newLog()
	r := run(t, log, d.config(tables...))
	r.caughtUp(d)
	log.mu.Lock()
	from := len(log.entries)
	log.mu.Unlock()
	d.exec(statements...)
	r.caughtUp(d)
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	var rows []entry
	for _, e := range log.entries[from:] {
		if e.ev != nil {
			rows = append(rows, e)
		}
	}
	return rows
}

// show prints an entry: operation, route, old row, new row.
func show(e entry) string {
	side := func(row []change.Value) string {
		if row == nil {
			return "-"
		}
		return strings.ReplaceAll(rowText(row, nil), "\x1f", "|")
	}
	s := fmt.Sprintf("%c@%s %s > %s", e.ev.Op, e.route, side(e.ev.Before), side(e.ev.After))
	return strings.ReplaceAll(s, strings.Repeat("x", 100), "X")
}

func TestRowsThatMoveOrLeave(t *testing.T) {
	long := "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 400) i)"
	for _, tt := range []struct {
		name, identity string
		want           []string
	}{
		{"full", "FULL", []string{
			"u@a 1|a|0|LONG > 1|a|1|LONG", "d@a 1|a|1|LONG > -", "c@b - > 1|b|1|LONG",
			"d@b 1|b|1|LONG > -", "c@b - > 9|b|1|LONG", "d@b 9|b|1|LONG > -", "c@ - > 9|NULL|1|LONG", "d@ 9|NULL|1|LONG > -"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := database(t, items, "ALTER TABLE items REPLICA IDENTITY "+tt.identity, "INSERT INTO items VALUES (1, 'a', 0, "+long+")")
			text := d.text("SELECT note FROM items")
			got := changes(t, d, []capture.Table{member("items", "member")},
				"UPDATE items SET n = 1", "UPDATE items SET member = 'b'", "UPDATE items SET id = 9", "UPDATE items SET member = NULL", "DELETE FROM items")
			compare(t, got, text, tt.want)
		})
	}
	t.Run("index", func(t *testing.T) {
		d := database(t, "CREATE TABLE items (id bigint PRIMARY KEY, member text NOT NULL, n int, note text)",
			"CREATE UNIQUE INDEX who ON items (member, id)", "ALTER TABLE items REPLICA IDENTITY USING INDEX who",
			"INSERT INTO items VALUES (1, 'a', 0, "+long+")")
		got := changes(t, d, []capture.Table{member("items", "member")}, "UPDATE items SET n = 1", "UPDATE items SET member = 'b', note = 'short'", "DELETE FROM items")
		compare(t, got, "", []string{"u@a 1|a|UNKNOWN|UNKNOWN > 1|a|1|UNKNOWN", "d@a 1|a|UNKNOWN|UNKNOWN > -", "c@b - > 1|b|1|short", "d@b 1|b|UNKNOWN|UNKNOWN > -"})
	})
	t.Run("member's own table", func(t *testing.T) {
		d := database(t, items, "INSERT INTO items VALUES (1, 'a', 0, "+long+")")
		got := changes(t, d, []capture.Table{member("items", "id")}, "UPDATE items SET n = 1", "UPDATE items SET note = NULL", "UPDATE items SET id = 2", "DELETE FROM items")
		compare(t, got, "", []string{"u@1 1|UNKNOWN|UNKNOWN|UNKNOWN > 1|a|1|UNKNOWN", "u@1 1|UNKNOWN|UNKNOWN|UNKNOWN > 1|a|1|NULL",
			"d@1 1|UNKNOWN|UNKNOWN|UNKNOWN > -", "c@2 - > 2|a|1|NULL", "d@2 2|UNKNOWN|UNKNOWN|UNKNOWN > -"})
	})
	t.Run("not whole", func(t *testing.T) {
		d := database(t, items, "INSERT INTO items VALUES (1, 'a', 0, "+long+")")
		r := run(t, newLog(), d.config(member("items", "id")))
		r.caughtUp(d)
		d.exec("UPDATE items SET id = 2")
		if e := r.fails(capture.Unsupported); e.Table != "items" || e.Column != "note" || strings.Contains(e.Error(), d.text("SELECT left(note, 20) FROM items")) {
			t.Errorf("error %v", e)
		}
	})
	t.Run("identity changed", func(t *testing.T) {
		d := database(t, items, "ALTER TABLE items REPLICA IDENTITY FULL", "INSERT INTO items VALUES (1, 'a', 0, 'x')")
		r := run(t, newLog(), d.config(member("items", "member")))
		r.caughtUp(d)
		d.exec("ALTER TABLE items REPLICA IDENTITY DEFAULT", "DELETE FROM items")
		if e := r.fails(capture.Configuration); e.Table != "items" || e.Column != "member" || !strings.Contains(e.Hint, "REPLICA IDENTITY FULL") {
			t.Errorf("error %v", e)
		}
	})
}

func compare(t *testing.T, got []entry, long string, want []string) {
	t.Helper()
	var lines []string
	for _, e := range got {
		line := show(e)
		if long != "" {
			line = strings.ReplaceAll(line, long, "LONG")
		}
		lines = append(lines, line)
	}
	if strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("events\n%s\nwant\n%s", clip(strings.Join(lines, "\n")), strings.Join(want, "\n"))
	}
}

func TestTransactionsKeepTheirOrderAndSavepoints(t *testing.T) {
	d := database(t, items)
	got := changes(t, d, []capture.Table{member("items", "id")},
		`BEGIN; INSERT INTO items VALUES (1, 'a'); SAVEPOINT s; INSERT INTO items VALUES (2, 'b'); ROLLBACK TO s; INSERT INTO items VALUES (3, 'c'); COMMIT`,
		`BEGIN; INSERT INTO items VALUES (4, 'd'); ROLLBACK`)
	compare(t, got, "", []string{"c@1 - > 1|a|0|NULL", "c@3 - > 3|c|0|NULL"})
	if got[0].ev.Position.Ordinal != got[1].ev.Position.Ordinal || got[1].ev.Position.Sequence != 2 {
		t.Errorf("positions %s, %s", got[0].ev.Position, got[1].ev.Position)
	}
}

func TestSchemaChanges(t *testing.T) {
	d := database(t, items)
	cfg := d.config(member("items", "id"))
	log := newLog()
	r := run(t, log, cfg)
	r.caughtUp(d)
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	// While nobody reads: each row must come with the columns of its time.
	d.exec("INSERT INTO items VALUES (1, 'a', 1, 'x')", "ALTER TABLE items DROP COLUMN note", "ALTER TABLE items ADD COLUMN extra numeric(6,1)",
		"INSERT INTO items VALUES (2, 'b', 2, 7.5)", "ALTER TABLE items RENAME COLUMN extra TO more", "INSERT INTO items VALUES (3, 'c', 3, 8)")
	r = run(t, log, cfg)
	r.caughtUp(d)
	var lines []string
	for _, e := range log.entries {
		if e.ev != nil {
			last := e.ev.Schema.Columns[3]
			lines = append(lines, show(e)+" "+last.Name+" "+last.Native+" "+last.Type.String())
		}
	}
	want := "c@1 - > 1|a|1|x note text string\nc@2 - > 2|b|2|7.5 extra numeric(6,1) decimal\nc@3 - > 3|c|3|8.0 more numeric(6,1) decimal"
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("events\n%s\nwant\n%s", got, want)
	}
	d.exec("ALTER TABLE items RENAME COLUMN id TO number", "INSERT INTO items VALUES (4, 'd')")
	if e := r.fails(capture.Unsupported); e.Table != "items" || e.Column != "id" {
		t.Errorf("error %v", e)
	}
}

func TestIdleHeartbeatFreesTheLog(t *testing.T) {
	d := database(t, items, "CREATE TABLE other (n int)", "INSERT INTO items VALUES (1, 'a')")
	r := run(t, newLog(), d.config(member("items", "id")))
	r.caughtUp(d)
	for range 3 {
		d.exec("INSERT INTO other SELECT generate_series(1, 1000)")
		head := d.text("SELECT pg_current_wal_flush_lsn()::text")
		r.caughtUp(d) // what was written last is confirmed with what comes after it
		d.exec("INSERT INTO other VALUES (0)")
		d.await("the slot's confirmation", "SELECT (confirmed_flush_lsn >= '"+head+"'::pg_lsn)::text FROM pg_replication_slots WHERE slot_name = '"+"slot_"+d.name+"'", "true")
	}
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
}

func TestNothingIsConfirmedBeforeItIsDurable(t *testing.T) {
	d := database(t, items)
	log := newLog()
	r := run(t, log, d.config(member("items", "id")))
	r.caughtUp(d)
	log.setHold(true)
	before := d.text("SELECT pg_current_wal_lsn()::text")
	d.exec("INSERT INTO items SELECT i, 'a' FROM generate_series(1, 50) i")
	r.await("the rows and ten watermarks", func(l *memLog) bool {
		n := 0
		for _, e := range l.entries[l.acked:] {
			if e.tx != nil && e.tx.Status == change.Watermark {
				n++
			}
		}
		return n > 10
	})
	if got := d.text("SELECT (confirmed_flush_lsn <= $1::pg_lsn)::text FROM pg_replication_slots WHERE slot_name = $2", before, "slot_"+d.name); got != "true" {
		t.Error("the slot moved over rows that are not durable")
	}
	log.setHold(false)
	r.caughtUp(d)
	d.same(log, "items", "id, member, n, 'NULL'")
}

// await asks until the answer is as wanted.
func (d *db) await(what, sql, want string) {
	d.t.Helper()
	for end := time.Now().Add(patience); ; <-time.After(10 * time.Millisecond) {
		got := d.text(sql)
		if got == want {
			return
		}
		if time.Now().After(end) {
			d.t.Fatalf("waiting for %s: %s", what, got)
		}
	}
}

func TestBlockedLogKeepsTheConnection(t *testing.T) {
	d := database(t, items)
	d.exec("ALTER DATABASE " + d.name + " SET wal_sender_timeout = '600ms'")
	log := newLog()
	r := run(t, log, d.config(member("items", "id")))
	r.caughtUp(d)
	pid := "SELECT active_pid::text FROM pg_replication_slots WHERE slot_name = 'slot_" + d.name + "'"
	d.await("the stream", "SELECT active::text FROM pg_replication_slots WHERE slot_name = 'slot_"+d.name+"'", "true")
	before := d.text(pid)
	log.mu.Lock()
	log.block = true
	log.mu.Unlock()
	d.exec("INSERT INTO items SELECT i, 'a', 0, repeat('x', 3000) FROM generate_series(1, 5000) i")
	// Three timeouts of the server's own clock.
	d.exec("SELECT pg_sleep(2)")
	if after := d.text(pid); after != before {
		t.Fatalf("walsender %s became %s", before, after)
	}
	log.mu.Lock()
	log.block = false
	log.changed.Broadcast()
	log.mu.Unlock()
	r.caughtUp(d)
	d.same(log, "items", "id, member, n, note")
}

func TestLostSlot(t *testing.T) {
	d := database(t, items, "INSERT INTO items VALUES (1, 'a')")
	cfg := d.config(member("items", "id"))
	log := newLog()
	r := run(t, log, cfg)
	r.caughtUp(d)
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	d.exec("INSERT INTO items VALUES (2, 'b')")
	d.await("the slot's release", "SELECT active::text FROM pg_replication_slots WHERE slot_name = 'slot_"+d.name+"'", "false")
	d.exec("SELECT pg_replication_slot_advance('slot_" + d.name + "', pg_current_wal_lsn())")
	moved := run(t, log, cfg).fails(capture.Gone)
	d.exec("SELECT pg_drop_replication_slot('slot_" + d.name + "')")
	dropped := run(t, log, cfg).fails(capture.Gone)
	for _, e := range []*capture.Error{moved, dropped} {
		if !strings.Contains(e.Hint, "tributary run --resnapshot src") || !strings.Contains(e.Err.Error(), "changes from ") || !strings.Contains(e.Err.Error(), " to ") {
			t.Errorf("error %v", e)
		}
	}
	d.exec("DELETE FROM items WHERE id = 1")
	cfg.Resnapshot = true
	r = run(t, log, cfg)
	r.caughtUp(d)
	d.same(log, "items", "id, member, n, 'NULL'")
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	for i := range log.entries {
		if tx := log.entries[i].tx; tx != nil && tx.Status == change.Started {
			tx.History = "1/1/other"
		}
	}
	cfg.Resnapshot = false
	if e := run(t, log, cfg).fails(capture.History); !strings.Contains(e.Error(), "1/1/other") {
		t.Errorf("error %v", e)
	}
}

func TestTruncate(t *testing.T) {
	d := database(t, items, "CREATE TABLE more (id int PRIMARY KEY)")
	r := run(t, newLog(), d.config(member("items", "id"), reference("more")))
	r.caughtUp(d)
	d.exec("TRUNCATE more")
	if e := r.fails(capture.Unsupported); e.Table != "more" || e.Hint == "" || e.Position == "" {
		t.Errorf("error %v", e)
	}
}

func TestNewTableNeedsASnapshot(t *testing.T) {
	d := database(t, items, "CREATE TABLE more (id int PRIMARY KEY)", "INSERT INTO more VALUES (1)")
	log := newLog()
	r := run(t, log, d.config(member("items", "id")))
	r.caughtUp(d)
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	if e := run(t, log, d.config(member("items", "id"), reference("more"))).fails(capture.Gone); e.Table != "more" {
		t.Errorf("error %v", e)
	}
}

func TestServerCanShutDown(t *testing.T) {
	if server == nil {
		t.Skip("SKIPPED: ", errNoBinaries)
	}
	own, err := startServer("wal_sender_timeout=5min")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(own.dir)
	d := own.database(t, items)
	cfg := d.config(member("items", "id"))
	log := newLog()
	r := run(t, log, cfg)
	r.caughtUp(d)
	d.exec("INSERT INTO items VALUES (1, 'a')")
	if err := own.shutdown(20 * time.Second); err != nil {
		t.Errorf("the reader kept the server: %v", err)
	}
	r.fails(capture.Transient)
	if err := own.start(); err != nil {
		t.Fatal(err)
	}
	defer own.shutdown(10 * time.Second)
	if d.conn, err = pgx.Connect(context.Background(), d.dsn); err != nil {
		t.Fatal(err)
	}
	r = run(t, log, cfg)
	r.caughtUp(d)
	d.same(log, "items", "id, member, n, 'NULL'")
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	d.conn.Close(context.Background())
}

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
		"wrong: it has no column patient", "wrong: the role may not read it",
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

func TestSnapshotProgress(t *testing.T) {
	d := database(t, items, "INSERT INTO items SELECT i, 'a' FROM generate_series(1, 5000) i")
	cfg := d.config(member("items", "id"))
	cfg.ProgressEvery = 1000
	var mu sync.Mutex
	var told []string
	cfg.Hooks.SnapshotTable = func(_ change.Table, rows, estimate int64, done bool) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, strconv.FormatInt(rows, 10)+"/"+strconv.FormatInt(estimate, 10)+map[bool]string{true: "!"}[done])
	}
	r := run(t, newLog(), cfg)
	r.caughtUp(d)
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(told, " "); got != "0/5000 1000/5000 2000/5000 3000/5000 4000/5000 5000/5000 5000/5000!" {
		t.Errorf("progress %s", got)
	}
}
