package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/tributary-health/tributary/access"
	"github.com/tributary-health/tributary/api"
	"github.com/tributary-health/tributary/audit"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/compose"
	"github.com/tributary-health/tributary/hashmatch"
)

// partnerKeys are what the tokens of one client are made with.
type partnerKeys struct {
	client string
	epochs []hashmatch.EpochKey
}

// matching makes the match tokens of members for every client that may ask, and
// answers who is asked for.
type matching struct {
	partners []partnerKeys
	id       string // of what the tokens are made of
	until    hashmatch.Epoch
}

// matchTypes are the resources whose demographics members are found by.
var matchTypes = []string{"Patient"}

// openMatching reads the partners' keys. Tokens are kept for the last epoch, this
// one and the next, so that a process may run on into it.
func openMatching(clients []access.Client, now time.Time) (*matching, error) {
	accepted := hashmatch.Accepted(now)
	next := hashmatch.EpochOf(now.AddDate(0, 3, 0))
	m := &matching{until: next}
	h := sha256.New()
	fmt.Fprintln(h, hashmatch.Version)
	keys := map[hashmatch.PartnerKey]string{}
	for _, c := range clients {
		if c.Match == nil {
			continue
		}
		key, text, err := matchKey(c, keys)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Match.KeyFile, err)
		}
		p := partnerKeys{client: c.ID}
		for _, e := range []hashmatch.Epoch{accepted[1], accepted[0], next} {
			derived, err := key.Derive(e)
			if err != nil {
				return nil, fmt.Errorf("client %s: %w", c.ID, err)
			}
			p.epochs = append(p.epochs, derived)
			fmt.Fprintf(h, "%s %s %x\n", c.ID, e, sha256.Sum256(text))
		}
		m.partners = append(m.partners, p)
	}
	if len(m.partners) > 0 {
		m.id = hex.EncodeToString(h.Sum(nil)[:16])
	}
	return m, nil
}

// matchKey reads the key of a client that may ask. It is not another's: who holds
// the key of a partner can try names on what that partner sends. seen has the keys
// so far, and whose they are. The error does not name the file.
func matchKey(c access.Client, seen map[hashmatch.PartnerKey]string) (key hashmatch.PartnerKey, text []byte, err error) {
	text, err = os.ReadFile(c.Match.KeyFile)
	if err == nil {
		key, err = hashmatch.ParseKey(text)
	}
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		err = path.Err
	}
	if other := seen[key]; err == nil && other != "" {
		err = fmt.Errorf("match key: client %s has the same; make one with `openssl rand -hex 32`", other)
	}
	if err != nil {
		return key, nil, fmt.Errorf("client %s: %w", c.ID, err)
	}
	seen[key] = c.ID
	return key, text, nil
}

// configure tells the worker how tokens are made. Without a client that may ask
// there are none.
func (m *matching) configure(c *compose.Config) {
	if len(m.partners) > 0 {
		c.Tokens, c.TokensID, c.TokenTypes = m.tokens, m.id, matchTypes
	}
}

// tokens are those of a Patient, for every partner and epoch. One that cannot be
// read as demographics is found by nobody.
func (m *matching) tokens(_ string, content []byte) []commit.Token {
	demographics, err := hashmatch.FromPatient(content)
	if err != nil {
		return nil
	}
	inputs := hashmatch.Normalize(demographics).Inputs()
	var all []commit.Token
	for _, p := range m.partners {
		for _, key := range p.epochs {
			for _, t := range key.Tokens(inputs) {
				all = append(all, hashmatch.IndexToken(p.client, key.Epoch(), t))
			}
		}
	}
	return all
}

// newMatcher answers who is asked for. The quotas stand where the record of attempts
// says: it is durable, so they are.
func (p *pipeline) newMatcher() (*api.HashMatcher, error) {
	past := map[string][]access.Attempt{}
	err := p.audit.Since(time.Now().Add(-quotaMemory(p.cfg.clients)), func(e audit.Event) bool {
		if attempt, ok := api.MatchAttempt(e); ok {
			past[e.Client] = append(past[e.Client], attempt)
		}
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("read past attempts to match: %w", err)
	}
	return api.NewMatcher(api.MatcherConfig{Clients: p.cfg.clients, Past: past, Index: func() (api.MatchView, error) {
		view, err := p.store.At(0)
		if err != nil {
			return nil, err
		}
		return matchView{view}, nil
	}}), nil
}

// quotaMemory is how far back an attempt may count for any of the clients.
func quotaMemory(clients []access.Client) (longest time.Duration) {
	for _, c := range clients {
		if c.Match != nil {
			longest = max(longest, c.Match.Quota.Reach())
		}
	}
	return longest
}

// matchView makes a view of the store an api.MatchView.
type matchView struct{ tokenView }

type tokenView interface {
	Holders(t commit.Token, fn func(member string) bool) error
	Close() error
}

func (v matchView) Holders(token [hashmatch.TokenSize]byte, fn func(member string) bool) error {
	err := v.tokenView.Holders(token, fn)
	if errors.Is(err, commit.ErrMatching) {
		return fmt.Errorf("%w: %w", api.ErrNotReady, err)
	}
	return err
}

// watchEpoch says, once the last quarter that has tokens has begun, that the
// process has to be started again before it ends.
func (p *pipeline) watchEpoch(ctx context.Context) {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for len(p.matching.partners) > 0 {
		if hashmatch.EpochOf(time.Now()) >= p.matching.until {
			p.log.Warn("match: the next quarter has no tokens: start the process again before it begins")
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
