// Package access says who a caller is and what it may see. Every request and
// every topic passes through it. For now there is one kind of client, which
// may see everything; a policy has its place here before it has content.
package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"strings"
)

// Client is one known caller. KeyHash is the SHA-256 of its bearer key; the key
// itself is not kept.
type Client struct {
	ID      string
	KeyHash [sha256.Size]byte
}

// NewClient returns a client known by key.
func NewClient(id, key string) Client { return Client{id, sha256.Sum256([]byte(key))} }

// Caller is an authenticated client. The zero Caller is nobody.
type Caller struct {
	ClientID string
}

// MayRead reports whether the caller may see resources of the type at all. It
// says nothing of fields; that is redaction's part.
func (c Caller) MayRead(resourceType string) bool { return c.ClientID != "" && resourceType != "" }

// ErrUnknown is the one answer to a missing, malformed or unknown key.
var ErrUnknown = errors.New("access: unknown client")

// Registry knows the clients. It is immutable and may be used concurrently. The
// zero Registry knows nobody.
type Registry struct {
	clients []Client
}

// NewRegistry returns a registry of the clients.
func NewRegistry(clients ...Client) *Registry { return &Registry{clients} }

// Authenticate finds the caller by the value of an Authorization header
// ("Bearer key"). Every client is compared, each in constant time.
func (r *Registry) Authenticate(authorization string) (Caller, error) {
	scheme, key, ok := strings.Cut(authorization, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || key == "" {
		return Caller{}, ErrUnknown
	}
	sum := sha256.Sum256([]byte(strings.TrimSpace(key)))
	var found Caller
	for i := range r.clients {
		if subtle.ConstantTimeCompare(sum[:], r.clients[i].KeyHash[:]) == 1 {
			found = Caller{r.clients[i].ID}
		}
	}
	if found == (Caller{}) {
		return Caller{}, ErrUnknown
	}
	return found, nil
}
