package api

import (
	"encoding/json"
	"errors"
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
	return append(pairs, more...), err
}

var errParameters = problem{status: http.StatusBadRequest, code: "structure", text: "want a Parameters resource in the body"}

// parameterPairs reads a Parameters resource as a query would have it.
func parameterPairs(body []byte) (pairs []pair, err error) {
	var resource struct {
		ResourceType string                       `json:"resourceType"`
		Parameter    []map[string]json.RawMessage `json:"parameter"`
	}
	if json.Unmarshal(body, &resource) != nil || resource.ResourceType != "Parameters" {
		return nil, errParameters
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

// body reads a body of one of the media types; that there is none is fine.
func (r *request) body(media ...string) ([]byte, error) {
	q := r.c.Request
	if content := q.Header.Get("Content-Type"); content != "" || q.ContentLength != 0 {
		sent, _, err := mime.ParseMediaType(content)
		if err != nil || !slices.Contains(media, sent) {
			return nil, problem{status: http.StatusUnsupportedMediaType, code: "not-supported", text: "want a body of " + media[0]}
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(r.c.Writer, q.Body, maxForm))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, err
	case err != nil:
		return nil, problem{status: http.StatusBadRequest, code: "incomplete", text: "the body ended early", cause: err}
	}
	return body, nil
}
