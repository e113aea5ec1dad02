package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Files and folders are found beside the configuration, wherever the process
// starts.
func TestNamesAreRelativeToTheConfiguration(t *testing.T) {
	folder := t.TempDir()
	for name, text := range map[string]string{
		"key":            "0123456789abcdef",
		"named.yaml":     "data: state/here\nmappings: rules\nclients: [{id: a, key_file: key}]\nsources: {s: {kind: postgres, dsn: host=h}}\n",
		"defaults.yaml":  "sources: {s: {kind: postgres, dsn: host=h}}\n",
		"elsewhere.yaml": "data: /srv/state\nsources: {s: {kind: postgres, dsn: host=h}}\n",
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string][2]string{
		"named.yaml":     {filepath.Join(folder, "state/here"), filepath.Join(folder, "rules")},
		"defaults.yaml":  {filepath.Join(folder, "data"), ""},
		"elsewhere.yaml": {"/srv/state", ""},
	} {
		cfg, err := loadConfig(filepath.Join(folder, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := [2]string{cfg.Data, cfg.Mappings}; got != want {
			t.Errorf("%s: data and mappings are %q, want %q", name, got, want)
		}
	}
}

// A DSN that is not understood is never shown: nobody can tell where the password
// in it ends.
func TestBadDSNIsNotShown(t *testing.T) {
	for kind, dsns := range map[string][]string{
		"postgres": {"postgres://u:sec`: ret(@h:1/db", "postgres://u:secret#@h:x/db", "host=h password='secret", "postgres://h/db?sslmode=secret"},
		"mariadb":  {"u:secret@tcp(h:1/db", "u:sec@ret(h:1)/db", "mariadb://u:secret#@h:x/db", "u:secret@tcp(h:1)/"},
	} {
		for _, dsn := range dsns {
			c := Config{API: "127.0.0.1:0", Kafka: KafkaConfig{Listen: "127.0.0.1:0"}, Sources: map[string]SourceConfig{"s": {Kind: kind, DSN: dsn}}}
			var said []string
			c.checkAddresses(func(name, what, hint string) { said = append(said, name+": "+what+" "+hint) })
			if len(said) != 1 || !strings.HasPrefix(said[0], "sources.s.dsn: DSN: ") || strings.Contains(said[0], "secret") || strings.Contains(said[0], "ret(") {
				t.Errorf("%s %s: %q", kind, dsn, said)
			}
		}
	}
}

func TestBeyondLoopback(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:1": false, "127.9.9.9:1": false, "[::1]:1": false, "localhost:1": false,
		":1": true, "0.0.0.0:1": true, "[::]:1": true, "10.0.0.1:1": true, "db.example:1": true,
	} {
		if beyondLoopback(addr) != want {
			t.Errorf("%s: %v, want %v", addr, !want, want)
		}
	}
}
