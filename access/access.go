// Package access says who a caller is and what it may see. Every request and
// every topic passes through it: a policy is compiled from a reviewed file of
// clients, and a resource is redacted by it in one pass.
package access

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strings"
	"time"
)

// Client is one known caller. KeyHash is the SHA-256 of its bearer key; the key
// itself is not kept.
type Client struct {
	ID      string
	KeyHash [sha256.Size]byte
	// Policy is what the client may see. MUST NOT be nil in a Registry.
	Policy *Policy
	// Operator clients may see the state of the service: lag, parked members.
	Operator bool
	// Changes says that the client has a topic of its own.
	Changes bool
	// Match says how the client may ask for members by hash; nil if it may not.
	Match *MatchTerms
	// Note is for the file's reviewers.
	Note string
}

// MatchTerms are what a client that may ask for members by hash is held to.
type MatchTerms struct {
	// KeyFile is where the key that both sides hold is read from.
	KeyFile string
	Quota   QuotaTerms
}

// QuotaTerms bound how often a client may ask. A field that is zero stands for
// its default.
type QuotaTerms struct {
	// PerDay is how many requests are answered in any 24 hours; 1000 unless told.
	// More where a partner has more new patients than that.
	PerDay int
	// Misses is how many requests without a match, in any 24 hours, lock the
	// client out, unless there is a match for every MissesPerHit of them; 50
	// unless told.
	Misses int
	// MissesPerHit is 10 unless told. More where few of a partner's patients are
	// members.
	MissesPerHit int
	// LockOut is how long a lock-out lasts; 24 hours unless told.
	LockOut time.Duration
}

// GenerateKey returns a bearer key of 256 random bits and what the clients file
// holds of it.
func GenerateKey() (key string, hash [sha256.Size]byte) {
	var random [32]byte
	rand.Read(random[:]) // never fails: the runtime ends the process instead
	key = base64.RawURLEncoding.EncodeToString(random[:])
	return key, sha256.Sum256([]byte(key))
}

// NewClient returns a client known by key that may see everything.
func NewClient(id, key string) Client {
	return Client{ID: id, KeyHash: sha256.Sum256([]byte(key)), Policy: Everything()}
}

// Caller is an authenticated client. The zero Caller is nobody.
type Caller struct {
	ClientID string
	client   *Client
}

// MayRead reports whether the caller may see resources of the type at all. It
// says nothing of elements; that is redaction's part.
func (c Caller) MayRead(resourceType string) bool {
	return c.client != nil && resourceType != "" && c.client.Policy.MaySee(resourceType)
}

// Policy is what the caller may see; nil for nobody.
func (c Caller) Policy() *Policy {
	if c.client == nil {
		return nil
	}
	return c.client.Policy
}

// Operator reports whether the caller may see the state of the service.
func (c Caller) Operator() bool { return c.client != nil && c.client.Operator }

// Match is what the caller's questions by hash are held to; nil if it may ask none.
func (c Caller) Match() *MatchTerms {
	if c.client == nil {
		return nil
	}
	return c.client.Match
}

// ErrUnknown is the one answer to a missing, malformed or unknown key.
var ErrUnknown = errors.New("access: unknown client")

// Registry knows the clients. It is immutable and may be used concurrently. The
// zero Registry, and a nil one, know nobody.
type Registry struct {
	clients []Client
	// byHash finds a client by the hash of its key. The lookup's time may depend on
	// the hash, and that tells nothing of use: a key is 256 random bits, so who
	// learns even the whole hash cannot find a key for it, and nobody can choose
	// keys whose hashes approach another's. So a thousand clients cost a read no
	// more than one, and a slow hash would protect nothing.
	byHash map[[sha256.Size]byte]int
}

// NewRegistry returns a registry of the clients. Of two with the same key the
// first counts; LoadClients lets none through. A client without a policy is not
// known: nothing says what it may see.
func NewRegistry(clients ...Client) *Registry {
	r := &Registry{clients: append([]Client(nil), clients...), byHash: make(map[[sha256.Size]byte]int, len(clients))}
	for i := range r.clients {
		c := &r.clients[i]
		if _, taken := r.byHash[c.KeyHash]; !taken && c.ID != "" && c.Policy != nil {
			r.byHash[c.KeyHash] = i
		}
	}
	return r
}

// Clients returns the known clients, in the order given.
func (r *Registry) Clients() []Client {
	if r == nil {
		return nil
	}
	return append([]Client(nil), r.clients...)
}

// Authenticate finds the caller by the value of an Authorization header
// ("Bearer key"). The hash that was found is compared in constant time.
func (r *Registry) Authenticate(authorization string) (Caller, error) {
	scheme, key, ok := strings.Cut(authorization, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return Caller{}, ErrUnknown
	}
	if key = strings.TrimSpace(key); key == "" || r == nil {
		return Caller{}, ErrUnknown
	}
	sum := sha256.Sum256([]byte(key))
	i, ok := r.byHash[sum]
	if !ok {
		return Caller{}, ErrUnknown
	}
	c := &r.clients[i]
	if subtle.ConstantTimeCompare(sum[:], c.KeyHash[:]) != 1 {
		return Caller{}, ErrUnknown
	}
	return Caller{c.ID, c}, nil
}
