package integration

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/tools/txtar"

	"github.com/tributary-health/tributary/access"
	"github.com/tributary-health/tributary/api"
	"github.com/tributary-health/tributary/audit"
	wire "github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/projection"
	"github.com/tributary-health/tributary/publish"
	"github.com/tributary-health/tributary/store/pebble"
)

// hiddenData is what the demo's subscriber may not see.
var hiddenData = []string{"address", "telephone", "identifiers", "notes"}

// restrictions are what clients may see.
func restrictions() map[string]access.Terms {
	return map[string]access.Terms{
		"subscriber": {Hide: hiddenData},
		"all data": {Hide: append(slices.Clone(hiddenData),
			"names", "third-persons", "birth-date", "photo", "race-ethnicity", "sex", "amounts")},
		"types": {Types: []string{"Patient", "Encounter", "Condition", "Composition", "Organization", "MedicationRequest", "AllergyIntolerance"},
			Hide: []string{"identifiers"}},
		"members": {Members: []string{"emr.patients-8a6b0f5e-0000-4000-8000-000000000001"}, Hide: []string{"telephone"}},
	}
}

// leak is a way to serve a client that leaves something open.
type leak struct {
	name  string
	terms access.Terms                              // what it may see
	hide  []string                                  // what is redacted
	store func(base, own *pebble.DB) api.Store      // what the client reads
	topic func(base, own *pebble.DB) *pebble.DB     // whose outbox is told
	shape func(projection.Policy) projection.Policy // what the projection is told to do
}

// TestHiddenInTwoStores makes pairs of base stores with the same members, which
// differ in hidden elements alone: in their values, in how many there are, in
// whether there are any, and in further commits that change nothing else. On
// every way out the client gets the same of both.
//
// Then one way is left open at a time, and the test must see it.
func TestHiddenInTwoStores(t *testing.T) {
	t.Parallel()
	for name, terms := range restrictions() {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(2) {
				all := differ(t, seed, leak{terms: terms, hide: terms.Hide}, 1+int(seed)*3)
				if len(all) > 0 {
					t.Errorf("seed %d: %d ways out differ, the first:\n%s", seed, len(all), strings.Join(all[:min(5, len(all))], "\n"))
				}
			}
		})
	}
	for _, open := range leaks() {
		t.Run(open.name, func(t *testing.T) {
			if all := differ(t, 1, open, 8); len(all) == 0 {
				t.Error("nobody would have noticed")
			} else {
				t.Logf("%d ways out differ, the first:\n%s", len(all), all[0])
			}
		})
	}
}

// leaks are the ways left open, one at a time.
func leaks() []leak {
	all := []leak{
		{name: "base store", store: func(base, _ *pebble.DB) api.Store { return storeOf{base, nil} }},
		{name: "base store's topic", topic: func(base, _ *pebble.DB) *pebble.DB { return base }},
		{name: "search in the base store", store: func(base, own *pebble.DB) api.Store { return storeOf{own, searching(base)} }},
		{name: "freshness of the base store", store: func(base, own *pebble.DB) api.Store { return storeOf{own, freshOf(base)} }},
		{name: "versions of hidden changes", shape: func(p projection.Policy) projection.Policy { return numbering{p} }},
		{name: "profiles as claimed", shape: func(p projection.Policy) projection.Policy { return claiming{p} }},
	}
	for i, name := range hiddenData {
		all = append(all, leak{name: name + " not hidden", hide: slices.Concat(hiddenData[:i], hiddenData[i+1:])})
	}
	for i := range all {
		all[i].terms.Hide = hiddenData
		if all[i].hide == nil {
			all[i].hide = hiddenData
		}
	}
	return all
}

// storeOf is what a client reads: a store, of which view may open a part to
// another one.
type storeOf struct {
	*pebble.DB
	view func(api.View) (api.View, error)
}

func (s storeOf) At(number uint64) (api.View, error) {
	v, err := s.DB.At(number)
	if err != nil || s.view == nil {
		return v, err
	}
	return s.view(v)
}

// searching finds in the base store and reads in the client's.
func searching(base *pebble.DB) func(api.View) (api.View, error) {
	return func(own api.View) (api.View, error) {
		v, err := base.At(0)
		return foundIn{own, v}, err
	}
}

// foundIn reads what another view finds.
type foundIn struct {
	api.View
	by api.View
}

func (f foundIn) Scan(typ, member string, all bool, afterMember, afterID string, fn func(fhir.Version) bool) error {
	return f.by.Scan(typ, member, all, afterMember, afterID, fn)
}

func (f foundIn) Postings(typ, param string, low, high []byte, fn func(member, id string) bool) error {
	return f.by.Postings(typ, param, low, high, fn)
}

func (f foundIn) Close() error {
	_ = f.by.Close()
	return f.View.Close()
}

func freshOf(base *pebble.DB) func(api.View) (api.View, error) {
	return func(own api.View) (api.View, error) {
		v, err := base.At(0)
		if err != nil {
			return nil, err
		}
		defer v.Close()
		return fresh{own, v.Freshness()}, nil
	}
}

type fresh struct {
	api.View
	sources []wire.Freshness
}

func (f fresh) Freshness() []wire.Freshness { return f.sources }

// numbering makes a version of every change, hidden or not: the version numbers
// tell, and nothing else does.
type numbering struct{ projection.Policy }

func (n numbering) Redact(dst []byte, typ string, body []byte) ([]byte, error) {
	redacted, err := n.Policy.Redact(nil, typ, body)
	if err != nil {
		return nil, err
	}
	// A blank more or less is a change, and is no other content.
	if sha256.Sum256(body)[0]&1 == 1 {
		redacted = bytes.Replace(redacted, []byte("{"), []byte("{ "), 1)
	}
	return append(dst, redacted...), nil
}

// claiming leaves in meta.profile what the original claims.
type claiming struct{ projection.Policy }

func (c claiming) Redact(dst []byte, typ string, body []byte) ([]byte, error) {
	redacted, err := c.Policy.Redact(nil, typ, body)
	if err != nil {
		return nil, err
	}
	if profile := fhir.Member(fhir.Member(body, "meta"), "profile"); profile != nil {
		redacted = bytes.Replace(redacted, []byte(`"meta":{`), append([]byte(`"meta":{"profile":`), append(bytes.Clone(profile), ',')...), 1)
	}
	return append(dst, redacted...), nil
}

// differ makes a pair of stores and lists the ways out that tell one from the
// other, of every so manyth way.
func differ(t *testing.T, seed uint64, open leak, every int) []string {
	t.Helper()
	one, other := newWorld(t, seed, 1, open), newWorld(t, seed, 2, open)
	one.run()
	other.run()
	if one.seen() == other.seen() {
		t.Fatal("the base stores do not differ")
	}
	p := newPlan(t, one.statement(), slices.Concat(one.known(), other.known()))
	some := p.ways[:0]
	for i, w := range p.ways {
		if i%every == 0 {
			some = append(some, w)
		}
	}
	p.ways = some
	a, b := one.client().record(t, p, nil), other.client().record(t, p, nil)
	if n := answered(a); n < len(p.ways)/5 {
		t.Fatalf("only %d of %d ways out are answered", n, len(p.ways))
	}
	all := differences(p, a, b)
	x, y := one.topic(), other.topic()
	if x != y {
		all = append(all, "topic\n"+firstDifference(x, y))
	}
	if !strings.Contains(x, "tributary-version") {
		t.Fatal("the topic is empty")
	}
	return all
}

// world is one base store with the store of the client.
type world struct {
	t              *testing.T
	open           leak
	shared, hidden *rand.Rand // hidden differs between the two of a pair
	reference      *access.Policy
	base, own      *pebble.DB
	projection     *projection.Projection
	handler        http.Handler
	at             time.Time
	number         commit.Number
	outbox         []uint64
	heads          map[fhir.ResourceID]commit.Head
	bodies         map[fhir.ResourceID][]byte
	ids            []fhir.ResourceID // in a fixed order
	members        map[fhir.ResourceID]string
	sources        map[string]wire.Freshness
}

const worldPartitions = 3

func newWorld(t *testing.T, seed, which uint64, open leak) *world {
	t.Helper()
	w := &world{
		t: t, open: open, shared: rand.New(rand.NewPCG(seed, 0)), hidden: rand.New(rand.NewPCG(seed, which)),
		at: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), outbox: make([]uint64, worldPartitions),
		heads: map[fhir.ResourceID]commit.Head{}, bodies: caseResources(t), members: map[fhir.ResourceID]string{}, sources: map[string]wire.Freshness{},
	}
	w.ids = slices.SortedFunc(maps.Keys(w.bodies), func(a, b fhir.ResourceID) int { return strings.Compare(a.String(), b.String()) })
	for _, id := range w.ids {
		w.members[id] = recordOf(id, w.bodies[id])
	}
	w.reference = policyOf(t, open.terms)
	w.base, w.own = openStore(t, pebble.Options{CacheBytes: 8 << 20, MemTableBytes: 1 << 20}), openStore(t, pebble.ClientStore())
	served := open.terms
	served.Hide = open.hide
	var shown projection.Policy = policyOf(t, served)
	if open.shape != nil {
		shown = open.shape(shown)
	}
	var err error
	w.projection, err = projection.New(projection.Config{Base: w.base, Store: w.own, Policy: shown, Client: "subscriber",
		Partitions: 2, Now: func() time.Time { return w.at.Add(time.Second) }})
	w.must(err)
	subscriber, whole := access.NewClient("subscriber", "subscriber-key"), access.NewClient("provider", "provider-key")
	subscriber.Policy = w.reference
	w.handler = api.New(api.Config{
		Clients: access.NewRegistry(subscriber, whole), Views: w.view, Audit: func(context.Context, audit.Event) error { return nil },
		Name: "Tributary", PageKey: make([]byte, 32),
	})
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func policyOf(t *testing.T, terms access.Terms) *access.Policy {
	t.Helper()
	p, err := access.NewPolicy(terms)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func openStore(t *testing.T, o pebble.Options) *pebble.DB {
	t.Helper()
	o.FS = vfs.NewMem()
	db, err := pebble.Open("store", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func (w *world) view(c access.Caller) (api.Store, error) {
	switch {
	case c.ClientID == "provider":
		return storeOf{w.base, nil}, nil
	case w.open.store != nil:
		return w.open.store(w.base, w.own), nil
	}
	return storeOf{w.own, nil}, nil
}

// rowOfCase is how a mapping's case writes an id: by the row, for which the
// product has a keyed hash.
var rowOfCase = regexp.MustCompile(`\b(emr|pharmacy)\.\w+(#\w+)?:`)

// caseResources are the resources that the mappings' cases hold.
func caseResources(t *testing.T) map[fhir.ResourceID][]byte {
	t.Helper()
	files, err := filepath.Glob("../mappings/testdata/*.txtar")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d mapping cases found: %v", len(files), err)
	}
	all := map[fhir.ResourceID][]byte{}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range archive.Files {
			typ, _, ok := strings.Cut(f.Name, "/")
			if !ok || !bytes.HasPrefix(f.Data, []byte("{")) {
				continue
			}
			text := rowOfCase.ReplaceAllFunc(f.Data, func(id []byte) []byte {
				return []byte(strings.NewReplacer("_", "-", "#", "-", ":", "-").Replace(string(id)))
			})
			var body bytes.Buffer
			if err := json.Compact(&body, text); err != nil {
				t.Fatalf("%s: %s: %v", file, f.Name, err)
			}
			id, _ := fhir.Text(fhir.Member(body.Bytes(), "id"))
			resource := decoded(t, body.Bytes())
			if resource["meta"] == nil {
				resource["meta"] = map[string]any{}
			}
			if all[fhir.ResourceID{Type: typ, ID: id}] == nil {
				all[fhir.ResourceID{Type: typ, ID: id}] = encoded(t, resource)
			}
		}
	}
	if len(all) < 50 {
		t.Fatalf("only %d resources found", len(all))
	}
	return all
}

// run fills the base store: all resources as they differ, then commits of what
// both worlds show, each with hidden changes in it, and others that only one
// world has.
func (w *world) run() {
	for _, id := range w.ids {
		w.bodies[id] = w.otherwise(id)
	}
	w.commit(w.ids)
	w.catchUp()
	for step := range 6 {
		for w.hidden.IntN(2) == 0 {
			w.at = w.at.Add(time.Duration(w.hidden.IntN(900)) * time.Millisecond)
			w.commit(w.change(w.hidden, w.hidden.IntN(4)))
			if w.hidden.IntN(2) == 0 {
				w.catchUp()
			}
		}
		w.at = time.Date(2026, 1, 2, 3, 5+step, 5, 0, time.UTC)
		changed := []fhir.ResourceID{}
		for range 1 + w.shared.IntN(4) {
			id := w.ids[w.shared.IntN(len(w.ids))]
			if !slices.Contains(changed, id) {
				w.bodies[id] = w.spoken(id)
				changed = append(changed, id)
			}
		}
		for _, id := range w.change(w.hidden, 3) {
			if !slices.Contains(changed, id) {
				changed = append(changed, id)
			}
		}
		w.commit(changed)
		w.catchUp() // how fresh a commit is told to be follows from when it is taken
	}
}

// change gives some resources other hidden elements.
func (w *world) change(r *rand.Rand, n int) []fhir.ResourceID {
	var changed []fhir.ResourceID
	for range n {
		if id := w.ids[r.IntN(len(w.ids))]; !slices.Contains(changed, id) {
			w.bodies[id] = w.otherwise(id)
			changed = append(changed, id)
		}
	}
	return changed
}

// spoken changes what everybody sees: the language.
func (w *world) spoken(id fhir.ResourceID) []byte {
	v := decoded(w.t, w.bodies[id])
	v["language"] = "x-" + strings.Repeat("a", 1+w.shared.IntN(6))
	return encoded(w.t, v)
}

// otherwise is the resource with other hidden elements: every value that may be
// another without the policy's showing it is drawn anew, is taken away, or comes
// twice. The policy says which may; it is asked for each.
func (w *world) otherwise(id fhir.ResourceID) []byte {
	v := decoded(w.t, w.bodies[id])
	shown := w.redacted(id, encoded(w.t, v))
	w.vary(id, v, v, shown)
	return encoded(w.t, v)
}

func decoded(t *testing.T, body []byte) map[string]any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v map[string]any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func encoded(t *testing.T, v any) []byte {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// redacted is what the client may see of a resource, nothing of one that is not
// shown at all.
func (w *world) redacted(id fhir.ResourceID, body []byte) string {
	w.t.Helper()
	if !w.reference.MaySee(id.Type) || !w.reference.MayKnow(w.members[id]) {
		return ""
	}
	out, err := w.reference.Redact(nil, id.Type, body)
	w.must(err)
	return string(out)
}

// vary tries changes of the object's members and keeps those that are hidden.
func (w *world) vary(id fhir.ResourceID, root map[string]any, object map[string]any, shown string) {
	try := func(name string, to any) bool {
		before := object[name]
		if to == nil {
			delete(object, name)
		} else {
			object[name] = to
		}
		if w.redacted(id, encoded(w.t, root)) == shown {
			return true
		}
		object[name] = before
		return false
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if name == "resourceType" || name == "id" || name == "text" {
			continue
		}
		switch v := object[name].(type) {
		case map[string]any:
			if name == "meta" || w.hidden.IntN(5) > 0 || !try(name, nil) { // stamping wants a meta
				w.vary(id, root, v, shown)
			}
		case []any:
			w.varyList(id, root, object, name, v, shown, try)
		case string:
			try(name, fmt.Sprint("hidden", w.hidden.IntN(1000)))
		case json.Number:
			try(name, json.Number(fmt.Sprint(w.hidden.IntN(90))))
		}
	}
}

func (w *world) varyList(id fhir.ResourceID, root, object map[string]any, name string, list []any, shown string, try func(string, any) bool) {
	switch w.hidden.IntN(6) {
	case 0:
		if try(name, nil) {
			return
		}
	case 1:
		try(name, slices.Concat(list, list[:1]))
	case 2:
		if len(list) > 1 {
			try(name, list[1:])
		}
	}
	for _, item := range object[name].([]any) {
		if inner, ok := item.(map[string]any); ok {
			w.vary(id, root, inner, shown)
		}
	}
}

// recordOf is the Patient whose record the resource belongs to.
func recordOf(id fhir.ResourceID, body []byte) string {
	if id.Type == "Patient" {
		return id.ID
	}
	for _, name := range []string{"subject", "patient", "beneficiary", "for"} {
		if text, ok := fhir.Text(fhir.Member(fhir.Member(body, name), "reference")); ok {
			if r, ok := fhir.ParseReference(text); ok && r.Type == "Patient" {
				return r.ID
			}
		}
	}
	return ""
}

// commit writes one commit of the resources that are other than they were.
func (w *world) commit(ids []fhir.ResourceID) {
	w.t.Helper()
	w.number++
	position := wire.Position{Generation: 1, Ordinal: uint64(w.number)*100 + w.hidden.Uint64N(100)}
	for _, name := range []string{"emr", "pharmacy"} {
		w.sources[name] = wire.Freshness{Source: name, Committed: w.at, Position: position, Token: fmt.Sprint(position.Ordinal)}
	}
	u := commit.Unit{Number: w.number, Source: "emr", Committed: w.at, Position: position, Token: "t",
		Sources: []wire.Freshness{w.sources["emr"], w.sources["pharmacy"]}}
	for _, id := range ids {
		w.version(&u, id)
	}
	if u.Count = uint32(len(u.Versions)); u.Count == 0 {
		w.number--
		return
	}
	f := commit.Frontier{Number: w.number, Composed: true, Outbox: slices.Clone(w.outbox), Sources: map[string]commit.Progress{}}
	for name, s := range w.sources {
		f.Sources[name] = commit.Progress{Freshness: s}
	}
	w.must(w.base.Commit(w.t.Context(), commit.Batch{Units: []commit.Unit{u}}, f))
}

func (w *world) version(u *commit.Unit, id fhir.ResourceID) {
	head, content := w.heads[id], w.bodies[id]
	sum := sha256.Sum256(content)
	if bytes.Equal(head.Hash[:], sum[:16]) {
		return
	}
	v := commit.Version{Op: commit.Update, Sequence: uint32(len(u.Versions))}
	if head.Number == 0 {
		v.Op = commit.Create
	}
	copy(v.Hash[:], sum[:16])
	v.ResourceID, v.Member, v.Commit, v.Number, v.Updated = id, w.members[id], uint64(u.Number), head.Number+1, u.Committed.Truncate(time.Millisecond)
	v.Body = fhir.Stamp(nil, content, v.Number, v.Updated)
	var postings []fhir.Posting
	v.Index, postings = fhir.Index(id.Type, v.Body)
	for _, p := range postings {
		v.Postings = append(v.Postings, commit.Posting(p))
	}
	key := v.Member
	if key == "" {
		key = id.String()
	}
	v.Partition = wire.Partition(key, worldPartitions)
	w.outbox[v.Partition]++
	v.Outbox = w.outbox[v.Partition]
	u.Versions = append(u.Versions, v)
	w.heads[id] = commit.Head{Number: v.Number, Hash: v.Hash, Updated: v.Updated, Member: v.Member}
}

func (w *world) catchUp() {
	w.t.Helper()
	for range 1000 {
		done, err := w.projection.Step(w.t.Context())
		w.must(err)
		if done {
			return
		}
	}
	w.t.Fatal("the projection never caught up")
}

// client takes the ways out as the subscriber.
func (w *world) client() *recorder {
	return &recorder{base: "http://tributary.test", key: "subscriber-key", transport: roundTripper(w.roundTrip)}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (w *world) roundTrip(r *http.Request) (*http.Response, error) {
	asked := httptest.NewRequest(r.Method, r.URL.String(), r.Body)
	asked.Header = r.Header
	answer := httptest.NewRecorder()
	w.handler.ServeHTTP(answer, asked)
	return answer.Result(), nil
}

func (w *world) statement() []byte {
	w.t.Helper()
	_, body, err := w.client().once(way{method: http.MethodGet, path: "/fhir/metadata"})
	w.must(err)
	return body
}

// known is what the base store has.
func (w *world) known() []known {
	var all []known
	for _, id := range w.ids {
		all = append(all, knownOf(w.t, w.bodies[id]))
	}
	return all
}

// seen is what somebody sees who sees everything.
func (w *world) seen() string {
	var all strings.Builder
	for _, id := range w.ids {
		all.Write(w.bodies[id])
	}
	return all.String()
}

// topic is what the client is told, record by record. The store's name, which is
// drawn at random, is left out.
func (w *world) topic() string {
	w.t.Helper()
	from := w.own
	if w.open.topic != nil {
		from = w.open.topic(w.base, w.own)
	}
	var all strings.Builder
	for p := range from.Frontier().Outbox {
		w.must(from.Announcements(int32(p), 0, func(number uint64, a commit.Announcement) bool {
			a.Generation = ""
			if w.open.topic != nil { // what leaves is redacted, how it is numbered is not
				a.Version.Body = []byte(w.redacted(a.Version.ResourceID, a.Version.Body))
			}
			fmt.Fprintf(&all, "%d %+q\n", p, publish.NewRecord(number, &a))
			return true
		}))
	}
	return all.String()
}
