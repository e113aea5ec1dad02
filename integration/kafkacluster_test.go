package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tributary-health/tributary/demo"
	"github.com/tributary-health/tributary/kafka"
)

// kafkaCluster is an Apache Kafka of three brokers, each with a copy of every
// partition, of which two must hold a record before it is acknowledged.
type kafkaCluster struct {
	*realKafka  // its addr names all three
	ports       []string
	controllers string // their ports
	admin       *kadm.Client
}

// newCluster makes a cluster whose brokers do not run yet; they end with the test.
func newCluster(t *testing.T) *kafkaCluster {
	t.Helper()
	needCluster(t)
	dir, err := os.MkdirTemp("", "tributary-cluster-")
	if err != nil {
		t.Fatal(err)
	}
	ports := freePorts(t, 6)
	var addrs []string
	for _, p := range ports[:3] {
		addrs = append(addrs, "127.0.0.1:"+p)
	}
	controllers := strings.Join(ports[3:], " ")
	k := &kafkaCluster{ports: ports[:3], controllers: controllers, realKafka: &realKafka{t: t, dir: dir, addr: strings.Join(addrs, ","),
		env: append(os.Environ(), "CONTROLLER_PORTS="+controllers)}}
	t.Cleanup(func() {
		for n := int32(1); n <= 3 && t.Failed(); n++ {
			logged, _ := os.ReadFile(filepath.Join(k.folder(n), "broker.log"))
			t.Logf("broker %d:\n%s", n, tail(string(logged), 1500))
		}
		k.script("kill", dir)
		_ = os.RemoveAll(dir)
	})
	client, err := kgo.NewClient(kgo.SeedBrokers(addrs...), kgo.MetadataMinAge(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	k.admin = kadm.NewClient(client)
	return k
}

func (k *kafkaCluster) folder(broker int32) string {
	return filepath.Join(k.dir, strconv.Itoa(int(broker)))
}

// startBrokers starts those that do not run.
func (k *kafkaCluster) startBrokers() {
	k.t.Helper()
	k.script(append([]string{"start-cluster", k.dir}, k.ports...)...)
}

func (k *kafkaCluster) startBroker(broker int32) {
	k.t.Helper()
	k.script("start", k.folder(broker))
}

func (k *kafkaCluster) killBroker(broker int32) {
	k.t.Helper()
	k.script("kill", k.folder(broker))
}

// roles are what a broker can be to the pipeline: the leader of some partition of
// the change topic, the coordinator of the publisher's transactional id, the
// cluster's controller.
var roles = []string{"leader", "coordinator", "controller"}

// who finds the broker that has a role now.
func (k *kafkaCluster) who(role string, partition int) (broker int32) {
	k.t.Helper()
	await(k.t, "the "+role+" to be known", time.Minute, func() bool {
		ctx, cancel := context.WithTimeout(k.t.Context(), 10*time.Second)
		defer cancel()
		var err error
		switch role {
		case "leader":
			var topics kadm.TopicDetails
			if topics, err = k.admin.ListTopics(ctx, "fhir.changes"); err == nil {
				broker = topics["fhir.changes"].Partitions[int32(partition)].Leader
			}
		case "coordinator":
			found := k.admin.FindTxnCoordinators(ctx, "tributary-fhir.changes")["tributary-fhir.changes"]
			broker, err = found.NodeID, found.Err
		case "controller":
			broker, err = k.controller(ctx)
		}
		return err == nil && broker > 0
	})
	return broker
}

// controller is the broker that leads the cluster's own log.
func (k *kafkaCluster) controller(ctx context.Context) (int32, error) {
	req := kmsg.NewPtrDescribeQuorumRequest()
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic = "__cluster_metadata"
	topic.Partitions = append(topic.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
	req.Topics = append(req.Topics, topic)
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(k.addr, ",")...))
	if err != nil {
		return 0, err
	}
	defer client.Close()
	resp, err := req.RequestWith(ctx, client)
	if err != nil || len(resp.Topics) == 0 || len(resp.Topics[0].Partitions) == 0 {
		return 0, err
	}
	return resp.Topics[0].Partitions[0].LeaderID, nil
}

// inSync waits until so many brokers hold all that every partition holds.
func (k *kafkaCluster) inSync(brokers int) {
	k.t.Helper()
	await(k.t, fmt.Sprintf("every partition to be on %d brokers", brokers), time.Minute, func() bool {
		ctx, cancel := context.WithTimeout(k.t.Context(), 10*time.Second)
		defer cancel()
		topics, err := k.admin.ListTopicsWithInternal(ctx)
		if err != nil || len(topics) == 0 {
			return false
		}
		ok := true
		topics.EachPartition(func(p kadm.PartitionDetail) { ok = ok && p.Err == nil && p.Leader > 0 && len(p.ISR) == brokers })
		return ok
	})
}

// committed is how far the change topic is, over all partitions; -1 when that
// cannot be known now.
func (k *kafkaCluster) committed() int64 {
	ctx, cancel := context.WithTimeout(k.t.Context(), 10*time.Second)
	defer cancel()
	listed, err := k.admin.ListCommittedOffsets(ctx, "fhir.changes")
	if err != nil || listed.Error() != nil {
		return -1
	}
	sum := int64(0)
	listed.Each(func(o kadm.ListedOffset) { sum += o.Offset })
	return sum
}

// reached is how far the change topic is, as soon as that can be known.
func (k *kafkaCluster) reached() (sum int64) {
	k.t.Helper()
	await(k.t, "the change topic's end to be known", time.Minute, func() bool {
		sum = k.committed()
		return sum >= 0
	})
	return sum
}

// goesOn waits until more is published, and says how long that took.
func (k *kafkaCluster) goesOn(d *demoRun, why string) time.Duration {
	k.t.Helper()
	began, before := time.Now(), k.reached()
	d.await("the change topic to grow "+why, 2*time.Minute, func() bool {
		d.alive(k.t)
		return k.committed() > before
	})
	return time.Since(began)
}

// alive wants that the process has not ended.
func (d *demoRun) alive(t *testing.T) {
	t.Helper()
	select {
	case <-d.exited:
		t.Fatalf("the process ended: %v\n%s", d.err, d.printed())
	default:
	}
}

// workload changes the sources until the returned function is called, as the
// demo does, but apart from the process.
func (d *demoRun) workload(t *testing.T, rate float64) (stop func()) {
	t.Helper()
	servers, err := demo.Start(t.Context(), demo.Options{Work: d.work}) // they run: it finds them
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- demo.Workload{Servers: servers, Rate: rate, Seed: 1}.Run(ctx) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("workload: %v", err)
		}
	}
}

// The whole pipeline on a Kafka of three brokers, in one process from the first
// snapshot to the last check. Each broker in turn is killed and started again,
// under the workload, when it leads a partition of the change topic, coordinates
// its transactions, or is the controller: the other two go on. Then less than
// what must hold a record is left: nothing is confirmed to the sources, reads go
// on, and when the brokers are back nothing is missing.
func TestKafkaCluster(t *testing.T) {
	k := newCluster(t)
	d := newDemo(t)
	d.start("--kafka", k.addr)
	k.startBrokers() // the process waits for them
	k.copies()
	d.runsFor(t, 0)
	stop := d.workload(t, 50)
	kills := fromEnv("TRIBUTARY_CLUSTER_KILLS", 3)
	k.killsInTurn(d, kills)
	k.tooFew(d)
	k.goesOn(d, "when all brokers are back")
	stop()
	d.ready()
	d.agreesOnKafka(t, k.realKafka)
	d.profilesAgree(t)
	d.alive(t)
	if kills > 3 {
		k.startsWithTwo(d)
	}
	if err := d.stop(); err != nil {
		t.Errorf("stop: %v\n%s", err, d.printed())
	}
}

// copies wants that a topic gets the copies that are asked for, and that one that
// asks for fewer to acknowledge is refused.
func (k *kafkaCluster) copies() {
	k.t.Helper()
	conn := kafka.Connection{Brokers: strings.Split(k.addr, ",")}
	spec := kafka.TopicSpec{Name: "copies", Replication: 3, MinInSync: 2}
	if err := kafka.EnsureTopics(k.t.Context(), conn, []kafka.TopicSpec{spec}); err != nil {
		k.t.Error(err)
	}
	spec.MinInSync = 3
	err := kafka.EnsureTopics(k.t.Context(), conn, []kafka.TopicSpec{spec})
	if err == nil || !strings.Contains(err.Error(), "min.insync.replicas=3") {
		k.t.Errorf("a topic with min.insync.replicas=2 where 3 is configured: %v", err)
	}
}

// killsInTurn kills one broker at a time.
func (k *kafkaCluster) killsInTurn(d *demoRun, kills int) {
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	k.t.Logf("%d kills, seed %d", kills, seed)
	for n := range kills {
		d.runsFor(k.t, time.Duration(random.IntN(1500))*time.Millisecond)
		role := roles[n%len(roles)]
		broker := k.who(role, random.IntN(4))
		k.killBroker(broker)
		away := k.goesOn(d, fmt.Sprintf("without broker %d", broker))
		k.startBroker(broker)
		k.inSync(3)
		k.t.Logf("killed broker %d, the %s: more was published after %v", broker, role, away.Round(100*time.Millisecond))
	}
}

// startsWithTwo kills the process, and starts it while a broker is away.
func (k *kafkaCluster) startsWithTwo(d *demoRun) {
	k.t.Helper()
	d.kill()
	k.killBroker(k.who("coordinator", 0))
	exec1(k.t, d.pg, "UPDATE patients SET address = address || ' front'")
	d.start("--kafka", k.addr)
	d.ready()
	k.readersAgree(k.t, d.agreesOnKafka(k.t, k.realKafka))
	k.startBrokers()
}

// tooFew takes brokers away until no record can be acknowledged: first as an
// operator may, who asks for three copies where one broker is away, then as two
// dead brokers do, without whom there is no controller either.
func (k *kafkaCluster) tooFew(d *demoRun) {
	const confirmed = "SELECT confirmed_flush_lsn >= $1::pg_lsn FROM pg_replication_slots WHERE slot_name = 'tributary_emr'"
	t := k.t
	k.goesOn(d, "before two brokers are away")
	memory := d.memory(t)
	k.needCopies("3")
	first := k.who("leader", 0)
	k.killBroker(first)
	k.inSync(2)
	reached, at := k.committed(), column(t, d.pg, "SELECT pg_current_wal_lsn()::text")[0]
	still := func(why string) {
		t.Helper()
		d.runsFor(t, time.Duration(fromEnv("TRIBUTARY_AWAY_SECONDS", 2))*time.Second)
		if column(t, d.pg, confirmed, at)[0] == "true" {
			t.Errorf("%s: the slot is confirmed up to what no broker acknowledged", why)
		}
		if code, _, _ := d.get("/Patient?_summary=count"); code != 200 {
			t.Errorf("%s: reads: status %d", why, code)
		}
		if after := d.memory(t); after > memory+256 {
			t.Errorf("%s: %d MiB resident before, %d MiB now", why, memory, after)
		}
	}
	still("too few copies")
	// A new leader that lacks a copy cannot know the end of what is committed.
	if now := k.committed(); reached >= 0 && now > reached {
		t.Errorf("the change topic went from %d to %d with too few copies", reached, now)
	}
	k.killBroker(first%3 + 1)
	still("one broker of three")
	k.startBrokers()
	k.needCopies("2")
}

// needCopies sets how many copies of every topic must hold a record before it is
// acknowledged.
func (k *kafkaCluster) needCopies(n string) {
	k.t.Helper()
	await(k.t, "min.insync.replicas to be set", time.Minute, func() bool {
		ctx, cancel := context.WithTimeout(k.t.Context(), 10*time.Second)
		defer cancel()
		topics, err := k.admin.ListTopics(ctx)
		if err != nil {
			return false
		}
		set, err := k.admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Name: "min.insync.replicas", Value: &n}}, topics.Names()...)
		for _, s := range set {
			if err == nil {
				err = s.Err
			}
		}
		return err == nil
	})
}
