package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tributary-health/tributary/hashmatch"
)

// people are the members that clients ask for, with what a partner sends to be
// told who they are.
type people struct {
	ids      []string
	requests [][]byte // of members
	unknown  [][]byte // of nobody
}

func (d *demoRun) people(t *testing.T) people {
	t.Helper()
	secret, err := hashmatch.ParseKey([]byte(d.env["PROVIDER_MATCH_KEY"]))
	if err != nil {
		t.Fatal(err)
	}
	key, err := secret.Derive(hashmatch.EpochOf(time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	var p people
	for _, raw := range d.all("/Patient?_count=100") {
		var resource struct{ ID string }
		demographics, err := hashmatch.FromPatient(raw)
		if err = errors.Join(err, json.Unmarshal(raw, &resource)); err != nil {
			t.Fatal(err)
		}
		p.ids = append(p.ids, resource.ID)
		if request, err := key.Request(demographics); err == nil {
			p.requests = append(p.requests, request.Encode())
		}
		demographics.BirthDate, demographics.SSN = "1931-02-03", "5151"
		demographics.Names = []hashmatch.Name{{Given: []string{"Zebulon"}, Family: "Quarrington"}}
		demographics.MemberIDs = nil
		if request, err := key.Request(demographics); err == nil {
			p.unknown = append(p.unknown, request.Encode())
		}
	}
	for _, id := range p.ids { // the workload makes members, whom a client's own store has a moment later
		d.await("the subscriber to have every member", time.Minute, func() bool {
			code, _, _, err := d.tryGet("/Patient/"+id, "Authorization", "Bearer "+d.env["SUBSCRIBER_KEY"])
			return err == nil && code == http.StatusOK
		})
	}
	if len(p.ids) < 8 || len(p.requests) < 8 || len(p.unknown) < 8 {
		t.Fatalf("%d members, %d who can be asked for", len(p.ids), len(p.requests))
	}
	return p
}

// unknownMember stands for whose record a resource belongs to when the answer
// does not say.
const unknownMember = "?"

// noted is an answer that a client has whole.
type noted struct {
	client, kind, request string
	status                int
	commit                string            // as the answer's header has it; may be empty
	shown                 map[string]string // "Type/id/_history/3" to whose record it is
	about                 string            // the member that was asked for, if it was one
}

func (a *noted) key() string {
	outcome := "ok"
	if a.status >= 400 {
		outcome = "refused"
	}
	var resources []string
	for r := range a.shown {
		resources = append(resources, r)
	}
	if len(resources) == 0 && a.status < 400 && a.about != "" {
		resources = append(resources, "Patient/"+a.about)
	}
	return answerKey(a.client, a.kind, outcome, a.request, resources)
}

// members are those whose records are in the answer.
func (a *noted) members() []string {
	seen := map[string]bool{"": true, unknownMember: true}
	var all []string
	for _, m := range a.shown {
		if !seen[m] {
			seen[m] = true
			all = append(all, m)
		}
	}
	return all
}

// asker is one client that asks without a pause and notes what it gets. It is
// used by one goroutine.
type asker struct {
	id, key, base string
	people        people
	random        *rand.Rand
	http          *http.Client

	known     []heldResource // resources that it may ask for again
	documents []string       // ids of Compositions
	pages     []nextPage     // links that it may follow

	noted      []*noted
	unanswered int // sent, perhaps, and no whole answer
	refused    int // answers of 500 and above
	denied     int // answers 403
	failed     []string
}

type heldResource struct{ typ, id, version string }

type nextPage struct{ kind, url, about string }

func newAsker(d *demoRun, id string, people people, random *rand.Rand) *asker {
	return &asker{
		id: id, key: d.env[strings.ToUpper(id)+"_KEY"], base: "http://" + d.api + "/fhir", people: people, random: random,
		// A connection for each request: on one that is kept, a request may be sent
		// twice without our knowing.
		http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second},
	}
}

// run asks until ctx ends. One that is all asks for whole records too, which take
// long.
func (c *asker) run(ctx context.Context, all bool) {
	for ctx.Err() == nil {
		if !c.ask(ctx, all) {
			select { // nobody is there
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
}

func pick[T any](random *rand.Rand, all []T) T { return all[random.IntN(len(all))] }

// maxDenied is how often one asker asks for what it may not: all of a client's
// together stay below the hundred in a minute that have entries of their own.
const maxDenied = 20

// ask sends one request and reports whether anybody answered.
func (c *asker) ask(ctx context.Context, all bool) bool {
	member := pick(c.random, c.people.ids)
	if len(c.known) == 0 {
		return c.get(ctx, "search", "/MedicationRequest?patient="+member, member)
	}
	k := pick(c.random, c.known)
	one := "/" + k.typ + "/" + k.id
	switch n := c.random.IntN(40); {
	case n < 8:
		return c.get(ctx, "read", one, "")
	case n < 10:
		return c.get(ctx, "read", one, "", "If-None-Match", `W/"`+k.version+`"`)
	case n < 11:
		return c.do(ctx, http.MethodHead, "read", one, "", nil)
	case n < 12:
		return c.get(ctx, "read", "/Patient/abcdefghijklmnopqrstuvwxyz", "")
	case n < 16:
		return c.get(ctx, "vread", one+"/_history/"+k.version, "")
	case n < 19:
		return c.get(ctx, "history", one+"/_history?_count=2", "")
	case n < 25 && len(c.pages) > 0:
		p := pick(c.random, c.pages)
		return c.get(ctx, p.kind, p.url, p.about)
	case n < 27 && c.denied < maxDenied:
		return c.match(ctx)
	case n < 28:
		return c.do(ctx, http.MethodPost, "search", "/MedicationDispense/_search?_count=5", member, []byte("patient="+member),
			"Content-Type", "application/x-www-form-urlencoded")
	case n < 30:
		return c.get(ctx, "medication-profile", "/Patient/"+member+"/$medication-profile", member)
	case n < 31 && len(c.documents) > 0:
		return c.get(ctx, "document", "/Composition/"+pick(c.random, c.documents)+"/$document", "")
	case n < 33:
		count := "20"
		if all {
			count = "500"
		}
		return c.get(ctx, "everything", "/Patient/"+member+"/$everything?_count="+count, member)
	}
	return c.get(ctx, "search", pick(c.random, searches)+"&patient="+member, member)
}

var searches = []string{
	"/MedicationRequest?_count=7", "/MedicationDispense?_count=3&_include=MedicationDispense:prescription", "/Condition?_elements=code&_count=5",
	"/Composition?_count=2", "/Observation?_summary=count", "/Immunization?_sort=-date&_count=4", "/AllergyIntolerance?clinical-status=active",
	"/Encounter?_count=3&_include=Encounter:service-provider", "/Procedure?date=gt2300-01-01",
}

// match asks for a member, or for nobody, who must not be found.
func (c *asker) match(ctx context.Context) bool {
	nobody := c.random.IntN(3) == 0
	question := pick(c.random, c.people.requests)
	if nobody {
		question = pick(c.random, c.people.unknown)
	}
	before := len(c.noted)
	answered := c.do(ctx, http.MethodPost, "match", "/Patient/$hash-match", "", question, "Content-Type", hashmatch.ContentType)
	if nobody && len(c.noted) > before && c.noted[before].status == http.StatusOK {
		c.failed = append(c.failed, "$hash-match: somebody is found who is nobody")
	}
	return answered
}

func (c *asker) get(ctx context.Context, kind, path, about string, headers ...string) bool {
	return c.do(ctx, http.MethodGet, kind, path, about, nil, headers...)
}

// do sends a request and notes the answer, if it comes whole.
func (c *asker) do(ctx context.Context, method, kind, path, about string, body []byte, headers ...string) bool {
	if !strings.HasPrefix(path, "http") {
		path = c.base + path
	}
	// What was sent is waited for when the test is over.
	req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), method, path, bytes.NewReader(body))
	if err != nil {
		panic(err) // an address of our own making
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := c.http.Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return false
	}
	if err != nil {
		c.unanswered++
		return false
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		c.unanswered++
		return false
	case resp.StatusCode >= 500:
		c.unanswered++ // it may be on the record
		c.refused++
		if method != http.MethodHead && (!bytes.Contains(text, []byte(`"OperationOutcome"`)) || bytes.Contains(text, []byte(`"entry"`))) {
			c.failed = append(c.failed, fmt.Sprintf("status %d with %.100s", resp.StatusCode, text))
		}
		return false
	}
	if resp.StatusCode == http.StatusForbidden {
		c.denied++
	}
	a := &noted{client: c.id, kind: kind, request: asked(req, kind, body), status: resp.StatusCode, commit: resp.Header.Get("Tributary-Commit"), about: about,
		shown: map[string]string{}}
	if err := c.note(a, req.URL, resp.Header, text); err != nil {
		c.failed = append(c.failed, fmt.Sprintf("%s: status %d: %v", a.request, a.status, err))
	}
	c.noted = append(c.noted, a)
	return true
}

// asked is the request as the record has it: without a value.
func asked(req *http.Request, kind string, body []byte) string {
	parts := strings.Split(strings.TrimPrefix(req.URL.Path, "/fhir/"), "/")
	pattern := parts[0]
	for i, part := range parts[1:] {
		switch {
		case i == 0 && kind != "match" && part != "_search":
			part = "[id]"
		case i == 2:
			part = "[version]"
		}
		pattern += "/" + part
	}
	query := req.URL.RawQuery
	if strings.HasSuffix(pattern, "/_search") {
		query += "&" + string(body)
	}
	var names []string
	for pair := range strings.SplitSeq(query, "&") {
		if name, _, _ := strings.Cut(pair, "="); name != "" {
			names = append(names, name)
		}
	}
	if len(names) > 0 {
		pattern += " " + strings.Join(names, ",")
	}
	return req.Method + " " + pattern
}

// note reads what the answer shows.
func (c *asker) note(a *noted, address *url.URL, header http.Header, text []byte) error {
	parts := strings.Split(strings.TrimPrefix(address.Path, "/fhir/"), "/")
	switch {
	case a.status == http.StatusGone:
		a.shown[parts[0]+"/"+parts[1]] = unknownMember
		return nil
	case a.status >= 400:
		return nil
	case len(text) == 0: // HEAD, or not modified
		version := strings.Trim(strings.TrimPrefix(header.Get("ETag"), "W/"), `"`)
		a.shown[parts[0]+"/"+parts[1]+"/_history/"+version] = unknownMember
		return nil
	}
	if !bytes.HasPrefix(text, []byte(`{"resourceType":"Bundle"`)) {
		return c.show(a, text)
	}
	var b bundle
	if err := json.Unmarshal(text, &b); err != nil {
		return err
	}
	for _, l := range b.Link {
		if l.Relation == "next" && len(c.pages) < 500 {
			c.pages = append(c.pages, nextPage{a.kind, l.URL, a.about})
		}
	}
	var h struct {
		Entry []struct {
			Request  struct{ URL string }
			Response struct{ ETag string }
		}
	}
	if err := json.Unmarshal(text, &h); err != nil {
		return err
	}
	for i, e := range b.Entry {
		if len(e.Resource) == 0 { // a deletion in a history
			a.shown[h.Entry[i].Request.URL+"/_history/"+strings.Trim(strings.TrimPrefix(h.Entry[i].Response.ETag, "W/"), `"`)] = unknownMember
			continue
		}
		if err := c.show(a, e.Resource); err != nil {
			return err
		}
	}
	return nil
}

// show notes one resource.
func (c *asker) show(a *noted, text []byte) error {
	type reference struct{ Reference string }
	var r struct {
		ResourceType, ID                   string
		Meta                               struct{ VersionID string }
		Subject, Patient, Beneficiary, For reference
	}
	if err := json.Unmarshal(text, &r); err != nil || r.ID == "" || r.Meta.VersionID == "" {
		return fmt.Errorf("a %s without id or version (%w)", r.ResourceType, err)
	}
	member := unknownMember
	switch r.ResourceType {
	case "Patient":
		member = r.ID
	case "Organization", "Practitioner", "PractitionerRole", "Location":
		member = ""
	default:
		for _, ref := range []reference{r.Subject, r.Patient, r.Beneficiary, r.For} {
			if id, ok := strings.CutPrefix(ref.Reference, "Patient/"); ok {
				member = id
			}
		}
	}
	a.shown[r.ResourceType+"/"+r.ID+"/_history/"+r.Meta.VersionID] = member
	if r.ResourceType == "Composition" && len(c.documents) < 50 {
		c.documents = append(c.documents, r.ID)
	}
	k := heldResource{r.ResourceType, r.ID, r.Meta.VersionID}
	switch {
	case len(c.known) < 300:
		c.known = append(c.known, k)
	case c.random.IntN(4) == 0:
		c.known[c.random.IntN(len(c.known))] = k
	}
	return nil
}

// topicPlace is where a record stands in a topic.
type topicPlace struct {
	topic     string
	partition int32
	offset    int64
}

// follow reads the client's topic until ctx ends, through restarts of the broker.
// What it returns is whole once running has ended.
func (d *demoRun) follow(ctx context.Context, t *testing.T, topic string, running *sync.WaitGroup) map[topicPlace]change {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(d.broker), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		t.Fatal(err)
	}
	received := map[topicPlace]change{}
	running.Go(func() {
		defer client.Close()
		for ctx.Err() == nil {
			client.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
				c := change{r.Partition, r.Offset, string(r.Key), map[string]string{}, nil}
				for _, h := range r.Headers {
					c.headers[h.Key] = string(h.Value)
				}
				received[topicPlace{r.Topic, r.Partition, r.Offset}] = c
			})
		}
	})
	return received
}
