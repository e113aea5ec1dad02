package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Away reports whether err says that no broker could be reached, which waiting
// may mend; a login or a certificate that was refused is not that.
func Away(err error) bool {
	if refused(err) {
		return false
	}
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, context.DeadlineExceeded)
}

// refused reports whether the other side, or this one, does not want the other.
func refused(err error) bool {
	var verification *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var alert *net.OpError
	var header tls.RecordHeaderError
	return errors.Is(err, kerr.SaslAuthenticationFailed) || errors.Is(err, kerr.UnsupportedSaslMechanism) ||
		errors.As(err, &verification) || errors.As(err, &authority) || errors.As(err, &header) ||
		errors.As(err, &alert) && alert.Op == "remote error" // a TLS alert
}

// connectHint says what to look at when a connection fails.
func connectHint(err error, encrypted bool) string {
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var header tls.RecordHeaderError
	var early *kgo.ErrFirstReadEOF
	switch {
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return "the broker refuses user or password"
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		return "the broker's listener does not know this login; try another mechanism"
	case errors.As(err, &authority):
		return "name the file of the authority that signed the broker's certificate"
	case errors.As(err, &name):
		return "the broker's certificate is for another name; server_name says which to expect"
	case errors.As(err, &header):
		return "the broker's listener does not speak TLS"
	case refused(err):
		return "the broker refuses this client's certificate, or wants one"
	case errors.As(err, &early) && !encrypted:
		return "the broker closes the connection at once: its listener may want TLS or a login"
	}
	return ""
}

// settling is how long a topic that was just made may be unknown to some broker,
// and how long brokers that start together may miss one another.
const settling = 15 * time.Second

// opening is the same for one that was seen by some broker.
const opening = 2 * time.Second

// unknownTries is how often a producer is told that it writes to a topic that is not
// known before it gives up: a quarter of a minute or so. A broker that has just
// started, or lags behind the others, may not have heard of the topic yet.
const unknownTries = 30

// passes reports whether err may pass by itself: a leader is being chosen, or the
// broker that leads a partition cannot be reached or is no longer among those that
// the others name. The client library gives up at once on a request that is bound
// to such a broker.
func passes(err error) bool {
	if err == nil || refused(err) {
		return false
	}
	var answer *kerr.Error
	return errors.As(err, &answer) && answer.Retriable || Away(err) || kgo.IsRetryableBrokerErr(err) || gathering(err) ||
		strings.Contains(err.Error(), "unknown broker") // the library's error for that has no name
}

// gathering reports whether err may be that of a broker that has not heard of
// everything yet, or of a cluster of which not every broker is up yet.
func gathering(err error) bool {
	return errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.InvalidReplicationFactor)
}

// patiently calls fn again, after a pause, while it fails with what passes by
// itself. What is more likely wrong, as a topic that is not known, is waited for
// only as long as fresh.
func patiently(ctx context.Context, fresh time.Duration, fn func() error) error {
	began := time.Now()
	for n := 0; ; n++ {
		err := fn()
		if !passes(err) || ctx.Err() != nil {
			return err
		}
		if gathering(err) && time.Since(began) >= fresh {
			return err
		}
		if pause(ctx, backoff(n)); ctx.Err() != nil {
			return errors.Join(ctx.Err(), err)
		}
	}
}

// pause returns after the time, or when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
