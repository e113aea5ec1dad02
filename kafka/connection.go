package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// Connection says how to reach a Kafka cluster, the embedded broker included.
// While no broker can be reached, whatever uses it waits until its context ends;
// only Ping does not.
type Connection struct {
	Brokers  []string // host:port, at least one
	ClientID string   // default "tributary"
	TLS      *TLS     // nil: plain
	SASL     *SASL    // nil: none

	// Connected, if not nil, is called after each attempt to connect to a broker
	// and log in, with how it went. It MUST return quickly; several goroutines
	// call it.
	Connected func(broker string, err error)
}

// TLS are the files of an encrypted connection. The zero value trusts the
// system's authorities and presents no certificate.
type TLS struct {
	CAFile     string
	CertFile   string
	KeyFile    string
	ServerName string
}

// SASL is a login. Mechanism is "SCRAM-SHA-256", "SCRAM-SHA-512" or "PLAIN", which
// sends the password as it is and so is refused without TLS.
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
		kgo.RequestRetries(math.MaxInt32),
		kgo.RetryTimeout(0),
		kgo.UnknownTopicRetries(unknownTries),
		// A partition that failed is tried again after the next metadata.
		kgo.MetadataMinAge(250 * time.Millisecond),
		// A leader that is cut off from the other brokers answers fetches as
		// before, with nothing: only metadata tells that there is another.
		kgo.MetadataMaxAge(5 * time.Second),
	}
	var conf *tls.Config
	if c.TLS != nil {
		var err error
		if conf, err = c.TLS.config(); err != nil {
			return nil, err
		}
	}
	opts = append(opts, kgo.Dialer(dialer(conf)))
	if c.SASL != nil {
		login, err := c.SASL.option(c.TLS != nil)
		if err != nil {
			return nil, err
		}
		opts = append(opts, login)
	}
	if c.Connected != nil {
		opts = append(opts, kgo.WithHooks(connectHook(c.Connected)))
	}
	return opts, nil
}

func (s *SASL) option(encrypted bool) (kgo.Opt, error) {
	refuse := func(what, hint string) (kgo.Opt, error) {
		return nil, &Error{Op: "connect", Partition: -1, Err: errors.New(what), Hint: hint}
	}
	auth := scram.Auth{User: s.User, Pass: s.Password}
	known := s.Mechanism == "SCRAM-SHA-256" || s.Mechanism == "SCRAM-SHA-512" || s.Mechanism == "PLAIN"
	switch {
	case known && (s.User == "" || s.Password == ""):
		return refuse("a login needs a user and a password", "")
	case s.Mechanism == "SCRAM-SHA-256":
		return kgo.SASL(auth.AsSha256Mechanism()), nil
	case s.Mechanism == "SCRAM-SHA-512":
		return kgo.SASL(auth.AsSha512Mechanism()), nil
	case s.Mechanism == "PLAIN" && !encrypted:
		return refuse("SASL mechanism PLAIN would send the password unencrypted", "use TLS, or a SCRAM mechanism")
	case s.Mechanism == "PLAIN":
		return kgo.SASL(plain.Auth{User: s.User, Pass: s.Password}.AsMechanism()), nil
	}
	return refuse(fmt.Sprintf("SASL mechanism %q is not supported", s.Mechanism), "use SCRAM-SHA-256, SCRAM-SHA-512 or PLAIN")
}

// connectHook tells of each connection, made or refused.
type connectHook func(broker string, err error)

// OnBrokerConnect implements kgo.HookBrokerConnect.
func (h connectHook) OnBrokerConnect(meta kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	h(net.JoinHostPort(meta.Host, fmt.Sprint(meta.Port)), err)
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

// with runs fn with a client that is closed afterwards.
func (c Connection) with(fn func(*kgo.Client) error) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.Close()
	return fn(client)
}

// Ping returns nil when one of the brokers answers. It asks each once.
func (c Connection) Ping(ctx context.Context) error {
	client, err := c.client(kgo.RequestRetries(0))
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Ping(ctx); err != nil {
		return &Error{Op: "reach a broker", Partition: -1, Err: err, Hint: connectHint(err, c.TLS != nil)}
	}
	return nil
}
