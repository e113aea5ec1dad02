package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

// dialer connects to brokers, with TLS unless conf is nil. A name that is not
// known is a broker that is away: name servers forget names for a while, as when
// a broker's container is made anew. The client library would give up at once.
func dialer(conf *tls.Config) func(ctx context.Context, network, addr string) (net.Conn, error) {
	plain := &net.Dialer{Timeout: 10 * time.Second}
	dial := plain.DialContext
	if conf != nil { // without a name of its own it expects the address's
		dial = (&tls.Dialer{NetDialer: plain, Config: conf}).DialContext
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, unresolved(network, err)
		}
		return conn, nil
	}
}

// unresolved makes of a name that is not known a broker that cannot be reached.
func unresolved(network string, err error) error {
	if unknown, ok := errors.AsType[*net.DNSError](err); ok && unknown.IsNotFound {
		return &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("the name of the broker is not known: %s", unknown.Error())}
	}
	return err
}
