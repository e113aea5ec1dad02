package pebble

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tributary-health/tributary/commit"
)

// FuzzText wants texts in keys to come back and to sort as tuples do.
func FuzzText(f *testing.F) {
	for _, s := range []string{"", "a", "\x00", "a\x00\x01b", "\x00\xff", "\xff\xff"} {
		f.Add(s, "b", "a\x00", s)
	}
	f.Fuzz(func(t *testing.T, a1, a2, b1, b2 string) {
		a := append(appendText(nil, a1), a2...)
		b := append(appendText(nil, b1), b2...)
		text, rest, err := cutText(a)
		if err != nil || string(text) != a1 || string(rest) != a2 {
			t.Fatalf("%q, %q came back as %q, %q: %v", a1, a2, text, rest, err)
		}
		want := strings.Compare(a1, b1)
		if want == 0 {
			want = strings.Compare(a2, b2)
		}
		if got := bytes.Compare(a, b); got != want {
			t.Fatalf("(%q, %q) against (%q, %q): %d, want %d", a1, a2, b1, b2, got, want)
		}
	})
}

// FuzzRecords gives every decoder any bytes: it may refuse, not panic; and what
// it takes, it takes again from its own writing.
func FuzzRecords(f *testing.F) {
	v := commit.Version{Op: commit.Update, Hash: [16]byte{1}}
	v.Number, v.Member, v.Index, v.Body, v.Updated = 3, "m", []byte("i"), []byte("body"), time.Unix(1, 2)
	f.Add(appendVersion(nil, &v, 7))
	f.Add(appendHead(nil, &v, 7))
	f.Add(appendEntry(nil, entry{flags: flagMoved, commit: 300, number: 2, index: []byte("x")}))
	f.Add(appendInfo(nil, &commit.Unit{Source: "emr", Committed: time.Unix(5, 0), Count: 3}))
	f.Add(appendParked(nil, &commit.Parked{Since: time.Unix(5, 0), Reason: "r"}))
	f.Add(appendAnnounced(nil, 2, &v, 9))
	f.Add(appendText(nil, "a\x00b"))
	f.Add(appendTokens(nil, &tokens{member: "m", held: []held{{commit.Token{1}, 3}, {commit.Token{2}, 300}}}))
	f.Add(tokenKey(nil, commit.Token{1}, "m", 4, "a\x00b", 300))
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := decodeVersion(b); err == nil {
			c, err := versionCommit(b)
			if err != nil || c != d.commit {
				t.Fatalf("versionCommit: %d, %v", c, err)
			}
		}
		if h, err := decodeHead(b); err == nil {
			if v, err := decodeVersion(withoutContent(bytes.Clone(b))); err != nil || !v.head.equal(&h) || len(v.index)+len(v.body) > 0 {
				t.Fatalf("head %+v is that of %+v, %v", h, v, err)
			}
		}
		if e, err := decodeEntry(b); err == nil {
			again, err := decodeEntry(appendEntry(nil, e))
			if err != nil || again.commit != e.commit || !again.updated.Equal(e.updated) || !bytes.Equal(again.index, e.index) {
				t.Fatalf("entry: %+v, %+v, %v", e, again, err)
			}
		}
		_, _ = decodeInfo(1, b)
		_, _ = decodeParked("r", b)
		_, _ = decodeAnnounced(b)
		_, _ = decodeFrontier(b, func(uint16) string { return "t" })
		_, _, _ = cutText(b)
		_, _ = decodeRemoved(b)
		if s, err := decodeTokens(b); err == nil {
			again, err := decodeTokens(appendTokens(nil, &s))
			if err != nil || again.member != s.member || !slices.Equal(again.held, s.held) {
				t.Fatalf("tokens: %+v, %+v, %v", s, again, err)
			}
		}
		if k, err := cutTokenKey(b); err == nil && b[0] == spaceToken {
			if again := tokenKey(nil, k.token, string(k.member), k.kind, string(k.id), k.added); !bytes.Equal(again, b) {
				t.Fatalf("token key %x came back as %x", b, again)
			}
		}
	})
}

func TestTimes(t *testing.T) {
	for _, at := range []time.Time{{}, time.Unix(0, 0).UTC(), time.Date(1899, 12, 31, 23, 59, 59, 999999999, time.UTC), time.Date(9999, 1, 1, 0, 0, 0, 1, time.UTC)} {
		r := reader{b: appendTime(nil, at)}
		if got := r.time(); !got.Equal(at) || got.IsZero() != at.IsZero() || r.done("time") != nil {
			t.Errorf("%v came back as %v", at, got)
		}
	}
}
