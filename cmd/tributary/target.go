package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// target is a running process that a command talks to.
type target struct {
	fhir string // base address, with /fhir
	root string // without
	key  string
	http *http.Client
}

// targetOptions are the flags that name one.
type targetOptions struct {
	work, fhir, keyEnv, ca *string
}

func targetFlags(f *flag.FlagSet) *targetOptions {
	return &targetOptions{
		work:   f.String("work", ".demo", "work folder of a running demo, to find the process"),
		fhir:   f.String("fhir", "", "FHIR base address of the process; default: the demo's"),
		keyEnv: f.String("key-env", "TRIBUTARY_KEY", "environment variable with an operator's key, used with --fhir"),
		ca:     f.String("ca", "", "PEM file of the authorities to trust, in place of the system's"),
	}
}

func (o *targetOptions) resolve() (*target, error) {
	if *o.fhir != "" {
		key := os.Getenv(*o.keyEnv)
		if key == "" {
			return nil, fmt.Errorf("--fhir needs an operator's key: set the environment variable %s, or name another with --key-env", *o.keyEnv)
		}
		return newTarget(*o.fhir, key, *o.ca)
	}
	env, err := readDemoEnv(*o.work)
	if err != nil {
		return nil, fmt.Errorf("%w; name a process with --fhir", err)
	}
	return newTarget(env["FHIR"], env["OPERATOR_KEY"], *o.ca)
}

func newTarget(fhir, key, ca string) (*target, error) {
	u, err := url.Parse(fhir)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("%q is no base address", fhir)
	}
	transport, err := trusting(ca)
	if err != nil {
		return nil, err
	}
	// As long as a full page of a large store takes.
	patient := &http.Client{Transport: transport, Timeout: 2 * time.Minute}
	return &target{fhir: strings.TrimRight(fhir, "/"), root: u.Scheme + "://" + u.Host, key: key, http: patient}, nil
}

// refusal is an answer other than 200.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

// get asks and returns the body of a 200; what else comes is an error.
func (t *target) get(ctx context.Context, address string, header ...string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+t.key)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := t.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the process does not answer: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, &refusal{resp.StatusCode, fmt.Sprintf("%s: %s: %.300s", req.URL.Path, resp.Status, bytes.TrimSpace(body))}
	}
	return body, nil
}

func (t *target) getJSON(ctx context.Context, path string, v any) error {
	body, err := t.get(ctx, t.root+path)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, v)
}
