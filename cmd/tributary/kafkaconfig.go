package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tributary-health/tributary/kafka"
)

// KafkaConfig says which broker carries the changes. docs/kafka.md says what each
// setting is for.
type KafkaConfig struct {
	Listen     string `yaml:"listen"` // the embedded broker's address
	ReserveMiB int64  `yaml:"reserve_mib"`
	Format     string `yaml:"format"` // avro or json

	Brokers           []string    `yaml:"brokers,omitempty"` // a real Kafka's addresses; none embedded then
	TLS               *TLSConfig  `yaml:"tls,omitempty"`
	SASL              *SASLConfig `yaml:"sasl,omitempty"`
	ReplicationFactor int32       `yaml:"replication_factor,omitempty"`
	MinInSync         int32       `yaml:"min_insync_replicas,omitempty"`

	// TransactionUnits is how many waiting source transactions share a Kafka
	// transaction.
	TransactionUnits int32 `yaml:"transaction_units,omitempty"`

	SchemaRegistry string       `yaml:"schema_registry,omitempty"` // its addresses, comma separated
	RegistryLogin  *LoginConfig `yaml:"registry_login,omitempty"`
	RegistryTLS    *TLSConfig   `yaml:"registry_tls,omitempty"`
}

// TLSConfig are the files of an encrypted connection, relative to the
// configuration file. Without a CA file the system's authorities are trusted.
type TLSConfig struct {
	CAFile     string `yaml:"ca_file,omitempty"`
	CertFile   string `yaml:"cert_file,omitempty"`
	KeyFile    string `yaml:"key_file,omitempty"`
	ServerName string `yaml:"server_name,omitempty"`
}

// LoginConfig is a user; the password is read from the environment or a file,
// never from the configuration itself.
type LoginConfig struct {
	Username     string `yaml:"username"`
	PasswordEnv  string `yaml:"password_env,omitempty"`
	PasswordFile string `yaml:"password_file,omitempty"`
	password     string
}

// SASLConfig is a login at the broker; its password as in LoginConfig.
type SASLConfig struct {
	Mechanism    string `yaml:"mechanism"` // scram-sha-256, scram-sha-512 or plain
	Username     string `yaml:"username"`
	PasswordEnv  string `yaml:"password_env,omitempty"`
	PasswordFile string `yaml:"password_file,omitempty"`
	password     string
}

// relativeTo makes the file names relative to the configuration's folder.
func (c *KafkaConfig) relativeTo(folder string) {
	var files []*string
	for _, t := range []*TLSConfig{c.TLS, c.RegistryTLS} {
		if t != nil {
			files = append(files, &t.CAFile, &t.CertFile, &t.KeyFile)
		}
	}
	if c.SASL != nil {
		files = append(files, &c.SASL.PasswordFile)
	}
	if c.RegistryLogin != nil {
		files = append(files, &c.RegistryLogin.PasswordFile)
	}
	for _, f := range files {
		if *f != "" && !filepath.IsAbs(*f) {
			*f = filepath.Join(folder, *f)
		}
	}
}

// complete fills in defaults and calls fault with what is wrong.
func (c *KafkaConfig) complete(fault func(name, what, hint string)) {
	setDefault(&c.Listen, "127.0.0.1:9092")
	setDefault(&c.Format, "avro")
	if c.Format != "avro" && c.Format != "json" {
		fault("kafka.format", fmt.Sprintf("%q is neither avro nor json", c.Format), "")
	}
	if len(c.Brokers) == 0 {
		for name, set := range map[string]bool{"tls": c.TLS != nil, "sasl": c.SASL != nil,
			"replication_factor": c.ReplicationFactor != 0, "min_insync_replicas": c.MinInSync != 0,
			"transaction_units": c.TransactionUnits != 0} {
			if set {
				fault("kafka."+name, "is for a Kafka of your own, and none is named", "name it with kafka.brokers")
			}
		}
	}
	for i, b := range c.Brokers {
		if err := brokerAddress(b); err != nil {
			fault(fmt.Sprintf("kafka.brokers[%d]", i), err.Error(), "")
		}
	}
	c.TLS.complete("kafka.tls", fault)
	c.RegistryTLS.complete("kafka.registry_tls", fault)
	if c.SASL != nil {
		c.SASL.complete(c.TLS != nil, fault)
	}
	if c.RegistryLogin != nil {
		c.RegistryLogin.complete("kafka.registry_login", fault)
	}
	if c.SchemaRegistry == "" && (c.RegistryLogin != nil || c.RegistryTLS != nil) {
		fault("kafka.schema_registry", "missing: there is a login or TLS for it", "")
	}
	if c.ReplicationFactor < 0 || c.ReplicationFactor > 100 {
		fault("kafka.replication_factor", fmt.Sprintf("%d is not between 1 and 100", c.ReplicationFactor), "")
	}
	if c.TransactionUnits < 0 || c.TransactionUnits > 10_000 {
		fault("kafka.transaction_units", fmt.Sprintf("%d is not between 1 and 10000", c.TransactionUnits), "")
	}
	if c.MinInSync < 0 || c.ReplicationFactor > 0 && c.MinInSync > c.ReplicationFactor {
		fault("kafka.min_insync_replicas", fmt.Sprintf("%d is not between 1 and the replication factor", c.MinInSync), "")
	}
}

func brokerAddress(addr string) error {
	if host, port, err := net.SplitHostPort(addr); err != nil || host == "" || port == "" {
		return fmt.Errorf("%q is no address: want host:port", addr)
	}
	return nil
}

func (t *TLSConfig) complete(name string, fault func(name, what, hint string)) {
	if t == nil {
		return
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		fault(name, "cert_file and key_file go together", "")
	}
	for key, file := range map[string]string{"ca_file": t.CAFile, "cert_file": t.CertFile, "key_file": t.KeyFile} {
		if file == "" {
			continue
		}
		if _, err := os.Stat(file); err != nil {
			fault(name+"."+key, err.Error(), "")
		}
	}
}

// mechanisms are the logins by the names that the configuration gives them.
var mechanisms = []string{"scram-sha-256", "scram-sha-512", "plain"}

func (s *SASLConfig) complete(encrypted bool, fault func(name, what, hint string)) {
	s.Mechanism = strings.ToLower(s.Mechanism)
	switch {
	case !slices.Contains(mechanisms, s.Mechanism):
		fault("kafka.sasl.mechanism", fmt.Sprintf("%q is none of %s", s.Mechanism, strings.Join(mechanisms, ", ")), "")
	case s.Mechanism == "plain" && !encrypted:
		fault("kafka.sasl.mechanism", "plain sends the password as it is", "set kafka.tls, or use scram-sha-512")
	}
	login := LoginConfig{Username: s.Username, PasswordEnv: s.PasswordEnv, PasswordFile: s.PasswordFile}
	login.complete("kafka.sasl", fault)
	s.password = login.password
}

func (l *LoginConfig) complete(name string, fault func(name, what, hint string)) {
	if l.Username == "" {
		fault(name+".username", "missing", "")
	}
	if err := l.resolve(); err != nil {
		fault(name, err.Error(), "")
	}
}

// resolve reads the password from where the configuration says it is.
func (l *LoginConfig) resolve() error {
	switch {
	case l.PasswordEnv != "" && l.PasswordFile != "":
		return errors.New("name one of password_env and password_file")
	case l.PasswordEnv != "":
		if l.password = os.Getenv(l.PasswordEnv); l.password == "" {
			return fmt.Errorf("the environment variable %s, which is to hold the password, is not set", l.PasswordEnv)
		}
	case l.PasswordFile != "":
		b, err := os.ReadFile(l.PasswordFile)
		if err != nil {
			return err
		}
		if l.password = strings.TrimRight(string(b), "\r\n"); l.password == "" {
			return fmt.Errorf("%s, which is to hold the password, is empty", l.PasswordFile)
		}
	default:
		return errors.New("name password_env or password_file")
	}
	return nil
}

// connection is how to reach the real Kafka.
func (c *KafkaConfig) connection() kafka.Connection {
	conn := kafka.Connection{Brokers: c.Brokers, TLS: c.TLS.files()}
	if c.SASL != nil {
		conn.SASL = &kafka.SASL{Mechanism: strings.ToUpper(c.SASL.Mechanism), User: c.SASL.Username, Password: c.SASL.password}
	}
	return conn
}

func (t *TLSConfig) files() *kafka.TLS {
	if t == nil {
		return nil
	}
	return &kafka.TLS{CAFile: t.CAFile, CertFile: t.CertFile, KeyFile: t.KeyFile, ServerName: t.ServerName}
}

// registry is how to reach the schema registry server.
func (c *KafkaConfig) registry() kafka.ConfluentConfig {
	rc := kafka.ConfluentConfig{TLS: c.RegistryTLS.files()}
	for _, url := range strings.Split(c.SchemaRegistry, ",") {
		rc.URLs = append(rc.URLs, strings.TrimSpace(url))
	}
	if c.RegistryLogin != nil {
		rc.User, rc.Password = c.RegistryLogin.Username, c.RegistryLogin.password
	}
	return rc
}

// topic is the spec of one of our topics on this broker.
func (c *KafkaConfig) topic(name string, partitions int32) kafka.TopicSpec {
	return kafka.TopicSpec{Name: name, Partitions: partitions,
		Replication: int16(c.ReplicationFactor), MinInSync: int16(c.MinInSync)} //nolint:gosec // complete bounds them
}

// useKafka takes the addresses of a --kafka flag: a real Kafka instead of the
// embedded broker.
func (c *KafkaConfig) useKafka(addrs string) error {
	if addrs == "" {
		return nil
	}
	c.Brokers = strings.Split(addrs, ",")
	for i, b := range c.Brokers {
		c.Brokers[i] = strings.TrimSpace(b)
		if err := brokerAddress(c.Brokers[i]); err != nil {
			return usageError{"--kafka: " + err.Error()}
		}
	}
	return nil
}
