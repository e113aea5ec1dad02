package integration

import (
	"database/sql"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The process is killed at random moments, within the first snapshot and under
// the workload, and rows are deleted while it is down. Afterwards nothing is
// missing, nothing is a ghost, and the topic holds every number once.
func TestKill(t *testing.T) {
	t.Parallel()
	d := newDemo(t)
	kills := fromEnv("TRIBUTARY_KILLS", 5)
	early := max(3, kills/4)
	seed := uint64(time.Now().UnixNano())
	t.Logf("%d kills, seed %d", kills, seed)
	random := rand.New(rand.NewPCG(seed, 0))

	// The first snapshot must not end before it has been killed often enough.
	for n := range early {
		d.start("--rate", "200")
		d.runsFor(t, time.Duration(random.IntN(1500))*time.Millisecond)
		composed := d.composed()
		d.kill()
		d.deleteSomething(t)
		if composed {
			t.Logf("kill %d came after the first composition", n+1)
		}
	}
	for range kills - early {
		d.start("--rate", "200", "--workload=on")
		d.runsFor(t, time.Duration(100+random.IntN(3000))*time.Millisecond)
		d.kill()
		d.deleteSomething(t)
	}
	d.start()
	d.ready()
	if exit, out := d.verify(); exit != 0 {
		t.Errorf("verify: exit %d\n%s", exit, out)
	}
	d.rowsAgree(t)
	d.countsAgree(t)
	d.topicAgrees(t, d.readTopic(t))
	d.profilesAgree(t)
}

// runsFor waits until the process serves, and then so long, or until it ends,
// which is a failure.
func (d *demoRun) runsFor(t *testing.T, more time.Duration) {
	t.Helper()
	d.await("the demo to serve", 3*time.Minute, func() bool {
		select {
		case <-d.exited:
			t.Fatalf("the demo ended: %v\n%s", d.err, d.printed())
		default:
		}
		env, err := readEnv(filepath.Join(d.work, "demo.env"))
		if err == nil {
			d.env = env
		}
		return err == nil
	})
	d.connect()
	select {
	case <-time.After(more):
	case <-d.exited:
		t.Fatalf("the demo ended: %v\n%s", d.err, d.printed())
	}
}

// composed reports whether the first composition is visible.
func (d *demoRun) composed() bool {
	code, _, _, err := d.tryGet("/Patient?_summary=count")
	return err == nil && code == 200
}

// deleteSomething takes a row out of each database while nobody looks.
func (d *demoRun) deleteSomething(t *testing.T) {
	t.Helper()
	for _, s := range []struct {
		db        *sql.DB
		statement string
	}{
		{d.pg, "DELETE FROM immunizations WHERE id = (SELECT id FROM immunizations ORDER BY random() LIMIT 1)"},
		{d.pg, "DELETE FROM allergies WHERE id = (SELECT id FROM allergies ORDER BY random() LIMIT 1) AND random() < 0.3"},
		{d.maria, "DELETE FROM fills ORDER BY rand() LIMIT 2"},
		{d.maria, "DELETE FROM claims_transactions ORDER BY rand() LIMIT 2"},
	} {
		exec1(t, s.db, s.statement)
	}
	if _, err := os.Stat(filepath.Join(d.work, "demo.env")); err != nil {
		t.Fatal(err)
	}
}
