package storetest

import (
	"errors"
	"strings"
	"testing"

	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
)

var patient = fhir.ResourceID{Type: "Patient", ID: "p1"}

// set makes a token set; each letter is a token.
func set(id fhir.ResourceID, member, letters string) commit.TokenSet {
	s := commit.TokenSet{Resource: id, Member: member}
	for _, l := range []byte(letters) {
		s.Tokens = append(s.Tokens, commit.Token{l})
	}
	return s
}

func tokensIn(number uint64, sets ...commit.TokenSet) commit.Batch {
	b := batch(number)
	b.Units[0].Tokens = sets
	return b
}

func matching(number, whole uint64) commit.Frontier {
	f := at(number)
	f.Matching = commit.Number(whole)
	return f
}

// holders lists who holds each letter at the number: "a:m,n b:m".
func holders(t testing.TB, s Store, number uint64) string {
	t.Helper()
	v, err := s.At(number)
	must(t, err)
	defer func() { must(t, v.Close()) }()
	var all []string
	for _, l := range []byte("abcd") {
		var of []string
		must(t, v.Holders(commit.Token{l}, func(member string) bool { of = append(of, member); return true }))
		if len(of) > 0 {
			all = append(all, string(l)+":"+strings.Join(of, ","))
		}
	}
	return strings.Join(all, " ")
}

// testTokens wants tokens to come, stay and go with their commits, and every
// view to show those of its own number, old ones too.
func testTokens(t *testing.T, open Opener) {
	s, reopen := begin(t, open)
	twin := fhir.ResourceID{Type: "Patient", ID: "p2"}
	second := fhir.ResourceID{Type: "Person", ID: "p1"}
	want := []string{""}
	for i, c := range []struct {
		sets []commit.TokenSet
		want string
	}{
		{[]commit.TokenSet{set(patient, "m", "aab")}, "a:m b:m"},
		{[]commit.TokenSet{set(twin, "n", "bc")}, "a:m b:m,n c:n"},
		{[]commit.TokenSet{set(patient, "m", "bd")}, "b:m,n c:n d:m"},
		{nil, "b:m,n c:n d:m"},
		{[]commit.TokenSet{set(patient, "m", "")}, "b:n c:n"},
		{[]commit.TokenSet{set(patient, "m", "bd")}, "b:m,n c:n d:m"},
		{[]commit.TokenSet{set(second, "m", "d")}, "b:m,n c:n d:m"},
		{[]commit.TokenSet{set(patient, "m", "")}, "b:n c:n d:m"},
		{[]commit.TokenSet{set(twin, "m", "bc"), set(second, "m", "")}, "b:m c:m"},
		{[]commit.TokenSet{set(patient, "m", "a"), set(patient, "m", ""), set(patient, "m", "ab"), set(patient, "o", "a")}, "a:o b:m c:m"},
		{[]commit.TokenSet{set(patient, "o", ""), set(patient, "o", "a")}, "a:o b:m c:m"},
	} {
		n := uint64(i + 1)
		must(t, s.Commit(ctx, tokensIn(n, c.sets...), matching(n, 1)))
		want = append(want, c.want)
		for at := uint64(1); at <= n; at++ {
			equal(t, "tokens", holders(t, s, at), want[at])
		}
	}
	s = reopen()
	for at := 1; at < len(want); at++ {
		equal(t, "tokens after reopen", holders(t, s, uint64(at)), want[at])
	}
	v, err := s.At(2)
	must(t, err)
	n := 0
	must(t, v.Holders(commit.Token{'b'}, func(string) bool { n++; return false }))
	equal(t, "Holders that is stopped", n, 1)
	must(t, v.Close())
}

// testTokensOfNobody wants who may not be found counted among a token's holders,
// first, once and without a name, from the commit that says so to the one that
// takes it back; older views show who it was.
func testTokensOfNobody(t *testing.T, open Opener) {
	s, reopen := begin(t, open)
	twin := fhir.ResourceID{Type: "Patient", ID: "p2"}
	third := fhir.ResourceID{Type: "Patient", ID: "p3"}
	want := []string{""}
	for i, c := range []struct {
		sets []commit.TokenSet
		want string
	}{
		{[]commit.TokenSet{set(patient, "m", "ab"), set(twin, "n", "bc")}, "a:m b:m,n c:n"},
		{[]commit.TokenSet{set(patient, "", "ab")}, "a: b:,n c:n"},
		{[]commit.TokenSet{set(third, "", "b")}, "a: b:,n c:n"},
		{[]commit.TokenSet{set(twin, "", "bc")}, "a: b: c:"},
		{[]commit.TokenSet{set(patient, "m", "ab")}, "a:m b:,m c:"},
		{[]commit.TokenSet{set(twin, "n", "bc"), set(third, "", "")}, "a:m b:m,n c:n"},
	} {
		n := uint64(i + 1)
		must(t, s.Stage(ctx, tokensIn(n, c.sets...)))
		must(t, s.Commit(ctx, commit.Batch{}, matching(n, 1)))
		want = append(want, c.want)
		s = reopen()
		for at := uint64(1); at <= n; at++ {
			equal(t, "tokens", holders(t, s, at), want[at])
		}
	}
}

// testTokensStaged wants what is staged to show nowhere, and to be as if it had
// never been after a restart: tokens that came, and tokens that went.
func testTokensStaged(t *testing.T, open Opener) {
	s, reopen := begin(t, open)
	must(t, s.Commit(ctx, tokensIn(1, set(patient, "m", "ab")), matching(1, 1)))
	stage := func() {
		t.Helper()
		for _, letters := range []string{"bc", "", "acd"} { // the birth date is corrected, parked, and back
			must(t, s.Stage(ctx, tokensIn(2, set(patient, "m", letters))))
			equal(t, "with a set staged", holders(t, s, 1), "a:m b:m")
		}
	}
	stage()
	s = reopen()
	equal(t, "after a restart", holders(t, s, 1), "a:m b:m")
	must(t, s.Commit(ctx, tokensIn(2, set(patient, "m", "b")), matching(2, 1)))
	equal(t, "another second commit", holders(t, s, 2), "b:m")
	s = reopen()
	must(t, s.Stage(ctx, tokensIn(3, set(patient, "m", "c"))))
	must(t, s.Stage(ctx, tokensIn(3, set(patient, "m", "cd"))))
	must(t, s.Commit(ctx, commit.Batch{}, matching(3, 1)))
	for range 2 {
		for at, want := range []string{"", "a:m b:m", "b:m", "c:m d:m"} {
			if at > 0 {
				equal(t, "committed in pieces", holders(t, s, uint64(at)), want)
			}
		}
		s = reopen()
	}
}

// testTokensNotWhole wants no answer from an index of which a part is missing.
func testTokensNotWhole(t *testing.T, open Opener) {
	s, reopen := begin(t, open)
	refused := func(number uint64) {
		t.Helper()
		v, err := s.At(number)
		must(t, err)
		err = v.Holders(commit.Token{'a'}, func(member string) bool { t.Fatalf("%q is found", member); return false })
		if !errors.Is(err, commit.ErrMatching) {
			t.Fatalf("Holders at %d: %v", number, err)
		}
		must(t, v.Close())
	}
	refused(0)
	must(t, s.Commit(ctx, tokensIn(1, set(patient, "m", "a")), at(1)))
	refused(1)
	must(t, s.Commit(ctx, tokensIn(2, set(patient, "m", "ab")), matching(2, 2)))
	s = reopen()
	refused(1)
	equal(t, "whole", holders(t, s, 2), "a:m b:m")
	if err := s.Commit(ctx, tokensIn(3), matching(3, 4)); err == nil {
		t.Fatal("an index is whole from a commit on that is not there")
	}
	must(t, s.Commit(ctx, tokensIn(3), at(3)))
	refused(2)
	refused(3)
}

// testTooManyTokens wants a set beyond the limit refused without a trace.
func testTooManyTokens(t *testing.T, open Opener) {
	s, _ := begin(t, open)
	most := commit.TokenSet{Resource: patient, Member: "m"}
	for i := range commit.MaxTokens {
		most.Tokens = append(most.Tokens, commit.Token{'a', byte(i), byte(i >> 8)})
	}
	must(t, s.Commit(ctx, tokensIn(1, most), matching(1, 1)))
	more := most
	more.Tokens = append(more.Tokens[:len(most.Tokens):len(most.Tokens)], commit.Token{'b'})
	if err := s.Commit(ctx, tokensIn(2, set(patient, "m", "c"), more), matching(2, 1)); !errors.Is(err, commit.ErrTokens) {
		t.Fatalf("%d tokens: %v", len(more.Tokens), err)
	}
	equal(t, "after the refusal", holders(t, s, 0), "a:m")
	must(t, s.Commit(ctx, tokensIn(2, set(patient, "m", "c")), matching(2, 1)))
	equal(t, "after the refusal", holders(t, s, 0), "c:m")
}
