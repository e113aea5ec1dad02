package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// replay runs `tributary replay` over the stopped demo's data.
func (d *demoRun) replay(t *testing.T, want int, args ...string) string {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"replay", "--work", d.work}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != want {
		t.Fatalf("replay %v: exit %d, want %d\n%s", args, got, want, tail(string(out), 6000))
	}
	return string(out)
}

func (d *demoRun) wants(t *testing.T, out string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(out, text) {
			t.Errorf("%q is not in\n%s", text, tail(out, 6000))
		}
	}
}

// lived runs the demo under its workload until so many commits are made, and
// stops it. It returns where the sources stood on the way, as --from takes it.
func (d *demoRun) lived(t *testing.T, commits uint64) (middle string) {
	t.Helper()
	d.start("--rate", "200", "--workload=on")
	d.ready()
	d.await("half the workload", 3*time.Minute, func() bool { return d.status(t).Commit >= commits/2 })
	_, _, body, err := d.tryGetAs(d.env["OPERATOR_KEY"], "http://"+d.api+"/status")
	var s struct {
		Sources []struct{ Name, Applied string }
	}
	if err != nil || json.Unmarshal(body, &s) != nil || len(s.Sources) != 3 {
		t.Fatalf("status: %v %.300s", err, body)
	}
	for _, at := range s.Sources {
		middle += "," + at.Name + "=" + at.Applied
	}
	d.await("the workload", 3*time.Minute, func() bool { return d.status(t).Commit >= commits })
	d.halt(t)
	return middle[1:]
}

// halt stops the demo, databases included.
func (d *demoRun) halt(t *testing.T) {
	t.Helper()
	if err := d.stop(); err != nil {
		t.Fatalf("stop: %v\n%s", err, d.printed())
	}
}

// A replay gives the same resources and the same history; into the same store it
// changes nothing; other mappings are shown as the difference they make; what is
// killed is taken up again; and a lost store is built again.
func TestReplay(t *testing.T) {
	t.Parallel()
	d := composedDemo(t)
	middle := d.lived(t, uint64(fromEnv("TRIBUTARY_COMMITS", 160)))
	data := filepath.Join(d.work, "data")

	t.Run("fresh", func(t *testing.T) {
		d.wants(t, d.replay(t, 0), "the same resources, and the same history")
		if left, _ := filepath.Glob(filepath.Join(data, "replay-*")); len(left) > 0 {
			t.Errorf("it left %v", left)
		}
	})
	t.Run("same store", func(t *testing.T) {
		for _, from := range []string{"start", middle} {
			d.wants(t, d.replay(t, 0, "--from", from), "nothing changed, nothing was emitted")
		}
	})
	t.Run("killed", func(t *testing.T) {
		into := filepath.Join(d.work, "again")
		random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
		for range fromEnv("TRIBUTARY_REPLAY_KILLS", 1) {
			cmd := exec.Command(binary, "replay", "--work", d.work, "--into", into)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			timer := time.AfterFunc(time.Duration(300+random.IntN(5000))*time.Millisecond, func() { _ = cmd.Process.Kill() })
			_ = cmd.Wait()
			timer.Stop()
		}
		d.wants(t, d.replay(t, 0, "--into", into), "the same resources, and the same history")
	})
	t.Run("other mappings", func(t *testing.T) { d.otherMappings(t) })
	t.Run("moved on", func(t *testing.T) { d.movedOn(t) })
	t.Run("lost store", func(t *testing.T) { d.lostStore(t, data) })
	t.Run("damaged store", func(t *testing.T) { d.damagedStore(t, data) })
	t.Run("announce nothing", func(t *testing.T) { d.announceNothing(t) })
	t.Run("no base", func(t *testing.T) { d.logWithoutBase(t) })
}

// movedOn builds the store again while the present one is sound, and lets that
// announce more: what was built is no base then, and is built anew.
func (d *demoRun) movedOn(t *testing.T) {
	d.start() // the workload may have been stopped before the last of it was announced
	d.ready()
	d.published(t)
	d.halt(t)
	d.wants(t, d.replay(t, 0, "--rebuild"), "announced nothing", "0 versions differ")
	d.start()
	d.ready()
	exec1(t, d.pg, "UPDATE patients SET first = first || 'y'")
	d.ready()
	for want, args := range map[string][]string{"stopped": nil, "in use": {"--rebuild"}} {
		cmd := exec.Command(binary, append([]string{"replay", "--work", d.work}, args...)...)
		if out, err := cmd.CombinedOutput(); err == nil || cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), want) {
			t.Errorf("replay %v beside the running process: %v, want %q\n%s", args, err, want, out)
		}
	}
	d.published(t)
	d.halt(t)
	d.wants(t, d.replay(t, 0, "--rebuild"), "building it anew", "0 versions differ")
}

// published waits until everything that was committed is announced.
func (d *demoRun) published(t *testing.T) {
	t.Helper()
	d.await("everything to be announced", time.Minute, func() bool {
		code, _, body, err := d.tryGetAs(d.env["OPERATOR_KEY"], "http://"+d.api+"/status")
		var s struct {
			Topic []struct{ Announced, Committed uint64 } `json:"change_topic"`
		}
		if err != nil || code != http.StatusOK || json.Unmarshal(body, &s) != nil || len(s.Topic) == 0 {
			t.Fatalf("status: %d %v %.300s", code, err, body)
		}
		for _, p := range s.Topic {
			if p.Announced < p.Committed {
				return false
			}
		}
		return true
	})
}

// damagedStore damages the store so that it cannot be opened; it is put aside,
// and nothing differs.
func (d *demoRun) damagedStore(t *testing.T, data string) {
	manifests, err := filepath.Glob(filepath.Join(data, "store", "MANIFEST-*"))
	if err != nil || len(manifests) == 0 {
		t.Fatalf("no manifest: %v", err)
	}
	for _, m := range manifests {
		if err := os.WriteFile(m, []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := d.replay(t, 0, "--rebuild", "--announce", "difference")
	d.wants(t, out, "cannot be opened", "store.damaged-1", "0 versions differ", "in place")
	if _, err := os.Stat(filepath.Join(data, "store.damaged-1")); err != nil {
		t.Error(err)
	}
}

// announceNothing puts a store in place that differs from what was announced, and
// keeps the difference to itself: the numbers skip it where the generation
// changes, once, and such a topic is no base for another rebuild.
func (d *demoRun) announceNothing(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(d.work, "tributary.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(d.work, "mapped.yaml")
	if err := os.WriteFile(config, []byte("mappings: "+filepath.Join(d.work, "mappings")+"\n"+string(text)), 0o600); err != nil {
		t.Fatal(err)
	}
	out := d.replay(t, 1, "--config", config, "--rebuild")
	d.wants(t, out, "element:   Composition", "announced nothing")
	d.wants(t, d.replay(t, 0, "--config", config, "--rebuild", "--announce", "nothing"), "announces nothing of the above")
	d.start() // with the mappings of before: what differs from the silent versions is announced
	d.ready()
	d.published(t)
	all := d.readTopic(t)
	last, skips := map[int32]change{}, 0
	for _, c := range all {
		was, ok := last[c.partition]
		same := was.headers["tributary-generation"] == c.headers["tributary-generation"]
		switch skipped := ok && c.number("tributary-outbox") != was.number("tributary-outbox")+1; {
		case skipped && same:
			t.Fatalf("partition %d: number %d after %d in one generation", c.partition, c.number("tributary-outbox"), was.number("tributary-outbox"))
		case skipped:
			skips++
		}
		last[c.partition] = c
	}
	if skips == 0 {
		t.Error("no partition skips what was not to be announced")
	}
	if exit, out := d.verify(); exit != 0 {
		t.Errorf("verify: exit %d\n%s", exit, out)
	}
	d.halt(t)
	d.wants(t, d.replay(t, 2, "--rebuild"), "no base for another rebuild")
}

// otherMappings changes one text of one type.
func (d *demoRun) otherMappings(t *testing.T) {
	dir := filepath.Join(d.work, "mappings")
	if err := os.CopyFS(dir, os.DirFS("../mappings")); err != nil {
		t.Fatal(err)
	}
	changed := 0
	files, _ := filepath.Glob(filepath.Join(dir, "*.yaml"))
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		edited := strings.ReplaceAll(string(text), "title: Medication", "title: Medicines and medication")
		if edited != string(text) {
			changed++
		}
		if err := os.WriteFile(name, []byte(edited), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if changed == 0 {
		t.Fatal("no mapping has the text that this test changes")
	}
	out := d.replay(t, 1, "--mappings", dir)
	d.wants(t, out, "element:   Composition", "nothing was announced")
	for _, line := range strings.Split(out, "\n") {
		f := strings.Fields(line)
		if len(f) != 6 || f[0] == "same" {
			continue
		}
		differs := f[2] != "0" || f[3] != "0" || f[4] != "0"
		if differs != (f[0] == "Composition") {
			t.Errorf("the account: %s", line)
		}
	}
	if strings.Contains(out, "Medicines") {
		t.Error("the account holds a value")
	}
}

var (
	outboxOf = regexp.MustCompile(`outbox \[([0-9 ]+)\]`)
	endsOf   = regexp.MustCompile(`ends at \[([0-9 ]+)\]`)
)

// lostStore takes the store away; the topic stays.
func (d *demoRun) lostStore(t *testing.T, data string) {
	if err := os.Rename(filepath.Join(data, "store"), filepath.Join(d.work, "lost")); err != nil {
		t.Fatal(err)
	}
	d.start()
	<-d.exited
	d.wants(t, d.printed(), "the store is empty", "tributary replay --rebuild")
	d.cmd = nil

	out := d.replay(t, 0, "--rebuild", "--announce", "difference")
	d.wants(t, out, "the rebuilt store is in place", "0 versions differ")
	// What was committed and not announced before the stop, the next start applies.
	ends := endsOf.FindStringSubmatch(out)
	after := outboxOf.FindStringSubmatch(d.replay(t, 0, "--from", "start"))
	if ends == nil || after == nil || after[1] != ends[1] {
		t.Errorf("the topic ends at %v, the rebuilt outbox at %v", ends, after)
	}
	d.start()
	d.ready()
	topic := d.readTopic(t)
	d.topicAgrees(t, topic)
	exec1(t, d.pg, "UPDATE patients SET first = first || 'x'")
	d.await("the next change to be announced", time.Minute, func() bool { return len(d.readTopic(t)) > len(topic) })
	d.ready()
	if exit, out := d.verify(); exit != 0 {
		t.Errorf("verify: exit %d\n%s", exit, out)
	}
	generations := map[string]int{}
	for _, c := range d.readTopic(t) {
		generations[c.headers["tributary-generation"]]++
	}
	if len(generations) != 2 {
		t.Errorf("records by generation: %v, want two generations", slicesOf(generations))
	}
	d.halt(t)
}

func slicesOf(m map[string]int) string { return fmt.Sprint(maps.Collect(maps.All(m))) }

// logWithoutBase takes a topic's records away: the log is refused, by source.
func (d *demoRun) logWithoutBase(t *testing.T) {
	topics, err := filepath.Glob(filepath.Join(d.work, "data", "broker", "log", "partitions", "*cdc.emr.patients*"))
	if err != nil || len(topics) == 0 {
		t.Fatalf("the broker's folder of a topic: %v %v", topics, err)
	}
	for _, topic := range topics {
		if err := os.RemoveAll(topic); err != nil {
			t.Fatal(err)
		}
	}
	d.wants(t, d.replay(t, 2), "emr")
}
