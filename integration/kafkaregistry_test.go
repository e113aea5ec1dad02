package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const registryScript = "../scripts/registry"

// realRegistry is a schema registry server in a folder of its own.
type realRegistry struct {
	t         *testing.T
	dir, port string
	url       string
}

// newRegistry starts a server; it ends with the test.
func newRegistry(t *testing.T) *realRegistry {
	t.Helper()
	needCluster(t)
	dir, err := os.MkdirTemp("", "tributary-registry-")
	if err != nil {
		t.Fatal(err)
	}
	r := &realRegistry{t: t, dir: dir, port: freePorts(t, 1)[0]}
	t.Cleanup(func() {
		if t.Failed() {
			logged, _ := os.ReadFile(filepath.Join(dir, "server.log"))
			t.Logf("registry:\n%s", tail(string(logged), 3000))
		}
		r.kill()
		_ = os.RemoveAll(dir)
	})
	r.start()
	return r
}

func (r *realRegistry) start() {
	r.t.Helper()
	r.url = strings.TrimSpace(string(r.script(nil, "start", r.dir, r.port)))
}

func (r *realRegistry) kill() {
	r.t.Helper()
	r.script(nil, "kill", r.dir)
}

func (r *realRegistry) script(in io.Reader, args ...string) []byte {
	r.t.Helper()
	cmd := exec.Command(registryScript, args...)
	var out, complaints bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &out, &complaints
	if err := cmd.Run(); err != nil {
		r.t.Fatalf("%s %s: %v\n%s", registryScript, args[0], err, tail(complaints.String(), 2000))
	}
	return out.Bytes()
}

// ask sends a request to the server's REST API and decodes the answer.
func (r *realRegistry) ask(method, path, body string, answer any) {
	r.t.Helper()
	req, err := http.NewRequest(method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/vnd.schemaregistry.v1+json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		r.t.Fatalf("%s %s: %d %v %.300s", method, path, resp.StatusCode, err, text)
	}
	if answer == nil {
		return
	}
	if err := json.Unmarshal(text, answer); err != nil {
		r.t.Fatalf("%s %s: %v: %.300s", method, path, err, text)
	}
}

// versions is how many schemas a topic's subject has.
func (r *realRegistry) versions(topic string) int {
	r.t.Helper()
	var numbers []int
	r.ask("GET", "/subjects/"+topic+"-value/versions", "", &numbers)
	return len(numbers)
}

// landed reads all records of a landing topic: the bytes with kcat, the schemas
// from the server, the values with Apache Avro's own reader.
func (r *realRegistry) landed(broker, topic string) (values []map[string]any) {
	r.t.Helper()
	out, err := exec.Command("kcat", "-C", "-b", broker, "-t", topic, "-o", "beginning", "-e", "-q", "-f", "%S %s").Output()
	if err != nil {
		r.t.Fatalf("kcat: %v", err)
	}
	bodies := map[uint32]*bytes.Buffer{}
	for len(out) > 0 {
		length, rest, _ := bytes.Cut(out, []byte(" "))
		size, err := strconv.Atoi(string(length))
		if err != nil || size < 5 || size > len(rest) || rest[0] != 0 {
			r.t.Fatalf("%s: a value without Confluent's frame: %q", topic, length)
		}
		id := uint32(rest[1])<<24 | uint32(rest[2])<<16 | uint32(rest[3])<<8 | uint32(rest[4])
		if bodies[id] == nil {
			bodies[id] = new(bytes.Buffer)
		}
		bodies[id].Write(rest[5:size])
		out = rest[size:]
	}
	for _, id := range slices.Sorted(maps.Keys(bodies)) {
		var answer struct{ Schema string }
		r.ask("GET", fmt.Sprintf("/schemas/ids/%d", id), "", &answer)
		file := filepath.Join(r.t.TempDir(), "schema.avsc")
		if err := os.WriteFile(file, []byte(answer.Schema), 0o600); err != nil {
			r.t.Fatal(err)
		}
		lines := json.NewDecoder(bytes.NewReader(r.script(bodies[id], "avro", file)))
		for {
			var v map[string]any
			if err := lines.Decode(&v); err == io.EOF {
				break
			} else if err != nil {
				r.t.Fatalf("%s, schema %d: %v", topic, id, err)
			}
			values = append(values, v)
		}
	}
	return values
}

// lastRows is the last state of each row by its key, a text column, as the
// envelopes tell: columns as Avro's JSON writes a union, by the branch's name.
func lastRows(t *testing.T, values []map[string]any, key string) map[string]map[string]any {
	t.Helper()
	type place struct{ ordinal, sequence float64 }
	newest := map[string]place{}
	rows := map[string]map[string]any{}
	for _, v := range values {
		source := v["source"].(map[string]any)
		at := place{source["ordinal"].(float64), source["sequence"].(float64)}
		row := image(v["after"])
		if row == nil {
			row = image(v["before"])
		}
		id := text(row[key])
		if id == "" {
			t.Fatalf("an envelope without the key %s: %v", key, v)
		}
		if b, ok := newest[id]; ok && (at.ordinal < b.ordinal || at.ordinal == b.ordinal && at.sequence < b.sequence) {
			continue
		}
		newest[id], rows[id] = at, row
		if v["op"] == "d" {
			delete(rows, id)
		}
	}
	return rows
}

// image is the record within a union of null and it.
func image(union any) map[string]any {
	branch, _ := union.(map[string]any)
	for _, row := range branch {
		return row.(map[string]any)
	}
	return nil
}

// text is a column that is text, "" for null.
func text(column any) string {
	branch, _ := column.(map[string]any)
	s, _ := branch["string"].(string)
	return s
}

// onRegistry begins anew the pipeline of a demo that was killed, with its
// schemas at the registry.
func (d *demoRun) onRegistry(t *testing.T, r *realRegistry) (config string) {
	t.Helper()
	config = filepath.Join(d.work, "tributary.yaml")
	yaml, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, config, strings.Replace(string(yaml), "kafka:\n", "kafka:\n  schema_registry: "+r.url+"\n", 1))
	if err := os.RemoveAll(filepath.Join(d.work, "data")); err != nil {
		t.Fatal(err)
	}
	await(t, "the slot to be dropped", time.Minute, func() bool {
		_, err := d.pg.Exec("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = 'tributary_emr'")
		return err == nil
	})
	return config
}

// The whole pipeline with its schemas at a real registry server. What is landed is
// read by a reader that is not ours. The server is killed and comes back, at a
// start and when a column is added, which the rule that Confluent's server has by
// default must allow.
func TestKafkaRegistry(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	d := newDemo(t)
	d.start()
	d.runsFor(t, 0)
	d.kill()
	config := d.onRegistry(t, r)

	r.kill()
	d.launch("run", "--config", config)
	d.logs(t, "the schema registry does not answer")
	r.start()
	d.ready()
	r.agrees(d)
	if n := r.versions("cdc.emr.patients"); n != 1 {
		t.Errorf("%d schemas of patients, want one", n)
	}
	r.ask("PUT", "/config/cdc.emr.patients-value", `{"compatibility":"BACKWARD"}`, nil)

	patient := column(t, d.pg, "SELECT id::text FROM patients ORDER BY id LIMIT 1")[0]
	exec1(t, d.pg, "UPDATE patients SET city = 'Before' WHERE id = $1", patient)
	d.ready()
	r.kill() // what is known needs no server
	exec1(t, d.pg, "UPDATE patients SET city = 'Without' WHERE id = $1", patient)
	d.ready()
	exec1(t, d.pg, "ALTER TABLE patients ADD COLUMN nickname varchar(40)")
	exec1(t, d.pg, "UPDATE patients SET nickname = 'Robin', city = 'After' WHERE id = $1", patient)
	exec1(t, d.pg, "DELETE FROM immunizations WHERE id = (SELECT id FROM immunizations ORDER BY id LIMIT 1)")
	d.runsFor(t, 3*time.Second)
	r.start()
	d.ready()
	if row := r.agrees(d)[patient]; text(row["nickname"]) != "Robin" || text(row["city"]) != "After" {
		t.Errorf("the row with the new column: %v", row)
	}
	if n := r.versions("cdc.emr.patients"); n != 2 {
		t.Errorf("%d schemas of patients, want two", n)
	}
	d.rowsAgree(t)
	d.countsAgree(t)
	d.topicAgrees(t, d.readTopic(t))
}

// logs waits until the process's log says so.
func (d *demoRun) logs(t *testing.T, what string) {
	t.Helper()
	d.await("the log to say "+what, time.Minute, func() bool {
		d.alive(t)
		logged, _ := os.ReadFile(filepath.Join(d.work, "tributary.log"))
		return strings.Contains(d.printed()+string(logged), what)
	})
}

// agrees holds two landing topics, one of each source, against their tables, and
// returns the patients by id.
func (r *realRegistry) agrees(d *demoRun) map[string]map[string]any {
	t := r.t
	t.Helper()
	patients := lastRows(t, r.landed(d.broker, "cdc.emr.patients"), "id")
	have := map[string]string{}
	for id, row := range patients {
		have[id] = text(row["city"])
	}
	want := map[string]string{}
	for _, line := range column(t, d.pg, "SELECT id || ' ' || city FROM patients") {
		id, city, _ := strings.Cut(line, " ")
		want[id] = city
	}
	if !maps.Equal(have, want) {
		t.Errorf("patients: landed %v, the table holds %v", have, want)
	}
	fills := lastRows(t, r.landed(d.broker, "cdc.pharmacy.fills"), "id")
	if n := column(t, d.maria, "SELECT count(*) FROM fills")[0]; n != strconv.Itoa(len(fills)) {
		t.Errorf("fills: %d rows landed, the table holds %s", len(fills), n)
	}
	return patients
}
