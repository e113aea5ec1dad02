package access

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"
)

func TestAuthenticate(t *testing.T) {
	key, hash := GenerateKey()
	other, _ := GenerateKey()
	r := NewRegistry(NewClient("old", "an-old-key"), Client{ID: "new", KeyHash: hash, Policy: Everything()}, Client{ID: "no-policy", KeyHash: sha256.Sum256([]byte("x"))})
	for header, want := range map[string]string{
		"Bearer " + key: "new", "bearer " + key: "new", "BEARER  " + key + " ": "new", "Bearer an-old-key": "old",
		"": "", "Bearer": "", "Bearer ": "", "Bearer  ": "", "Basic " + key: "", key: "", "Bearer " + other: "", "Bearer " + key + "x": "",
		"Bearer " + key[:42]: "", "Bearer x": "", "Bearer " + hex.EncodeToString(hash[:]): "", "Bearer\t" + key: "", "Bearer " + string(hash[:]): "",
	} {
		c, err := r.Authenticate(header)
		if c.ClientID != want || (err == nil) != (want != "") || err != nil && !errors.Is(err, ErrUnknown) {
			t.Errorf("%.20q: %q, %v", header, c.ClientID, err)
		}
		if c.MayRead("Patient") != (want != "") || (c.Policy() == nil) != (want == "") {
			t.Errorf("%.20q: may read: %t", header, c.MayRead("Patient"))
		}
	}
	for _, r := range []*Registry{nil, {}, NewRegistry()} {
		if c, err := r.Authenticate("Bearer " + key); !errors.Is(err, ErrUnknown) || c.MayRead("Patient") || c.Operator() || c.Match() != nil {
			t.Errorf("an empty registry knows %q", c.ClientID)
		}
	}
	if (Caller{ClientID: "made-up"}).MayRead("Patient") {
		t.Error("a caller that was not authenticated may read")
	}
}

func TestGenerateKey(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		key, hash := GenerateKey()
		raw, err := base64.RawURLEncoding.DecodeString(key)
		if err != nil || len(raw) != 32 || seen[key] || sha256.Sum256([]byte(key)) != hash {
			t.Fatalf("%v, %d bytes", err, len(raw))
		}
		seen[key] = true
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprint(n, " clients"), func(b *testing.B) {
			var clients []Client
			var header string
			for i := range n {
				key, hash := GenerateKey()
				clients = append(clients, Client{ID: fmt.Sprint("c", i), KeyHash: hash, Policy: Everything()})
				header = "Bearer " + key
			}
			r := NewRegistry(clients...)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Authenticate(header); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
