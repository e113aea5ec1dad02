package api

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tributary-health/tributary/access"
	"github.com/tributary-health/tributary/audit"
	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/hashmatch"
)

const (
	matchRoute     = "match"
	matchOperation = "$hash-match"
	matchID        = "hash-match" // of its OperationDefinition
	maxTasks       = 100          // sent with one match
	maxTasksRead   = 1000         // of one member, to choose from
)

// Matcher finds the member that a partner asks for by hash. It may be used
// concurrently.
type Matcher interface {
	// Allow takes a turn for the caller. wait is above zero, and turn nil, for one
	// that has to wait: its quota is used up, or it is locked out. A caller that has
	// no right to ask at all is ErrMayNotMatch.
	Allow(caller access.Caller) (turn Turn, wait time.Duration, err error)

	// Match returns the one member that the request, the body as it was sent, is
	// about, or none and why: a fixed word for the record, which the caller is not
	// told. It does the same work for every well-formed request, whatever it
	// finds. A request that is not well-formed is ErrMalformed; that depends on
	// the request alone (and the time: keys expire). An index that cannot be asked
	// yet is ErrNotReady.
	Match(ctx context.Context, caller access.Caller, request []byte) (patient, reason string, err error)
}

// Turn is one question that was allowed. It is ended once, by one of the two.
type Turn interface {
	// Record notes that the question is answered, by a member if it counts as no
	// miss, and reports whether that locked the caller out. It comes before the
	// record, which says so too.
	Record(misses int) (lockedOut bool)

	// Cancel gives the turn back: there was no answer.
	Cancel()
}

// MatchAttempt is what a recorded event counts in its client's quota; ok is false
// if it does not: another kind, or a question that was not answered. It is what a
// Turn's Record was told, so a quota that is restored from the record stands where
// it stood.
func MatchAttempt(e audit.Event) (attempt access.Attempt, ok bool) {
	counts := e.Outcome == audit.OK || e.Outcome == audit.Refused && !slices.Contains(unanswered, e.Reason)
	reason, locked := strings.CutSuffix(e.Reason, lockedOut)
	attempt = access.Attempt{Time: e.Time, Misses: missesOf(e.Outcome == audit.OK, reason), LockedOut: locked}
	return attempt, e.Kind == matchRoute && counts
}

// lockedOut stands behind the reason of the miss that locked its client out.
const lockedOut = "-locked-out"

// What a matcher's reason says of the request. One request asks for one person;
// what asks for several, or guesses, costs as much as asking one by one would.
const (
	// wide stands behind the reason of a request with more tokens than a person
	// with one name, address and phone has.
	wide = "-wide"
	// mixed is the reason of a match where most of the request's tokens were not the
	// member's: it counts as a miss.
	mixed     = "mixed"
	ambiguous = string(hashmatch.Ambiguous)
)

// missesOf is how many misses a question counts as; 0 for a hit.
func missesOf(found bool, reason string) int {
	kind, isWide := strings.CutSuffix(reason, wide)
	n := 1
	switch {
	case found && kind != mixed:
		return 0
	case kind == ambiguous: // two people were asked for, or guessed at
		n = 10
	}
	if isWide {
		n *= 4
	}
	return n
}

// unanswered are the reasons of refusals that say nothing of members. All others
// are of the one answer that there is no match.
var unanswered = []string{reasonTerms, reasonQuota, reasonMalformed, "forbidden", "not-found", "throttled", "gone", "invalid"}

const (
	reasonTerms     = "no-terms"
	reasonQuota     = "quota"
	reasonMalformed = "malformed"
)

// What a Matcher refuses, found with errors.Is.
var (
	ErrMayNotMatch = errors.New("api: the client has no terms of matching")
	ErrMalformed   = errors.New("api: the request of the match is malformed")
)

// The answers of a match that finds nobody, or is not made. There is one for all
// that depends on members: nobody, several, one that the caller may not know.
var (
	noMatch   = problem{status: http.StatusUnprocessableEntity, code: "not-found", text: "no match"}
	mayNot    = problem{status: http.StatusForbidden, code: "forbidden", text: "the client may not match"}
	malformed = problem{status: http.StatusBadRequest, code: "structure", text: "want a Parameters resource in the body, as the operation's definition says, with tokens of this quarter or the last"}
	exhausted = problem{status: http.StatusTooManyRequests, code: "throttled", text: "no more matches for now"}
)

// recorded is the problem with a word for the record.
func (p problem) recorded(reason string) problem {
	p.shows = &disclosure{reason: reason}
	return p
}

// endTurn counts a match that is answered, and notes for the record if it was one
// miss too many. One that is not answered is given back by leave.
func (r *request) endTurn(a answer, failed error) {
	found := a.status == http.StatusOK
	if r.turn == nil || !found && a.status != noMatch.status {
		return
	}
	shows := a.shows
	var p problem
	if errors.As(failed, &p) {
		shows = p.shows
	}
	reason := ""
	if shows != nil {
		reason = shows.reason
	}
	if locked := r.turn.Record(missesOf(found, reason)); locked && shows != nil {
		shows.reason += lockedOut
	}
	r.turn = nil
}

// hashMatch answers with the task profile of the one member whom the tokens in the
// body belong to. That there is none is one answer, made by the same steps.
func (s *server) hashMatch(r *request) (answer, error) {
	if s.Match == nil || r.mayRead("Patient") != nil {
		return answer{}, mayNot.recorded(reasonTerms)
	}
	turn, wait, err := s.Match.Allow(r.caller)
	switch {
	case errors.Is(err, ErrMayNotMatch):
		return answer{}, mayNot.recorded(reasonTerms)
	case err != nil:
		return answer{}, fmt.Errorf("api: quota of matches: %w", err)
	case wait > 0:
		p := exhausted.recorded(reasonQuota)
		p.retry = []string{strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10)}
		return answer{}, p
	}
	r.turn = turn
	body, err := r.matchBody()
	if err != nil {
		return answer{}, err
	}
	patient, reason, err := s.Match.Match(r.ctx, r.caller, body)
	r.worked = !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrNotReady)
	switch {
	case errors.Is(err, ErrMalformed):
		return answer{}, malformed.recorded(reasonMalformed)
	case errors.Is(err, ErrNotReady):
		return answer{}, notReady.recorded("not-ready")
	case err != nil:
		return answer{}, fmt.Errorf("api: match: %w", err)
	}
	return r.taskProfile(patient, reason)
}

// matchBody reads the body, and wants the address to hold nothing.
func (r *request) matchBody() ([]byte, error) {
	pairs, err := r.queryPairs()
	if err != nil {
		return nil, err
	}
	for _, p := range pairs {
		if p.name != "_format" && p.name != "_pretty" {
			return nil, badParameter(p.name, "the operation takes its parameters in the body")
		}
	}
	body, err := r.body("application/fhir+json", "application/json")
	if err == nil && (len(body) == 0 || !shallow(body, maxDepth)) {
		err = malformed.recorded(reasonMalformed)
	}
	return body, err
}

// taskProfile is what the caller's own store has of the member: the Patient, and
// the Tasks, open ones first, of one commit number. For nobody it looks for
// somebody who is not there, so that it takes the time that a miss takes.
func (r *request) taskProfile(patient, reason string) (answer, error) {
	view, err := r.openAt(0)
	if err != nil {
		return answer{}, fmt.Errorf("api: match: %w", err)
	}
	asked := patient
	if asked == "" {
		asked = rand.Text()
	}
	v, ok, err := view.Read(fhir.ResourceID{Type: "Patient", ID: asked})
	if err != nil {
		return answer{}, fmt.Errorf("api: match: read Patient: %w", err)
	}
	tasks, err := r.tasksOf(view, asked)
	if err != nil {
		return answer{}, fmt.Errorf("api: match: read Task: %w", err)
	}
	switch {
	case patient == "":
		return answer{}, noMatch.recorded(reason)
	case !ok || v.Deleted:
		return answer{}, noMatch.recorded("not-in-store")
	}
	r.stamp(view)
	r.header()["Cache-Control"] = noStore
	b := r.newBundle("collection")
	r.hold.release() // few and small; that there is no room would tell that there is a match
	b.documentEntry(v)
	for _, task := range tasks {
		b.documentEntry(task)
	}
	a := b.answer()
	if strings.HasPrefix(reason, mixed) {
		a.shows.reason = reason
	}
	return a, nil
}

// tasksOf reads the member's Tasks, what is to be done first.
func (r *request) tasksOf(view View, member string) ([]fhir.Version, error) {
	if !r.types["Task"] || !r.caller.MayRead("Task") {
		return nil, nil
	}
	var tasks []hit
	err := view.Scan("Task", member, false, member, "", func(v fhir.Version) bool {
		tasks = append(tasks, hit{Version: v})
		return len(tasks) < maxTasksRead
	})
	if err != nil {
		return nil, err
	}
	for i := range tasks {
		if err := tasks[i].load(view); err != nil {
			return nil, err
		}
		tasks[i].key = "1"
		switch status, _ := fhir.Text(fhir.Member(tasks[i].Body, "status")); status {
		case "requested", "ready", "in-progress":
			tasks[i].key = "0"
		}
	}
	slices.SortFunc(tasks, func(a, b hit) int { return a.cursor().compare(b.cursor()) })
	var versions []fhir.Version
	for _, t := range tasks[:min(len(tasks), maxTasks)] {
		versions = append(versions, t.Version)
	}
	return versions, nil
}

// matchDefinition says what $hash-match is.
func (s *server) matchDefinition(r *request) (answer, error) {
	if s.Match == nil {
		return noPath(r)
	}
	return jsonAnswer(map[string]any{
		"resourceType": "OperationDefinition",
		"id":           matchID,
		"url":          r.base() + "/OperationDefinition/" + matchID,
		"name":         "HashMatch",
		"title":        "The task profile of the member whom keyed hashes name",
		"status":       "active",
		"kind":         "operation",
		"affectsState": false,
		"description": "Tokens made of a person's demographics under the client's key find the one member that has them. " +
			"The answer is a Bundle of the Patient and its Tasks, as the client may see them, read at one commit number. " +
			"That there is no such member, that there are several, and that the client may not know the one there is, are the same answer: 422.",
		"code":      matchID,
		"resource":  []string{"Patient"},
		"system":    false,
		"type":      true,
		"instance":  false,
		"parameter": matchParameters(),
	})
}

func matchParameters() []map[string]any {
	part := func(name, kind, what string) map[string]any {
		return map[string]any{"name": name, "use": "in", "min": 1, "max": "1", "type": kind, "documentation": what}
	}
	return []map[string]any{
		part("version", "string", "of the rules of normalisation: "+hashmatch.Version),
		part("epoch", "string", "the quarter whose key made the tokens, such as 2026Q4: this one or the last"),
		{
			"name": "token", "use": "in", "min": 1, "max": strconv.Itoa(hashmatch.MaxTokens),
			"part": []map[string]any{part("kind", "code", "which facts the token is made of"), part("value", "string", "32 hexadecimal digits")},
		},
		{"name": "return", "use": "out", "min": 1, "max": "1", "type": "Bundle", "documentation": "of the type collection: the Patient, then its Tasks"},
	}
}
