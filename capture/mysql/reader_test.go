package mysql_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/change"
)

// same compares a table's state from the log with the table itself.
func (r *running) same(table string) {
	r.Helper()
	want := r.sourceRows(table)
	got := r.log.replay(r)[table]
	if len(got) != len(want) {
		r.Errorf("%s: %d rows from the log, %d at the source", table, len(got), len(want))
	}
	for key, row := range want {
		if got[key] != row {
			r.Fatalf("%s %s:\n log    %s\n source %s", table, key, got[key], row)
		}
	}
}

// sourceRows reads a table through a snapshot of its own.
func (f *fixture) sourceRows(table string) map[string]string {
	f.Helper()
	log := newLog()
	one := *f
	one.cfg.Tables = nil
	for _, t := range f.cfg.Tables {
		if t.Table.Name == table {
			one.cfg.Tables = append(one.cfg.Tables, t)
		}
	}
	one.cfg.ServerID = rand.Uint32() | 1
	r := one.run(log)
	log.await(f, func() bool { return len(log.marks) > 0 })
	r.halt()
	return log.replay(f)[table]
}

func TestHooks(t *testing.T) {
	f := newFixture(t, "t", ledger, "INSERT INTO t VALUES (1, 'a', 10)")
	var mu sync.Mutex
	seen := map[string]int{}
	count := func(what string, n int) { mu.Lock(); seen[what] += n; mu.Unlock() }
	f.cfg.Hooks = capture.Hooks{
		SnapshotTable: func(table change.Table, rows, estimate int64, done bool) {
			if table.Name == "t" && rows == 1 && estimate >= 1 && done {
				count("snapshot", 1)
			}
		},
		Rows:        func(n int) { count("rows", n) },
		Transaction: func(change.Mark, time.Time) { count("transactions", 1) },
		Head:        func(change.Mark, time.Time) { count("head", 1) },
	}
	r := f.run(newLog())
	r.streaming()
	f.exec("INSERT INTO t VALUES (2, 'a', 1), (3, 'b', 1)", "UPDATE t SET member='c' WHERE id=3")
	r.caughtUp()
	r.streaming()
	r.halt()
	if seen["snapshot"] != 1 || seen["rows"] != 5 || seen["transactions"] != 2 || seen["head"] == 0 {
		t.Errorf("seen %v", seen)
	}
}

func TestSnapshotThenStream(t *testing.T) {
	f := newFixture(t, "t", "CREATE TABLE t (id INT PRIMARY KEY, member VARCHAR(10), note TEXT)",
		"INSERT INTO t VALUES (1, 'a', 'x'), (2, 'b', NULL), (3, 'a', '')")
	r := f.run(newLog())
	r.log.await(t, func() bool { return len(r.log.marks) > 0 })
	f.exec("INSERT INTO t VALUES (4, 'c', 'new')", "UPDATE t SET note='y' WHERE id=1", "DELETE FROM t WHERE id=2")
	r.caughtUp()
	events := r.log.events("t")
	var ops strings.Builder
	for _, ev := range events {
		ops.WriteByte(byte(ev.Op))
	}
	if ops.String() != "rrrcud" {
		t.Errorf("operations %s", ops.String())
	}
	if got := printRow(events[4].Schema, events[4].Before); got != `id="1" member="a" note="x" ` {
		t.Errorf("before the update: %s", got)
	}
	r.same("t")
	r.halt()
}

// writeSome changes rows at random until stopped; each transaction keeps the sum
// of the table's amounts at zero.
func writeSome(f *fixture, rounds int, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	for i := range rounds {
		a, b, n := rnd.IntN(200), rnd.IntN(200), rnd.IntN(100)
		statements := []string{"BEGIN",
			fmt.Sprintf("INSERT INTO t VALUES (%d, 'm%d', %d) ON DUPLICATE KEY UPDATE amount=amount+%d", a, a%7, n, n),
			fmt.Sprintf("INSERT INTO t VALUES (%d, 'm%d', %d) ON DUPLICATE KEY UPDATE amount=amount-%d", b, b%7, -n, n)}
		switch i % 5 {
		case 0:
			statements = append(statements, "DELETE FROM t WHERE amount=0 AND id>100")
		case 1:
			statements = append(statements, fmt.Sprintf("UPDATE t SET member='m%d' WHERE id=%d", n%7, a))
		case 2:
			statements = append(statements, fmt.Sprintf("UPDATE IGNORE t SET id=%d WHERE id=%d", 200+n, b))
		}
		tx, err := f.db.Begin()
		if err != nil {
			f.Error(err)
			return
		}
		for _, s := range statements[1:] {
			if _, err := tx.Exec(s); err != nil {
				_ = tx.Rollback()
				tx = nil
				break // a deadlock with the other writer
			}
		}
		if tx != nil {
			_ = tx.Commit()
		}
	}
}

const ledger = "CREATE TABLE t (id INT PRIMARY KEY, member VARCHAR(10) NOT NULL, amount INT NOT NULL)"

func TestHandOverUnderWrites(t *testing.T) {
	f := newFixture(t, "t", ledger)
	writeSome(f, 200, 0)
	var writers sync.WaitGroup
	for w := range 3 {
		writers.Go(func() { writeSome(f, 250, uint64(w)+1) })
	}
	r := f.run(newLog())
	writers.Wait()
	r.caughtUp()
	r.same("t")
	r.halt()
}

// TestResumeAnywhere stops the reader within snapshots and transactions, with
// the durable mark behind what was written, and starts it again.
func TestResumeAnywhere(t *testing.T) {
	f := newFixture(t, "t", ledger)
	writeSome(f, 100, 0)
	log := newLog()
	rnd := rand.New(rand.NewPCG(7, 7))
	for i := range 25 {
		stopAt := rnd.IntN(150)
		reached := make(chan struct{})
		var once sync.Once
		log.hold = rnd.IntN(30)
		log.onAppend = func(n int) {
			if n >= stopAt {
				once.Do(func() { close(reached) })
			}
		}
		r := f.run(log)
		writeSome(f, 60, uint64(i))
		f.exec("INSERT INTO t SELECT 1000+seq, 'm1', 0 FROM seq_1_to_200", "DELETE FROM t WHERE id>1000")
		select {
		case <-reached:
		case err := <-r.done:
			t.Fatal(err)
		}
		r.halt()
		log = log.reopened()
	}
	r := f.run(log)
	r.caughtUp()
	r.same("t")
	sum := 0
	for _, row := range r.log.replay(t)["t"] {
		var id, n int
		var member string
		if _, err := fmt.Sscanf(row, "id=%q member=%q amount=%q", new(string), &member, new(string)); err != nil {
			t.Fatal(err)
		}
		_, amount, _ := strings.Cut(row, "amount=")
		if _, err := fmt.Sscanf(amount, "\"%d\"", &n); err != nil {
			t.Fatal(err, id)
		}
		sum += n
	}
	if sum != 0 {
		t.Errorf("the amounts sum to %d", sum)
	}
	r.halt()
}

func TestKeyAndMemberChange(t *testing.T) {
	f := newFixture(t, "t", ledger, "INSERT INTO t VALUES (1, 'a', 10)")
	r := f.run(newLog())
	r.log.await(t, func() bool { return len(r.log.marks) > 0 })
	f.exec("UPDATE t SET id=2", "UPDATE t SET member='b', amount=11", "UPDATE t SET amount=12")
	r.caughtUp()
	var got []string
	r.log.mu.Lock()
	for _, e := range r.log.entries {
		if e.event != nil {
			got = append(got, fmt.Sprintf("%c %s %s%d", e.event.Op, e.route, printRow(e.event.Schema, e.event.Row()), e.event.Position.Sequence))
		}
	}
	r.log.mu.Unlock()
	want := []string{
		`r a id="1" member="a" amount="10" 1`,
		`d a id="1" member="a" amount="10" 1`, `c a id="2" member="a" amount="10" 2`,
		`d a id="2" member="a" amount="10" 1`, `c b id="2" member="b" amount="11" 2`,
		`u b id="2" member="b" amount="12" 1`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestAddColumn(t *testing.T) {
	f := newFixture(t, "t", ledger, "INSERT INTO t VALUES (1, 'a', 10)")
	r := f.run(newLog())
	r.log.await(t, func() bool { return len(r.log.marks) > 0 })
	f.exec("UPDATE t SET amount=11", "ALTER TABLE t ADD COLUMN note VARCHAR(20) AFTER id", "UPDATE t SET note='n'")
	r.caughtUp()
	events := r.log.events("t")
	if got := printRow(events[1].Schema, events[1].After); got != `id="1" member="a" amount="11" ` {
		t.Errorf("before the ALTER: %s", got)
	}
	if got := printRow(events[2].Schema, events[2].After); got != `id="1" note="n" member="a" amount="11" ` {
		t.Errorf("after the ALTER: %s", got)
	}
	if events[0].Schema.AvroSchema() != events[1].Schema.AvroSchema() {
		t.Errorf("the snapshot's schema is not the log's:\n%+v\n%+v", events[0].Schema, events[1].Schema)
	}
}

// TestLaggingReader reads rows written before an ALTER after it was made.
func TestLaggingReader(t *testing.T) {
	f := newFixture(t, "t", ledger)
	first := f.run(newLog())
	first.caughtUp()
	first.halt()
	f.exec("INSERT INTO t VALUES (1, 'a', 10)", "ALTER TABLE t DROP COLUMN amount, ADD COLUMN x INT FIRST", "INSERT INTO t VALUES (5, 2, 'b')")
	r := f.run(first.log.reopened())
	r.caughtUp()
	events := r.log.events("t")
	if got := printRow(events[0].Schema, events[0].After); got != `id="1" member="a" amount="10" ` {
		t.Error(got)
	}
	if got := printRow(events[1].Schema, events[1].After); got != `x="5" id="2" member="b" ` {
		t.Error(got)
	}
}

func TestIdleWatermark(t *testing.T) {
	f := newFixture(t, "t", ledger, "CREATE TABLE other (id INT PRIMARY KEY)")
	r := f.run(newLog())
	r.caughtUp()
	count := func() (n int, last change.Position) {
		for _, e := range r.log.entries {
			if e.tx != nil && e.tx.Status == change.Watermark {
				n, last = n+1, e.tx.Mark.Position
			}
		}
		return
	}
	var before change.Position
	r.log.await(t, func() bool { n, last := count(); before = last; return n >= 3 })
	f.exec("INSERT INTO other VALUES (1), (2)", "FLUSH BINARY LOGS")
	r.log.await(t, func() bool { _, last := count(); return last.Ordinal>>32 > before.Ordinal>>32 })
	r.halt()
	next := f.run(r.log.reopened())
	f.exec("INSERT INTO t VALUES (1, 'a', 1)")
	next.caughtUp()
	next.same("t")
}

func TestCompressedEvents(t *testing.T) {
	f := newFixture(t, "t", "CREATE TABLE t (id INT PRIMARY KEY, member VARCHAR(10), note TEXT)")
	f.global("log_bin_compress", "1")
	r := f.run(newLog())
	r.log.await(t, func() bool { return len(r.log.marks) > 0 })
	f.exec("INSERT INTO t SELECT seq, 'm', REPEAT('long text ', 100) FROM seq_1_to_50",
		"UPDATE t SET note=REPEAT('other text ', 90) WHERE id<20", "DELETE FROM t WHERE id>40")
	r.caughtUp()
	r.same("t")
}

func TestMinimalImages(t *testing.T) {
	f := newFixture(t, "t:id", "CREATE TABLE t (id INT PRIMARY KEY, a INT, b TEXT)", "INSERT INTO t VALUES (1, 2, 'x'), (2, 3, 'y')")
	r := f.run(newLog())
	r.log.await(t, func() bool { return len(r.log.marks) > 0 })
	f.exec("SET SESSION binlog_row_image=MINIMAL", "UPDATE t SET a=5 WHERE id=1", "UPDATE t SET b=NULL WHERE id=2",
		"DELETE FROM t WHERE id=1", "SET SESSION binlog_row_image=NOBLOB", "UPDATE t SET a=6 WHERE id=2")
	r.caughtUp()
	var got []string
	for _, ev := range r.log.events("t")[2:] {
		got = append(got, fmt.Sprintf("%c %s| %s", ev.Op, printRow(ev.Schema, ev.Before), printRow(ev.Schema, ev.After)))
	}
	want := []string{
		`u id="1" a=UNCHANGED b=UNCHANGED | id="1" a="5" b=UNCHANGED `,
		`u id="2" a=UNCHANGED b=UNCHANGED | id="2" a=UNCHANGED b=NULL `,
		`d id="1" a=UNCHANGED b=UNCHANGED | `,
		`u id="2" a="3" b=UNCHANGED | id="2" a="6" b=UNCHANGED `,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestPurged(t *testing.T) {
	f := newFixture(t, "t", ledger)
	r := f.run(newLog())
	r.caughtUp()
	r.halt()
	f.exec("INSERT INTO t VALUES (1, 'a', 1)")
	purgeAll(f)
	f.exec("INSERT INTO t VALUES (2, 'a', 1)")
	f.run(r.log.reopened()).failure(capture.Gone, "GTID 0-1-", "begins with binlog.0", "tributary run --resnapshot src")
	again := *f
	again.cfg.Resnapshot = true
	next := again.run(r.log.reopened())
	next.caughtUp()
	next.same("t")
}

func TestOtherHistory(t *testing.T) {
	f := newFixture(t, "t", ledger)
	r := f.run(newLog())
	r.caughtUp()
	r.halt()
	other := r.log.reopened()
	other.resume.History = "2/0"
	f.run(other).failure(capture.History, "the log came from 2/0", "--resnapshot")
	other = r.log.reopened()
	other.resume.Durable.Token = "0-1-2"
	f.run(other).failure(capture.History, "has GTID", "0-1-2")
	other = r.log.reopened()
	other.resume.Durable.Position.Ordinal += 1 << 40
	f.run(other).failure(capture.History, "its log ends in")

	again := *f
	again.cfg.Resnapshot = true
	next := again.run(other.reopened())
	next.caughtUp()
	next.log.mu.Lock()
	defer next.log.mu.Unlock()
	if g := next.log.marks[0].Position.Generation; g != 2 {
		t.Errorf("generation %d after a snapshot of an earlier place, want 2", g)
	}
}

func TestLostConnection(t *testing.T) {
	f := newFixture(t, "t", ledger)
	r := f.run(newLog())
	r.streaming()
	var id string
	if err := f.db.QueryRow("SELECT id FROM information_schema.processlist WHERE command='Binlog Dump' ORDER BY time_ms LIMIT 1").Scan(&id); err != nil {
		t.Fatal(err)
	}
	f.exec("KILL " + id)
	r.failure(capture.Transient)
	next := f.run(r.log.reopened())
	f.exec("INSERT INTO t VALUES (1, 'a', 1)")
	next.caughtUp()
	next.same("t")
}
