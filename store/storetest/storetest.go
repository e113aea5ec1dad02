// Package storetest says whether a store keeps its promises: the sentences of
// package commit and of the ports that compose, publish and api declare, each
// attacked; random histories compared with a model at every commit number; and
// histories cut off by kill -9 at random moments.
package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
)

// Store is what a store gives to composition, publishing and the API together;
// their ports say what each method promises.
type Store interface {
	Frontier() commit.Frontier
	Row(table change.Table, route, key string) ([]byte, error)
	Rows(table change.Table, route string, fn func(key string, body []byte) bool) error
	AllRows(table change.Table, afterRoute, afterKey string, fn func(route, key string, body []byte) bool) error
	Routes(table change.Table, fn func(route string) bool) error
	Head(id fhir.ResourceID) (head commit.Head, ok bool, err error)
	HeadOf(member string, id fhir.ResourceID) (head commit.Head, ok bool, err error)
	Resources(member string, fn func(fhir.ResourceID) bool) error
	Newest(id fhir.ResourceID) (v fhir.Version, ok bool, err error)
	Living(resourceType, afterID string, fn func(fhir.Version) bool) error
	Parked() ([]commit.Parked, error)
	Stage(ctx context.Context, b commit.Batch) error
	Commit(ctx context.Context, b commit.Batch, f commit.Frontier) error

	Announcements(partition int32, after uint64, fn func(number uint64, a commit.Announcement) bool) error
	Published(ctx context.Context, partition int32, number uint64) error
	Mark(partition int32) (uint64, error)
	Changed() <-chan struct{}

	Commits(after commit.Number, fn func(commit.Info) bool) error
	Note(name string, value []byte) error
	Noted(name string) ([]byte, error)

	At(number uint64) (View, error)
	Close() error
}

// View is what a store shows at one commit number.
type View interface {
	Number() uint64
	Read(id fhir.ResourceID) (v fhir.Version, ok bool, err error)
	VRead(id fhir.ResourceID, version uint64) (v fhir.Version, ok bool, err error)
	History(id fhir.ResourceID, before uint64, fn func(v fhir.Version) bool) error
	Histories(resourceType string, fn func(id fhir.ResourceID, versions []fhir.Version) bool) error
	Scan(resourceType, member string, all bool, afterMember, afterID string, fn func(v fhir.Version) bool) error
	Postings(resourceType, param string, low, high []byte, fn func(member, id string) bool) error
	Holders(t commit.Token, fn func(member string) bool) error
	Freshness() []change.Freshness
	Committed() time.Time
	Close() error
}

// Opener opens the store that lives in dir, and makes it if there is none. Close
// may be made to lose what was not durable: the suite then sees a power loss
// wherever it closes.
type Opener func(t testing.TB, dir string) Store

// Run runs the suite. Crash is apart, because it needs a process to kill.
func Run(t *testing.T, open Opener) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Opener)
	}{
		{"Empty", testEmpty},
		{"StagedIsInvisible", testStagedIsInvisible},
		{"StagedIsGoneAfterReopen", testStagedIsGone},
		{"StagedThenCommitted", testStagedThenCommitted},
		{"OrderIsChecked", testOrder},
		{"GroupOfUnits", testGroup},
		{"MoveBetweenMembers", testMove},
		{"Rows", testRows},
		{"GroupedRows", testGroupedRows},
		{"Tokens", testTokens},
		{"TokensOfNobody", testTokensOfNobody},
		{"TokensStagedAreInvisible", testTokensStaged},
		{"TokensOfAnIndexThatIsNotWhole", testTokensNotWhole},
		{"TooManyTokens", testTooManyTokens},
		{"Changed", testChanged},
		{"Published", testPublished},
		{"Generation", testGeneration},
		{"Above", testAbove},
		{"Commits", testCommits},
		{"Histories", testHistories},
		{"Notes", testNotes},
		{"Memory", testMemory},
		{"OldViews", testOldViews},
		{"ReadWhileScanning", testReadWhileScanning},
		{"ReadersBesideWriter", testReaders},
		{"Model", testModel},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open) })
	}
}
