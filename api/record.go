package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tributary-health/tributary/audit"
	"github.com/tributary-health/tributary/fhir"
)

// disclosure is what one answer shows: which versions, and of whose record.
type disclosure struct {
	versions []shown
	members  []string // those that the answer tells of, whatever is in it
	reason   string   // a fixed word for the record, if the status says too little
}

// shown is one version in an answer.
type shown struct {
	fhir.ResourceID
	member string
	number uint64
}

func showing(v fhir.Version) *disclosure {
	return &disclosure{versions: []shown{{v.ResourceID, v.Member, v.Number}}}
}

func (d *disclosure) add(v fhir.Version) {
	d.versions = append(d.versions, shown{v.ResourceID, v.Member, v.Number})
}

// tells adds a member of whom the answer says something even if it holds nothing
// of the record.
func (d *disclosure) tells(member string) {
	if member != "" {
		d.members = append(d.members, member)
	}
}

// subjects groups what is shown by whose it is, in the order of the answer.
func (d *disclosure) subjects() []audit.Subject {
	if d == nil || len(d.versions) == 0 && len(d.members) == 0 {
		return nil
	}
	var subjects []audit.Subject
	at, last := map[string]int(nil), -1
	of := func(member string) *audit.Subject {
		if last >= 0 && subjects[last].Patient == member {
			return &subjects[last]
		}
		if at == nil && len(subjects) > 0 {
			at = map[string]int{subjects[0].Patient: 0}
		}
		i, ok := at[member]
		if !ok {
			if i = len(subjects); at != nil {
				at[member] = i
			}
			subjects = append(subjects, audit.Subject{Patient: member})
		}
		last = i
		return &subjects[i]
	}
	for i, name := range d.names() {
		s := of(d.versions[i].member)
		s.Resources = append(s.Resources, name)
	}
	for _, member := range d.members {
		of(member)
	}
	return subjects
}

// names are the versions as "Type/id/_history/3", all in one piece of memory.
func (d *disclosure) names() []string {
	var text []byte
	ends := make([]int, len(d.versions))
	for i, v := range d.versions {
		text = append(text, v.Type...)
		text = append(text, '/')
		text = append(text, v.ID...)
		text = append(text, "/_history/"...)
		text = strconv.AppendUint(text, v.number, 10)
		ends[i] = len(text)
	}
	whole, from := string(text), 0
	names := make([]string, len(ends))
	for i, to := range ends {
		names[i] = whole[from:to]
		from = to
	}
	return names
}

// unrecorded is the error of an answer that is not on the record, and so is not
// sent.
type unrecorded struct{ cause error }

func (e unrecorded) Error() string { return "api: the answer is not on the record: " + e.cause.Error() }
func (e unrecorded) Unwrap() error { return e.cause }

// complete refuses an answer to a client that does not say what it shows: a
// handler that forgets it shows nothing.
func (r *request) complete(a answer) error {
	if r.who == clients && a.shows == nil {
		return fmt.Errorf("api: the route %s does not say what it shows", r.route)
	}
	if a.from != nil && a.from.full {
		return noRoom
	}
	return nil
}

// record puts the answer on the record, before any of it leaves. What a store
// was asked for is recorded, found or not, and what a client was not allowed or
// was told to wait with. Whatever disclosed something or was looked up has an
// entry of its own; refusals may fold.
func (r *request) record(a answer, failed error) error {
	if r.who != clients || r.caller.ClientID == "" {
		return nil
	}
	if r.store == nil && a.status != http.StatusForbidden && a.status != http.StatusTooManyRequests && r.route != matchRoute {
		return nil
	}
	shows := a.shows
	var p problem
	if errors.As(failed, &p) {
		shows = p.shows
	}
	e := audit.Event{
		Time: time.Now().UTC(), Kind: r.route, Client: r.caller.ClientID, Policy: policyID(r.caller),
		Request: r.asked(), Subjects: shows.subjects(),
	}
	e.Outcome, e.Reason = outcomeOf(a.status)
	e.Folds = r.idle(a, shows)
	if shows != nil && shows.reason != "" {
		e.Reason = shows.reason
	}
	if r.store != nil {
		e.Generation, e.Commit = r.store.Generation(), r.commit
	}
	ctx := r.ctx
	if r.route == matchRoute {
		ctx = context.WithoutCancel(ctx) // an attempt counts, whether or not its caller waits
	}
	if err := r.Audit(ctx, e); err != nil {
		return unrecorded{err}
	}
	return nil
}

// outcomeOf is what the record says of a status, and the word for why.
func outcomeOf(status int) (outcome, reason string) {
	switch {
	case status < http.StatusBadRequest:
		return "ok", ""
	case status >= http.StatusInternalServerError:
		return "failed", "error"
	case status == http.StatusForbidden:
		return "refused", "forbidden"
	case status == http.StatusNotFound:
		return "refused", "not-found"
	case status == http.StatusTooManyRequests:
		return "refused", "throttled"
	case status == http.StatusGone:
		return "refused", "gone"
	}
	return "refused", "invalid"
}

// asked is the request without its values: the method, the pattern of the path,
// and the names of the parameters that are ours, in the order sent.
func (r *request) asked() string {
	typ := r.c.Param("type")
	if !r.types[typ] {
		typ = "[type]"
	}
	pattern := ""
	switch r.route {
	case "read":
		pattern = "/[id]"
	case "vread":
		pattern = "/[id]/_history/[version]"
	case "history":
		pattern = "/[id]/_history"
	case "search":
		if r.c.Request.Method == http.MethodPost {
			pattern = "/_search"
		}
	case matchRoute:
		typ, pattern = "Patient", "/"+matchOperation
	default:
		pattern = "/[id]/$" + r.route
	}
	pairs := r.sent
	if pairs == nil && r.c.Request.URL.RawQuery != "" {
		pairs, _ = parsePairs(r.c.Request.URL.RawQuery)
	}
	if len(pairs) == 0 {
		return r.c.Request.Method + " " + typ + pattern
	}
	names := make([]string, len(pairs))
	for i, p := range pairs {
		names[i] = ourName(typ, p.name)
	}
	return r.c.Request.Method + " " + typ + pattern + " " + strings.Join(names, ",")
}

// ourNames are the parameters that are not of a type's search.
var ourNames = []string{
	"_id", "_lastUpdated", "_count", "_summary", "_elements", "_total", "_sort", "_include", "_include:iterate", "_revinclude", "_revinclude:iterate",
	"_format", "_pretty", "_since", "_type", "start", "end", pageParam,
}

// ourModifiers are those that a parameter of a search may have beside a type.
var ourModifiers = []string{"exact", "contains", "missing", "not", "identifier", "text", "of-type", "in", "not-in", "above", "below"}

// ourName is a parameter's name if we know it, else a question mark: a caller
// may put anything where a name belongs.
func ourName(typ, name string) string {
	if slices.Contains(ourNames, name) {
		return name
	}
	if chained, ok := ourChain(typ, name); ok {
		return chained
	}
	if reversed, ok := ourReverse(name); ok {
		return reversed
	}
	param, modifier, modified := strings.Cut(name, ":")
	switch {
	case param != "_id" && param != "_lastUpdated" && fhir.FindParam(typ, param) == nil:
		return "?"
	case !modified || slices.Contains(ourModifiers, modifier) || fhir.IsResource(modifier):
		return name
	}
	return param + ":?"
}

// ourChain is the name of a chained parameter, if we know its reference: patient.name,
// subject:Patient.birthdate. Of what is behind the point the rule is ourName's.
func ourChain(typ, name string) (known string, ok bool) {
	reference, rest, ok := strings.Cut(name, ".")
	reference, only, typed := strings.Cut(reference, ":")
	param := fhir.FindParam(typ, reference)
	if !ok || param == nil || param.Kind != fhir.ReferenceParam {
		return "", false
	}
	targets := param.Targets
	if typed && fhir.IsResource(only) {
		targets, reference = []string{only}, reference+":"+only
	}
	for _, target := range targets {
		if inner := ourName(target, rest); inner != "?" {
			return reference + "." + inner, true
		}
	}
	return reference + ".?", true
}

// ourReverse is the name of a _has parameter, if we know its reference:
// _has:Observation:patient:code. Of what is behind that the rule is ourName's.
func ourReverse(name string) (known string, ok bool) {
	parts := strings.SplitN(name, ":", 4)
	if len(parts) != 4 || parts[0] != "_has" {
		return "", false
	}
	param := fhir.FindParam(parts[1], parts[2])
	if param == nil || param.Kind != fhir.ReferenceParam {
		return "", false
	}
	return strings.Join(parts[:3], ":") + ":" + ourName(parts[1], parts[3]), true
}
