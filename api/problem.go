package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/tributary-health/tributary/audit"
	"github.com/tributary-health/tributary/fhir"
)

// problem is an error with the answer it becomes. code is from FHIR's IssueType;
// text is shown to the caller and never holds a value of the request or of a
// resource. cause, if set, is for Config.Failed.
type problem struct {
	status int
	code   string
	text   string
	cause  error
	retry  []string    // the Retry-After header, if it is worth it
	shows  *disclosure // what the answer tells of members, for the record
}

func (p problem) Error() string { return p.text }
func (p problem) Unwrap() error { return p.cause }

var (
	notFound = problem{status: http.StatusNotFound, code: "not-found", text: "no such resource"}
	notReady = problem{status: http.StatusServiceUnavailable, code: "transient", text: "the records are not there yet: try again", retry: []string{"5"}}
	notKept  = problem{status: http.StatusServiceUnavailable, code: "transient", text: "the answer could not be recorded, and so is not given", retry: []string{"5"}}
	// unrecordable is an answer that the record refuses.
	unrecordable = problem{status: http.StatusInternalServerError, code: "exception", text: "the answer cannot be recorded, and so is not given"}

	tooLong = problem{status: http.StatusServiceUnavailable, code: "too-costly", text: "the answer took too long to find: ask for less"}
)

// goneOf answers for a deleted resource, which tells that it was there.
func goneOf(v fhir.Version) problem {
	return problem{status: http.StatusGone, code: "deleted", text: "the resource was deleted", shows: showing(v)}
}

// badParameter is the answer to a parameter that is wrong. Its name is shown only
// if it looks like one.
func badParameter(name, format string, args ...any) problem {
	return problem{status: http.StatusBadRequest, code: "invalid", text: "parameter " + shownName(name) + ": " + fmt.Sprintf(format, args...)}
}

// notSupported is the answer to a parameter that asks for what there is not: the
// kind of error that a lenient search leaves out.
func notSupported(name, format string, args ...any) problem {
	p := badParameter(name, format, args...)
	p.code = "not-supported"
	return p
}

// tooCostly is the answer to a parameter that asks for more than is done for one
// request.
func tooCostly(name, format string, args ...any) problem {
	p := badParameter(name, format, args...)
	p.code = "too-costly"
	return p
}

func shownName(name string) string {
	if len(name) == 0 || len(name) > 64 {
		return "(of unlikely name)"
	}
	for _, c := range []byte(name) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c == '-' || c == ':' || c == '.') {
			return "(of unlikely name)"
		}
	}
	return `"` + name + `"`
}

// toProblem finds the answer for an error: the one table of status codes.
func toProblem(err error) problem {
	var p problem
	if errors.As(err, &p) {
		return p
	}
	var param *fhir.ParamError
	if errors.As(err, &param) {
		p = badParameter(param.Param, "%s", param.Reason)
		if param.Unknown {
			p.code = "not-supported"
		}
		return p
	}
	if u := (unrecorded{}); errors.As(err, &u) {
		p = notKept
		if errors.Is(err, audit.ErrRefused) { // and would be each time
			p = unrecordable
		}
		p.cause = err
		return p
	}
	if errors.Is(err, context.DeadlineExceeded) {
		p = tooLong
		p.cause = err
		return p
	}
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return problem{status: http.StatusRequestEntityTooLarge, code: "too-long", text: fmt.Sprintf("the body is larger than %d bytes", large.Limit)}
	}
	return problem{status: http.StatusInternalServerError, code: "exception", text: "internal error", cause: err}
}

type outcome struct {
	ResourceType string  `json:"resourceType"`
	Issue        []issue `json:"issue"`
}

type issue struct {
	Severity    string `json:"severity"`
	Code        string `json:"code"`
	Diagnostics string `json:"diagnostics"`
}

// failure is the OperationOutcome that answers an error. Config.Failed is told of
// what is ours, unless the caller has gone away.
func (r *request) failure(err error) answer {
	p := toProblem(err)
	if p.cause != nil && p.status >= http.StatusInternalServerError && r.c.Request.Context().Err() == nil {
		r.Failed(r.route, err)
	}
	body, err := json.Marshal(outcome{"OperationOutcome", []issue{{"error", p.code, p.text}}})
	if err != nil {
		body = []byte(`{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"exception"}]}`)
	}
	h := r.header()
	h["Cache-Control"] = noStore
	delete(h, "Etag")
	delete(h, "Last-Modified")
	if p.retry != nil {
		h["Retry-After"] = p.retry
	}
	return answer{status: p.status, body: body}
}
