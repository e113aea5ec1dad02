package compose_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/compose"
	"github.com/tributary-health/tributary/compose/mapping"
	"github.com/tributary-health/tributary/fhir"
)

// tokensWith makes a token of each text in a resource, under an id.
func tokensWith(id string) func(string, []byte) []commit.Token {
	return func(resourceType string, content []byte) []commit.Token {
		var all any
		if err := json.Unmarshal(content, &all); err != nil || strings.Contains(string(content), "versionId") {
			panic(fmt.Sprintf("content of a %s is not what it has to be: %v", resourceType, err))
		}
		var tokens []commit.Token
		var walk func(any)
		walk = func(v any) {
			switch v := v.(type) {
			case map[string]any:
				for _, in := range v {
					walk(in)
				}
			case []any:
				for _, in := range v {
					walk(in)
				}
			case string:
				sum := sha256.Sum256([]byte(id + " " + v))
				tokens = append(tokens, commit.Token(sum[:16]))
			}
		}
		walk(all)
		return tokens
	}
}

// withTokens gives a worker the world's match tokens, and has the store compare
// them at every commit.
func (w *world) withTokens(c *compose.Config, s *memStore) {
	s.tokens = tokenCheck{set: w.set}
	if w.tokensID == "" {
		return
	}
	c.Tokens, c.TokensID, c.TokenTypes = tokensWith(w.tokensID), w.tokensID, w.tokenTypes
	s.tokens.make, s.tokens.types = c.Tokens, c.TokenTypes
}

// tokenCheck recomputes what tokens there have to be.
type tokenCheck struct {
	set   *mapping.Set
	make  func(string, []byte) []commit.Token
	types []string
}

// checkTokens compares the tokens of each resource, as of each commit after the
// given one, with what its version at that commit gives. Whether the index is
// whole or not, what is deleted has none, and what is of a parked member is
// nobody's.
func (s *memStore) checkTokens(after commit.Number) {
	if s.tokens.set == nil {
		return
	}
	whole := s.committed.frontier.Matching
	if whole > s.committed.frontier.Number {
		s.fault("the match index is whole from %d on, above the frontier", whole)
	}
	for n := after + 1; n <= s.committed.frontier.Number; n++ {
		parked := s.parkedAt(n)
		for id, sets := range s.committed.sets {
			var v commit.Version
			for _, x := range s.committed.versions[id] {
				if x.Commit <= uint64(n) {
					v = x
				}
			}
			tokens := held(sets, n)
			if len(tokens) > 0 && (v.Number == 0 || v.Deleted || parked[v.Member] && !strings.HasSuffix(tokens[0], " of ")) {
				s.fault("commit %d: %s has tokens; deleted: %v, parked: %v", n, id, v.Deleted, parked[v.Member])
			}
		}
		if whole == 0 || n < whole {
			continue
		}
		for id, vs := range s.committed.versions {
			var want []string
			for _, v := range vs {
				if v.Commit > uint64(n) {
					break
				}
				if want = nil; !v.Deleted && v.Member != "" && slices.Contains(s.tokens.types, id.Type) {
					member := v.Member
					if parked[member] {
						member = ""
					}
					want = named(member, s.tokens.make(id.Type, fhir.Unstamp(v.Body)))
				}
			}
			if got := held(s.committed.sets[id], n); !slices.Equal(got, want) {
				s.fault("commit %d: %s has tokens %.8q, want %.8q", n, id, got, want)
			}
		}
	}
}

// parkedAt is which members are parked as of a commit, by their Patient's id.
func (s *memStore) parkedAt(n commit.Number) map[string]bool {
	parked := map[string]bool{}
	for _, p := range s.committed.parkings {
		if p.number <= n {
			parked[s.tokens.set.ResourceID("Patient", s.tokens.set.Root().Table, "", p.Root)] = !p.Cleared
		}
	}
	return parked
}

// held lists a resource's tokens as of a commit, with its member.
func held(sets []setAt, n commit.Number) (tokens []string) {
	for _, s := range sets {
		if s.number <= n {
			tokens = named(s.Member, s.Tokens)
		}
	}
	return tokens
}

func named(member string, tokens []commit.Token) (all []string) {
	for _, t := range tokens {
		all = append(all, fmt.Sprintf("%x of %s", t, member))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// holdings is every resource's tokens as of the frontier.
func (s *memStore) holdings() map[string]string {
	m := map[string]string{}
	for id, sets := range s.committed.sets {
		if tokens := held(sets, s.committed.frontier.Number); len(tokens) > 0 {
			m[id.String()] = strings.Join(tokens, ",")
		}
	}
	return m
}

// holders lists the names of the people who hold the token of a text, in brackets
// who is not found by it.
func (f *flow) holders(text string) (names string) {
	sum := sha256.Sum256([]byte(f.tokensID + " " + text))
	for _, key := range slices.Sorted(maps.Keys(f.a.rows["a.people"])) {
		id := fhir.ResourceID{Type: "Patient", ID: f.set.ResourceID("Patient", f.set.Root().Table, "", key)}
		for _, t := range held(f.store.committed.sets[id], f.store.committed.frontier.Number) {
			if by, ok := strings.CutPrefix(t, fmt.Sprintf("%x of ", sum[:16])); ok && by == "" {
				names += "(" + key + ")"
			} else if ok {
				names += key
			}
		}
	}
	return names
}

func (f *flow) found(text, want string) {
	f.t.Helper()
	if got := f.holders(text); got != want {
		f.t.Errorf("%q is held by %q, want %q", text, got, want)
	}
}

// A corrected birth date takes the tokens of the wrong one with the commit that
// brings the new Patient version.
func TestTokensFollowTheVersion(t *testing.T) {
	f := newFlow(t, two)
	f.found("1950-01-01", "p1")
	f.a.do(f.a.update("a.people", "p1", "born", "1951-01-01"))
	vs := f.run(nil)
	f.found("1950-01-01", "")
	f.found("1951-01-01", "p1p2")
	for _, v := range vs {
		if sets := f.store.committed.sets[v.ResourceID]; v.Type == "Patient" && uint64(sets[len(sets)-1].number) != v.Commit {
			t.Errorf("the version is of commit %d, its tokens of %d", v.Commit, sets[len(sets)-1].number)
		}
	}
	f.a.do(f.a.remove("a.people", "p2"))
	f.run(nil)
	f.found("1951-01-01", "p1")
	if got := f.store.holdings(); len(got) != 2 { // the Patient, and the fill
		t.Errorf("held: %v", got)
	}
}

// A member that parks is found by nothing from that commit on, and again from
// the one that composes it again, what has not changed too. In between it holds
// what it held, as nobody.
func TestParkedMemberIsNotFound(t *testing.T) {
	f := newFlow(t, two)
	whole := f.store.holdings()
	parked := func() {
		t.Helper()
		f.run(nil)
		f.found("1950-01-01", "(p1)")
		f.found("1951-01-01", "p2")
		for id, tokens := range f.store.holdings() {
			if n := strings.Count(tokens, " of ,") + strings.Count(tokens+",", " of ,"); n == 0 && tokens != whole[id] {
				t.Errorf("%s holds %s, before it held %s", id, tokens, whole[id])
			}
			if len(strings.Split(tokens, ",")) != len(strings.Split(whole[id], ",")) {
				t.Errorf("%s holds %s, before it held %s", id, tokens, whole[id])
			}
		}
	}
	f.a.do(f.a.update("a.people", "p1", "name", "broken"))
	parked()
	f.b.do(f.b.update("b.fills", "f1", "text", "refill"))
	parked()
	f.b.do(f.b.update("b.fills", "f1", "text", "fill"))
	f.a.do(f.a.update("a.people", "p1", "name", "one"))
	f.want(f.run(nil), "") // nothing has changed since
	if got := f.store.holdings(); !maps.Equal(got, whole) {
		t.Errorf("held: %v, want %v", got, whole)
	}
}

// A token that a parked twin shares with the other never seems to be the other
// one's alone: not while the twin is parked, with whatever tokens, however they
// came to be made again, and in one commit with the other's change neither.
func TestParkedTwinSuppresses(t *testing.T) {
	f := newFlow(t, func(w *world) {
		two(w)
		w.a.do(w.a.update("a.people", "p2", "born", "1950-01-01"))
	})
	f.found("1950-01-01", "p1p2")
	f.a.do(f.a.update("a.people", "p1", "name", "broken"), f.a.update("a.people", "p2", "name", "other"))
	f.run(nil)
	f.found("1950-01-01", "(p1)p2")
	for _, id := range []string{"second", "third"} { // while idle, and with other mappings
		f.tokensID = id
		if id == "third" {
			f.set = loadMappings(t, `"profile "`, `"summary "`)
		}
		f.settle(nil, f.rnd, never)
		f.found("1950-01-01", "(p1)p2")
	}
	f.a.do(f.a.update("a.people", "p1", "name", "one"))
	f.run(nil)
	f.found("1950-01-01", "p1p2")
	f.a.do(f.a.update("a.people", "p1", "name", "broken"))
	f.run(nil)
	f.a.do(f.a.remove("a.people", "p1"))
	f.run(nil)
	f.found("1950-01-01", "p2")
	f.check(t, f.store)
}

// A member whose key looks like a parked row of a reference table is not found
// either while it is parked.
func TestParkedMemberThatLooksLikeAReference(t *testing.T) {
	const key = "a.drugs/d1"
	f := newFlow(t, func(w *world) {
		two(w)
		w.a.do(op{"a.people", nil, vals(key, "three", "1949-01-01")})
	})
	f.found("1949-01-01", key)
	f.a.do(f.a.update("a.people", key, "name", "broken"))
	f.run(nil)
	f.found("1949-01-01", "("+key+")")
	f.tokensID = "second"
	f.settle(nil, f.rnd, never)
	f.found("1949-01-01", "("+key+")")
}

// Tokens go with a row that moves to another member.
func TestTokensMove(t *testing.T) {
	f := newFlow(t, two)
	f.b.do(f.b.update("b.fills", "f1", "who", "p2"))
	f.run(nil)
	p2 := f.set.ResourceID("Patient", f.set.Root().Table, "", "p2")
	for id, tokens := range f.store.holdings() {
		if strings.HasPrefix(id, "MedicationDispense") && (strings.Count(tokens, " of ") == 0 || strings.Count(tokens, " of ") != strings.Count(tokens, " of "+p2)) {
			t.Errorf("%s: %s", id, tokens)
		}
	}
}

// A member with too many tokens parks, and nobody else.
func TestTooManyTokensPark(t *testing.T) {
	f := newFlow(t, two)
	f.a.do(f.a.update("a.people", "p1", "name", "many"), f.a.update("a.people", "p2", "name", "few"))
	f.wa.stream()
	f.drive(t, f.store, f.rnd, func(c *compose.Config) {
		made := c.Tokens
		c.Tokens = func(typ string, content []byte) []commit.Token {
			if strings.Contains(string(content), "many") {
				return make([]commit.Token, commit.MaxTokens+1)
			}
			return made(typ, content)
		}
	}, never)
	if p := f.store.committed.parked["p1"]; !strings.Contains(p.Reason, "more than 65536 match tokens") || strings.Contains(p.Reason, "many") {
		t.Errorf("parked: %+v", f.store.committed.parked)
	}
	f.found("few", "p2")
	f.found("1950-01-01", "(p1)")
}

// Who has too many tokens when they are made again keeps the first of them, as
// nobody.
func TestTooManyTokensMadeAgain(t *testing.T) {
	f := newFlow(t, two)
	f.tokensID = "second"
	edit := func(c *compose.Config) {
		made := c.Tokens
		c.Tokens = func(typ string, content []byte) []commit.Token {
			tokens := made(typ, content)
			for n := 0; typ == "Patient" && strings.Contains(string(content), "1950-01-01") && len(tokens) <= commit.MaxTokens; n++ {
				tokens = append(tokens, commit.Token{byte(n), byte(n >> 8), byte(n >> 16)})
			}
			return tokens
		}
		f.store.tokens = tokenCheck{}
	}
	f.settle(edit, f.rnd, never)
	f.found("1950-01-01", "(p1)")
	f.found("1951-01-01", "p2")
}

// settle drives until the match index is as configured.
func (f *flow) settle(edit func(*compose.Config), rnd *rand.Rand, fail func() int) {
	f.t.Helper()
	for range 10_000 {
		if w := f.drive(f.t, f.store, rnd, edit, fail); w.Status().Matching == (f.tokensID != "") && len(f.store.holdings()) > 0 == (f.tokensID != "") {
			return
		}
	}
	f.t.Fatal("the tokens are never all made")
}

// Under another id all tokens are made again, whatever is killed and whatever
// changes meanwhile; nobody can be matched before the last of them is.
func TestTokensMadeAgain(t *testing.T) {
	for seed := range uint64(10) {
		rnd := rand.New(rand.NewPCG(seed, 12))
		f := newFlow(t, func(w *world) {
			w.seed()
			if seed%2 == 0 {
				w.tokensID, w.tokenTypes = "", nil // a store from before there were tokens
			}
		})
		f.a.do(f.a.update("a.people", "p1", "name", "broken"))
		f.run(nil)
		for _, next := range []struct {
			id    string
			types []string
		}{{"second", []string{"Patient", "MedicationDispense"}}, {"third", []string{"Patient"}}, {"third", []string{"Composition", "Patient"}}, {"", nil}, {"fourth", []string{"Patient"}}} {
			f.tokensID, f.tokenTypes = next.id, next.types
			for range 1 + rnd.IntN(5) {
				f.change(f.a, 4)
				f.change(f.b, 4)
			}
			f.wa.stream()
			f.wb.stream()
			crashes := 10
			f.settle(func(c *compose.Config) { c.PieceVersions, c.GroupTxs = 1+rnd.IntN(4), 1+rnd.IntN(3) }, rnd, func() int {
				if crashes--; crashes < 0 {
					return 0
				}
				return 1 + rnd.IntN(300)
			})
			f.check(t, f.store)
			if t.Failed() {
				t.Fatalf("seed %d, tokens %q of %v", seed, next.id, next.types)
			}
		}
	}
}

// While tokens are made again, what comes in is applied between the pieces.
func TestTransactionsDoNotWaitForTokens(t *testing.T) {
	f := newFlow(t, func(w *world) { w.seed() })
	f.tokensID = "second"
	f.a.do(f.a.update("a.people", "p2", "name", "new name"))
	f.wa.stream()
	cfg := compose.Config{Set: f.set, Store: f.store, Sources: []string{"a", "b"}, Partitions: partitions, ChangePartitions: 3, SpillDir: t.TempDir(), PieceVersions: 1,
		Feed: &simFeed{log: f.log, next: maps.Clone(f.store.Frontier().Offsets), rnd: f.rnd, batch: 30}}
	f.withTokens(&cfg, f.store)
	w, err := compose.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	pieces := 0
	for ; f.holders("new name") == ""; pieces++ {
		if err := w.Step(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if w.Status().Matching || pieces > 6 {
		t.Errorf("the transaction came after %d steps; can match: %v", pieces, w.Status().Matching)
	}
	if len(f.store.faults) > 0 {
		t.Error(f.store.faults)
	}
}

// A replay of a history in which tokens were made again has the same numbers,
// and all tokens.
func TestReplayOverTokensMadeAgain(t *testing.T) {
	f := newFlow(t, func(w *world) { w.seed() })
	f.tokensID = "second"
	f.settle(func(c *compose.Config) { c.PieceVersions = 2 }, f.rnd, never)
	f.change(f.a, 5)
	f.run(nil)
	again := newMemStore()
	if err := f.replayInto(t, again, f.store, f.rnd, nil, 0); err != nil {
		t.Fatal(err)
	}
	sameStore(t, 0, again, f.store)
	f.check(t, again)
}

// With other mappings everything is composed again, with its tokens; those of a
// type that has none any more go, too.
func TestTokensWithOtherMappings(t *testing.T) {
	f := newFlow(t, two)
	f.set = loadMappings(t, `"profile "`, `"summary "`)
	f.tokensID, f.tokenTypes = "second", []string{"Patient"}
	f.run(nil)
	f.settle(nil, f.rnd, never)
	for id := range f.store.holdings() {
		if !strings.HasPrefix(id, "Patient/") {
			t.Errorf("%s has tokens", id)
		}
	}
	f.check(t, f.store)
}

// Tokens are made again while nothing comes in, too.
func TestTokensMadeAgainWhenIdle(t *testing.T) {
	f := newFlow(t, func(w *world) { w.seed() })
	f.tokensID = "second"
	cfg := compose.Config{Set: f.set, Store: f.store, Sources: []string{"a", "b"}, Partitions: partitions, ChangePartitions: 3,
		SpillDir: t.TempDir(), PieceVersions: 1, Feed: &idleFeed{}}
	f.withTokens(&cfg, f.store)
	w, err := compose.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for !w.Status().Matching {
		if err := w.Step(ctx); err != nil {
			t.Fatal(err)
		}
	}
	f.check(t, f.store)
}

// While a snapshot is open tokens wait for the composition after it: a unit of
// theirs would be taken for one in a replay.
func TestTokensWaitForASnapshot(t *testing.T) {
	f := newFlow(t, two)
	f.wb.resnapshot()
	f.wb.start(4)
	f.wb.snapshot()
	f.drive(t, f.store, f.rnd, nil, never)
	f.tokensID = "second"
	for range 5 {
		if f.drive(t, f.store, f.rnd, nil, never).Status().Matching {
			t.Fatal("matching, with tokens that nobody asks for")
		}
	}
	for n, info := range f.store.committed.units {
		if info.Source == "" && info.Count == 0 {
			t.Errorf("commit %d is of no source and makes no version", n)
		}
	}
	f.wb.start(-1)
	f.wb.snapshot()
	f.run(nil)
	f.found("1950-01-01", "p1")
	again := newMemStore()
	if err := f.replayInto(t, again, f.store, f.rnd, nil, 0); err != nil {
		t.Fatal(err)
	}
	sameStore(t, 0, again, f.store)
}

func TestTokensConfig(t *testing.T) {
	f := newFlow(t, two)
	cfg := compose.Config{Set: f.set, Store: f.store, Feed: &idleFeed{}, Sources: []string{"a", "b"}, TokensID: "key"}
	if _, err := compose.New(cfg); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("an id without tokens: %v", err)
	}
}
