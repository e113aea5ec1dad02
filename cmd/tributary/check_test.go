package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What a start would refuse of the files that a configuration names, check says.
func TestCheckReadsFiles(t *testing.T) {
	c, ca, _ := tlsFixture(t)
	write := func(name, text string) string {
		t.Helper()
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	key, other := write("a", strings.Repeat("ab", 32)), write("b", strings.Repeat("AB", 32)+"\n")
	short, open := write("c", "abcd"), write("d", strings.Repeat("cd", 32))
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	stranger := c
	stranger.KeyFile = filepath.Join(t.TempDir(), "key.pem")
	strange := ServerTLS{CertFile: filepath.Join(t.TempDir(), "cert.pem"), KeyFile: stranger.KeyFile}
	writePair(t, strange, ca.leaf(t, "another", time.Now().Add(time.Hour)))
	for _, one := range []struct {
		name     string
		tls      ServerTLS
		keys     []string
		want     string // of the only fault; empty for none
		warnings int
	}{
		{name: "nothing"},
		{name: "good", tls: c, keys: []string{key, open}, warnings: 1},
		{name: "no certificate", tls: ServerTLS{CertFile: "none.pem", KeyFile: c.KeyFile}, want: "none.pem"},
		{name: "one only", tls: ServerTLS{CertFile: c.CertFile}, want: "needed both"},
		{name: "version", tls: ServerTLS{CertFile: c.CertFile, KeyFile: c.KeyFile, MinVersion: "1.1"}, want: "min_version"},
		{name: "another's key", tls: stranger, want: "private key"},
		{name: "no match key", keys: []string{key, short}, want: "client c1: match key: not 64"},
		{name: "match key twice", keys: []string{key, other}, want: "client c1: match key: client c0 has the same"},
	} {
		t.Run(one.name, func(t *testing.T) {
			clients := "version: 1\nclients:\n"
			for i, file := range one.keys {
				clients += fmt.Sprintf("  - {id: c%d, key_sha256: %064d, types: all, members: all, match: {key_file: %s}}\n", i, i+1, file)
			}
			cfg := &Config{TLS: one.tls}
			if len(one.keys) > 0 {
				cfg.Access = write("clients.yaml", clients)
			}
			if found := cfg.readAccess(); len(found) > 0 {
				t.Fatal(found)
			}
			found := cfg.checkFiles("tributary.yaml")
			text := formatFindings(found)
			if one.want == "" && len(found) > 0 || one.want != "" && (len(found) != 1 || !strings.Contains(text, one.want)) {
				t.Errorf("found %q", text)
			}
			doubts := formatFindings(cfg.doubts)
			if strings.Count(doubts, ": warning: ") != one.warnings || len(cfg.doubts) != one.warnings {
				t.Errorf("doubts %q", doubts)
			}
		})
	}
}
