package main

import (
	"errors"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/capture/mysql"
	"github.com/tributary-health/tributary/capture/postgres"
)

// unsetVariable stands in for an environment variable that is not set.
const unsetVariable = "unset"

// relativeTo makes the names of files and folders relative to the configuration's
// folder, that of the data among them when none is named.
func (c *Config) relativeTo(folder string) {
	setDefault(&c.Data, "data")
	names := []*string{&c.Data, &c.Mappings, &c.Access, &c.Audit, &c.TLS.CertFile, &c.TLS.KeyFile, &c.TLS.ClientCAFile}
	for i := range c.Clients {
		names = append(names, &c.Clients[i].KeyFile)
	}
	for _, name := range names {
		if *name != "" && !filepath.IsAbs(*name) {
			*name = filepath.Join(folder, *name)
		}
	}
}

// checkAddresses calls fault with what can be no address and no connection
// string, which nothing has to be asked for.
func (c *Config) checkAddresses(fault func(name, what, hint string)) {
	for _, a := range [][2]string{{"api", c.API}, {"kafka.listen", c.Kafka.Listen}} {
		if err := listenAddress(a[1]); err != nil && !strings.Contains(a[1], unsetVariable) {
			fault(a[0], err.Error(), "as in 127.0.0.1:8080")
		}
	}
	if c.Kafka.SchemaRegistry != "" {
		for _, u := range strings.Split(c.Kafka.SchemaRegistry, ",") {
			if err := baseAddress(strings.TrimSpace(u)); err != nil {
				fault("kafka.schema_registry", err.Error(), "as in http://registry:8081")
			}
		}
	}
	for _, name := range c.sourceNames() {
		s := c.Sources[name]
		var err error
		switch {
		case s.DSN == "" || strings.Contains(s.DSN, unsetVariable): // told already
		case s.Kind == "postgres":
			err = postgres.Config{Source: name, DSN: s.DSN}.CheckDSN()
		case s.Kind == "mariadb" || s.Kind == "mysql":
			err = (&mysql.Config{Source: name, DSN: s.DSN}).CheckDSN()
		}
		if err != nil {
			var ce *capture.Error
			hint := ""
			if errors.As(err, &ce) && ce.Err != nil {
				err, hint = ce.Err, ce.Hint
			}
			fault("sources."+name+".dsn", err.Error(), hint)
		}
	}
}

// listenAddress says why nothing can listen there.
func listenAddress(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return errors.New(strconv.Quote(addr) + " is no address: want host:port")
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return errors.New(strconv.Quote(addr) + " is no address: its port is no number from 0 to 65535")
	}
	return nil
}

// baseAddress says why nothing can be asked there.
func baseAddress(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return errors.New("it is no base address: want http://host:port")
	}
	return nil
}

// beyondLoopback tells whether others than this machine reach an address.
func beyondLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host != "localhost" && (ip == nil || !ip.IsLoopback())
}
