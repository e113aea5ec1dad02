package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// onKafka makes a demo whose broker is the real Kafka.
func onKafka(t *testing.T, k *realKafka) *demoRun {
	d := newDemo(t)
	d.broker = k.addr
	return d
}

// agreesOnKafka holds sources, API and topic against one another, with two
// readers that are not ours.
func (d *demoRun) agreesOnKafka(t *testing.T, k *realKafka) {
	t.Helper()
	if exit, out := d.verify(); exit != 0 {
		t.Errorf("verify: exit %d\n%s", exit, out)
	}
	d.rowsAgree(t)
	d.countsAgree(t)
	all := k.published(d)
	d.topicAgrees(t, all)
	java := k.console()
	if err := sameRecords(all, java); err != nil {
		t.Errorf("kcat and the console consumer: %v", err)
	}
	numbersDense(t, java)
}

// numbersDense checks that each partition's outbox numbers go from 1 without a
// gap, however its offsets do.
func numbersDense(t *testing.T, all []change) {
	t.Helper()
	next := map[int32]uint64{}
	for _, c := range all {
		next[c.partition]++
		if got := c.number("tributary-outbox"); got != next[c.partition] {
			t.Fatalf("partition %d, offset %d: outbox number %d, want %d", c.partition, c.offset, got, next[c.partition])
		}
	}
}

// The whole pipeline on a real Kafka; the broker goes away under changes and
// comes back; the process goes on over TLS and a login.
func TestKafka(t *testing.T) {
	k := newKafka(t)
	d := onKafka(t, k)
	d.start("--kafka", k.addr)
	d.ready()
	t.Run("pipeline", func(t *testing.T) {
		d.agreesOnKafka(t, k)
		d.profilesAgree(t)
	})
	t.Run("broker away", func(t *testing.T) { d.brokerGoesAway(t, k) })
	t.Run("TLS and login", func(t *testing.T) { d.overTLS(t, k) })
}

// brokerGoesAway changes the sources while the broker is dead: nothing is
// confirmed to them, memory stays bounded, and afterwards nothing is missing.
func (d *demoRun) brokerGoesAway(t *testing.T, k *realKafka) {
	const confirmed = "SELECT confirmed_flush_lsn >= pg_current_wal_lsn() FROM pg_replication_slots WHERE slot_name = 'tributary_emr'"
	k.kill()
	before := d.memory(t)
	for n := range fromEnv("TRIBUTARY_AWAY", 1) {
		exec1(t, d.pg, "UPDATE observations SET value = (value::numeric + $1::int)::text WHERE category = 'vital-signs' AND type = 'numeric'", n+1)
		exec1(t, d.maria, "UPDATE fills SET days_supply = days_supply + 1")
	}
	d.deleteSomething(t)
	// Long enough for every client to have noticed, and for sources to be told
	// too much if anybody would.
	select {
	case <-time.After(time.Duration(fromEnv("TRIBUTARY_AWAY_SECONDS", 10)) * time.Second):
	case <-d.exited:
		t.Fatalf("the process ended: %v\n%s", d.err, d.printed())
	}
	if column(t, d.pg, confirmed)[0] == "true" {
		t.Error("the slot is confirmed while the broker is away")
	}
	if after := d.memory(t); after > before+256 {
		t.Errorf("%d MiB resident before, %d MiB while the broker is away", before, after)
	}
	if code, _, _ := d.get("/Patient?_summary=count"); code != 200 {
		t.Errorf("reads while the broker is away: status %d", code)
	}
	k.start()
	d.ready()
	d.agreesOnKafka(t, k)
}

// memory is the process's resident size in MiB.
func (d *demoRun) memory(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(d.cmd.Process.Pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(text)
	if m == nil {
		t.Fatal("no VmRSS")
	}
	kb, _ := strconv.Atoi(string(m[1]))
	return kb >> 10
}

// overTLS goes on with the same data as `tributary run`, over the listener that
// wants TLS and a login.
func (d *demoRun) overTLS(t *testing.T, k *realKafka) {
	d.kill()
	text, err := os.ReadFile(filepath.Join(d.work, "tributary.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	login := fmt.Sprintf(`  tls: {ca_file: %s}
  sasl: {mechanism: scram-sha-512, username: tributary, password_file: %s}
  brokers: [%q]
`, filepath.Join(k.dir, "ca.pem"), k.passwordFile(), k.tls)
	config := string(text)
	config = regexp.MustCompile(`(?m)^  brokers:\n(  ?-.*\n|   *-.*\n)+`).ReplaceAllString(config, "")
	config = strings.Replace(config, "kafka:\n", "kafka:\n"+login, 1)
	path := filepath.Join(d.work, "login.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	exec1(t, d.pg, "UPDATE patients SET address = address || ' rear'")
	d.launch("run", "--config", path)
	d.ready()
	d.agreesOnKafka(t, k)
	if err := d.stop(); err != nil {
		t.Errorf("stop: %v\n%s", err, d.printed())
	}
}

// The kill test on a real Kafka: the process is killed, the broker is, or both,
// at random moments under the workload.
func TestKafkaKill(t *testing.T) {
	k := newKafka(t)
	d := onKafka(t, k)
	kills := fromEnv("TRIBUTARY_KAFKA_KILLS", 3)
	seed := uint64(time.Now().UnixNano())
	t.Logf("%d kills, seed %d", kills, seed)
	random := rand.New(rand.NewPCG(seed, 0))
	running := false
	for n := range kills {
		if !running {
			args := []string{"--kafka", k.addr, "--rate", "200"}
			if n >= kills/3 { // until then kills fall into the first snapshot
				args = append(args, "--workload=on")
			}
			d.start(args...)
			running = true
		}
		d.runsFor(t, time.Duration(random.IntN(3000))*time.Millisecond)
		switch what := (n + random.IntN(2)) % 3; what {
		case 0:
			d.kill()
			running = false
		case 1:
			k.kill()
			d.runsFor(t, time.Duration(random.IntN(2000))*time.Millisecond)
			k.start()
		default:
			k.kill()
			d.kill()
			running = false
			k.start()
		}
		d.deleteSomething(t)
	}
	d.kill()
	d.start("--kafka", k.addr)
	d.ready()
	d.agreesOnKafka(t, k)
	d.profilesAgree(t)
}
