package integration

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"text/template"
	"time"

	"github.com/tributary-health/tributary/hashmatch"
)

// matchRun is a demo with partners that ask for members, and what they have asked.
type matchRun struct {
	*demoRun
	config   string
	partners map[string]*partner // by the client's id
	people   []person            // the sample's members
	ids      map[string]string   // of Patients, by the source's key

	mu       sync.Mutex
	attempts map[attempt]int // that must be on the record
	hits     map[string]int  // by the Patient's id
	said     []person        // everybody asked for or stored: what nothing may show
	sent     map[string]bool // values of tokens
	printed  bytes.Buffer    // what the commands said to standard error, and the processes
}

// partner is a client with the two keys that it has.
type partner struct {
	id, bearer string
	key, last  hashmatch.EpochKey // of this epoch and the one before
	matchFile  string             // of the key it shares with the payer
	bearerFile string
}

// attempt is a question as the record has it.
type attempt struct{ client, outcome, reason string }

// person is somebody's demographics, as the columns of the command's file.
type person struct{ key, given, family, birth, sex, address, zip, phone, member, ssn string }

func (p person) demographics() hashmatch.Demographics {
	d := hashmatch.Demographics{BirthDate: p.birth, Sex: p.sex, SSN: p.ssn,
		Names: []hashmatch.Name{{Given: []string{p.given}, Family: p.family}}, Addresses: []hashmatch.Address{{Line: p.address, ZIP: p.zip}}}
	if p.phone != "" {
		d.Phones = []string{p.phone}
	}
	if p.member != "" {
		d.MemberIDs = []string{p.member}
	}
	return d
}

// reply is an answer: everything of it but the date.
type reply struct {
	status int
	header http.Header
	body   []byte
	raw    string // every byte, but for the date
}

// newMatchRun starts a demo, adds the partners to its clients, and goes on with
// them and a mapping that fails for who lives nowhere.
func newMatchRun(t *testing.T) *matchRun {
	t.Helper()
	m := &matchRun{demoRun: composedDemo(t), partners: map[string]*partner{}, attempts: map[attempt]int{}, hits: map[string]int{}, sent: map[string]bool{}}
	m.start()
	m.ready()
	m.people, m.ids = m.membersAtSource(t), m.patientIDs(t)
	if len(m.people) < 8 || len(m.ids) != len(m.people) {
		t.Fatalf("%d members and %d patients", len(m.people), len(m.ids))
	}
	m.kill() // what it has printed is not kept: the demo's screen shows three members by name
	m.config = m.addMapping(t, failing)
	m.addPartners(t, m.people[:len(m.people)/2])
	m.run(t)
	return m
}

// run starts the process anew, and waits until it answers questions: after a
// change of keys, all tokens are made again first.
func (m *matchRun) run(t *testing.T) {
	t.Helper()
	m.launch("run", "--config", m.config)
	m.ready()
	for id := range m.partners {
		m.await("the store of "+id, time.Minute, func() bool { return m.state(t, id).ready })
	}
	body := m.body(t, nobody)
	m.await("the tokens", time.Minute, func() bool {
		a := m.post(t, m.partners["provider"].bearer, body)
		if a.status == http.StatusServiceUnavailable {
			m.attempts[attempt{"provider", "failed", "not-ready"}]++
			return false
		}
		m.count("provider", a.status, "unknown")
		return true
	})
}

// keep keeps what the process has printed.
func (m *matchRun) keep() { m.printed.WriteString(m.demoRun.printed()) }

// addPartners writes the keys and the clients; the clinic's list has the members
// that are given.
func (m *matchRun) addPartners(t *testing.T, known []person) {
	t.Helper()
	text, err := os.ReadFile("testdata/match/clients.yaml")
	if err != nil {
		t.Fatal(err)
	}
	hashes := map[string]string{}
	for _, id := range []string{"clinic", "thrifty", "guesser", "crowd", "killed"} {
		bearer := rand.Text()
		hashes[id] = fmt.Sprintf("%x", sha256.Sum256([]byte(bearer)))
		writeFile(t, filepath.Join(m.work, "keys", id), bearer)
		m.newKey(t, id)
	}
	m.addPartner(t, "provider")
	file := filepath.Join(m.work, "clients.yaml")
	demo, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	all.Write(demo)
	if err := template.Must(template.New("").Parse(string(text))).Execute(&all, hashes); err != nil {
		t.Fatal(err)
	}
	writeFile(t, file, all.String())
	var list strings.Builder
	for _, p := range known {
		fmt.Fprintln(&list, m.ids[p.key])
	}
	writeFile(t, filepath.Join(m.work, "clinic.txt"), list.String())
}

// newKey makes the key that the partner shares with the payer.
func (m *matchRun) newKey(t *testing.T, id string) {
	t.Helper()
	var secret [32]byte
	_, _ = rand.Read(secret[:])
	writeFile(t, filepath.Join(m.work, "keys", id+".match"), hex.EncodeToString(secret[:])+"\n")
	m.addPartner(t, id)
}

// addPartner reads the partner's keys.
func (m *matchRun) addPartner(t *testing.T, id string) {
	t.Helper()
	p := &partner{id: id, bearerFile: filepath.Join(m.work, "keys", id), matchFile: filepath.Join(m.work, "keys", id+".match")}
	bearer, err := os.ReadFile(p.bearerFile)
	if err != nil {
		t.Fatal(err)
	}
	p.bearer = strings.TrimSpace(string(bearer))
	text, err := os.ReadFile(p.matchFile)
	if err != nil {
		t.Fatal(err)
	}
	key, err := hashmatch.ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	epochs := hashmatch.Accepted(time.Now())
	for i, to := range []*hashmatch.EpochKey{&p.key, &p.last} {
		if *to, err = key.Derive(epochs[i]); err != nil {
			t.Fatal(err)
		}
	}
	m.partners[id] = p
}

// membersAtSource reads the demographics of all members, oldest key first.
func (m *matchRun) membersAtSource(t *testing.T) []person {
	t.Helper()
	rows, err := m.pg.QueryContext(t.Context(), `SELECT id::text, first, last, birthdate::text, gender::text, coalesce(address, ''),
		coalesce(zip, ''), phone, coalesce(member_number, ''), coalesce(ssn, '') FROM patients ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []person
	for rows.Next() {
		var p person
		if err := rows.Scan(&p.key, &p.given, &p.family, &p.birth, &p.sex, &p.address, &p.zip, &p.phone, &p.member, &p.ssn); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// insert adds a member at the source, and returns the id of its Patient.
func (m *matchRun) insert(t *testing.T, p person) (id string) {
	t.Helper()
	exec1(t, m.pg, `INSERT INTO patients (id, first, last, birthdate, gender, address, city, state, zip, phone, email, member_number, ssn, deceased)
		VALUES ($1, $2, $3, $4, $5, $6, 'Boston', 'Massachusetts', $7, $8, 'nobody@example.org', $9, $10, false)`,
		p.key, p.given, p.family, p.birth, p.sex, p.address, p.zip, p.phone, p.member, p.ssn)
	m.ready()
	m.said = append(m.said, p)
	return m.idOf(t, "Patient", "urn:tributary:sample:emr-patient|"+p.key)
}

// ask asks for a person, and wants an answer of this status, which the record
// gives this reason.
func (m *matchRun) ask(t *testing.T, client string, p person, status int, reason string) reply {
	t.Helper()
	return m.askFor(t, client, p, p.demographics(), status, reason)
}

// askFor asks with more than a person has.
func (m *matchRun) askFor(t *testing.T, client string, p person, d hashmatch.Demographics, status int, reason string) reply {
	t.Helper()
	request, err := m.partners[client].key.Request(d)
	if err != nil {
		t.Fatal(err)
	}
	m.remember(p, request)
	a := m.post(t, m.partners[client].bearer, string(request.Encode()))
	m.count(client, a.status, reason)
	if a.status == http.StatusOK {
		m.hit(t, a)
	}
	if a.status != status {
		t.Errorf("%s: %d, want %d (%s): %.200s", client, a.status, status, reason, a.body)
	}
	return a
}

func (m *matchRun) remember(p person, r hashmatch.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.said = append(m.said, p)
	for _, token := range r.Tokens {
		m.sent[hex.EncodeToString(token.Value[:])] = true
	}
}

// count notes an attempt as it must stand on the record.
func (m *matchRun) count(client string, status int, reason string) {
	outcome := "refused"
	if status == http.StatusOK {
		outcome = "ok"
	}
	m.mu.Lock()
	m.attempts[attempt{client, outcome, reason}]++
	m.mu.Unlock()
}

// hit notes whom an answer showed.
func (m *matchRun) hit(t *testing.T, a reply) {
	t.Helper()
	var b bundle
	var patient struct{ ResourceType, ID string }
	if err := json.Unmarshal(a.body, &b); err != nil || len(b.Entry) == 0 || json.Unmarshal(b.Entry[0].Resource, &patient) != nil ||
		b.Type != "collection" || patient.ResourceType != "Patient" || patient.ID == "" {
		t.Errorf("a match without a Patient: %v %.300s", err, a.body)
		return
	}
	m.mu.Lock()
	m.hits[patient.ID]++
	m.mu.Unlock()
}

// post sends a request on a connection of its own, so that every byte of the
// answer is seen.
func (m *matchRun) post(t *testing.T, bearer, body string, header ...string) reply {
	t.Helper()
	a, err := m.tryPost(bearer, body, header...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (m *matchRun) tryPost(bearer, body string, header ...string) (reply, error) {
	c, err := net.DialTimeout("tcp", m.api, 10*time.Second)
	if err != nil {
		return reply{}, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	contentType := hashmatch.ContentType
	if len(header) > 0 {
		contentType = header[0]
	}
	_, err = fmt.Fprintf(c, "POST /fhir/Patient/$hash-match HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		m.api, bearer, contentType, len(body), body)
	if err != nil {
		return reply{}, err
	}
	raw, err := io.ReadAll(c)
	if err != nil {
		return reply{}, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), nil)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	a := reply{status: resp.StatusCode, header: resp.Header}
	if a.body, err = io.ReadAll(resp.Body); err != nil {
		return reply{}, err
	}
	a.raw = strings.Replace(string(raw), "Date: "+resp.Header.Get("Date")+"\r\n", "", 1)
	return a, nil
}

// matched is a line of what `tributary match --json` prints.
type matched struct {
	Ref, Outcome, Patient string
	Tasks                 []struct{ Text string }
}

// command runs `tributary match` over people; the flags say as whom.
func (m *matchRun) command(t *testing.T, people []person, flags ...string) (exit int, results []matched, stderr string) {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "people-*.csv")
	if err != nil {
		t.Fatal(err)
	}
	w := csv.NewWriter(file)
	_ = w.Write([]string{"ref", "given", "family", "birth_date", "sex", "address", "zip", "phone", "member_id", "ssn4"})
	for _, p := range people {
		_ = w.Write([]string{p.key, p.given, p.family, p.birth, p.sex, p.address, p.zip, p.phone, p.member, p.ssn})
	}
	w.Flush()
	if err := cmp.Or(w.Error(), file.Close()); err != nil {
		t.Fatal(err)
	}
	m.said = append(m.said, people...)
	cmd := exec.Command(binary, append([]string{"match", "--json", "--rate", "100", "--work", m.work, file.Name()}, flags...)...)
	var printed bytes.Buffer
	cmd.Stderr = &printed
	out, err := cmd.Output()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	m.printed.Write(printed.Bytes())
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var r matched
		if err := d.Decode(&r); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		results = append(results, r)
	}
	return cmd.ProcessState.ExitCode(), results, printed.String()
}

// as are the flags with which the command asks as another client than the demo's
// provider.
func (m *matchRun) as(client string) []string {
	p := m.partners[client]
	return []string{"--url", "http://" + m.api + "/fhir", "--key-file", p.matchFile, "--client-key-file", p.bearerFile}
}

// clientState is what operators see of a client.
type clientState struct {
	ready  bool
	used   int
	locked time.Time
}

func (m *matchRun) state(t *testing.T, client string) clientState {
	t.Helper()
	code, _, body, err := m.tryGetAs(m.env["OPERATOR_KEY"], "http://"+m.api+"/status")
	var s struct {
		Clients []struct {
			ID    string
			Ready bool
			Match struct {
				Used   int       `json:"used_today"`
				Locked time.Time `json:"locked_until"`
			}
		}
	}
	if err != nil || code != http.StatusOK || json.Unmarshal(body, &s) != nil {
		t.Fatalf("status: %d %v %.300s", code, err, body)
	}
	for _, c := range s.Clients {
		if c.ID == client {
			return clientState{c.Ready, c.Match.Used, c.Match.Locked}
		}
	}
	t.Fatalf("the status has no client %s: %.1000s", client, body)
	return clientState{}
}
