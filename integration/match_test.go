package integration

import (
	"bytes"
	"encoding/json"
	"math"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/tributary-health/tributary/hashmatch"
)

// Partners ask a running process for members by hash, with the command and over
// HTTP: every member is found, nobody is named who is not asked for, all that
// depends on members is answered by the same bytes, quotas hold over kill -9, and
// the record has every question and nothing of what was in it.
func TestMatch(t *testing.T) {
	m := newMatchRun(t)
	t.Run("members", m.everyMember)
	t.Run("list", m.listed)
	t.Run("corrected", m.corrected)
	t.Run("deleted", m.deletedAtSource)
	t.Run("parked", m.parkedTwin)
	t.Run("no match", m.noMatch)
	t.Run("time", m.oneTime)
	t.Run("malformed", m.malformed)
	t.Run("not allowed", m.notAllowed)
	t.Run("quota", m.quotas)
	t.Run("record", m.onRecord)
}

// nobody has no fact of the sample's members.
var nobody = person{key: "nobody", given: "Roderic", family: "Wimbleford", birth: "1987-09-30", sex: "M",
	address: "77 Pinewood Way", zip: "94110", phone: "415-555-0199", member: "XQ-77-QX", ssn: "6174"}

// everyMember asks for all members with all that is known of them.
func (m *matchRun) everyMember(t *testing.T) {
	exit, results, stderr := m.command(t, append(slices.Clone(m.people), nobody))
	if exit != 0 || len(results) != len(m.people)+1 {
		t.Fatalf("exit %d, %d results\n%s", exit, len(results), stderr)
	}
	tasks := 0
	for i, r := range results[:len(m.people)] {
		p := m.people[i]
		want := m.patientOf(t, p)
		if r.Ref != p.key || r.Outcome != "matched" || "Patient/"+r.Patient != want {
			t.Errorf("member %d: %s, Patient/%s, want %s", i, r.Outcome, r.Patient, want)
		}
		m.attempts[attempt{"provider", "ok", ""}]++
		m.hits[r.Patient]++
		if want := m.tasksOf(t, "provider", want); len(want) != len(r.Tasks) {
			t.Errorf("%s: %d tasks, want %d", r.Patient, len(r.Tasks), len(want))
		}
		tasks += len(r.Tasks)
		m.isProfileOf(t, "provider", m.ask(t, "provider", p, http.StatusOK, ""), want)
	}
	if tasks == 0 {
		t.Error("nobody has a Task")
	}
	provider := m.partners["provider"]
	present := provider.key
	provider.key = provider.last
	m.names(t, m.ask(t, "provider", m.people[0], http.StatusOK, ""), m.ids[m.people[0].key])
	provider.key = present
	if last := results[len(m.people)]; last.Outcome != "no match" || last.Patient != "" || len(last.Tasks) > 0 {
		t.Errorf("a stranger: %+v", last)
	}
	m.count("provider", http.StatusUnprocessableEntity, "unknown")
}

func (m *matchRun) patientOf(t *testing.T, p person) string {
	t.Helper()
	return m.idOf(t, "Patient", "urn:tributary:sample:emr-patient|"+p.key)
}

// isProfileOf compares an answer with what the client gets by reading and
// searching: the Patient first, then the member's Tasks.
func (m *matchRun) isProfileOf(t *testing.T, client string, a reply, patient string) {
	t.Helper()
	var b bundle
	if err := json.Unmarshal(a.body, &b); err != nil || len(b.Entry) == 0 {
		t.Fatalf("%v: %.300s", err, a.body)
	}
	_, _, read, err := m.tryGetAs(m.partners[client].bearer, "/"+patient)
	if err != nil || !bytes.Equal(b.Entry[0].Resource, read) {
		t.Errorf("%s: %v, matched\n%.500s\nread\n%.500s", patient, err, b.Entry[0].Resource, read)
	}
	var got []string
	for _, e := range b.Entry[1:] {
		got = append(got, string(e.Resource))
	}
	slices.Sort(got)
	if want := m.tasksOf(t, client, patient); !slices.Equal(got, want) {
		t.Errorf("%s: tasks\n%s\nwant\n%s", patient, got, want)
	}
}

// tasksOf searches the member's Tasks. Without a mapping that makes Tasks there
// are none.
func (m *matchRun) tasksOf(t *testing.T, client, patient string) []string {
	t.Helper()
	code, _, body, err := m.tryGetAs(m.partners[client].bearer, "/Task?_count=1000&patient="+patient)
	if err == nil && code == http.StatusNotFound {
		return nil
	}
	var b bundle
	if err != nil || code != http.StatusOK || json.Unmarshal(body, &b) != nil {
		t.Fatalf("Tasks of %s: %d %v %.300s", patient, code, err, body)
	}
	var tasks []string
	for _, e := range b.Entry {
		tasks = append(tasks, string(e.Resource))
	}
	slices.Sort(tasks)
	return tasks
}

// listed asks as a client with a list of members, from whom addresses are hidden:
// the tokens are of what the payer knows, and the answer of what the client may.
func (m *matchRun) listed(t *testing.T) {
	half := len(m.people) / 2
	exit, results, stderr := m.command(t, m.people, m.as("clinic")...)
	if exit != 0 || len(results) != len(m.people) {
		t.Fatalf("exit %d, %d results\n%s", exit, len(results), stderr)
	}
	for i, r := range results {
		id := m.ids[m.people[i].key]
		switch {
		case i < half && r.Outcome == "matched" && r.Patient == id:
			m.attempts[attempt{"clinic", "ok", ""}]++
			m.hits[id]++
		case i >= half && r.Outcome == "no match" && r.Patient == "":
			m.count("clinic", http.StatusUnprocessableEntity, "not-known")
		default:
			t.Errorf("member %d: %+v", i, r)
		}
	}
	a := m.ask(t, "clinic", m.people[0], http.StatusOK, "")
	m.isProfileOf(t, "clinic", a, "Patient/"+m.ids[m.people[0].key])
	if bytes.Contains(a.body, []byte(m.people[0].address)) {
		t.Error("the clinic is shown an address")
	}
}

// corrected corrects a birth date at the source.
func (m *matchRun) corrected(t *testing.T) {
	p := m.people[2]
	id := m.ids[p.key]
	old, now := p, p
	now.birth = "1971-02-03"
	old.ssn, now.ssn = "", "" // with it, a mistaken birth date is forgiven
	m.names(t, m.ask(t, "provider", old, http.StatusOK, ""), id)
	m.ask(t, "provider", now, http.StatusUnprocessableEntity, "unknown")
	exec1(t, m.pg, "UPDATE patients SET birthdate = $2 WHERE id = $1", p.key, now.birth)
	m.ready()
	m.ask(t, "provider", old, http.StatusUnprocessableEntity, "unknown")
	a := m.ask(t, "provider", now, http.StatusOK, "")
	m.names(t, a, id)
	if !bytes.Contains(a.body, []byte(`"birthDate":"1971-02-03"`)) {
		t.Errorf("not the corrected Patient: %.500s", a.body)
	}
	m.names(t, m.ask(t, "provider", p, http.StatusOK, ""), id) // the old date, and the number's end
	m.people[2].birth = now.birth
}

// names wants an answer to be about this Patient.
func (m *matchRun) names(t *testing.T, a reply, id string) {
	t.Helper()
	var b bundle
	if a.status != http.StatusOK || json.Unmarshal(a.body, &b) != nil || len(b.Entry) == 0 ||
		!bytes.Contains(b.Entry[0].Resource, []byte(`"id":"`+id+`"`)) {
		t.Errorf("not Patient/%s: %d %.300s", id, a.status, a.body)
	}
}

// deletedAtSource deletes a member and all its rows.
func (m *matchRun) deletedAtSource(t *testing.T) {
	gone := m.people[1]
	for _, table := range []string{"observations", "procedures", "immunizations", "allergies", "conditions", "encounters"} {
		exec1(t, m.pg, "DELETE FROM "+table+" WHERE patient = $1", gone.key)
	}
	for _, table := range []string{"fills", "medications", "payer_transitions"} {
		exec1(t, m.maria, "DELETE FROM "+table+" WHERE patient = ?", gone.key)
	}
	exec1(t, m.pg, "DELETE FROM patients WHERE id = $1", gone.key)
	m.ready()
	m.alike(t, "provider", m.ask(t, "provider", gone, http.StatusUnprocessableEntity, "unknown"))
	m.alike(t, "clinic", m.ask(t, "clinic", gone, http.StatusUnprocessableEntity, "unknown"))
	m.people = slices.Delete(m.people, 1, 2)
}

// alike wants an answer to be that which the client gets for nobody, byte for
// byte.
func (m *matchRun) alike(t *testing.T, client string, a reply) {
	t.Helper()
	if want := m.ask(t, client, nobody, http.StatusUnprocessableEntity, "unknown"); a.raw != want.raw {
		t.Errorf("an answer that tells something:\n%s\nfor nobody:\n%s", a.raw, want.raw)
	}
}

// parkedTwin parks a member beside a twin whose name sounds alike, and who has
// all else from the same household.
func (m *matchRun) parkedTwin(t *testing.T) {
	p := m.people[3]
	id := m.ids[p.key]
	twin := p
	twin.key, twin.ssn = "11111111-2222-4333-8444-000000000001", "999-77-6281"
	twin.given = strings.TrimRight(p.given, "0123456789") + "eh"
	twinID := strings.TrimPrefix(m.insert(t, twin), "Patient/")
	both := func(status int, reason string) {
		t.Helper()
		a := m.ask(t, "provider", p, status, reason)
		if status == http.StatusOK {
			m.names(t, a, id)
		} else {
			m.alike(t, "provider", a)
		}
		m.names(t, m.ask(t, "provider", twin, http.StatusOK, ""), twinID)
	}
	both(http.StatusOK, "")

	exec1(t, m.pg, "UPDATE patients SET city = 'Nowhere' WHERE id = $1", p.key)
	m.ready()
	if n := len(m.status(t).Parked); n != 1 {
		t.Fatalf("%d are parked, want 1", n)
	}
	both(http.StatusUnprocessableEntity, "suppressed")
	m.newKey(t, "crowd")
	m.restart(t) // all tokens are made again, and what is parked stays so
	both(http.StatusUnprocessableEntity, "suppressed")

	exec1(t, m.pg, "UPDATE patients SET city = 'Boston' WHERE id = $1", p.key)
	m.ready()
	both(http.StatusOK, "")
	exec1(t, m.pg, "DELETE FROM patients WHERE id = $1", twin.key)
	m.ready()
	m.ask(t, "provider", twin, http.StatusUnprocessableEntity, "weak")
}

// restart kills the process and starts it again.
func (m *matchRun) restart(t *testing.T) {
	t.Helper()
	m.kill()
	m.keep()
	m.run(t)
}

// noMatch asks for whom there is no answer, for each reason that there is, and
// wants one answer.
func (m *matchRun) noMatch(t *testing.T) {
	for _, c := range m.unmatched(t) {
		a := m.askFor(t, c.client, c.person, c.demographics(), http.StatusUnprocessableEntity, c.reason)
		if c.reason == "" {
			t.Fatalf("%s: no reason", c.name)
		}
		m.alike(t, c.client, a)
		if a.header.Get("Content-Length") == "" || !json.Valid(a.body) {
			t.Errorf("%s: %q", c.name, a.raw)
		}
	}
	// One of two who are alike is parked: the other is not named in its place.
	exec1(t, m.pg, "UPDATE patients SET city = 'Nowhere' WHERE id = $1", secondRecord.key)
	m.ready()
	m.alike(t, "provider", m.ask(t, "provider", firstRecord, http.StatusUnprocessableEntity, "suppressed"))
	exec1(t, m.pg, "UPDATE patients SET city = 'Boston' WHERE id = $1", secondRecord.key)
	m.ready()
}

// firstRecord and secondRecord are of one person.
var (
	firstRecord = person{key: "11111111-2222-4333-8444-00000000000a", given: "Osbert", family: "Quillingham", birth: "1949-04-23", sex: "M",
		address: "18 Larkspur Road", zip: "02139", phone: "(617) 555-0121", ssn: "999-31-7719"}
	secondRecord = func() person {
		p := firstRecord
		p.key = "11111111-2222-4333-8444-00000000000b"
		return p
	}()
)

// unmatchedCase is somebody of whom the client is told nothing.
type unmatchedCase struct {
	name, client string
	person
	second person // asked for in the same request
	reason string
}

func (c unmatchedCase) demographics() hashmatch.Demographics {
	d := c.person.demographics()
	if c.second.key != "" {
		s := c.second.demographics()
		d.Addresses, d.Phones = append(d.Addresses, s.Addresses...), append(d.Phones, s.Phones...)
	}
	return d
}

// unmatched makes members alike at the source, and is who of them cannot be told
// from another, with others.
func (m *matchRun) unmatched(t *testing.T) []unmatchedCase {
	t.Helper()
	sample := m.people[4]
	sample.ssn = ""
	with := func(change func(*person)) person {
		p := sample
		change(&p)
		return p
	}
	moved := person{key: "11111111-2222-4333-8444-00000000000c", given: "Philippa", family: "Thackeraye", birth: "1952-11-07", sex: "F",
		address: "3 Gorse Court", zip: "02140", phone: "(617) 555-0133", member: "QQBB-0001", ssn: "999-31-8820"}
	elsewhere := moved
	elsewhere.key, elsewhere.address, elsewhere.zip, elsewhere.phone = "11111111-2222-4333-8444-00000000000d", "950 Heather Lane", "01970", "(978) 555-0144"
	elsewhere.member, elsewhere.ssn = "QQBB-0002", "999-31-9931"
	for _, p := range []person{firstRecord, secondRecord, moved, elsewhere} {
		m.insert(t, p)
	}
	moved.ssn, moved.member = "", ""
	return []unmatchedCase{
		{name: "another given name", client: "provider", person: with(func(p *person) { p.given = "Barnaby" }), reason: "unknown"},
		{name: "another family name and nothing but it", client: "provider", reason: "unknown", person: with(func(p *person) {
			p.family, p.address, p.zip, p.phone, p.member = "Wimbleford", "", "", "", "ZZ-00-ZZ"
		})},
		{name: "another year of birth", client: "provider", person: with(func(p *person) { p.birth = "1903-03-09" }), reason: "unknown"},
		{name: "two kinds and too little", client: "provider", reason: "weak", person: with(func(p *person) { p.address, p.phone, p.member, p.zip = "", "", "", "" })},
		{name: "two who are alike", client: "provider", person: firstRecord, reason: "suppressed"},
		{name: "two with facts of their own", client: "provider", person: moved, second: elsewhere, reason: "ambiguous"},
		{name: "not on the list", client: "clinic", person: m.people[len(m.people)-1], reason: "not-known"},
		{name: "alike, and not on the list", client: "clinic", person: firstRecord, reason: "suppressed"},
	}
}

// oneTime asks in turn for nobody and for somebody of whom the client is told
// nothing. The bounds are wide: every answer waits for the disk. What is measured
// with care is in package api.
func (m *matchRun) oneTime(t *testing.T) {
	for _, c := range []struct {
		client, reason string
		person
	}{
		{"clinic", "not-known", m.people[len(m.people)-1]},
		{"provider", "suppressed", firstRecord},
	} {
		bodies := [2]string{}
		for i, p := range []person{c.person, nobody} {
			r, err := m.partners[c.client].key.Request(p.demographics())
			if err != nil {
				t.Fatal(err)
			}
			m.remember(p, r)
			bodies[i] = string(r.Encode())
		}
		reasons := [2]string{c.reason, "unknown"}
		var took [2][]float64
		const rounds = 150
		for i := range 2 * rounds {
			which := (i + i/2) % 2 // in turn who is first
			started := time.Now()
			a := m.post(t, m.partners[c.client].bearer, bodies[which])
			took[which] = append(took[which], float64(time.Since(started)))
			m.count(c.client, a.status, reasons[which])
			if a.status != http.StatusUnprocessableEntity {
				t.Fatalf("%d %s", a.status, a.body)
			}
		}
		slices.Sort(took[0])
		slices.Sort(took[1])
		a, b := took[0][rounds/2], took[1][rounds/2]
		t.Logf("%s: medians %v, and %v for nobody", c.reason, time.Duration(a), time.Duration(b))
		if math.Abs(a-b) > 0.5*min(a, b) {
			t.Errorf("%s: the time tells it from nobody: %v and %v", c.reason, time.Duration(a), time.Duration(b))
		}
	}
}

// malformed sends what is no request, made of a member's tokens and of nobody's.
func (m *matchRun) malformed(t *testing.T) {
	corpus, err := txtar.ParseFile("testdata/match/malformed.txtar")
	if err != nil || len(corpus.Files) < 10 {
		t.Fatalf("malformed requests: %d, %v", len(corpus.Files), err)
	}
	p := m.partners["provider"]
	var good [2]string
	for i, who := range []person{m.people[0], nobody} {
		who.member = "" // both have tokens of the same kinds
		r, err := p.key.Request(who.demographics())
		if err != nil {
			t.Fatal(err)
		}
		m.remember(who, r)
		good[i] = string(r.Encode())
	}
	for _, f := range corpus.Files {
		var raw [2]string
		for i := range good {
			body := m.changed(t, f, good[i], string(p.key.Epoch()))
			a := m.post(t, p.bearer, body)
			m.count("provider", a.status, "malformed")
			if raw[i] = a.raw; a.status != http.StatusBadRequest {
				t.Errorf("%s: %d %.300s", f.Name, a.status, a.body)
			}
		}
		if raw[0] != raw[1] {
			t.Errorf("%s: a hint of a member:\n%s\n%s", f.Name, raw[0], raw[1])
		}
	}
	for i := range good {
		a := m.post(t, p.bearer, strings.Repeat(" ", 32<<10)+good[i])
		m.count("provider", a.status, "malformed")
		if a.status != http.StatusBadRequest {
			t.Errorf("a long body: %d %.300s", a.status, a.body)
		}
		a = m.post(t, p.bearer, good[i], "text/plain")
		m.count("provider", a.status, "invalid")
		if a.status != http.StatusUnsupportedMediaType {
			t.Errorf("another content type: %d %.300s", a.status, a.body)
		}
	}
}

// changed is a good request with the corpus' fault.
func (m *matchRun) changed(t *testing.T, f txtar.File, good, epoch string) string {
	t.Helper()
	fault := strings.ReplaceAll(strings.TrimSuffix(string(f.Data), "\n"), "EPOCH", epoch)
	from, to, replaced := strings.Cut(fault, " -> ")
	if !replaced {
		return fault
	}
	if !strings.Contains(good, from) {
		t.Fatalf("%s: %q is not in %s", f.Name, from, good)
	}
	return strings.Replace(good, from, to, 1)
}

// notAllowed asks with a key that is not shared, with files that are none, and as
// clients that may not ask.
func (m *matchRun) notAllowed(t *testing.T) {
	member := m.people[0]
	wrong := m.as("provider")
	wrong[3] = m.partners["clinic"].matchFile
	exit, results, stderr := m.command(t, []person{member, nobody}, wrong...)
	if exit != 0 || len(results) != 2 || results[0].Outcome != "no match" || results[1].Outcome != "no match" {
		t.Errorf("with another key: exit %d, %+v\n%s", exit, results, stderr)
	}
	m.count("provider", http.StatusUnprocessableEntity, "unknown")
	m.count("provider", http.StatusUnprocessableEntity, "unknown")
	for name, text := range map[string]string{"short": "00ff", "words": "Wimbleford's key", "empty": ""} {
		file := filepath.Join(t.TempDir(), name)
		writeFile(t, file, text)
		wrong[3] = file
		exit, results, stderr = m.command(t, []person{member}, wrong...)
		if exit != 1 || len(results) != 0 || !strings.Contains(stderr, file) || text != "" && strings.Contains(stderr, text) {
			t.Errorf("with a key file that is none (%s): exit %d, %+v\n%s", name, exit, results, stderr)
		}
	}
	for _, client := range []string{"subscriber", "operator"} {
		bearer := m.env[strings.ToUpper(client)+"_KEY"]
		var raw []string
		for _, body := range []string{m.body(t, member), m.body(t, nobody), "{"} {
			a := m.post(t, bearer, body)
			m.count(client, a.status, "no-terms")
			raw = append(raw, a.raw)
			if a.status != http.StatusForbidden {
				t.Errorf("%s: %d %.300s", client, a.status, a.body)
			}
		}
		if raw[0] != raw[1] || raw[1] != raw[2] {
			t.Errorf("%s is told something: %q", client, raw)
		}
		file := filepath.Join(t.TempDir(), client)
		writeFile(t, file, bearer)
		flags := append(m.as("provider")[:4], "--client-key-file", file)
		exit, results, _ := m.command(t, []person{member, nobody}, flags...)
		if exit != 1 || len(results) != 2 || results[0].Outcome != "refused" || results[1].Outcome != "refused" {
			t.Errorf("the command as %s: exit %d, %+v", client, exit, results)
		}
		m.count(client, http.StatusForbidden, "no-terms") // it does not ask on
	}
	if a := m.post(t, "nobody's-key", m.body(t, member)); a.status != http.StatusUnauthorized {
		t.Errorf("a key of nobody: %d", a.status)
	}
}

// body is the provider's request for a person.
func (m *matchRun) body(t *testing.T, p person) string {
	t.Helper()
	r, err := m.partners["provider"].key.Request(p.demographics())
	if err != nil {
		t.Fatal(err)
	}
	m.remember(p, r)
	return string(r.Encode())
}

// quotas uses up what clients may ask, one after another and side by side, and
// kills the process in between. One partner has another key afterwards: with the
// former one it finds nobody.
func (m *matchRun) quotas(t *testing.T) {
	member := m.people[0]
	for range 4 { // of six
		m.ask(t, "thrifty", member, http.StatusOK, "")
	}
	m.ask(t, "guesser", nobody, http.StatusUnprocessableEntity, "unknown")
	m.ask(t, "guesser", member, http.StatusOK, "")
	m.ask(t, "guesser", nobody, http.StatusUnprocessableEntity, "unknown")
	m.crowd(t)
	answered := m.askUntilKilled(t)
	m.run(t)

	used := m.state(t, "killed").used
	if used < answered || used > answered+1 {
		t.Errorf("%d questions count after the kill, %d were answered", used, answered)
	}
	m.attempts[attempt{"killed", "refused", "unknown"}] += used
	m.ask(t, "thrifty", member, http.StatusOK, "")
	m.ask(t, "thrifty", nobody, http.StatusUnprocessableEntity, "unknown")
	m.waits(t, "thrifty", 23*time.Hour, 24*time.Hour)
	m.waits(t, "crowd", 23*time.Hour, 24*time.Hour)
	m.ask(t, "guesser", nobody, http.StatusUnprocessableEntity, "unknown-locked-out")
	m.waits(t, "guesser", 50*time.Minute, time.Hour)
	locked := m.state(t, "guesser").locked

	former := m.partners["clinic"].key
	m.newKey(t, "clinic")
	m.restart(t)
	m.names(t, m.ask(t, "clinic", m.people[1], http.StatusOK, ""), m.ids[m.people[1].key])
	m.partners["clinic"].key = former
	m.alike(t, "clinic", m.ask(t, "clinic", m.people[1], http.StatusUnprocessableEntity, "unknown"))
	m.waits(t, "thrifty", 23*time.Hour, 24*time.Hour)
	m.waits(t, "guesser", 50*time.Minute, time.Hour)
	if again := m.state(t, "guesser").locked; again.Sub(locked).Abs() > time.Second {
		t.Errorf("locked until %v, after a restart until %v", locked, again)
	}
	m.names(t, m.ask(t, "provider", member, http.StatusOK, ""), m.ids[member.key])
	exit, results, _ := m.command(t, []person{member, nobody}, m.as("thrifty")...)
	if exit != 1 || len(results) != 2 || results[0].Outcome != "quota" || results[1].Outcome != "quota" {
		t.Errorf("the command without quota: exit %d, %+v", exit, results)
	}
	m.count("thrifty", http.StatusTooManyRequests, "quota") // it does not ask on
}

// waits asks a client that has to wait, for a member and for nobody: it is told
// for how long, and nothing else.
func (m *matchRun) waits(t *testing.T, client string, from, to time.Duration) {
	t.Helper()
	var bodies [2]string
	for i, p := range []person{m.people[0], nobody} {
		a := m.ask(t, client, p, http.StatusTooManyRequests, "quota")
		seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
		if wait := time.Duration(seconds) * time.Second; err != nil || wait < from || wait > to {
			t.Errorf("%s: Retry-After: %q, want %v to %v", client, a.header.Get("Retry-After"), from, to)
		}
		bodies[i] = string(a.body)
	}
	if bodies[0] != bodies[1] {
		t.Errorf("%s is told something: %q", client, bodies)
	}
}

// crowd asks side by side more than the day's seven.
func (m *matchRun) crowd(t *testing.T) {
	t.Helper()
	var all sync.WaitGroup
	var mu sync.Mutex
	byStatus := map[int]int{}
	p := m.partners["crowd"]
	r, err := p.key.Request(m.people[0].demographics())
	if err != nil {
		t.Fatal(err)
	}
	m.remember(m.people[0], r)
	for range 20 {
		all.Go(func() {
			a, err := m.tryPost(p.bearer, string(r.Encode()))
			if err != nil {
				t.Error(err)
				return
			}
			reason := ""
			switch a.status {
			case http.StatusOK:
				m.hit(t, a)
			case http.StatusTooManyRequests:
				reason = "quota"
			}
			m.count("crowd", a.status, reason)
			mu.Lock()
			byStatus[a.status]++
			mu.Unlock()
		})
	}
	all.Wait()
	if byStatus[http.StatusOK] != 7 || byStatus[http.StatusTooManyRequests] != 13 {
		t.Errorf("of twenty questions side by side: %v, want seven answered and the others told to wait", byStatus)
	}
}

// askUntilKilled kills the process under a client that asks on and on, and
// returns how many answers that had.
func (m *matchRun) askUntilKilled(t *testing.T) (answered int) {
	t.Helper()
	p := m.partners["killed"]
	r, err := p.key.Request(nobody.demographics())
	if err != nil {
		t.Fatal(err)
	}
	m.remember(nobody, r)
	enough, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			a, err := m.tryPost(p.bearer, string(r.Encode()))
			if err != nil {
				return
			}
			if a.status != http.StatusUnprocessableEntity {
				t.Errorf("%d %s", a.status, a.body)
				return
			}
			if answered++; answered == 20 {
				close(enough)
			}
		}
	}()
	select {
	case <-enough:
	case <-ended:
	}
	m.kill()
	m.keep()
	<-ended
	if answered < 20 {
		t.Fatalf("killed after %d answers", answered)
	}
	return answered
}
