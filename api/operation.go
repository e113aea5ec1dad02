package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
)

// operationPairs returns the parameters of an operation: those of the address
// and, by POST, those of the body, a Parameters resource. The body may be empty.
func (r *request) operationPairs() ([]pair, error) {
	q := r.c.Request
	pairs, err := parsePairs(q.URL.RawQuery)
	if err != nil || q.Method != http.MethodPost {
		return pairs, err
	}
	body, err := r.body("application/fhir+json", "application/json")
	if err != nil || len(body) == 0 {
		return pairs, err
	}
	more, err := parameterPairs(body)
	r.sent = slices.Concat(pairs, more)
	return r.sent, err
}

var errParameters = problem{status: http.StatusBadRequest, code: "structure", text: "want a Parameters resource in the body"}

// parameterPairs reads a Parameters resource as a query would have it.
func parameterPairs(body []byte) (pairs []pair, err error) {
	var resource struct {
		ResourceType string                       `json:"resourceType"`
		Parameter    []map[string]json.RawMessage `json:"parameter"`
	}
	if !shallow(body, maxDepth) || json.Unmarshal(body, &resource) != nil || resource.ResourceType != "Parameters" {
		return nil, errParameters
	}
	if len(resource.Parameter) > maxPairs {
		return nil, problem{status: http.StatusBadRequest, code: "too-costly", text: fmt.Sprintf("more than %d parameters", maxPairs)}
	}
	for _, parameter := range resource.Parameter {
		p, values := pair{}, 0
		if json.Unmarshal(parameter["name"], &p.name) != nil {
			return nil, errParameters
		}
		for member, value := range parameter {
			if !strings.HasPrefix(member, "value") {
				continue
			}
			values++
			if json.Unmarshal(value, &p.value) == nil {
				continue
			}
			if p.value = string(value); strings.ContainsAny(p.value, `{["`) {
				return nil, badParameter(p.name, "want a simple value")
			}
		}
		if values != 1 {
			return nil, badParameter(p.name, "want one value")
		}
		pairs = append(pairs, p)
	}
	return pairs, nil
}

// shallow says whether nothing in the JSON is nested deeper than depth. A decoder
// then works on what is worth its while.
func shallow(text []byte, depth int) bool {
	level, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if level++; level > depth {
				return false
			}
		case c == '}' || c == ']':
			level--
		}
	}
	return true
}

// body reads a body of one of the media types; that there is none is fine.
func (r *request) body(media ...string) ([]byte, error) {
	q := r.c.Request
	if content := q.Header.Get("Content-Type"); content != "" || q.ContentLength != 0 {
		sent, _, err := mime.ParseMediaType(content)
		if err != nil || !slices.Contains(media, sent) {
			return nil, problem{status: http.StatusUnsupportedMediaType, code: "not-supported", text: "want a body of " + media[0]}
		}
	}
	body, err := io.ReadAll(r.limited(maxForm))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, err
	case err != nil:
		return nil, problem{status: http.StatusBadRequest, code: "incomplete", text: "the body ended early", cause: err}
	}
	return body, nil
}
