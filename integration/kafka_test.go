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

	"github.com/twmb/franz-go/pkg/kgo"
)

// onKafka makes a demo whose broker is the real Kafka.
func onKafka(t *testing.T, k *realKafka) *demoRun {
	d := newDemo(t)
	d.broker = k.addr
	return d
}

// agreesOnKafka holds sources, API and topic against one another, with a reader
// that is not ours, and returns what it read.
func (d *demoRun) agreesOnKafka(t *testing.T, k *realKafka) []change {
	t.Helper()
	if exit, out := d.verify(); exit != 0 {
		t.Errorf("verify: exit %d\n%s", exit, out)
	}
	d.rowsAgree(t)
	d.countsAgree(t)
	all := k.published(d)
	d.topicAgrees(t, all)
	numbersDense(t, all)
	return all
}

// readersAgree has another reader that is not ours read the same.
func (k *realKafka) readersAgree(t *testing.T, all []change) {
	t.Helper()
	if err := sameRecords(all, k.console()); err != nil {
		t.Errorf("kcat and the console consumer: %v", err)
	}
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

// The whole pipeline on one real Kafka. Process and broker are killed, in the
// first snapshot and under the workload; the broker goes away under changes and
// comes back; the store is lost and built again; the process goes on over TLS
// and a login.
func TestKafka(t *testing.T) {
	t.Parallel()
	client := clientFiles{filepath.Join(t.TempDir(), "client.pem"), filepath.Join(t.TempDir(), "client.key")}
	k := newKafka(t, func(dir string) { client.write(t, filepath.Join(dir, "client-ca.pem")) })
	t.Run("logins", func(t *testing.T) { k.logins(t, client) })
	d := onKafka(t, k)
	t.Run("kill", func(t *testing.T) { d.killsOnKafka(t, k) })
	t.Run("broker away", func(t *testing.T) { d.brokerGoesAway(t, k) })
	t.Run("lost store", func(t *testing.T) { d.lostStoreOnKafka(t, k) })
	t.Run("TLS and login", func(t *testing.T) { d.overTLS(t, k, client) })
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
	case <-time.After(time.Duration(fromEnv("TRIBUTARY_AWAY_SECONDS", 4)) * time.Second):
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

// lostStoreOnKafka takes the store away while a transaction is open on the topic,
// as one that was killed leaves it, and builds it again.
func (d *demoRun) lostStoreOnKafka(t *testing.T, k *realKafka) {
	d.kill()
	before := k.kcat()
	k.leaveOpen(t)
	if err := os.Rename(filepath.Join(d.work, "data", "store"), filepath.Join(d.work, "lost")); err != nil {
		t.Fatal(err)
	}
	d.wants(t, d.replay(t, 0, "--rebuild", "--announce", "difference"), "0 versions differ", "the rebuilt store is in place")
	exec1(t, d.pg, "UPDATE patients SET address = address || ' front'")
	d.start("--kafka", k.addr)
	d.ready()
	all := d.agreesOnKafka(t, k)
	if len(all) <= len(before) {
		t.Errorf("%d records before, %d after", len(before), len(all))
	}
	generations := map[string]bool{}
	for _, c := range all {
		generations[c.headers["tributary-generation"]] = true
	}
	if len(generations) != 2 {
		t.Errorf("%d generations in the topic, want two", len(generations))
	}
}

// leaveOpen writes to the change topic in a transaction that is never ended.
func (k *realKafka) leaveOpen(t *testing.T) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(k.addr), kgo.TransactionalID("tributary-fhir.changes"),
		kgo.TransactionTimeout(10*time.Minute), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	err = client.BeginTransaction()
	if err == nil {
		err = client.ProduceSync(t.Context(), &kgo.Record{Topic: "fhir.changes", Partition: 1, Value: []byte("{}")}).FirstErr()
	}
	if err != nil {
		t.Fatal(err)
	}
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
func (d *demoRun) overTLS(t *testing.T, k *realKafka, client clientFiles) {
	d.kill()
	text, err := os.ReadFile(filepath.Join(d.work, "tributary.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	login := fmt.Sprintf(`  tls: {ca_file: %s, cert_file: %s, key_file: %s}
  sasl: {mechanism: scram-sha-512, username: tributary, password_file: %s}
  brokers: [%q]
`, filepath.Join(k.dir, "ca.pem"), client.cert, client.key, k.passwordFile(), k.tls)
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
	k.readersAgree(t, d.agreesOnKafka(t, k))
	if err := d.stop(); err != nil {
		t.Errorf("stop: %v\n%s", err, d.printed())
	}
}

// killsOnKafka is the kill test on a real Kafka: the process is killed, the
// broker is, or both, at random moments under the workload.
func (d *demoRun) killsOnKafka(t *testing.T, k *realKafka) {
	kills := fromEnv("TRIBUTARY_KAFKA_KILLS", 1)
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
	k.readersAgree(t, d.agreesOnKafka(t, k))
	d.profilesAgree(t)
}
