package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// Connection says how to reach a Kafka cluster, the embedded broker included.
type Connection struct {
	Brokers  []string // host:port, at least one
	ClientID string   // default "tributary"
	TLS      *TLS     // nil: plain
	SASL     *SASL    // nil: none
}

// TLS are the files of an encrypted connection. The zero value trusts the
// system's authorities and presents no certificate.
type TLS struct {
	CAFile     string
	CertFile   string
	KeyFile    string
	ServerName string
}

// SASL is a SCRAM login. Mechanism is "SCRAM-SHA-256" or "SCRAM-SHA-512".
type SASL struct {
	Mechanism string
	User      string
	Password  string
}

// Validate reports what is wrong with the settings, without connecting.
func (c Connection) Validate() error {
	_, err := c.options()
	return err
}

func (c Connection) options() ([]kgo.Opt, error) {
	if len(c.Brokers) == 0 {
		return nil, fail("connect", errors.New("no broker address"))
	}
	id := c.ClientID
	if id == "" {
		id = "tributary"
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID(id),
		kgo.DisableClientMetrics(),
		kgo.AlwaysRetryEOF(), // a broker that restarts closes fresh connections too
		kgo.BrokerMaxWriteBytes(maxRequestBytes / 2),
		kgo.RetryBackoffFn(backoff),
		// A partition that failed is tried again after the next metadata.
		kgo.MetadataMinAge(250 * time.Millisecond),
	}
	if c.TLS != nil {
		conf, err := c.TLS.config()
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.DialTLSConfig(conf))
	}
	if c.SASL != nil {
		auth := scram.Auth{User: c.SASL.User, Pass: c.SASL.Password}
		switch c.SASL.Mechanism {
		case "SCRAM-SHA-256":
			opts = append(opts, kgo.SASL(auth.AsSha256Mechanism()))
		case "SCRAM-SHA-512":
			opts = append(opts, kgo.SASL(auth.AsSha512Mechanism()))
		default:
			return nil, &Error{Op: "connect", Partition: -1,
				Err:  fmt.Errorf("SASL mechanism %q is not supported", c.SASL.Mechanism),
				Hint: "use SCRAM-SHA-256 or SCRAM-SHA-512"}
		}
	}
	return opts, nil
}

// backoff is the wait before the nth retry: from about 50 ms to about 1 s.
func backoff(n int) time.Duration {
	wait := min(50*time.Millisecond<<min(n, 5), time.Second)
	return wait/2 + rand.N(wait)
}

func (t *TLS) config() (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fail("read the CA file", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fail("read the CA file", fmt.Errorf("%s holds no PEM certificate", t.CAFile))
		}
	}
	if t.CertFile != "" || t.KeyFile != "" {
		cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fail("read the client certificate", err)
		}
		conf.Certificates = []tls.Certificate{cert}
	}
	return conf, nil
}

func (c Connection) client(more ...kgo.Opt) (*kgo.Client, error) {
	opts, err := c.options()
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(append(opts, more...)...)
	if err != nil {
		return nil, fail("connect", err)
	}
	return client, nil
}

// admin runs fn with an administrative client that is closed afterwards.
func (c Connection) admin(fn func(*kadm.Client) error) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.Close()
	return fn(kadm.NewClient(client))
}

// Ping returns nil when one of the brokers answers before ctx ends.
func (c Connection) Ping(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Ping(ctx); err != nil {
		return fail("reach the broker", err)
	}
	return nil
}
