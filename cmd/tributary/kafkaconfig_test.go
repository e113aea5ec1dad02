package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKafkaConfig(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("KAFKA_PASSWORD", "secret-1")
	for name, text := range map[string]string{"ca.pem": "x", "password": "secret-2\n", "empty": "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name, kafka string
		want        []string // of the faults
	}{
		{"all of it", `
  brokers: [a:9093, "b:9093"]
  tls: {ca_file: ca.pem, server_name: kafka}
  sasl: {mechanism: SCRAM-SHA-512, username: u, password_env: KAFKA_PASSWORD}
  replication_factor: 3
  min_insync_replicas: 2
  transaction_units: 1
  schema_registry: https://r1:8081, https://r2:8081
  registry_login: {username: r, password_file: password}
  registry_tls: {ca_file: ca.pem}`, nil},
		{"nothing", " {}", nil},
		{"a list that is a text", "\n  brokers: a:9092", []string{":2:", "kafka.brokers", "want a list"}},
		{"no port", "\n  brokers: [a]", []string{"kafka.brokers[0]", "want host:port"}},
		{"unknown key", "\n  brokers: ['a:1']\n  sasl: {mechanism: plain, user: x}", []string{"kafka.sasl.user", "one of mechanism, password_env, password_file, username"}},
		{"mechanism", "\n  brokers: ['a:1']\n  sasl: {mechanism: gssapi, username: u, password_env: KAFKA_PASSWORD}", []string{"kafka.sasl.mechanism", "scram-sha-256, scram-sha-512, plain"}},
		{"plain in the open", "\n  brokers: ['a:1']\n  sasl: {mechanism: plain, username: u, password_env: KAFKA_PASSWORD}", []string{"sends the password as it is", "scram-sha-512"}},
		{"no password", "\n  brokers: ['a:1']\n  sasl: {mechanism: scram-sha-256, username: u}", []string{"kafka.sasl", "name password_env or password_file"}},
		{"password not set", "\n  brokers: ['a:1']\n  sasl: {mechanism: scram-sha-256, username: u, password_env: NO_SUCH}", []string{"NO_SUCH", "is not set"}},
		{"password empty", "\n  brokers: ['a:1']\n  sasl: {mechanism: scram-sha-256, username: u, password_file: empty}", []string{"is empty"}},
		{"no such file", "\n  brokers: ['a:1']\n  tls: {ca_file: none.pem}", []string{"kafka.tls.ca_file", "none.pem"}},
		{"half a certificate", "\n  brokers: ['a:1']\n  tls: {cert_file: ca.pem}", []string{"cert_file and key_file go together"}},
		{"login without broker", "\n  sasl: {mechanism: scram-sha-256, username: u, password_env: KAFKA_PASSWORD}", []string{"kafka.sasl", "name it with kafka.brokers"}},
		{"more in sync than there are", "\n  brokers: ['a:1']\n  replication_factor: 2\n  min_insync_replicas: 3", []string{"kafka.min_insync_replicas", "3 is not between"}},
		{"shared by none", "\n  brokers: ['a:1']\n  transaction_units: -1", []string{"kafka.transaction_units", "-1 is not between"}},
		{"shared without broker", "\n  transaction_units: 1", []string{"kafka.transaction_units", "name it with kafka.brokers"}},
		{"login without registry", "\n  registry_login: {username: u, password_env: KAFKA_PASSWORD}", []string{"kafka.schema_registry", "missing"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(dir, "tributary.yaml")
			text := "kafka:" + c.kafka + "\nsources:\n  emr: {kind: postgres, dsn: host=h}\n"
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			cfg, found := readConfig(path)
			all := formatFindings(found)
			if len(c.want) == 0 && len(found) > 0 || len(c.want) > 0 && len(found) == 0 {
				t.Fatalf("found:\n%s", all)
			}
			for _, want := range c.want {
				if !strings.Contains(all, want) {
					t.Errorf("found %q, want %q", all, want)
				}
			}
			if strings.Contains(all, "secret") {
				t.Errorf("a password is told: %s", all)
			}
			if c.name != "all of it" {
				return
			}
			conn, registry := cfg.Kafka.connection(), cfg.Kafka.registry()
			if conn.SASL.Password != "secret-1" || conn.SASL.Mechanism != "SCRAM-SHA-512" || conn.TLS.CAFile != filepath.Join(dir, "ca.pem") {
				t.Errorf("connection %+v, login %+v, TLS %+v", conn, conn.SASL, conn.TLS)
			}
			if len(registry.URLs) != 2 || registry.User != "r" || registry.Password != "secret-2" || registry.TLS == nil {
				t.Errorf("registry %+v", registry)
			}
			if cfg.Kafka.TransactionUnits != 1 {
				t.Errorf("%d source transactions share a Kafka transaction", cfg.Kafka.TransactionUnits)
			}
			if spec := cfg.Kafka.topic("x", 4); spec.Replication != 3 || spec.MinInSync != 2 {
				t.Errorf("topic %+v", spec)
			}
		})
	}
}
