package postgres_test

import (
	"context"
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
