package kafka

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
)

// A name that no server knows is a broker that is away: nothing that wraps it may
// be taken for a fault that waiting does not mend, as the client library does.
func TestUnresolvedIsAway(t *testing.T) {
	unknown := &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "kafka-1.invalid", IsNotFound: true}}
	err := unresolved("tcp", unknown)
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		t.Errorf("still permanent: %v", err)
	}
	if op, ok := errors.AsType[*net.OpError](err); !ok || op.Op != "dial" || op.Timeout() || !Away(err) || !strings.Contains(err.Error(), "kafka-1.invalid") {
		t.Errorf("not taken for a broker that is away: %v", err)
	}
	if other := errors.New("another"); unresolved("tcp", other) != other {
		t.Error("another error is changed")
	}
	if _, err := dialer(nil)(context.Background(), "tcp", "kafka-1.invalid:9092"); err == nil || !Away(err) {
		t.Errorf("dial: %v", err)
	}
}
