package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"

	"github.com/tributary-health/tributary/access"
	"github.com/tributary-health/tributary/capture/clock"
)

// Config is the file that `tributary run` reads. The zero value of every field
// but Sources is a working default.
type Config struct {
	// Data is the folder of the store, the embedded broker and the id key.
	Data string `yaml:"data"`
	// API is the address the FHIR server listens on; loopback unless told
	// otherwise.
	API string `yaml:"api"`
	// Mappings is the folder of mapping files; empty for the sample mappings.
	Mappings string `yaml:"mappings"`
	// Kafka is the broker; the embedded one unless brokers are named.
	Kafka KafkaConfig `yaml:"kafka"`
	// Partitions is the partition count of every topic made.
	Partitions int32 `yaml:"partitions"`
	// CacheMiB and MemTableMiB are the store's memory budget.
	CacheMiB    int64 `yaml:"cache_mib"`
	MemTableMiB int64 `yaml:"memtable_mib"`
	// AnswerMiB bounds the answers that are held until their callers took them; 256
	// unless told.
	AnswerMiB int64 `yaml:"answer_mib,omitempty"`
	// TLS is how the FHIR server is reached by TLS; plain HTTP unless told.
	TLS ServerTLS `yaml:"tls"`
	// Audit is the folder of the record of disclosures: in Data unless told.
	Audit string `yaml:"audit"`
	// Access is the reviewed file of clients and what each may see.
	Access string `yaml:"access"`
	// Clients are callers beside those, who may see everything.
	Clients []ClientConfig `yaml:"clients"`
	// Clock says whose day it is, where mappings use today's date.
	Clock ClockConfig `yaml:"clock,omitempty"`
	// Sources are the systems of record, by name.
	Sources map[string]SourceConfig `yaml:"sources"`

	clients []access.Client // of Access and Clients
	doubts  []finding       // about Access: nothing is wrong, but look
}

// ClientConfig is one caller; its key is read from the environment or a file,
// never from the configuration itself.
type ClientConfig struct {
	ID       string `yaml:"id"`
	KeyEnv   string `yaml:"key_env"`
	KeyFile  string `yaml:"key_file"`
	Operator bool   `yaml:"operator"`
	key      string
}

// SourceConfig is one system of record.
type SourceConfig struct {
	Kind string `yaml:"kind"` // postgres, mariadb or mysql
	DSN  string `yaml:"dsn"`
	// Slot and Publication default to tributary_<source>.
	Slot        string `yaml:"slot"`
	Publication string `yaml:"publication"`
	ServerID    uint32 `yaml:"server_id"`
}

// ClockConfig is the source of today's date. It exists where the mappings declare
// its table.
type ClockConfig struct {
	// Zone is the zone whose midnight begins a day; default UTC.
	Zone string `yaml:"zone"`
	// Date is always today: for rehearsals.
	Date string `yaml:"date"`
}

// sourceName is what a source may be called: it becomes part of topic names, a
// slot and a publication.
var sourceName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,30}$`)

// loadConfig reads and completes a configuration file. ${NAME} stands for an
// environment variable, which must be set. All faults are returned at once,
// each with file, line and column.
func loadConfig(path string) (*Config, error) {
	c, faults := readConfig(path)
	if len(faults) > 0 {
		return nil, errors.New("configuration:\n" + strings.TrimRight(formatFindings(faults), "\n"))
	}
	return c, nil
}

// complete fills in defaults and calls fault with what is wrong.
func (c *Config) complete(fault func(name, what, hint string)) {
	setDefault(&c.Data, "data")
	setDefault(&c.Audit, filepath.Join(c.Data, "audit"))
	setDefault(&c.API, "127.0.0.1:8080")
	if c.Partitions == 0 {
		c.Partitions = 4
	}
	if c.Partitions < 0 || c.Partitions > 1024 {
		fault("partitions", fmt.Sprintf("%d is not between 1 and 1024", c.Partitions), "")
	}
	c.Kafka.complete(fault)
	if len(c.Sources) == 0 {
		fault("sources", "there is none", "name at least one with kind and dsn")
	}
	for _, name := range c.sourceNames() {
		s := c.Sources[name]
		if !sourceName.MatchString(name) {
			fault("sources."+name, "a source's name is lower-case letters, digits and underscores, at most 31", "")
		}
		switch s.Kind {
		case "postgres", "mariadb", "mysql":
		default:
			fault("sources."+name+".kind", fmt.Sprintf("%q is none of postgres, mariadb, mysql", s.Kind), "")
		}
		if s.DSN == "" {
			fault("sources."+name+".dsn", "missing", "say how to connect; ${NAME} takes it from the environment")
		}
	}
	c.completeClients(fault)
}

// completeClients reads the clients' keys and adds these clients to those of the
// reviewed file.
func (c *Config) completeClients(fault func(name, what, hint string)) {
	known := map[string]bool{}
	for _, client := range c.clients {
		known[client.ID] = true
	}
	if _, ok := c.Sources[clock.Source]; ok {
		fault("sources."+clock.Source, "is the name of the source of today's date", "name it otherwise")
	}
	for _, p := range clock.Check(clock.Config{Zone: c.Clock.Zone}) {
		fault("clock.zone", p.What, p.Hint)
	}
	for _, p := range clock.Check(clock.Config{Fixed: c.Clock.Date}) {
		fault("clock.date", p.What, p.Hint)
	}
	for i := range c.Clients {
		one := &c.Clients[i]
		name := fmt.Sprintf("clients[%d]", i)
		if err := one.resolve(); err != nil {
			fault(name, err.Error(), "")
			continue
		}
		if known[one.ID] {
			fault(name, "there is a client "+one.ID+" already", "name it once, here or in the file that `access` names")
			continue
		}
		known[one.ID] = true
		client := access.NewClient(one.ID, one.key)
		client.Operator = one.Operator
		c.clients = append(c.clients, client)
	}
}

func (c *Config) sourceNames() []string {
	names := make([]string, 0, len(c.Sources))
	for n := range c.Sources {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// resolve reads the client's key from where the configuration says it is.
func (c *ClientConfig) resolve() error {
	if c.key != "" {
		return nil
	}
	switch {
	case c.ID == "":
		return errors.New("id: missing")
	case c.KeyEnv != "":
		c.key = os.Getenv(c.KeyEnv)
	case c.KeyFile != "":
		b, err := os.ReadFile(c.KeyFile)
		if err != nil {
			return err
		}
		c.key = strings.TrimSpace(string(b))
	default:
		return fmt.Errorf("%s: name key_env or key_file", c.ID)
	}
	if len(c.key) < 16 {
		place := "file " + c.KeyFile
		if c.KeyEnv != "" {
			place = "environment variable " + c.KeyEnv
		}
		return fmt.Errorf("%s: the key is missing or shorter than 16 characters (%s)", c.ID, place)
	}
	return nil
}

func setDefault(s *string, value string) {
	if *s == "" {
		*s = value
	}
}

var envReference = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// expandEnv replaces ${NAME} outside comments, calling value with the place.
func expandEnv(raw []byte, value func(name string, line, column int) string) []byte {
	lines := bytes.Split(raw, []byte("\n"))
	for i, line := range lines {
		if bytes.HasPrefix(bytes.TrimSpace(line), []byte("#")) {
			continue
		}
		var out []byte
		at := 0
		for _, m := range envReference.FindAllSubmatchIndex(line, -1) {
			out = append(out, line[at:m[0]]...)
			out = append(out, value(string(line[m[2]:m[3]]), i+1, m[0]+1)...)
			at = m[1]
		}
		lines[i] = append(out, line[at:]...)
	}
	return bytes.Join(lines, []byte("\n"))
}
