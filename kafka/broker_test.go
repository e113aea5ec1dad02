package kafka_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/kafka"
)

func TestOneBrokerPerDirectoryAndPort(t *testing.T) {
	dir := t.TempDir()
	b := startBroker(t, kafka.BrokerConfig{Dir: dir})
	if _, err := kafka.StartBroker(kafka.BrokerConfig{Dir: dir, Addr: "127.0.0.1:0"}); err == nil ||
		!strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("same directory: %v", err)
	}
	if _, err := kafka.StartBroker(kafka.BrokerConfig{Dir: t.TempDir(), Addr: b.Addr()}); err == nil ||
		!strings.Contains(err.Error(), b.Addr()) {
		t.Errorf("same port: %v", err)
	}
	if _, err := kafka.StartBroker(kafka.BrokerConfig{}); err == nil {
		t.Error("a broker without directory started")
	}
	b.Close()
	b.Close()
	startBroker(t, kafka.BrokerConfig{Dir: dir, Addr: b.Addr()})
}

// The lock holds between processes, and ends with the one that has it.
func TestSecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	cmd, out := startVictim(t, dir)
	awaitLine(t, out, "ready")
	if _, err := kafka.StartBroker(kafka.BrokerConfig{Dir: dir, Addr: "127.0.0.1:0"}); err == nil ||
		!strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("beside another process: %v", err)
	}
	kill(t, cmd)
	startBroker(t, kafka.BrokerConfig{Dir: dir})
}

func TestReserveOfDiskSpace(t *testing.T) {
	full := make(chan bool, 8)
	z := &zoo{t: t, broker: startBroker(t, kafka.BrokerConfig{Hooks: kafka.BrokerHooks{
		Full: func(f bool, _, _ int64) { full <- f }}})}
	z.conn = z.broker.Connection()
	if err := kafka.EnsureTopics(timeout(t), z.conn, zooTopics(4)); err != nil {
		t.Fatal(err)
	}
	var err error
	if z.registry, err = kafka.OpenLocalRegistry(timeout(t), z.conn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(z.registry.Close)
	w := z.begin()
	z.transaction(w, 2, "ann")
	z.flush(w)
	z.broker.SetReserveForTest(1 << 60)
	if !<-full || !z.broker.Full() {
		t.Fatal("a reserve beyond the disk's size is not missed")
	}
	z.transaction(w, 3, "ann", "bob")
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if err := w.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("flush on a full disk: %v", err)
	}
	if w.Err() != nil || w.Durable() != mark(2) {
		t.Errorf("err %v, durable %v", w.Err(), w.Durable())
	}
	z.broker.SetReserveForTest(1)
	if <-full || z.broker.Full() {
		t.Fatal("still full")
	}
	z.flush(w)
	waitDurable(t, w, 3)
	checkOnceInOrder(t, z.all(), 3)
}

func TestEnsureTopics(t *testing.T) {
	conn := startBroker(t, kafka.BrokerConfig{}).Connection()
	specs := zooTopics(3)
	for range 2 { // the second time they exist
		if err := kafka.EnsureTopics(timeout(t), conn, specs); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		specs []kafka.TopicSpec
		want  []string
	}{
		"other count":    {zooTopics(5), []string{"cdc.zoo.pets", "cdc.zoo.toys", "has 3 partitions, configured are 5"}},
		"bad name":       {[]kafka.TopicSpec{{Name: "a b"}, {Name: ""}}, []string{"topic a b", "letters, digits", "empty"}},
		"same normal":    {[]kafka.TopicSpec{{Name: "cdc.zoo_pets"}}, []string{"cdc.zoo_pets", "differs only in . and _"}},
		"with retention": {[]kafka.TopicSpec{{Name: "short", Retention: time.Hour}}, []string{"short", "keeps everything"}},
	} {
		err := kafka.EnsureTopics(timeout(t), conn, c.specs)
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
	}
}

func TestTxTopicNames(t *testing.T) {
	for topic, want := range map[string]bool{"cdc.zoo.tx": true, "cdc.zoo.x.tx": false, "cdc..tx": false,
		"cdc.tx": false, "fhir.changes": false, "cdc.zoo.txs": false} {
		if kafka.IsTxTopic(topic) != want {
			t.Errorf("%s: %v", topic, !want)
		}
	}
	_, err := kafka.OpenWriter(timeout(t), kafka.WriterConfig{Source: "zoo", Registry: &kafka.LocalRegistry{},
		Tables: []change.Table{{Source: "zoo", Name: "tx"}}})
	if err == nil || !strings.Contains(err.Error(), "zoo.tx") {
		t.Errorf("table tx: %v", err)
	}
}

// What does not survive a kill in the embedded broker is refused.
func TestBrokerPolicy(t *testing.T) {
	conn := startBroker(t, kafka.BrokerConfig{}).Connection()
	if err := kafka.EnsureTopics(timeout(t), conn, []kafka.TopicSpec{{Name: "a"}}); err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(conn.Brokers...), kgo.TransactionalID("t"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, _, err := client.ProducerID(timeout(t)); !errors.Is(err, kerr.TransactionalIDAuthorizationFailed) {
		t.Errorf("transactional producer: %v", err)
	}
	admin := kadm.NewClient(client)
	resp, err := admin.CreateTopic(timeout(t), 1, 1, map[string]*string{"cleanup.policy": kadm.StringPtr("compact")}, "c")
	if err = errors.Join(err, resp.Err); !errors.Is(err, kerr.PolicyViolation) {
		t.Errorf("compacted topic: %v", err)
	}
	for _, c := range []kadm.AlterConfig{{Name: "cleanup.policy", Value: kadm.StringPtr("compact,delete")},
		{Name: "retention.ms", Value: kadm.StringPtr("1")}} {
		altered, err := admin.AlterTopicConfigs(timeout(t), []kadm.AlterConfig{c}, "a")
		if err != nil || len(altered) != 1 || !errors.Is(altered[0].Err, kerr.PolicyViolation) {
			t.Errorf("%s: %v %v", c.Name, err, altered)
		}
	}
	// No topic comes into being by being asked for.
	if results := client.ProduceSync(timeout(t), &kgo.Record{Topic: "typo"}); results.FirstErr() == nil {
		t.Error("a record for a topic that does not exist was taken")
	}
}

// Strangers on the port do no harm.
func TestBrokerGuard(t *testing.T) {
	b := startBroker(t, kafka.BrokerConfig{})
	for name, bytes := range map[string]string{
		"browser":     "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"unknown key": "\x00\x00\x00\x08\x7f\xff\x00\x00\x00\x00\x00\x01",
		"huge":        "\x7f\xff\xff\xff\x00\x00\x00\x03\x00\x00\x00\x01",
		"negative":    "\xff\xff\xff\xff\x00\x00\x00\x03\x00\x00\x00\x01",
		"tiny":        "\x00\x00\x00\x01\x00\x00\x00\x03\x00\x00\x00\x01",
	} {
		conn, err := net.Dial("tcp", b.Addr())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.WriteString(conn, bytes); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %v, want the connection closed", name, err)
		}
		_ = conn.Close()
	}
	if err := b.Connection().Ping(timeout(t)); err != nil {
		t.Error(err)
	}
}

// Consumer groups coordinate, and keep their offsets over a restart.
func TestConsumerGroups(t *testing.T) {
	dir := t.TempDir()
	b := startBroker(t, kafka.BrokerConfig{Dir: dir})
	conn, addr := b.Connection(), b.Addr()
	if err := kafka.EnsureTopics(timeout(t), conn, []kafka.TopicSpec{{Name: "a", Partitions: 2}}); err != nil {
		t.Fatal(err)
	}
	produce := func(values ...string) {
		client, err := kgo.NewClient(kgo.SeedBrokers(addr))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		for _, v := range values {
			if err := client.ProduceSync(timeout(t), &kgo.Record{Topic: "a", Value: []byte(v)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	consume := func(n int) (values []string) {
		client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumerGroup("g"), kgo.ConsumeTopics("a"))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		for len(values) < n {
			fetches := client.PollFetches(timeout(t))
			if err := fetches.Err(); err != nil {
				t.Fatal(err)
			}
			fetches.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
		}
		if err := client.CommitUncommittedOffsets(timeout(t)); err != nil {
			t.Fatal(err)
		}
		return values
	}
	produce("1", "2")
	if got := consume(2); len(got) != 2 {
		t.Fatalf("first: %v", got)
	}
	b.Close()
	startBroker(t, kafka.BrokerConfig{Dir: dir, Addr: addr})
	produce("3")
	if got := consume(1); !slices.Equal(got, []string{"3"}) {
		t.Errorf("after the restart: %v", got)
	}
}

func TestLocalRegistry(t *testing.T) {
	dir := t.TempDir()
	b := startBroker(t, kafka.BrokerConfig{Dir: dir})
	open := func() *kafka.LocalRegistry {
		r, err := kafka.OpenLocalRegistry(timeout(t), b.Connection())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		return r
	}
	id := func(r *kafka.LocalRegistry, subject, schema string) uint32 {
		n, err := r.ID(timeout(t), subject, schema)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	first, second := open(), open()
	one := id(first, "s-value", `"string"`)
	two := id(second, "s-value", `"long"`) // must see what the first wrote
	if one == two || id(first, "s-value", `"string"`) != one || id(second, "other", `"string"`) != one {
		t.Errorf("ids %d and %d", one, two)
	}
	if text, err := first.Schema(timeout(t), two); err != nil || text != `"long"` {
		t.Errorf("schema %d: %q, %v", two, text, err)
	}
	if _, err := first.Schema(timeout(t), 99); !errors.Is(err, kafka.ErrUnknownSchema) {
		t.Errorf("schema 99: %v", err)
	}
	first.Close()
	second.Close()
	addr := b.Addr()
	b.Close()
	b = startBroker(t, kafka.BrokerConfig{Dir: dir, Addr: addr})
	third := open()
	if id(third, "s-value", `"long"`) != two || id(third, "s-value", `"int"`) <= two {
		t.Error("ids changed over a restart")
	}
	checkRegistryHTTP(t, third, one, two)
}

func checkRegistryHTTP(t *testing.T, r *kafka.LocalRegistry, one, two uint32) {
	t.Helper()
	server := httptest.NewServer(r.Handler())
	defer server.Close()
	for path, want := range map[string]string{
		fmt.Sprintf("/schemas/ids/%d", two): `200 {"schema":"\"long\""}`,
		"/schemas/ids/77":                   `404 {"error_code":40403,"message":"Schema not found"}`,
		"/schemas/ids/x":                    `404 {"error_code":40403,"message":"Schema not found"}`,
		"/subjects":                         `200 ["other","s-value"]`,
		"/subjects/s-value/versions":        `200 [1,2,3]`,
		"/subjects/none/versions":           `404 {"error_code":40401,"message":"Subject not found"}`,
		"/subjects/s-value/versions/1":      fmt.Sprintf(`200 {"subject":"s-value","version":1,"id":%d,"schema":"\"string\""}`, one),
		"/subjects/other/versions/latest":   fmt.Sprintf(`200 {"subject":"other","version":1,"id":%d,"schema":"\"string\""}`, one),
		"/subjects/s-value/versions/4":      `404 {"error_code":40402,"message":"Version not found"}`,
		"/subjects/none/versions/latest":    `404 {"error_code":40401,"message":"Subject not found"}`,
	} {
		resp, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if got := fmt.Sprintf("%d %s", resp.StatusCode, strings.TrimSpace(string(body))); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	// Confluent's own client reads it; a server that is away is waited for.
	confluent, err := kafka.NewConfluentRegistry(kafka.ConfluentConfig{URLs: []string{server.URL}})
	if err != nil {
		t.Fatal(err)
	}
	if text, err := confluent.Schema(timeout(t), one); err != nil || text != `"string"` {
		t.Errorf("through the client: %q, %v", text, err)
	}
	if _, err := confluent.Schema(timeout(t), 77); !errors.Is(err, kafka.ErrUnknownSchema) {
		t.Errorf("unknown through the client: %v", err)
	}
	http.DefaultClient.CloseIdleConnections()
}

// A registry server that fails at first is asked again; one that refuses is not.
func TestConfluentRegistry(t *testing.T) {
	calls := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls++
		switch {
		case calls == 1:
			http.Error(w, "starting", http.StatusServiceUnavailable)
		case strings.Contains(r.URL.Path, "refused"):
			w.WriteHeader(http.StatusConflict)
			_ = json.NewEncoder(w).Encode(map[string]any{"error_code": 409, "message": "incompatible"})
		case r.Method == http.MethodPost:
			_, _ = io.WriteString(w, `{"id":12}`)
		default:
			_, _ = io.WriteString(w, `{"subject":"s","version":1,"id":12,"schema":"\"int\""}`)
		}
	}))
	defer server.Close()
	r, err := kafka.NewConfluentRegistry(kafka.ConfluentConfig{URLs: []string{server.URL}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if id, err := r.ID(timeout(t), "s", `"int"`); err != nil || id != 12 {
			t.Errorf("id %d, %v", id, err)
		}
	}
	if _, err := r.ID(timeout(t), "refused", `"int"`); err == nil || !strings.Contains(err.Error(), "incompatible") {
		t.Errorf("refused: %v", err)
	}
	server.CloseClientConnections()
}

func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
}
