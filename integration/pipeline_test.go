package integration

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Every sample row is accounted for, every profile is what SQL says, and the
// change topic ends at what the API serves.
func TestPipeline(t *testing.T) {
	t.Parallel()
	d := emptyDemo(t)
	d.start()
	d.ready()
	t.Run("rows", d.rowsAgree)
	t.Run("one resource a row", d.countsAgree)
	t.Run("profiles", d.profilesAgree)
	t.Run("halves of a blood pressure", d.pressureHalves)
	t.Run("topic", func(t *testing.T) { d.topicAgrees(t, d.readTopic(t)) })
	t.Run("verify", func(t *testing.T) {
		if exit, out := d.verify(); exit != 0 {
			t.Fatalf("exit %d\n%s", exit, out)
		}
	})
	t.Run("second start takes no snapshot", func(t *testing.T) {
		before := d.outboxEnds(t)
		if err := d.stop(); err != nil {
			t.Fatalf("stop: %v\n%s", err, d.printed())
		}
		d.start()
		d.ready()
		if out := d.printed(); strings.Contains(out, "snapshot") {
			t.Errorf("the second start speaks of a snapshot:\n%s", out)
		}
		if after := d.outboxEnds(t); !maps.Equal(before, after) {
			t.Errorf("the topic grew from %v to %v", before, after)
		}
		d.rowsAgree(t)
	})
}

// status is the part of `tributary status --json` that tests look at.
type status struct {
	Commit  uint64 `json:"commit"`
	Sources []struct {
		Name string           `json:"name"`
		Rows map[string]int64 `json:"rows"`
	} `json:"sources"`
	Parked []any `json:"parked"`
}

func (d *demoRun) status(t *testing.T) status {
	t.Helper()
	code, _, body, err := d.tryGetAs(d.env["OPERATOR_KEY"], "http://"+d.api+"/status")
	var s status
	if err != nil || code != http.StatusOK || json.Unmarshal(body, &s) != nil {
		t.Fatalf("status: %d %v %.300s", code, err, body)
	}
	return s
}

func (d *demoRun) tryGetAs(key, path string) (int, http.Header, []byte, error) {
	return d.tryGet(path, "Authorization", "Bearer "+key)
}

// rowsAgree compares the row state with each table's count.
func (d *demoRun) rowsAgree(t *testing.T) {
	have := map[string]int64{}
	for _, s := range d.status(t).Sources {
		for table, n := range s.Rows {
			have[s.Name+"."+table] = n
		}
	}
	tables := map[string]*sql.DB{}
	for _, name := range column(t, d.pg, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'") {
		tables["emr."+name] = d.pg
	}
	for _, name := range column(t, d.maria, "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()") {
		tables["pharmacy."+name] = d.maria
	}
	compared := 0
	for name, db := range tables {
		want, err := strconv.ParseInt(column(t, db, "SELECT count(*) FROM "+name[strings.IndexByte(name, '.')+1:])[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		got, known := have[name]
		if !known {
			continue // the demo's own bookkeeping
		}
		compared++
		if got != want {
			t.Errorf("%s: %d rows in the source, %d in the row state", name, want, got)
		}
	}
	if compared != 15 {
		t.Errorf("%d tables compared, want 15", compared)
	}
}

// pairs counts the blood pressures that have both rows.
const pairs = `SELECT count(*) FROM observations s JOIN observations d ON d.id = s.paired AND d.paired = s.id AND d.patient = s.patient
	WHERE s.code = '8480-6' AND d.code = '8462-4'`

// countsAgree compares the number of resources of a type with that of its rows.
func (d *demoRun) countsAgree(t *testing.T) {
	counts := map[string]struct {
		db    *sql.DB
		query string
	}{
		"Patient":              {d.pg, "SELECT count(*) FROM patients"},
		"Practitioner":         {d.pg, "SELECT count(*) FROM providers"},
		"PractitionerRole":     {d.pg, "SELECT count(*) FROM providers"},
		"Location":             {d.pg, "SELECT count(*) FROM organizations"},
		"Encounter":            {d.pg, "SELECT count(*) FROM encounters"},
		"Condition":            {d.pg, "SELECT count(*) FROM conditions"},
		"Procedure":            {d.pg, "SELECT count(*) FROM procedures"},
		"Observation":          {d.pg, "SELECT (SELECT count(*) FROM observations) - (" + pairs + ")"},
		"AllergyIntolerance":   {d.pg, "SELECT count(*) FROM allergies"},
		"Immunization":         {d.pg, "SELECT count(*) FROM immunizations"},
		"Composition":          {d.pg, "SELECT count(*) FROM patients"},
		"MedicationRequest":    {d.maria, "SELECT count(*) FROM medications"},
		"MedicationDispense":   {d.maria, "SELECT count(*) FROM fills"},
		"ExplanationOfBenefit": {d.maria, "SELECT count(*) FROM claims c WHERE EXISTS (SELECT 1 FROM claims_transactions t WHERE t.claimid = c.id AND t.type = 'CHARGE')"},
		"Coverage":             {d.maria, "SELECT count(memberid) + sum(memberid IS NOT NULL AND secondary_payer IS NOT NULL) FROM payer_transitions"},
	}
	for _, typ := range resourceTypes {
		q, ok := counts[typ]
		if !ok {
			continue // organizations come from two databases
		}
		want := column(t, q.db, q.query)[0]
		code, _, body := d.get("/" + typ + "?_summary=count")
		var b bundle
		if err := json.Unmarshal(body, &b); err != nil || code != http.StatusOK || b.Total == nil {
			t.Errorf("%s: %d %v %.300s", typ, code, err, body)
			continue
		}
		if strconv.Itoa(*b.Total) != want {
			t.Errorf("%s: %d resources, %s rows", typ, *b.Total, want)
		}
		if n := len(d.all("/" + typ + "?_count=500")); n != *b.Total {
			t.Errorf("%s: %d in the pages, %d in the count", typ, n, *b.Total)
		}
	}
	if n, _ := strconv.Atoi(column(t, d.pg, pairs)[0]); n < 100 {
		t.Errorf("only %d blood pressures have both rows", n)
	}
}

// resourceTypes are all that the sample mappings make.
var resourceTypes = []string{"Patient", "Organization", "Practitioner", "PractitionerRole", "Location", "Coverage", "Encounter", "Condition",
	"Procedure", "Observation", "AllergyIntolerance", "Immunization", "MedicationRequest", "MedicationDispense", "ExplanationOfBenefit", "Composition", "Task"}

// entry is what a document's entry says of its row.
type entry struct {
	Type       string `json:"resourceType"`
	ID         string `json:"id"`
	Status     string `json:"status"`
	Identifier []struct {
		System string `json:"system"`
		Value  string `json:"value"`
	} `json:"-"`
	Raw map[string]json.RawMessage `json:"-"`
}

func (e *entry) UnmarshalJSON(b []byte) error {
	type plain entry
	if err := json.Unmarshal(b, (*plain)(e)); err != nil {
		return err
	}
	if err := json.Unmarshal(b, &e.Raw); err != nil {
		return err
	}
	if e.Type == "Composition" { // one identifier, not a list
		return nil
	}
	if id := e.Raw["identifier"]; id != nil {
		return json.Unmarshal(id, &e.Identifier)
	}
	return nil
}

// row is the source key that the entry's identifier with the system's end names.
func (e *entry) row(system string) string {
	for _, i := range e.Identifier {
		if strings.HasSuffix(i.System, ":"+system) {
			return i.Value
		}
	}
	return ""
}

// profile is a medication profile by source keys: "order active", "order
// stopped", "fill", "allergy", "immunization".
func (d *demoRun) profile(t *testing.T, patient string) []string {
	t.Helper()
	code, _, body := d.get("/Patient/" + patient + "/$medication-profile")
	got, err := profileOf(body)
	if err != nil || code != http.StatusOK {
		t.Fatalf("profile of %s: %d %v %.300s", patient, code, err, body)
	}
	return got
}

func profileOf(body []byte) ([]string, error) {
	var b bundle
	if err := json.Unmarshal(body, &b); err != nil {
		return nil, err
	}
	if b.Type != "document" || len(b.Entry) == 0 {
		return nil, fmt.Errorf("a Bundle of type %q with %d entries", b.Type, len(b.Entry))
	}
	var got []string
	for _, raw := range b.Entry {
		var e entry
		if err := json.Unmarshal(raw.Resource, &e); err != nil {
			return nil, err
		}
		switch e.Type {
		case "MedicationRequest":
			got = append(got, "order "+e.Status+" "+e.row("medication-order"))
		case "MedicationDispense":
			got = append(got, "fill "+e.row("fill"))
		case "AllergyIntolerance":
			got = append(got, "allergy "+e.row("allergy"))
		case "Immunization":
			got = append(got, "immunization "+e.row("immunization"))
		}
	}
	sort.Strings(got)
	return got, nil
}

// newestSQL dates every row of a member's record, per database.
const newestEMR = `SELECT to_char(max(at) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') FROM (
	SELECT start AS at FROM encounters WHERE patient = $1
	UNION ALL SELECT start::timestamp AT TIME ZONE 'UTC' FROM conditions WHERE patient = $1
	UNION ALL SELECT start::timestamp AT TIME ZONE 'UTC' FROM allergies WHERE patient = $1
	UNION ALL SELECT date FROM immunizations WHERE patient = $1
	UNION ALL SELECT start FROM procedures WHERE patient = $1
	UNION ALL SELECT date FROM observations WHERE patient = $1) x`

const newestPharmacy = `SELECT DATE_FORMAT(max(at), '%Y-%m-%d %H:%i:%s') FROM (
	SELECT start_date AS at FROM payer_transitions WHERE patient = ?
	UNION ALL SELECT start FROM medications WHERE patient = ?
	UNION ALL SELECT dispensed FROM fills WHERE patient = ?
	UNION ALL SELECT servicedate FROM claims WHERE patientid = ?) x`

// profileFromSQL is the same profile, straight from the databases.
func (d *demoRun) profileFromSQL(t *testing.T, member string) []string {
	t.Helper()
	newest := max(column(t, d.pg, newestEMR, member)[0], column(t, d.maria, newestPharmacy, member, member, member, member)[0])
	var want []string
	add := func(kind string, ids []string) {
		for _, id := range ids {
			want = append(want, kind+" "+id)
		}
	}
	add("order active", column(t, d.maria, "SELECT id FROM medications WHERE patient = ? AND stop IS NULL", member))
	add("order stopped", column(t, d.maria, "SELECT id FROM medications WHERE patient = ? AND stop >= ? - INTERVAL 12 MONTH", member, newest))
	add("fill", column(t, d.maria, `SELECT f.id FROM fills f JOIN medications m ON m.id = f.medication AND m.patient = f.patient
		WHERE f.patient = ? AND m.stop IS NULL AND NOT EXISTS (SELECT 1 FROM fills g WHERE g.medication = f.medication
			AND g.patient = f.patient AND (g.dispensed, g.id) > (f.dispensed, f.id))`, member))
	add("allergy", column(t, d.pg, "SELECT id::text FROM allergies WHERE patient = $1", member))
	add("immunization", column(t, d.pg, "SELECT id::text FROM immunizations WHERE patient = $1", member))
	sort.Strings(want)
	return want
}

// patientIDs maps the EMR's patient keys to resource ids.
func (d *demoRun) patientIDs(t *testing.T) map[string]string {
	t.Helper()
	ids := map[string]string{}
	for _, raw := range d.all("/Patient?_count=1000") {
		var e entry
		if err := json.Unmarshal(raw, &e); err != nil {
			t.Fatal(err)
		}
		ids[e.row("emr-patient")] = e.ID
	}
	return ids
}

func (d *demoRun) profilesAgree(t *testing.T) {
	ids := d.patientIDs(t)
	members := column(t, d.pg, "SELECT id::text FROM patients")
	if len(members) < 8 || len(ids) != len(members) {
		t.Fatalf("%d members, %d patients", len(members), len(ids))
	}
	entries := 0
	for _, m := range members {
		got, want := d.profile(t, ids[m]), d.profileFromSQL(t, m)
		if !slices.Equal(got, want) {
			t.Errorf("member %s: got %d entries, want %d\ngot  %v\nwant %v", m, len(got), len(want), got, want)
		}
		entries += len(want)
	}
	if entries < 50 {
		t.Errorf("only %d entries in all profiles", entries)
	}
}

// change is one record of the change topic.
type change struct {
	partition int32
	offset    int64
	key       string
	headers   map[string]string
	value     []byte
}

func (c *change) number(header string) uint64 {
	n, _ := strconv.ParseUint(c.headers[header], 10, 64)
	return n
}

// readTopic reads the whole change topic as any Kafka client would.
func (d *demoRun) readTopic(t *testing.T) []change {
	t.Helper()
	ends := d.outboxEnds(t)
	client, err := kgo.NewClient(kgo.SeedBrokers(d.broker), kgo.ConsumeTopics("fhir.changes"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	want := int64(0)
	for _, end := range ends {
		want += end
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var all []change
	for int64(len(all)) < want {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("after %d of %d records: %v", len(all), want, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			c := change{r.Partition, r.Offset, string(r.Key), map[string]string{}, r.Value}
			for _, h := range r.Headers {
				c.headers[h.Key] = string(h.Value)
			}
			all = append(all, c)
		})
	}
	return all
}

// topicAgrees checks the whole topic: numbers dense, versions in order, whole
// transactions, and the last version of each resource equal to what is served.
func (d *demoRun) topicAgrees(t *testing.T, all []change) {
	next := map[int32]uint64{}
	last := map[string]change{}
	// Each partition by itself first, then all of them in commit order: a
	// resource that moves to another member goes on in that member's partition.
	for _, c := range all {
		next[c.partition]++
		if got := c.number("tributary-outbox"); got != next[c.partition] {
			t.Fatalf("partition %d, offset %d: outbox number %d, want %d", c.partition, c.offset, got, next[c.partition])
		}
	}
	all = slices.Clone(all)
	sort.SliceStable(all, func(i, j int) bool {
		a, b := &all[i], &all[j]
		if n, m := a.number("tributary-commit"), b.number("tributary-commit"); n != m {
			return n < m
		}
		return a.number("tributary-index") < b.number("tributary-index")
	})
	perCommit := map[string]map[string]bool{}
	counts := map[string]int{}
	for _, c := range all {
		name := c.headers["tributary-resource"]
		if before, ok := last[name]; ok && c.number("tributary-version") != before.number("tributary-version")+1 {
			t.Fatalf("%s: version %s after %s", name, c.headers["tributary-version"], before.headers["tributary-version"])
		} else if !ok && c.headers["tributary-version"] != "1" {
			t.Fatalf("%s: begins at version %s", name, c.headers["tributary-version"])
		}
		last[name] = c
		commit := c.headers["tributary-commit"]
		if perCommit[commit] == nil {
			perCommit[commit] = map[string]bool{}
		}
		perCommit[commit][c.headers["tributary-index"]] = true
		counts[commit], _ = strconv.Atoi(c.headers["tributary-count"])
	}
	for commit, seen := range perCommit {
		if len(seen) != counts[commit] {
			t.Errorf("commit %s: %d of %d records", commit, len(seen), counts[commit])
		}
	}
	served := map[string][]byte{}
	for _, typ := range resourceTypes {
		for _, raw := range d.all("/" + typ + "?_count=1000") {
			var e entry
			if err := json.Unmarshal(raw, &e); err != nil {
				t.Fatal(err)
			}
			served[e.Type+"/"+e.ID] = raw
		}
	}
	live := 0
	for name, c := range last {
		if c.headers["tributary-operation"] == "delete" {
			if served[name] != nil || len(c.value) != 0 {
				t.Errorf("%s: deleted on the topic, and served or with a value", name)
			}
			continue
		}
		live++
		if string(served[name]) != string(c.value) {
			t.Errorf("%s: the topic's last version is not what is served\ntopic  %.200s\nserved %.200s", name, c.value, served[name])
		}
	}
	if live != len(served) || live < 500 {
		t.Errorf("%d resources on the topic, %d served", live, len(served))
	}
}

// outboxEnds are the change topic's end offsets.
func (d *demoRun) outboxEnds(t *testing.T) map[int32]int64 {
	t.Helper()
	return topicEnds(t, d.broker, "fhir.changes")
}
