package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tributary-health/tributary/access"
	"github.com/tributary-health/tributary/api"
	"github.com/tributary-health/tributary/audit"
	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/projection"
	"github.com/tributary-health/tributary/publish"
	"github.com/tributary-health/tributary/store/pebble"
)

// memoryTopic is a client's topic in memory.
type memoryTopic struct {
	mu      sync.Mutex
	records []publish.Record
	taken   chan struct{}
}

func (m *memoryTopic) Last(context.Context, int32) (uint64, int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return uint64(len(m.records)), int64(len(m.records)), nil
}

func (m *memoryTopic) Append(_ context.Context, _ int32, records []publish.Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records = append(m.records, records...)
	m.taken <- struct{}{}
	return nil
}

func (m *memoryTopic) Close() {}

// oneResource is a base store that holds one resource of a member.
func oneResource(t *testing.T, id, member string) *pebble.DB {
	t.Helper()
	db := memoryStore(t)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	position := change.Position{Generation: 1, Ordinal: 1}
	freshness := change.Freshness{Source: "emr", Committed: at, Position: position, Token: "1"}
	u := commit.Unit{Number: 1, Source: "emr", Committed: at, Position: position, Token: "1", Sources: []change.Freshness{freshness}, Count: 1}
	v := commit.Version{Op: commit.Create, Outbox: 1}
	v.ResourceID, v.Member, v.Commit, v.Number, v.Updated = fhir.ResourceID{Type: "Patient", ID: id}, member, 1, 1, at
	content := fmt.Appendf(nil, `{"resourceType":"Patient","id":%q,"meta":{},"gender":"female"}`, id)
	sum := sha256.Sum256(content)
	copy(v.Hash[:], sum[:])
	v.Body = fhir.Stamp(nil, content, 1, at)
	u.Versions = []commit.Version{v}
	f := commit.Frontier{Number: 1, Composed: true, Outbox: []uint64{1}, Sources: map[string]commit.Progress{"emr": {Freshness: freshness}}}
	if err := db.Commit(t.Context(), commit.Batch{Units: []commit.Unit{u}}, f); err != nil {
		t.Fatal(err)
	}
	return db
}

func memoryStore(t *testing.T) *pebble.DB {
	t.Helper()
	o := pebble.ClientStore()
	o.FS = vfs.NewMem()
	db, err := pebble.Open("store", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// subscriber is a client with a store and a topic of its own over the base store.
func subscriber(t *testing.T, id string, base *pebble.DB) (*clientStore, *memoryTopic) {
	t.Helper()
	c := access.NewClient(id, id+"-key-0123456789")
	c.Changes = true
	topic := &memoryTopic{taken: make(chan struct{}, 10)}
	own := &clientStore{client: c, store: memoryStore(t), topicName: clientTopic(id, 0), topic: topic}
	var err error
	own.projection, err = projection.New(projection.Config{Base: base, Store: own.store, Policy: shownPolicy{c.Policy}, Client: id, Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	return own, topic
}

// A resource that the record refuses stops the delivery to that client, by name;
// others are sent what is theirs, and nothing of what was refused has left.
func TestUnrecordableStopsOneDelivery(t *testing.T) {
	const ours, member = "abcdefghijklmnopqrstuvwxyz", "aaaaaaaaaaaaaaaaaaaaaaaaaa"
	bad, badTopic := subscriber(t, "unlucky", oneResource(t, "Smith-1957", member))
	good, goodTopic := subscriber(t, "lucky", oneResource(t, ours, member))
	var log bytes.Buffer
	cfg := &Config{Partitions: 1, Audit: filepath.Join(t.TempDir(), "audit"), clients: []access.Client{bad.client, good.client}}
	p := &pipeline{cfg: cfg, log: slog.New(slog.NewTextHandler(&log, nil)), own: []*clientStore{bad, good}}
	if err := p.openRecord(); err != nil {
		t.Fatal(err)
	}
	defer p.audit.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.runClients(ctx)
	}()
	for end := time.Now().Add(10 * time.Second); bad.unsent.Load() == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the delivery goes on and on")
		}
	}
	<-goodTopic.taken
	cancel()
	<-ended

	why := *bad.unsent.Load()
	for _, want := range []string{"partition 0", "outbox numbers 1 to 1", "recordable", "replay --rebuild"} {
		if !strings.Contains(why, want) {
			t.Errorf("the reason says nothing of %q: %s", want, why)
		}
	}
	if strings.Contains(why+log.String(), "Smith") || !strings.Contains(log.String(), "client=unlucky") || strings.Contains(log.String(), "client=lucky") {
		t.Errorf("reason %s, log %s", why, &log)
	}
	p.match = api.NewMatcher(api.MatcherConfig{})
	if all := p.clientStatuses(); all[0].Unsent != why || all[1].Unsent != "" || all[0].Problem != "" {
		t.Errorf("status %+v", all)
	}
	if len(badTopic.records) != 0 || len(goodTopic.records) != 1 || good.unsent.Load() != nil {
		t.Errorf("%d and %d records are sent, %v", len(badTopic.records), len(goodTopic.records), good.unsent.Load())
	}
	var delivered []string
	if err := p.audit.Since(time.Time{}, func(e audit.Event) bool {
		delivered = append(delivered, e.Client)
		return true
	}); err != nil || !slices.Equal(delivered, []string{"lucky"}) {
		t.Errorf("recorded %v, %v", delivered, err)
	}
}

// Operators see which client is sent nothing more, and why.
func TestStatusShowsWhatIsNotSent(t *testing.T) {
	c := clientStatus{ID: "unlucky", OwnStore: true, Ready: true, Topic: "fhir.changes.unlucky", Unsent: "partition 0: why"}
	if line := c.line(); !strings.Contains(line, "NOTHING IS SENT TO ITS TOPIC: partition 0: why") {
		t.Error(line)
	}
	text, err := json.Marshal(c)
	if err != nil || !strings.Contains(string(text), `"topic_problem":"partition 0: why"`) {
		t.Errorf("%s, %v", text, err)
	}
}

// A client whose id the record cannot name is found before anything is served.
func TestClientsAreRecordable(t *testing.T) {
	p := &pipeline{cfg: &Config{Audit: filepath.Join(t.TempDir(), "audit"), clients: []access.Client{access.NewClient("my client", "key-0123456789-key")}},
		log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	if err := p.openRecord(); err == nil || !strings.Contains(err.Error(), `client "my client"`) {
		t.Errorf("got %v", err)
	}
}

// Whatever id a mapping makes can be put on the record.
func TestOurIDsAreRecordable(t *testing.T) {
	set, err := loadMappings(&Config{}, bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range set.Resources() {
		for _, key := range []string{"", "1", "a\x00b", strings.Repeat("k", 1000), fmt.Sprint(i)} {
			if id := set.ResourceID(r.Type, change.Table{}, "", key); !ourID.MatchString(id) {
				t.Errorf("%s: %q", r.Type, id)
			}
		}
	}
}
