package compose

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
)

// The match index is a part of the commit:
//
//	T1  A written version brings its resource's tokens; a deletion takes them.
//	T2  With the unit that parks a member its tokens are nobody's: they are held,
//	    and find nothing. A token that the member shares with a twin or a parent
//	    must not seem to be theirs alone. With the unit that composes the member
//	    again it has them again.
//	T3  Under another TokensID all tokens are made again: some resources' at a
//	    time, in units of their own between the groups. What is composed meanwhile
//	    has its new tokens at once. Until the last is made the frontier says that
//	    nobody can be matched: in a half-made index a token that two members share
//	    could seem to be one's alone.
//	T4  If they are to be made again, a composition of everything makes them all,
//	    in its own unit, those of parked members too.
//	T5  A resource with too many tokens parks its member. If they are too many
//	    when they are made again, the first are kept as nobody's.

// tokenPiece is how many resources' tokens are made again in one unit, and
// betweenTokens how long the worker waits between two units for what comes in.
const (
	tokenPiece    = 256
	betweenTokens = time.Millisecond
)

// tokensMade is what is kept of the match index.
type tokensMade struct {
	// ID is the TokensID that tokens are made with; all of them, unless Making.
	ID string `json:"id,omitempty"`
	// Types are the TokenTypes, sorted; Former are others that may have some still.
	Types  []string `json:"types,omitempty"`
	Former []string `json:"former,omitempty"`
	// Making: resources up to Done have tokens of ID, the others may have some of
	// before.
	Making bool            `json:"making,omitempty"`
	Done   fhir.ResourceID `json:"done,omitzero"`
}

// openTokens compares what the store has with the configuration. It returns nil
// if there are no tokens, and there were none.
func (w *Worker) openTokens() *tokenMaker {
	m := &w.extra.Tokens
	types := slices.Compact(slices.Sorted(slices.Values(w.cfg.TokenTypes)))
	if m.ID != w.cfg.TokensID || !slices.Equal(m.Types, types) {
		former := slices.DeleteFunc(m.all(), func(t string) bool { return slices.Contains(types, t) })
		*m = tokensMade{ID: w.cfg.TokensID, Types: types, Former: former, Making: true}
	}
	if m.Making {
		w.frontier.Matching = 0
	}
	if len(m.all()) == 0 {
		return nil
	}
	made := &tokenMaker{make: w.cfg.Tokens, types: make(map[string]bool)}
	for _, t := range m.all() {
		made.types[t] = slices.Contains(types, t)
	}
	return made
}

// all lists the types of which any resource may have tokens, sorted.
func (m *tokensMade) all() []string {
	return slices.Sorted(slices.Values(slices.Concat(m.Types, m.Former)))
}

// makingTokens reports whether tokens are to be made again now. While nothing is
// composed they wait for the composition of everything.
func (w *Worker) makingTokens() bool { return w.extra.Tokens.Making && w.extra.Composed }

// tokenMaker makes the tokens of resources. A nil one makes none. It may be used
// by several goroutines.
type tokenMaker struct {
	make  func(resourceType string, content []byte) []commit.Token
	types map[string]bool // those that may have tokens in the store; true: that have tokens from now on
}

// has reports whether the resource may have tokens, or have had some before.
func (m *tokenMaker) has(resourceType, member string) bool {
	if m == nil || member == "" {
		return false
	}
	_, ok := m.types[resourceType]
	return ok
}

// of makes a resource's tokens. Too many are a failure, which parks the member;
// it returns the first of them all the same.
func (m *tokenMaker) of(resourceType, member string, content []byte) ([]commit.Token, error) {
	if !m.has(resourceType, member) || !m.types[resourceType] {
		return nil, nil
	}
	tokens := m.make(resourceType, content)
	if len(tokens) > commit.MaxTokens {
		return tokens[:commit.MaxTokens], &failure{fmt.Sprintf("%s: %v", resourceType, commit.ErrTokens)}
	}
	return tokens, nil
}

// nobodys is the set of a resource that holds its tokens and is not found by
// them: as many of them as there may be.
func (m *tokenMaker) nobodys(v *fhir.Version) commit.TokenSet {
	tokens, _ := m.of(v.Type, v.Member, fhir.Unstamp(v.Body))
	return commit.TokenSet{Resource: v.ResourceID, Tokens: tokens}
}

// tokens puts a set into the unit.
func (w *writer) tokens(s commit.TokenSet) {
	u := w.engine.unit
	u.Tokens = append(u.Tokens, s)
	w.engine.state.bytes += len(s.Tokens)*len(commit.Token{}) + 128
}

// withdraw makes the tokens of a member's resources nobody's. What the root looks
// like is not asked, for a member's key may look like a reference row; a root that
// is no member has no resources.
func (w *writer) withdraw(ctx context.Context, root string) error {
	if w.engine.tokens == nil {
		return nil
	}
	member := w.engine.plan.memberID(root)
	ids, err := w.engine.state.resources(member)
	if err != nil {
		return err
	}
	ids = slices.DeleteFunc(ids, func(id fhir.ResourceID) bool { return !w.engine.tokens.has(id.Type, member) })
	if len(ids) == 0 {
		return nil
	}
	if err := w.stage(ctx); err != nil { // bodies are read from the store alone
		return err
	}
	for _, id := range ids {
		v, ok, err := w.store.Newest(id)
		if err != nil {
			return fmt.Errorf("compose: park a member: %w", err)
		}
		if !ok || v.Deleted || v.Member != member {
			return fmt.Errorf("compose: park a member: the store lists a %s that it does not have", id.Type)
		}
		w.tokens(w.engine.tokens.nobodys(&v))
	}
	return nil
}

// makeTokens makes the tokens of the next resources again, as a unit of its own.
// Everything composed MUST be committed.
func (w *Worker) makeTokens(ctx context.Context) error {
	sets, done, err := w.nextTokens(min(tokenPiece, w.cfg.PieceVersions))
	if err != nil {
		return err
	}
	w.w.begin("", change.Mark{}, w.newestCommit())
	for _, s := range sets {
		w.w.tokens(s)
	}
	w.w.end(w.freshness())
	if w.extra.Tokens.Done = done; done == (fhir.ResourceID{}) {
		w.finishTokens()
	}
	return w.commit(ctx)
}

// finishTokens records that every token is made, as of the newest unit.
func (w *Worker) finishTokens() {
	m := &w.extra.Tokens
	*m = tokensMade{ID: m.ID, Types: m.Types}
	w.frontier.Matching = 0
	if m.ID != "" {
		w.frontier.Matching = w.w.number
	}
	w.engine.tokens = w.openTokens()
}

// nextTokens makes the sets of the next resources after what is done, and says
// which the last of them is; none if all are done. A parked member's are nobody's,
// and so is a set with too many: its member parks when it is composed again.
func (w *Worker) nextTokens(limit int) (sets []commit.TokenSet, done fhir.ResourceID, err error) {
	var found []fhir.Version
	m := &w.extra.Tokens
	for _, t := range m.all() {
		after := ""
		if t < m.Done.Type {
			continue
		} else if t == m.Done.Type {
			after = m.Done.ID
		}
		err := w.cfg.Store.Living(t, after, func(v fhir.Version) bool {
			found = append(found, v)
			return len(found) < limit
		})
		if err != nil {
			return nil, done, fmt.Errorf("compose: make match tokens again: %w", err)
		}
		if len(found) >= limit {
			done = found[len(found)-1].ResourceID
			break
		}
	}
	parked := make(map[string]bool)
	for root := range w.w.parked {
		parked[w.plan.memberID(root)] = true
	}
	return w.tokensOf(found, parked), done, nil
}

// tokensOf makes the sets of versions, several at a time.
func (w *Worker) tokensOf(found []fhir.Version, parked map[string]bool) []commit.TokenSet {
	sets := make([]commit.TokenSet, len(found))
	work := func(from int) {
		for i := from; i < len(found); i += workers() {
			v := &found[i]
			tokens, err := w.engine.tokens.of(v.Type, v.Member, fhir.Unstamp(v.Body))
			sets[i] = commit.TokenSet{Resource: v.ResourceID, Member: v.Member, Tokens: tokens}
			if err != nil || parked[v.Member] {
				sets[i].Member = ""
			}
		}
	}
	var others sync.WaitGroup
	for n := 1; n < workers(); n++ {
		others.Go(func() { work(n) })
	}
	work(0)
	others.Wait()
	return sets
}
