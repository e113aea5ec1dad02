package hashmatch_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tributary-health/tributary/hashmatch"
)

func TestParseKey(t *testing.T) {
	good := testKeyHex
	for _, text := range []string{good, good + "\n", good + "\r\n", strings.ToUpper(good)} {
		k, err := hashmatch.ParseKey([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if string(k.Format()) != good+"\n" {
			t.Error("Format does not give back what was read")
		}
		for _, shown := range []string{fmt.Sprint(k), fmt.Sprintf("%+v", k), fmt.Sprintf("%#v", k), fmt.Sprint(testKey(t)), fmt.Sprintf("%#v", testKey(t))} {
			if strings.Contains(shown, "0102") || strings.Contains(shown, "1 2 3") || strings.Contains(shown, "0x1") {
				t.Errorf("printed, a key shows itself: %s", shown)
			}
		}
	}
	for _, text := range []string{"", good[2:], good + "00", " " + good, good + "\n" + good, strings.Repeat("z", 64), strings.Repeat("0", 64)} {
		if _, err := hashmatch.ParseKey([]byte(text)); err == nil || strings.Contains(err.Error(), "0102") {
			t.Errorf("a key of %d characters: %v", len(text), err)
		}
	}
}

func TestEpochs(t *testing.T) {
	for _, c := range []struct{ at, now, before string }{
		{"2026-11-21T10:00:00Z", "2026Q4", "2026Q3"},
		{"2026-12-31T23:59:59Z", "2026Q4", "2026Q3"},
		{"2027-01-01T00:00:00Z", "2027Q1", "2026Q4"},
		{"2026-12-31T20:00:00-05:00", "2027Q1", "2026Q4"}, // UTC counts
		{"2026-05-31T00:00:00Z", "2026Q2", "2026Q1"},
	} {
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := hashmatch.Accepted(at); got != [2]hashmatch.Epoch{hashmatch.Epoch(c.now), hashmatch.Epoch(c.before)} || hashmatch.EpochOf(at) != got[0] {
			t.Errorf("%s: %v", c.at, got)
		}
	}
	k, err := hashmatch.ParseKey([]byte(testKeyHex))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []hashmatch.Epoch{"", "2026", "2026Q0", "2026Q5", "26Q4", "2026q4", "2026Q4|", "-026Q4"} {
		if _, err := k.Derive(e); err == nil {
			t.Errorf("%q: taken for an epoch", e)
		}
	}
}

// Another partner, epoch, kind or client gives another token or index entry.
func TestTokensAreBound(t *testing.T) {
	in := []hashmatch.Input{{Kind: "birth-ssn", Text: "19840317|7788"}, {Kind: "name-birth", Text: "19840317|7788"}}
	seen := map[[hashmatch.TokenSize]byte]string{}
	other := strings.Replace(testKeyHex, "00", "ff", 1)
	for _, secret := range []string{testKeyHex, other} {
		for _, epoch := range []hashmatch.Epoch{"2026Q3", "2026Q4"} {
			k, err := hashmatch.ParseKey([]byte(secret))
			if err != nil {
				t.Fatal(err)
			}
			e, err := k.Derive(epoch)
			if err != nil {
				t.Fatal(err)
			}
			for _, token := range e.Tokens(in) {
				name := fmt.Sprint(secret[:2], epoch, token.Kind)
				if was, ok := seen[token.Value]; ok {
					t.Errorf("%s and %s have one token", was, name)
				}
				seen[token.Value] = name
			}
		}
	}
	token := hashmatch.Token{Kind: "birth-ssn"}
	seen = map[[hashmatch.TokenSize]byte]string{}
	for _, client := range []string{"a", "ab"} {
		for _, epoch := range []hashmatch.Epoch{"2026Q4", "2026Q3", "b2026Q4"} {
			for _, kind := range []hashmatch.Kind{"birth-ssn", "member-given-year"} {
				token.Kind = kind
				at := hashmatch.IndexToken(client, epoch, token)
				name := fmt.Sprint(client, " ", epoch, " ", kind)
				if was, ok := seen[at]; ok {
					t.Errorf("%s and %s have one place in the index", was, name)
				}
				seen[at] = name
			}
		}
	}
}
