package api

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tributary-health/tributary/access"
	"github.com/tributary-health/tributary/hashmatch"
)

// MatchView looks up tokens at one commit number of the base store, in which the
// members of all clients are. It may be used by one goroutine.
type MatchView interface {
	// Holders calls fn for the members that hold the token, until it returns
	// false.
	Holders(token [hashmatch.TokenSize]byte, fn func(member string) bool) error

	Close() error
}

// MatcherConfig is what NewMatcher needs. All but Now is required.
type MatcherConfig struct {
	// Index opens a view at the frontier. An error that wraps ErrNotReady, from it
	// or from the view, says that not all tokens are there yet.
	Index func() (MatchView, error)

	// Clients are those of the registry; who has no terms of matching is left out.
	Clients []access.Client

	// Past are the clients' attempts of before, by id: see MatchAttempt.
	Past map[string][]access.Attempt

	// Now is time.Now.
	Now func() time.Time
}

// HashMatcher is the Matcher that decides as package hashmatch does.
type HashMatcher struct {
	MatcherConfig
	quotas map[string]*quota // immutable
}

// NewMatcher returns a HashMatcher whose quotas stand where the past attempts left
// them.
func NewMatcher(c MatcherConfig) *HashMatcher {
	if c.Now == nil {
		c.Now = time.Now
	}
	m := &HashMatcher{MatcherConfig: c, quotas: make(map[string]*quota)}
	for _, client := range c.Clients {
		if client.Match != nil {
			q := &quota{now: c.Now, counts: access.NewQuota(client.Match.Quota)}
			q.counts.Restore(c.Past[client.ID])
			m.quotas[client.ID] = q
		}
	}
	m.Past = nil
	return m
}

// Quotas are the states of the clients' quotas, by id, for operators.
func (m *HashMatcher) Quotas() map[string]access.QuotaState {
	states := make(map[string]access.QuotaState, len(m.quotas))
	for id, q := range m.quotas {
		q.mu.Lock()
		states[id] = q.counts.State(q.now())
		q.mu.Unlock()
	}
	return states
}

// quota is one client's; it is the Turn of each of its questions, which are all
// alike.
type quota struct {
	now    func() time.Time
	mu     sync.Mutex
	counts *access.Quota
}

func (q *quota) Record(misses int) (lockedOut bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.counts.Record(q.now(), misses)
}

func (q *quota) Cancel() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.counts.Cancel()
}

// Allow asks the client's quota.
func (m *HashMatcher) Allow(caller access.Caller) (Turn, time.Duration, error) {
	q := m.quotas[caller.ClientID]
	if q == nil || caller.Match() == nil {
		return nil, 0, ErrMayNotMatch
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if ok, wait := q.counts.Allow(q.now()); !ok {
		return nil, max(wait, time.Second), nil
	}
	return q, 0, nil
}

// notKnown is the reason when the member is not one of the caller's.
const notKnown = "not-known"

// Match looks the tokens up and decides.
func (m *HashMatcher) Match(ctx context.Context, caller access.Caller, body []byte) (patient, reason string, err error) {
	request, err := hashmatch.DecodeRequest(body)
	if err != nil {
		return "", "", fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if accepted := hashmatch.Accepted(m.Now()); !slices.Contains(accepted[:], request.Epoch) {
		return "", "", fmt.Errorf("%w: the epoch is neither this quarter's nor the last one's", ErrMalformed)
	}
	held, err := m.holders(ctx, caller.ClientID, request)
	if err != nil {
		return "", "", err
	}
	hidden := hide(caller.Policy(), &held)
	verdict := hashmatch.Decide(request.Tokens, func(i int) []string { return held[i] })
	reason = string(verdict.Reason)
	switch {
	case verdict.Member == "" && hidden:
		reason = notKnown
	case verdict.Member != "" && 2*verdict.Agreeing < len(request.Tokens):
		reason = mixed
	}
	if len(request.Tokens) > oneForm {
		reason += wide
	}
	return verdict.Member, reason, nil
}

// oneForm is more tokens than a person has of whom one name, one address, one phone
// and one member id are known.
const oneForm = 20

// hide makes nobody of the holders whom the client may not know: they decide
// nothing, neither for a match nor against one. It reports whether one of them held
// a token alone.
func hide(policy *access.Policy, held *[hashmatch.MaxTokens][]string) (any bool) {
	for i := range held {
		alone := len(held[i]) == 1
		for j, member := range held[i] {
			if known := policy.MayKnow(member); !known && member != "" {
				held[i][j] = ""
				any = any || alone
			}
		}
	}
	return any
}

// holders looks up as many tokens as the largest request has, whatever this one
// has and whatever is found: those that are missing are random ones, which nobody
// holds. Of the members that hold a token two are kept: more say no more.
func (m *HashMatcher) holders(ctx context.Context, client string, request hashmatch.Request) (held [hashmatch.MaxTokens][]string, err error) {
	view, err := m.Index()
	if err != nil {
		return held, fmt.Errorf("open view: %w", err)
	}
	for i := range held {
		token := hashmatch.Token{Kind: request.Tokens[0].Kind}
		if _, err := rand.Read(token.Value[:]); err != nil {
			return held, err // never: the runtime ends the process instead
		}
		if i < len(request.Tokens) {
			token = request.Tokens[i]
		}
		found := make([]string, 0, 2)
		err = view.Holders(hashmatch.IndexToken(client, request.Epoch, token), func(member string) bool {
			found = append(found, member)
			return len(found) < cap(found)
		})
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			break
		}
		held[i] = found
	}
	if closed := view.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return held, fmt.Errorf("look up tokens: %w", err)
	}
	return held, nil
}
