package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/tributary-health/tributary/hashmatch"
)

const (
	matchTimeout = 30 * time.Second
	// maxMatchAnswer bounds what is read of an answer.
	maxMatchAnswer = 4 << 20
	// maxMatchWait is the longest that is waited before asking again.
	maxMatchWait = 30 * time.Second
)

// matchClient sends requests, one at a time.
type matchClient struct {
	http    *http.Client
	url     string
	bearer  string
	every   time.Duration // at least between two requests
	last    time.Time
	retries int
	wait    func(context.Context, time.Duration) error
}

// newMatchClient refuses an address at which the bearer key would cross a
// network in clear.
func newMatchClient(base, bearer, ca string, rate float64, retries int) (*matchClient, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.User != nil {
		return nil, errors.New("match: the FHIR base is no address such as https://payer.example/fhir")
	}
	if u.Scheme == "http" && !loopback(u.Hostname()) {
		return nil, errors.New("match: the FHIR base is not https: it would show the client's key to the network")
	}
	if bearer == "" || strings.ContainsAny(bearer, " \t\r\n") {
		return nil, errors.New("match: the client's bearer key is empty, or more than one word")
	}
	transport, err := trusting(ca)
	if err != nil {
		return nil, fmt.Errorf("match: %w", err)
	}
	return &matchClient{
		http: &http.Client{Transport: transport, Timeout: matchTimeout,
			// A redirect would carry the bearer key elsewhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		url: strings.TrimRight(base, "/") + "/Patient/$hash-match", bearer: bearer,
		every: time.Duration(float64(time.Second) / rate), retries: retries, wait: waitFor,
	}, nil
}

// trusting is a transport that trusts the authorities of a file, in place of the
// system's; without a file, those.
func trusting(ca string) (*http.Transport, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if ca == "" {
		return transport, nil
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, fmt.Errorf("--ca: %w", err)
	}
	transport.TLSClientConfig.RootCAs = x509.NewCertPool()
	if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--ca: no certificate in %s", ca)
	}
	return transport, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func waitFor(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ask makes and sends the request for one patient. last says that asking on is
// of no use.
func (c *matchClient) ask(ctx context.Context, key hashmatch.EpochKey, person hashmatch.Demographics) (result matchResult, last bool) {
	request, err := key.Request(person)
	if err != nil {
		return matchResult{Outcome: outcomeUnasked}, false
	}
	body := request.Encode()
	for try := 0; ; try++ {
		result, again, last := c.send(ctx, body)
		if again == 0 || try >= c.retries {
			return result, last
		}
		if err := c.wait(ctx, again); err != nil {
			return matchResult{Outcome: outcomeFailed, Detail: "stopped"}, true
		}
	}
}

// send sends once. again is how long to wait before it may be sent again; 0 if
// it may not.
func (c *matchClient) send(ctx context.Context, body []byte) (result matchResult, again time.Duration, last bool) {
	if gap := c.every - time.Since(c.last); gap > 0 {
		if err := c.wait(ctx, gap); err != nil {
			return matchResult{Outcome: outcomeFailed, Detail: "stopped"}, 0, true
		}
	}
	c.last = time.Now()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return matchResult{Outcome: outcomeFailed, Detail: "no request can be made for this address"}, 0, true
	}
	r.Header.Set("Authorization", "Bearer "+c.bearer)
	r.Header.Set("Content-Type", hashmatch.ContentType)
	r.Header.Set("Accept", hashmatch.ContentType)
	answer, err := c.http.Do(r)
	if err != nil {
		return matchResult{Outcome: outcomeFailed, Detail: "no answer: " + noAnswer(err)}, 0, false
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
		return readMatch(answer.Body), 0, false
	case http.StatusUnprocessableEntity:
		return matchResult{Outcome: outcomeNone}, 0, false
	case http.StatusTooManyRequests:
		return matchResult{Outcome: outcomeQuota, Detail: quotaText(answer.Header.Get("Retry-After"))}, 0, true
	case http.StatusUnauthorized, http.StatusForbidden:
		return matchResult{Outcome: outcomeRefused, Detail: statusText(answer)}, 0, true
	case http.StatusServiceUnavailable:
		return matchResult{Outcome: outcomeFailed, Detail: statusText(answer)}, retryAfter(answer.Header.Get("Retry-After")), false
	case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType:
		return matchResult{Outcome: outcomeRefused, Detail: statusText(answer)}, 0, false
	}
	return matchResult{Outcome: outcomeFailed, Detail: statusText(answer)}, 0, false
}

func statusText(r *http.Response) string { return "status " + strconv.Itoa(r.StatusCode) }

func quotaText(after string) string {
	if n, err := strconv.Atoi(after); err == nil && n > 0 {
		return fmt.Sprintf("ask again in %s", time.Duration(n)*time.Second)
	}
	return ""
}

// retryAfter is a second if the server does not say.
func retryAfter(header string) time.Duration {
	n, err := strconv.Atoi(header)
	if err != nil || n < 1 {
		return time.Second
	}
	return min(time.Duration(min(n, 3600))*time.Second, maxMatchWait)
}

// noAnswer is a transport error without the address it repeats.
func noAnswer(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err.Error()
	}
	return err.Error()
}

// matchAnswer is what is read of the Bundle: the Patient first, then Tasks.
type matchAnswer struct {
	ResourceType string `json:"resourceType"`
	Type         string `json:"type"`
	Entry        []struct {
		Resource struct {
			ResourceType string `json:"resourceType"`
			ID           string `json:"id"`
			Code         struct {
				Text string `json:"text"`
			} `json:"code"`
			Description string `json:"description"`
			Status      string `json:"status"`
			For         struct {
				Reference string `json:"reference"`
			} `json:"for"`
			Restriction struct {
				Period struct{ Start, End string } `json:"period"`
			} `json:"restriction"`
		} `json:"resource"`
	} `json:"entry"`
}

func readMatch(body io.Reader) matchResult {
	unreadable := matchResult{Outcome: outcomeFailed, Detail: "status 200 with a body that is no answer to a match"}
	text, err := io.ReadAll(io.LimitReader(body, maxMatchAnswer+1))
	var a matchAnswer
	if err != nil || len(text) > maxMatchAnswer || json.Unmarshal(text, &a) != nil || a.ResourceType != "Bundle" || len(a.Entry) == 0 {
		return unreadable
	}
	patient := a.Entry[0].Resource
	if patient.ResourceType != "Patient" || patient.ID == "" {
		return unreadable
	}
	result := matchResult{Outcome: outcomeMatched, Patient: patient.ID}
	for _, e := range a.Entry[1:] {
		task := e.Resource
		if task.ResourceType != "Task" {
			continue
		}
		if of := task.For.Reference; of != "" && of != "Patient/"+patient.ID && !strings.HasSuffix(of, "/Patient/"+patient.ID) {
			return unreadable // another person's task must not be shown as this one's
		}
		result.Tasks = append(result.Tasks, matchTask{
			Text: cmp.Or(task.Code.Text, task.Description, "task"), Status: task.Status, From: task.Restriction.Period.Start, Due: task.Restriction.Period.End})
	}
	return result
}
