package integration

import (
	"compress/gzip"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tributary-health/tributary/testdata"
)

// TestHiddenOverTheWire changes at the sources what is hidden from the demo's
// subscriber, and nothing else, twice, with a power cut between. The provider
// sees each change. The subscriber gets the same bytes as before on every way out
// that the CapabilityStatement tells of, and no record on its topic. Then
// something changes that it may see: that, and that alone, shows.
func TestHiddenOverTheWire(t *testing.T) {
	t.Parallel()
	d := emptyDemo(t)
	data := fewMembers(t)
	d.start("--data", data)
	d.ready()
	state := d.hiddenState(t)
	all := state.known
	last := map[string]string{}
	for round := range 2 {
		p := newPlan(t, d.statement(t), all)
		answers, records := d.asSubscriber().record(t, p, last), d.subscriberTopic(t)
		t.Logf("round %d: %d ways out, %d of them with an answer, %d records", round+1, len(p.ways), answered(answers), len(records))
		d.hide(t, round)
		if round > 0 {
			d.kill()
			d.start("--data", data)
		}
		d.ready()
		after := d.hiddenState(t)
		state.wantHiddenChanged(t, after, round)
		again := d.asSubscriber().record(t, p, nil)
		wantSame(t, fmt.Sprintf("round %d", round+1), p, answers, again)
		for i, w := range p.ways {
			last[w.String()] = again[i]
		}
		wantRecords(t, records, d.subscriberTopic(t))
		state = after
		all = append(all, after.known...)
	}
	d.tellsNothing(t, all)
	d.showSomething(t)
}

func answered(answers []string) (n int) {
	for _, a := range answers {
		if strings.HasPrefix(a, "200 ") {
			n++
		}
	}
	return n
}

func (d *demoRun) asSubscriber() *recorder {
	return &recorder{base: "http://" + d.api, key: d.env["SUBSCRIBER_KEY"], clock: true,
		transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 8}}
}

func (d *demoRun) statement(t *testing.T) []byte {
	t.Helper()
	code, _, body := d.get("/metadata")
	if code != http.StatusOK {
		t.Fatalf("GET /metadata: %d", code)
	}
	return body
}

// membersOfTest are two of the sample's members with few rows: one has spans of
// coverage and answered for the address, the other has allergies.
var membersOfTest = map[string]bool{"7bece195-17ff-9bfb-314d-608114311a68": true, "533ed970-dcac-7896-17f9-81de7ee4b235": true}

// fewMembers writes the sample's files with the rows of few members, and of those
// organizations, providers and payers that all share.
func fewMembers(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(workFolder(t), "few")
	t.Cleanup(func() { _ = os.RemoveAll(filepath.Dir(dir)) })
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	sample := testdata.Synthea()
	files, err := filepath.Glob("../testdata/synthea/*.csv.gz")
	if err != nil || len(files) == 0 {
		t.Fatalf("no sample: %v", err)
	}
	for _, file := range files {
		in, err := sample.Open(filepath.Base(file))
		if err != nil {
			t.Fatal(err)
		}
		unzipped, err := gzip.NewReader(in)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(unzipped).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		in.Close()
		out, err := os.Create(filepath.Join(dir, strings.TrimSuffix(filepath.Base(file), ".gz")))
		if err != nil {
			t.Fatal(err)
		}
		if err := csv.NewWriter(out).WriteAll(ofMembers(filepath.Base(file), rows)); err != nil {
			t.Fatal(err)
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// ofMembers keeps the rows of few members; of a table of nobody's it keeps all.
func ofMembers(file string, rows [][]string) [][]string {
	column := -1
	for i, name := range rows[0] {
		if name == "PATIENT" || name == "PATIENTID" || name == "Id" && strings.HasPrefix(file, "patients.") {
			column = i
		}
	}
	kept := rows[:1:1]
	for _, row := range rows[1:] {
		if column < 0 || membersOfTest[row[column]] {
			kept = append(kept, row)
		}
	}
	return kept
}

// hiddenColumns is one entry of testdata/hidden/columns.yaml.
type hiddenColumns struct {
	Source string              `yaml:"source"`
	Table  string              `yaml:"table"`
	Where  string              `yaml:"where"`
	Set    map[string][]string `yaml:"set"`
}

// hide gives all columns of testdata/hidden their value of the round.
func (d *demoRun) hide(t *testing.T, round int) {
	t.Helper()
	text, err := os.ReadFile("testdata/hidden/columns.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var entries []hiddenColumns
	if err := yaml.UnmarshalWithOptions(text, &entries, yaml.Strict()); err != nil || len(entries) == 0 {
		t.Fatalf("no columns: %v", err)
	}
	for _, e := range entries {
		var set []string
		for column, values := range e.Set {
			set = append(set, column+" = "+values[round])
		}
		sort.Strings(set)
		statement := "UPDATE " + e.Table + " SET " + strings.Join(set, ", ")
		if e.Where != "" {
			statement += " WHERE " + e.Where
		}
		db := d.pg
		if e.Source == "pharmacy" {
			db = d.maria
		}
		exec1(t, db, statement)
	}
}

// hiddenState is what the provider sees, and of that what the subscriber does
// not.
type hiddenState struct {
	known  []known
	hidden map[string][]string // a path to its values
	served map[string]string   // what the subscriber is served, by "Type/id"
}

func (d *demoRun) hiddenState(t *testing.T) *hiddenState {
	t.Helper()
	s := &hiddenState{hidden: map[string][]string{}, served: map[string]string{}}
	var c capability
	if err := json.Unmarshal(d.statement(t), &c); err != nil {
		t.Fatal(err)
	}
	subscriber := *d
	subscriber.env = map[string]string{"FHIR": d.env["FHIR"], "PROVIDER_KEY": d.env["SUBSCRIBER_KEY"]}
	for _, r := range c.Rest[0].Resource {
		for _, raw := range subscriber.all("/" + r.Type + "?_count=1000") {
			k := knownOf(t, raw)
			s.served[k.typ+"/"+k.id] = string(raw)
		}
		for _, raw := range d.all("/" + r.Type + "?_count=1000") {
			k := knownOf(t, raw)
			s.known = append(s.known, k)
			part := knownOf(t, []byte(s.served[k.typ+"/"+k.id]))
			s.compare(k.typ, k.typ, k.body, part.body)
		}
	}
	if len(s.known) < 500 || len(s.known) != len(s.served) {
		t.Fatalf("the provider sees %d resources, the subscriber %d", len(s.known), len(s.served))
	}
	return s
}

// compare notes the leaves that only the provider is shown.
func (s *hiddenState) compare(typ, path string, whole, part any) {
	switch w := whole.(type) {
	case map[string]any:
		p, _ := part.(map[string]any)
		for name, inner := range w {
			if path == typ && (name == "meta" || name == "text") {
				continue
			}
			s.compare(typ, path+"."+name, inner, p[name])
		}
	case []any:
		p, _ := part.([]any)
		for i, inner := range w {
			switch shown := slices.ContainsFunc(p, func(item any) bool { return reflect.DeepEqual(item, inner) }); {
			case shown:
			case len(p) == len(w):
				s.compare(typ, path, inner, p[i])
			default:
				s.compare(typ, path, inner, nil)
			}
		}
	default:
		if whole != part {
			s.hidden[path] = append(s.hidden[path], fmt.Sprint(whole))
		}
	}
}

// unchanging are hidden places whose values follow from what does not change: the
// rows' own keys, and words that the mappings state.
var unchanging = []string{
	".identifier.type.", ".identifier.system", ".telecom.system", ".telecom.use", ".address.use", ".address.country", ".url",
	"Composition.section.text.", "Task.description",
	// A row's primary key, and a payer's, is another row's when it changes.
	"Observation.identifier.value", "Encounter.identifier.value", "Condition.identifier.value", "Procedure.identifier.value", "Immunization.identifier.value",
	"AllergyIntolerance.identifier.value", "MedicationRequest.identifier.value", "MedicationDispense.identifier.value", "Composition.identifier.value",
	"Location.identifier.value", "Organization.identifier.value", "PractitionerRole.identifier.value", "Coverage.payor.identifier.value",
}

// wantHiddenChanged wants that every place hidden from the subscriber has other
// values than before, so that none goes untested. After the second round many
// are gone.
func (s *hiddenState) wantHiddenChanged(t *testing.T, after *hiddenState, round int) {
	t.Helper()
	changed := 0
	for path, values := range s.hidden {
		now := after.hidden[path]
		sort.Strings(values)
		sort.Strings(now)
		if !slices.Equal(values, now) {
			changed++
			continue
		}
		if round == 0 && !slices.ContainsFunc(unchanging, func(part string) bool { return strings.Contains(path, part) }) {
			t.Errorf("%s is hidden and was not changed: add its column to testdata/hidden/columns.yaml", path)
		}
	}
	if changed < 20 {
		t.Errorf("the provider sees other values in %d places only", changed)
	}
	t.Logf("round %d: the provider sees other values in %d of %d hidden places", round+1, changed, len(s.hidden))
}

// subscriberTopic is the subscriber's own topic: every record with all its bytes.
func (d *demoRun) subscriberTopic(t *testing.T) []*kgo.Record {
	t.Helper()
	const topic = "fhir.changes.subscriber"
	want := int64(0)
	for _, end := range topicEnds(t, d.broker, topic) {
		want += end
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(d.broker), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var all []*kgo.Record
	for int64(len(all)) < want {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%s: after %d of %d records: %v", topic, len(all), want, err)
		}
		fetches.EachRecord(func(r *kgo.Record) { all = append(all, r) })
	}
	slices.SortFunc(all, func(a, b *kgo.Record) int {
		if a.Partition != b.Partition {
			return int(a.Partition - b.Partition)
		}
		return int(a.Offset - b.Offset)
	})
	return all
}

func recordText(r *kgo.Record) string {
	return fmt.Sprintf("%d %d %s %q %v %q", r.Partition, r.Offset, r.Timestamp.UTC(), r.Key, r.Headers, r.Value)
}

func wantRecords(t *testing.T, want, got []*kgo.Record) {
	t.Helper()
	if len(got) != len(want) || len(want) == 0 {
		t.Errorf("the topic has %d records, had %d", len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		if a, b := recordText(want[i]), recordText(got[i]); a != b {
			t.Fatalf("record %d:\n%s", i, firstDifference(a, b))
		}
	}
}

// tellsNothing wants none of what is hidden in what anybody may fetch, or an
// operator reads.
func (d *demoRun) tellsNothing(t *testing.T, all []known) {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(d.work, "tributary.log"))
	if err != nil {
		t.Fatal(err)
	}
	places := map[string]string{"tributary.log": string(log), "what the demo prints": d.printed()}
	for _, path := range []string{"/metrics", "/readyz", "/status"} {
		req, err := http.NewRequest(http.MethodGet, "http://"+d.api+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+d.env["OPERATOR_KEY"])
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || len(body) == 0 {
			t.Fatalf("GET %s: %d bytes, %v", path, len(body), err)
		}
		places[path] = string(body)
	}
	values := map[string]bool{}
	for _, k := range all {
		for _, path := range []string{"identifier", "address", "telecom", "subscriberId"} {
			personal(values, valueAt(k.body, []string{path}))
		}
	}
	if len(values) < 100 {
		t.Fatalf("only %d values to look for", len(values))
	}
	for place, text := range places {
		for v := range values {
			if strings.Contains(text, v) {
				t.Errorf("%s holds a hidden value", place)
				break
			}
		}
	}
}

// personal adds the values that can be told from words.
func personal(all map[string]bool, v any) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			personal(all, item)
		}
	case map[string]any:
		for name, inner := range v {
			if name == "value" || name == "line" || name == "postalCode" {
				personal(all, inner)
			}
		}
	case string:
		if len(v) > 7 {
			all[v] = true
		}
	}
}

// showSomething changes a member's name, and in the same transaction what is
// hidden, of this one and of others. The subscriber gets the one next version,
// ETag, history entry and record.
func (d *demoRun) showSomething(t *testing.T) {
	t.Helper()
	before := d.subscriberTopic(t)
	tx, err := d.pg.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		"UPDATE organizations SET phone = '555-777-0009'",
		"UPDATE patients SET phone = '555-777-0009'",
		"UPDATE patients SET first = 'Shown', ssn = '900-55-7777' WHERE id = (SELECT id FROM patients ORDER BY id LIMIT 1)",
	} {
		if _, err := tx.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(errors.Join(err, tx.Rollback()))
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	d.ready()
	var after []*kgo.Record
	d.await("the record of what is shown", time.Minute, func() bool {
		after = d.subscriberTopic(t)
		return len(after) > len(before)
	})
	if len(after) != len(before)+1 {
		t.Fatalf("%d new records, want 1", len(after)-len(before))
	}
	var record *kgo.Record
	for _, r := range after {
		if !slices.ContainsFunc(before, func(b *kgo.Record) bool { return recordText(b) == recordText(r) }) {
			record = r
		}
	}
	header := map[string]string{}
	for _, h := range record.Headers {
		header[h.Key] = string(h.Value)
	}
	if header["tributary-version"] != "2" || header["tributary-count"] != "1" || header["tributary-commit"] != "2" ||
		header["tributary-position"]+header["tributary-positions"] != "" {
		t.Errorf("the record says %v, want version 2, commit 2 of one version, and no position", header)
	}
	r := d.asSubscriber()
	at := "/fhir/" + header["tributary-resource"]
	head, body, err := r.once(way{method: http.MethodGet, path: at})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(head, "Etag: W/\"2\"\n") || string(body) != string(record.Value) || !strings.Contains(string(body), `"Shown"`) {
		t.Errorf("GET %s: %s%s\nrecord: %s", at, head, body, record.Value)
	}
	if found := r.take(way{method: http.MethodGet, path: at + "/_history"}); strings.Count(found, `"fullUrl"`) != 2 {
		t.Errorf("history: %s", found)
	}
}
