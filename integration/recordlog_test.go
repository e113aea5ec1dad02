package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tributary-health/tributary/access"
)

// recorded is an event as `tributary audit list --json` prints it.
type recorded struct {
	Number     uint64 `json:"n"`
	Kind       string `json:"kind"`
	Client     string `json:"client"`
	Policy     string `json:"policy"`
	Outcome    string `json:"outcome"`
	Reason     string `json:"reason"`
	Request    string `json:"request"`
	Generation string `json:"generation"`
	Commit     uint64 `json:"commit"`
	Part       int    `json:"part"`
	Parts      int    `json:"parts"`
	Subjects   []struct {
		Patient   string   `json:"patient"`
		Resources []string `json:"resources"`
	} `json:"subjects"`
}

// member is whose the resource is according to the event.
func (e *recorded) member(resource string) (patient string, found bool) {
	for _, s := range e.Subjects {
		if slices.Contains(s.Resources, resource) {
			return s.Patient, true
		}
	}
	return "", false
}

func (e *recorded) tellsOf(patient string) bool {
	for _, s := range e.Subjects {
		if s.Patient == patient {
			return true
		}
	}
	return false
}

// key is what an event and the answer that it is about have in common. An answer
// that a resource is gone does not say which version that was; one that shows
// nothing is about the member who was asked for.
func (e *recorded) key() string {
	var resources []string
	for _, s := range e.Subjects {
		for _, r := range s.Resources {
			if e.Reason == "gone" {
				r, _, _ = strings.Cut(r, "/_history/")
			}
			resources = append(resources, r)
		}
		if len(s.Resources) == 0 && len(e.Subjects) == 1 && e.Outcome == "ok" {
			resources = append(resources, "Patient/"+s.Patient)
		}
	}
	return answerKey(e.Client, e.Kind, e.Outcome, e.Request, resources)
}

func answerKey(client, kind, outcome, request string, resources []string) string {
	slices.Sort(resources)
	return strings.Join([]string{client, kind, outcome, request, strings.Join(resources, " ")}, "|")
}

// auditRecord is the whole record, and the policies that its clients have.
type auditRecord struct {
	events   []*recorded
	policies map[string]string
}

func (d *demoRun) record(t *testing.T) *auditRecord {
	t.Helper()
	r := &auditRecord{policies: map[string]string{}}
	clients, problems := access.LoadClients(filepath.Join(d.work, "clients.yaml"))
	if access.Failed(problems) {
		t.Fatal(problems)
	}
	for _, c := range clients {
		r.policies[c.ID] = c.Policy.ID()
	}
	r.events = d.recordedBy(t, "list", "--json")
	if len(r.events) == 0 {
		t.Fatal("nothing is on the record")
	}
	return r
}

// recordedBy runs a command that prints entries, and joins the parts of an event.
func (d *demoRun) recordedBy(t *testing.T, args ...string) []*recorded {
	t.Helper()
	cmd := exec.Command(binary, append(append([]string{"audit"}, args...), "--work", d.work)...)
	var failed bytes.Buffer
	cmd.Stderr = &failed
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("audit %v: %v\n%s", args, err, failed.String())
	}
	var all []*recorded
	for line := range bytes.Lines(out) {
		e := &recorded{}
		if err := json.Unmarshal(line, e); err != nil {
			t.Fatalf("audit %v: %v in %.300s", args, err, line)
		}
		if e.Part > 1 && len(all) > 0 {
			last := all[len(all)-1]
			last.Subjects = append(last.Subjects, e.Subjects...)
			continue
		}
		all = append(all, e)
	}
	return all
}

// holds checks that whatever a client has is on the record, at least as often,
// and that nothing is on it that nobody asked for.
func (r *auditRecord) holds(t *testing.T, clients []*asker) {
	t.Helper()
	have, need := map[string]int{}, map[string]int{}
	found := map[string]*recorded{}
	entries, asked := map[string]int{}, map[string]int{}
	for _, e := range r.events {
		if e.Kind == "delivery" {
			continue
		}
		key := e.key()
		at := fmt.Sprintf("%s|%d", key, e.Commit)
		have[key]++
		have[at]++
		found[at], found[key] = e, e
		entries[e.Client]++
		if e.Policy == "" || e.Policy != r.policies[e.Client] {
			t.Errorf("entry %d: client %s under policy %s, want %s", e.Number, e.Client, e.Policy, r.policies[e.Client])
		}
	}
	answers, resources, kinds := 0, 0, map[string]int{}
	for _, c := range clients {
		asked[c.id] += len(c.noted) + c.unanswered
		for _, f := range c.failed[:min(len(c.failed), 5)] {
			t.Errorf("%s: %s", c.id, f)
		}
		for _, a := range c.noted {
			key := a.key()
			need[key]++
			e := found[key]
			if a.commit != "" {
				key += "|" + a.commit
				need[key]++
				e = found[key]
			}
			answers, resources = answers+1, resources+len(a.shown)
			kinds[fmt.Sprint(a.kind, " ", a.status)]++
			if e == nil {
				t.Errorf("%s has an answer %d that is not on the record: %s, commit %s, %d resources", a.client, a.status, a.request, a.commit, len(a.shown))
				continue
			}
			a.agrees(t, e)
		}
	}
	for key, n := range need {
		if have[key] > 0 && have[key] < n {
			t.Errorf("%d answers, %d entries: %.300s", n, have[key], key)
		}
	}
	for id, n := range entries {
		if n > asked[id]+ownRequests {
			t.Errorf("%d entries for the %d requests of %s", n, asked[id], id)
		}
	}
	t.Logf("%d answers with %d resources, %v; %d entries %v for %v requests", answers, resources, kinds, len(r.events), entries, asked)
	for _, kind := range []string{"read 200", "read 304", "read 404", "vread 200", "history 200", "search 200", "everything 200", "medication-profile 200",
		"document 200", "match 200", "match 422", "match 403"} {
		if kinds[kind] == 0 && len(clients) > 4 {
			t.Errorf("no answer of %s was noted", kind)
		}
	}
}

// ownRequests is more than the tests themselves ask as the provider.
const ownRequests = 100

// agrees compares members with those that the entry names.
func (a *noted) agrees(t *testing.T, e *recorded) {
	t.Helper()
	for resource, member := range a.shown {
		patient, found := e.member(resource)
		if found && member != unknownMember && patient != member {
			t.Errorf("entry %d, %s: %s is of %q, the entry says of %q", e.Number, e.Request, resource, member, patient)
		}
	}
	if a.about != "" && a.status == 200 && !e.tellsOf(a.about) {
		t.Errorf("entry %d, %s: does not tell of %s", e.Number, e.Request, a.about)
	}
	for _, s := range e.Subjects {
		if len(s.Resources) == 0 && s.Patient != a.about {
			t.Errorf("entry %d, %s: tells of %s, who was neither asked for nor shown", e.Number, e.Request, s.Patient)
		}
	}
	if refused := a.status >= 400; refused == (e.Reason == "" || strings.HasPrefix(e.Reason, "mixed")) {
		t.Errorf("entry %d, %s, status %d: reason %q", e.Number, e.Request, a.status, e.Reason)
	}
}

// holdsDeliveries checks that whatever came from the client's topic is on the
// record as sent to that topic.
func (r *auditRecord) holdsDeliveries(t *testing.T, received map[topicPlace]change, client string) {
	t.Helper()
	sent := map[string]bool{}
	for _, e := range r.events {
		if e.Kind != "delivery" || e.Client != client || e.Outcome != "ok" || e.Policy != r.policies[client] {
			continue
		}
		for _, s := range e.Subjects {
			for _, resource := range s.Resources {
				sent[strings.Join([]string{e.Request, e.Generation, s.Patient, resource}, "|")] = true
			}
		}
	}
	missing := 0
	for at, c := range received {
		resource, member := c.headers["tributary-resource"], c.key
		if member == resource {
			member = ""
		}
		key := strings.Join([]string{fmt.Sprintf("SEND %s/%d", at.topic, at.partition), c.headers["tributary-generation"], member,
			resource + "/_history/" + c.headers["tributary-version"]}, "|")
		if !sent[key] {
			if missing++; missing < 10 {
				t.Errorf("received and not on the record: %s", key)
			}
		}
	}
	if missing > 0 || len(received) < 1000 {
		t.Errorf("%d records received, %d are not on the record", len(received), missing)
	}
	t.Logf("%d records received, %d deliveries on the record", len(received), len(sent))
}

// accounts asks for the account of the member who was shown most, and of one more.
func (d *demoRun) accounts(t *testing.T, r *auditRecord, clients []*asker) {
	t.Helper()
	shown := map[string]int{}
	for _, c := range clients {
		for _, a := range c.noted {
			for _, member := range a.members() {
				shown[member]++
			}
		}
	}
	var most []string
	for member := range shown {
		most = append(most, member)
	}
	slices.SortFunc(most, func(a, b string) int { return shown[b] - shown[a] })
	if len(most) < 2 {
		t.Fatal("nobody's record was shown")
	}
	for _, patient := range most[:2] {
		want := map[uint64]bool{}
		for _, e := range r.events {
			if e.tellsOf(patient) {
				want[e.Number] = true
			}
		}
		got := d.recordedBy(t, "account", "--json", patient)
		for _, e := range got {
			if !want[e.Number] || len(e.Subjects) == 0 || slices.ContainsFunc(e.Subjects, func(s struct {
				Patient   string   `json:"patient"`
				Resources []string `json:"resources"`
			}) bool {
				return s.Patient != patient
			}) {
				t.Errorf("the account of %s has entry %d, about %d subjects", patient, e.Number, len(e.Subjects))
			}
		}
		if len(got) != len(want) || len(got) < shown[patient] {
			t.Errorf("the account of %s has %d entries, the record %d, and clients have %d answers", patient, len(got), len(want), shown[patient])
		}
		exit, out := d.auditCommand(t, "account", "Patient/"+patient)
		if exit != 0 || !strings.Contains(out, fmt.Sprintf("\n%d entries tell of Patient/%s\n", len(got), patient)) || !strings.Contains(out, "this account is complete") {
			t.Errorf("account: exit %d\n%s", exit, tail(out, 1000))
		}
	}
}

// recordCopy is a copy of a record; file is what was changed last, and what says
// where.
type recordCopy struct {
	t          *testing.T
	dir        string
	file, what string
}

// copyRecord copies what verification reads: the secret key stays.
func copyRecord(t *testing.T, folder string) *recordCopy {
	t.Helper()
	c := &recordCopy{t: t, dir: t.TempDir()}
	names, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if base := filepath.Base(name); base == "head" || base == "audit.pub" || strings.HasSuffix(base, ".log") {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			c.write(base, text)
		}
	}
	return c
}

func verifyCopy(t *testing.T, dir string) (exit int, output string) {
	t.Helper()
	cmd := exec.Command(binary, "audit", "verify", "--data", dir)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func (c *recordCopy) read(name string) []byte {
	c.t.Helper()
	text, err := os.ReadFile(filepath.Join(c.dir, name))
	if err != nil {
		c.t.Fatal(err)
	}
	return text
}

func (c *recordCopy) write(name string, text []byte) {
	c.t.Helper()
	c.file = name
	if err := os.WriteFile(filepath.Join(c.dir, name), text, 0o600); err != nil {
		c.t.Fatal(err)
	}
}

const firstSegment = "000001.log"

// lines are those of the segment; the first is its header.
func (c *recordCopy) lines() [][]byte { return slices.Collect(bytes.Lines(c.read(firstSegment))) }

func (c *recordCopy) flip(random *rand.Rand) {
	name := []string{firstSegment, firstSegment, "head", "audit.pub"}[random.IntN(4)]
	text := c.read(name)
	at, bit := random.IntN(len(text)), random.IntN(8)
	text[at] ^= 1 << bit
	c.what = fmt.Sprintf("%s, byte %d, bit %d", name, at, bit)
	c.write(name, text)
}

func (c *recordCopy) takeOut(random *rand.Rand) {
	lines := c.lines()
	n := 1 + random.IntN(len(lines)-1)
	c.what = fmt.Sprint("entry ", n)
	c.write(firstSegment, bytes.Join(slices.Delete(lines, n, n+1), nil))
}

func (c *recordCopy) swap(random *rand.Rand) {
	lines := c.lines()
	n := 1 + random.IntN(len(lines)-2)
	m := n + 1 + random.IntN(len(lines)-n-1)
	lines[n], lines[m] = lines[m], lines[n]
	c.what = fmt.Sprintf("entries %d and %d", n, m)
	c.write(firstSegment, bytes.Join(lines, nil))
}

func (c *recordCopy) double(random *rand.Rand) {
	lines := c.lines()
	n := 1 + random.IntN(len(lines)-1)
	c.what = fmt.Sprint("entry ", n)
	c.write(firstSegment, bytes.Join(slices.Insert(lines, n, lines[n]), nil))
}

// cut leaves out an entry at least.
func (c *recordCopy) cut(random *rand.Rand) {
	text := c.read(firstSegment)
	n := random.IntN(len(text) - 1)
	c.what = fmt.Sprint("at ", n)
	c.write(firstSegment, text[:n])
	if bytes.HasSuffix(text[:n], []byte("\n")) || n == 0 {
		c.file = "" // the file that is short looks whole: the head tells
	}
}

func (c *recordCopy) behead(*rand.Rand) {
	c.file, c.what = "head", "the whole file"
	if err := os.Remove(filepath.Join(c.dir, "head")); err != nil {
		c.t.Fatal(err)
	}
}
