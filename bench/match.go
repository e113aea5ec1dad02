package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tributary-health/tributary/access"
	"github.com/tributary-health/tributary/api"
	"github.com/tributary-health/tributary/audit"
	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/hashmatch"
	"github.com/tributary-health/tributary/store/pebble"
)

const (
	matchMembers = 20_000
	matchClient  = "bench"
	matchPath    = "/fhir/Patient/$hash-match "
)

// asked is a member, and the request that finds it.
type asked struct {
	id, patient string
	request     []byte
	tokens      []commit.Token
}

// match measures questions by hash over a store that holds many members' tokens.
func (l *lab) match(ctx context.Context) error {
	secret, err := hashmatch.ParseKey([]byte(strings.Repeat("4b", 32)))
	if err != nil {
		return err
	}
	key, err := secret.Derive(hashmatch.EpochOf(time.Now()))
	if err != nil {
		return err
	}
	say(fmt.Sprintf("match: tokens of %d members", matchMembers))
	db, members, tokens, err := l.matchStore(ctx, key)
	if err != nil {
		return err
	}
	defer db.Close()
	log, err := audit.Open(filepath.Join(l.work, "match-audit"), audit.Options{})
	if err != nil {
		return err
	}
	ours, stopOurs, err := serve(matchHandler(db, log))
	if err != nil {
		return err
	}
	defer stopOurs()
	bare, stopBare, err := serve(bareMatch(members))
	if err != nil {
		return err
	}
	defer stopBare()
	var requests []string
	for _, i := range rand.New(rand.NewPCG(7, 7)).Perm(len(members))[:distinct] {
		requests = append(requests, matchPath+string(members[i].request))
	}
	for _, connections := range []int{1, 16} {
		title := fmt.Sprintf("$hash-match on the record, %d connections", connections)
		if err := l.loadPair(ctx, Benchmark{
			Name: fmt.Sprint("match-", connections), Title: strings.Replace(title, " 1 connections", " one connection", 1), Unit: "answers/s",
			Baseline: "a bare gin handler that decodes the request, hashes its tokens, and finds member and finished answer in two maps",
			Data:     fmt.Sprintf("%d of %d members with %d tokens each on average, every one of them found", len(requests), len(members), tokens/len(members)),
		}, requests, connections, bare, ours); err != nil {
			return err
		}
	}
	return log.Close()
}

// matchStore makes the store of members and opens it again, so that tokens are
// looked up in its tables and not in what is still in memory.
func (l *lab) matchStore(ctx context.Context, key hashmatch.EpochKey) (db *pebble.DB, members []asked, tokens int, err error) {
	folder := filepath.Join(l.work, "match")
	if db, err = pebble.Open(folder, pebble.Options{}); err != nil {
		return nil, nil, 0, err
	}
	members, tokens, err = fillMatch(ctx, db, key)
	if err = errors.Join(err, db.Close()); err != nil {
		return nil, nil, 0, err
	}
	db, err = pebble.Open(folder, pebble.Options{})
	return db, members, tokens, err
}

// fillMatch writes the members and their tokens as composition does.
func fillMatch(ctx context.Context, db *pebble.DB, key hashmatch.EpochKey) (members []asked, tokens int, err error) {
	const batch = 1000
	outbox := make([]uint64, 4)
	for n := range matchMembers / batch {
		u := commit.Unit{Number: commit.Number(n + 1), Committed: time.Unix(1_700_000_000, 0).UTC(), Count: batch}
		for i := range batch {
			m, err := newAsked(key, n*batch+i)
			if err != nil {
				return nil, 0, err
			}
			v := commit.Version{Op: commit.Create, Sequence: uint32(i), Partition: change.Partition(m.id, int32(len(outbox)))}
			v.ResourceID, v.Member, v.Commit, v.Number, v.Updated = fhir.ResourceID{Type: "Patient", ID: m.id}, m.id, uint64(u.Number), 1, u.Committed
			v.Body = fhir.Stamp(nil, []byte(m.patient), 1, v.Updated)
			v.Index, _ = fhir.Index("Patient", v.Body)
			outbox[v.Partition]++
			v.Outbox = outbox[v.Partition]
			u.Versions = append(u.Versions, v)
			u.Tokens = append(u.Tokens, commit.TokenSet{Resource: v.ResourceID, Member: m.id, Tokens: m.tokens})
			tokens += len(m.tokens)
			members = append(members, m)
		}
		f := commit.Frontier{Number: u.Number, Composed: true, Outbox: append([]uint64(nil), outbox...), Sources: map[string]commit.Progress{}, Matching: 1}
		if err := db.Commit(ctx, commit.Batch{Units: []commit.Unit{u}}, f); err != nil {
			return nil, 0, err
		}
	}
	return members, tokens, nil
}

var matchSyllables = []string{"ba", "ren", "dol", "mi", "ska", "tor", "ven", "lu", "har", "pel", "quin", "ost", "wer", "ny", "cal", "fin"}

// newAsked makes up the member of that number: nobody's name.
func newAsked(key hashmatch.EpochKey, n int) (asked, error) {
	r := rand.New(rand.NewPCG(11, uint64(n)))
	name := func() string {
		s := ""
		for range 3 {
			s += matchSyllables[r.IntN(len(matchSyllables))]
		}
		return strings.ToUpper(s[:1]) + s[1:]
	}
	m := asked{id: fmt.Sprintf("m%06d", n)}
	m.patient = fmt.Sprintf(`{"resourceType":"Patient","id":%q,"meta":{},"identifier":[`+
		`{"type":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v2-0203","code":"MB"}]},"value":"CARD%08d"},`+
		`{"system":"http://hl7.org/fhir/sid/us-ssn","value":"%09d"}],`+
		`"name":[{"family":%q,"given":[%q,%q]}],"telecom":[{"system":"phone","value":"%d"}],"gender":"female","birthDate":"%d-%02d-%02d",`+
		`"address":[{"line":["%d %s Street"],"city":"Nowhere","postalCode":"%05d"}]}`,
		m.id, n, 100_000_001+r.IntN(800_000_000), name(), name(), name(), 2_012_000_000+r.IntN(700_000_000),
		1930+r.IntN(90), 1+r.IntN(12), 1+r.IntN(28), 1+r.IntN(900), name(), 10_000+r.IntN(300))
	demographics, err := hashmatch.FromPatient([]byte(m.patient))
	if err != nil {
		return m, err
	}
	for _, t := range key.Tokens(hashmatch.Normalize(demographics).Inputs()) {
		m.tokens = append(m.tokens, hashmatch.IndexToken(matchClient, key.Epoch(), t))
	}
	request, err := key.Request(demographics)
	m.request = request.Encode()
	return m, err
}

func matchHandler(db *pebble.DB, log *audit.Log) http.Handler {
	client := access.NewClient(matchClient, benchKey)
	client.Match = &access.MatchTerms{Quota: access.QuotaTerms{PerDay: 1 << 40, Misses: 1 << 40}}
	return api.New(api.Config{
		Clients: access.NewRegistry(client), Audit: log.Append, Types: []string{"Patient", "Task"},
		Views: func(access.Caller) (api.Store, error) { return views{db}, nil },
		Match: api.NewMatcher(api.MatcherConfig{Clients: []access.Client{client}, Index: func() (api.MatchView, error) {
			view, err := db.At(0)
			if err != nil {
				return nil, err
			}
			return tokens{view}, nil
		}}),
	})
}

// tokens makes a view of the store an api.MatchView.
type tokens struct{ *pebble.View }

func (v tokens) Holders(token [hashmatch.TokenSize]byte, fn func(string) bool) error {
	return v.View.Holders(token, fn)
}

// bareMatch is the least that finds a member by its tokens and sends its resource.
func bareMatch(members []asked) http.Handler {
	holders := map[[hashmatch.TokenSize]byte]int{}
	for i, m := range members {
		for _, t := range m.tokens {
			holders[t] = i
		}
	}
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.POST("/fhir/Patient/:operation", func(c *gin.Context) {
		body, err := io.ReadAll(c.Request.Body)
		request, malformed := hashmatch.DecodeRequest(body)
		if errors.Join(err, malformed) != nil {
			c.Status(http.StatusBadRequest)
			return
		}
		counts := map[int]int{}
		best := 0
		for _, t := range request.Tokens {
			if i, ok := holders[hashmatch.IndexToken(matchClient, request.Epoch, t)]; ok {
				if counts[i]++; counts[i] > counts[best] {
					best = i
				}
			}
		}
		answer := []byte(`{"resourceType":"Bundle","type":"collection","entry":[{"resource":` + members[best].patient + `}]}`)
		c.Writer.Header()["Content-Length"] = []string{fmt.Sprint(len(answer))}
		c.Data(http.StatusOK, "application/fhir+json", answer)
	})
	return e
}
