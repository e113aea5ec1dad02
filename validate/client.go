package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// client asks one server as one of its clients.
type client struct {
	base, key string
}

// statusError is an answer other than 200.
type statusError struct {
	path   string
	status int
	body   []byte
}

func (e *statusError) Error() string {
	var outcome struct {
		Issue []struct{ Diagnostics string }
	}
	text := ""
	if json.Unmarshal(e.body, &outcome) == nil && len(outcome.Issue) > 0 {
		text = ": " + outcome.Issue[0].Diagnostics
	}
	return fmt.Sprintf("GET %s: %d%s", e.path, e.status, text)
}

// get returns the body of a 200; any other answer is a *statusError.
func (c *client) get(ctx context.Context, path string) ([]byte, error) {
	url := path
	if !strings.Contains(path, "://") {
		url = c.base + path
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/fhir+json")
	req.Header.Set("Authorization", "Bearer "+c.key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", path, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, &statusError{path, resp.StatusCode, body}
	}
	return body, nil
}

// bundle is the part of a Bundle that is looked at.
type bundle struct {
	Link []struct {
		Relation string `json:"relation"`
		URL      string `json:"url"`
	} `json:"link"`
	Entry []entry `json:"entry"`
}

type entry struct {
	FullURL  string          `json:"fullUrl"`
	Resource json.RawMessage `json:"resource"`
}

// pages calls fn with each page of a query as it was sent, until it returns
// false or there is none.
func (c *client) pages(ctx context.Context, query string, fn func(body []byte, b *bundle) (more bool, err error)) error {
	for next := query; next != ""; {
		body, err := c.get(ctx, next)
		if err != nil {
			return err
		}
		b := &bundle{}
		if err := json.Unmarshal(body, b); err != nil {
			return fmt.Errorf("GET %s: %w", next, err)
		}
		if more, err := fn(body, b); err != nil || !more {
			return err
		}
		next = ""
		for _, l := range b.Link {
			if l.Relation == "next" {
				next = l.URL
			}
		}
	}
	return nil
}

// capability is what the server says that it has.
type capability struct {
	Rest []struct {
		Resource []struct {
			Type      string `json:"type"`
			Operation []struct {
				Name string `json:"name"`
			} `json:"operation"`
			SearchInclude []string `json:"searchInclude"`
		} `json:"resource"`
	} `json:"rest"`
}

func (c *client) capabilities(ctx context.Context) (body []byte, types []string, operations map[string]bool, err error) {
	body, err = c.get(ctx, "/metadata")
	if err != nil {
		return nil, nil, nil, err
	}
	var statement capability
	if err := json.Unmarshal(body, &statement); err != nil {
		return nil, nil, nil, fmt.Errorf("GET /metadata: %w", err)
	}
	operations = map[string]bool{}
	for _, rest := range statement.Rest {
		for _, r := range rest.Resource {
			types = append(types, r.Type)
			for _, o := range r.Operation {
				operations[r.Type+"/$"+o.Name] = true
			}
		}
	}
	if len(types) == 0 {
		return nil, nil, nil, errors.New("GET /metadata: the server has no resource type")
	}
	return body, types, operations, nil
}
