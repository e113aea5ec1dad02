package integration

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// realKafka is one Apache Kafka broker in a folder of its own.
type realKafka struct {
	t    *testing.T
	dir  string
	addr string // without login
	tls  string // with TLS and login
	env  []string
}

const kafkaScript = "../scripts/kafka"

// needCluster skips the test unless it is asked for: it takes a minute or two, and
// 200 MB the first time.
func needCluster(t *testing.T) {
	t.Helper()
	if os.Getenv("TRIBUTARY_KAFKA") == "" {
		t.Skip("NOT TESTED on three brokers or with a registry's server: make test-kafka does that")
	}
	needKafka(t)
}

// needKafka skips the test where what a real Kafka needs is missing, unless
// TRIBUTARY_KAFKA says that it must run.
func needKafka(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"java", "keytool", "mvn", "kcat"} {
		if _, err := exec.LookPath(tool); err == nil {
			continue
		}
		if os.Getenv("TRIBUTARY_KAFKA") != "" {
			t.Fatalf("%s is missing: scripts/setup installs it", tool)
		}
		t.Skipf("NOT TESTED on a real Kafka: %s is missing: scripts/setup installs it", tool)
	}
}

// newKafka starts a broker; it ends with the test. prepare, if any, are called
// with its folder before.
func newKafka(t *testing.T, prepare ...func(dir string)) *realKafka {
	t.Helper()
	needKafka(t)
	dir, err := os.MkdirTemp("", "tributary-kafka-")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range prepare {
		p(dir)
	}
	ports := freePorts(t, 3)
	k := &realKafka{t: t, dir: dir, addr: "127.0.0.1:" + ports[0], tls: "127.0.0.1:" + ports[2],
		env: append(os.Environ(), "CONTROLLER_PORT="+ports[1], "SASL_PORT="+ports[2])}
	t.Cleanup(func() {
		if t.Failed() {
			logged, _ := os.ReadFile(filepath.Join(dir, "broker.log"))
			t.Logf("broker:\n%s", tail(string(logged), 3000))
		}
		k.script("kill", dir)
		_ = os.RemoveAll(dir)
	})
	k.start()
	return k
}

// freePorts are different from one another.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	var ports []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // when all are taken
		ports = append(ports, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
	return ports
}

// script runs scripts/kafka and returns what it prints.
func (k *realKafka) script(args ...string) string {
	k.t.Helper()
	cmd := exec.Command(kafkaScript, args...)
	cmd.Env = k.env
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		k.t.Fatalf("%s %s: %v\n%s", kafkaScript, strings.Join(args, " "), err, tail(complaints.String(), 2000))
	}
	return out.String()
}

// start starts the broker, for the first time or again.
func (k *realKafka) start() {
	k.t.Helper()
	_, port, _ := net.SplitHostPort(k.addr)
	k.script("start", k.dir, port)
}

// kill ends the broker as a power cut would.
func (k *realKafka) kill() {
	k.t.Helper()
	k.script("kill", k.dir)
}

// password is the one of the user tributary.
func (k *realKafka) passwordFile() string { return filepath.Join(k.dir, "password") }

// kcat reads all committed records of the change topic with kcat.
func (k *realKafka) kcat() []change {
	k.t.Helper()
	cmd := exec.Command("kcat", "-C", "-b", k.addr, "-t", "fhir.changes", "-o", "beginning", "-e", "-q", "-J",
		"-X", "isolation.level=read_committed")
	out, err := cmd.Output()
	if err != nil {
		k.t.Fatalf("kcat: %v", err)
	}
	var all []change
	for line := range bytes.Lines(out) {
		var r struct {
			Partition int32    `json:"partition"`
			Offset    int64    `json:"offset"`
			Headers   []string `json:"headers"`
			Key       string   `json:"key"`
			Payload   *string  `json:"payload"`
		}
		if err := json.Unmarshal(line, &r); err != nil {
			k.t.Fatalf("kcat: %v: %.200s", err, line)
		}
		c := change{partition: r.Partition, offset: r.Offset, key: r.Key, headers: map[string]string{}}
		for i := 0; i+1 < len(r.Headers); i += 2 {
			c.headers[r.Headers[i]] = r.Headers[i+1]
		}
		if r.Payload != nil {
			c.value = []byte(*r.Payload)
		}
		all = append(all, c)
	}
	return all
}

var consoleLine = regexp.MustCompile(`^Partition:(\d+)\tOffset:(\d+)\t(\S+)\t`)

// console reads all committed records with Java's console consumer, without
// their values.
func (k *realKafka) console() []change {
	k.t.Helper()
	cmd := exec.Command(kafkaScript, "tool", k.dir, "org.apache.kafka.tools.consumer.ConsoleConsumer",
		"--bootstrap-server", k.addr, "--topic", "fhir.changes", "--from-beginning", "--timeout-ms", "5000",
		"--isolation-level", "read_committed", "--property", "print.partition=true", "--property", "print.offset=true",
		"--property", "print.headers=true", "--property", "print.key=true")
	out, err := cmd.Output()
	if err != nil && len(out) == 0 {
		k.t.Fatalf("console consumer: %v", err)
	}
	var all []change
	s := bufio.NewScanner(bytes.NewReader(out))
	s.Buffer(nil, 64<<20)
	for s.Scan() {
		m := consoleLine.FindStringSubmatch(s.Text())
		if m == nil {
			continue // the tool's own words
		}
		c := change{headers: map[string]string{}}
		partition, _ := strconv.Atoi(m[1])
		c.partition = int32(partition)
		c.offset, _ = strconv.ParseInt(m[2], 10, 64)
		for _, h := range strings.Split(m[3], ",") {
			if name, value, ok := strings.Cut(h, ":"); ok && strings.HasPrefix(name, "tributary-") {
				c.headers[name] = value
			}
		}
		all = append(all, c)
	}
	if err := s.Err(); err != nil {
		k.t.Fatal(err)
	}
	return all
}

// published waits until the topic's last versions are those that are served, and
// returns the topic as kcat reads it.
func (k *realKafka) published(d *demoRun) []change {
	k.t.Helper()
	var all []change
	d.await("every version to be published", 2*time.Minute, func() bool {
		all = k.kcat()
		return len(all) > 0 && maps.Equal(lastVersions(all), d.servedVersions(all))
	})
	return all
}

// lastVersions is the newest version of each resource that is not deleted.
func lastVersions(all []change) map[string]string {
	newest := map[string]change{}
	for _, c := range all {
		name := c.headers["tributary-resource"]
		if before, ok := newest[name]; !ok || c.number("tributary-version") > before.number("tributary-version") {
			newest[name] = c
		}
	}
	last := map[string]string{}
	for name, c := range newest {
		if c.headers["tributary-operation"] != "delete" {
			last[name] = c.headers["tributary-version"]
		}
	}
	return last
}

// servedVersions is what the API serves of the types that the topic names.
func (d *demoRun) servedVersions(all []change) map[string]string {
	d.t.Helper()
	types := map[string]bool{}
	for _, c := range all {
		typ, _, _ := strings.Cut(c.headers["tributary-resource"], "/")
		types[typ] = true
	}
	served := map[string]string{}
	for typ := range types {
		for _, raw := range d.all("/" + typ + "?_count=1000") {
			var r struct {
				ID   string `json:"id"`
				Meta struct {
					Version string `json:"versionId"`
				} `json:"meta"`
			}
			if err := json.Unmarshal(raw, &r); err != nil {
				d.t.Fatal(err)
			}
			served[typ+"/"+r.ID] = r.Meta.Version
		}
	}
	return served
}

// sameRecords compares what two readers saw.
func sameRecords(a, b []change) error {
	key := func(c change) string {
		return fmt.Sprint(c.partition, "/", c.offset, " ", c.headers["tributary-outbox"], " ", c.headers["tributary-resource"])
	}
	seen := map[string]bool{}
	for _, c := range a {
		seen[key(c)] = true
	}
	if len(a) != len(b) || len(seen) != len(a) {
		return fmt.Errorf("%d and %d records, %d of the first differ", len(a), len(b), len(seen))
	}
	for _, c := range b {
		if !seen[key(c)] {
			return fmt.Errorf("only the second has %s", key(c))
		}
	}
	return nil
}
