package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tributary-health/tributary/hashmatch"
)

const (
	matchKeyText = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
	matchBearer  = "the-bearer-key"
	threePeople  = `ref,given,family,birth_date,sex,address,zip,phone,member_id,ssn4
chart-1,Zebulon,Quarrington,1951-05-23,M,220 Mulberry Street,48104,734-555-0166,CARDXY77,5151
chart-2,Ottilie,Vanterpool,1966-08-14,F,5 Pier Street,02128,,,
chart-3,Nobody,,,,,,,,
`
)

// secrets are what stands in the file, but ref, in the forms that could leak.
var secrets = []string{"zebulon", "quarrington", "1951", "0523", "mulberry", "48104", "0166", "cardxy77", "ottilie", "vanterpool", "pier", "02128", "chart-"}

func matchFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func matchRowsOf(t *testing.T, text string) []matchRow {
	t.Helper()
	rows, err := parseMatchFile([]byte(text), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func matchTestKey(t *testing.T) hashmatch.EpochKey {
	t.Helper()
	secret, err := hashmatch.ParseKey([]byte(matchKeyText))
	if err != nil {
		t.Fatal(err)
	}
	key, err := secret.Derive("2026Q4")
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// answers is a server that gives one answer after the other.
type answers struct {
	t      *testing.T
	give   []func(http.ResponseWriter)
	bodies [][]byte
}

func (a *answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		a.t.Error(err)
	}
	a.bodies = append(a.bodies, body)
	if r.Method != http.MethodPost || r.URL.Path != "/fhir/Patient/$hash-match" || r.URL.RawQuery != "" ||
		r.Header.Get("Authorization") != "Bearer "+matchBearer || r.Header.Get("Content-Type") != "application/fhir+json" {
		a.t.Errorf("asked %s %s with %v", r.Method, r.URL, r.Header)
	}
	sent := strings.ToLower(fmt.Sprint(r.URL, r.Header) + string(body))
	for _, s := range secrets {
		if strings.Contains(sent, s) {
			a.t.Errorf("%q leaves the machine", s)
		}
	}
	if _, err := hashmatch.DecodeRequest(body); err != nil {
		a.t.Error(err)
	}
	n := len(a.bodies) - 1
	if n >= len(a.give) {
		a.t.Errorf("request %d, want %d", n+1, len(a.give))
		w.WriteHeader(http.StatusTeapot)
		return
	}
	a.give[n](w)
}

func status(code int, headers ...string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
	}
}

func bundle(text string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { _, _ = io.WriteString(w, text) }
}

const aMatch = `{"resourceType":"Bundle","type":"collection","entry":[
 {"fullUrl":"http://payer/fhir/Patient/p7","resource":{"resourceType":"Patient","id":"p7"}},
 {"resource":{"resourceType":"Task","for":{"reference":"Patient/p7"},"code":{"text":"Reconcile medication"},"restriction":{"period":{"start":"2026-10-01","end":"2026-11-30"}}}},
 {"resource":{"resourceType":"Task","for":{"reference":"Patient/p7"},"description":"Influenza immunization"}}]}`

// ask plays a file against the answers, and returns what is printed as JSON, the
// summary, what was waited for, and the error.
func (a *answers) ask(t *testing.T, file string, retries int) (results []matchResult, summary string, waited []time.Duration, err error) {
	t.Helper()
	a.t = t
	server := httptest.NewServer(a)
	defer server.Close()
	c, err := newMatchClient(server.URL+"/fhir/", matchBearer, "", 100, retries)
	if err != nil {
		t.Fatal(err)
	}
	c.wait = func(_ context.Context, d time.Duration) error {
		if d > 10*time.Millisecond { // beyond what the rate asks for
			waited = append(waited, d)
		}
		return nil
	}
	var out, end bytes.Buffer
	err = matchRows(t.Context(), c, matchTestKey(t), matchRowsOf(t, file), newMatchPrinter(&out, true), &end)
	d := json.NewDecoder(&out)
	for d.More() {
		var r matchResult
		if err := d.Decode(&r); err != nil {
			t.Fatal(err)
		}
		results = append(results, r)
	}
	if len(a.bodies) != len(a.give) {
		t.Errorf("%d requests, want %d", len(a.bodies), len(a.give))
	}
	return results, end.String(), waited, err
}

func TestMatchAnswers(t *testing.T) {
	a := &answers{give: []func(http.ResponseWriter){bundle(aMatch), status(422)}}
	results, summary, _, err := a.ask(t, threePeople, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"ref":"chart-1","outcome":"matched","patient":"p7","tasks":[{"text":"Reconcile medication","from":"2026-10-01","due":"2026-11-30"},{"text":"Influenza immunization"}]},` +
		`{"ref":"chart-2","outcome":"no match","tasks":[]},{"ref":"chart-3","outcome":"not enough to ask","tasks":[]}]`
	if got, _ := json.Marshal(results); string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if want := "match: 3 people, 1 matched, 1 no match, 1 not enough to ask\n"; summary != want {
		t.Errorf("%q, want %q", summary, want)
	}
}

// What each status becomes, how often it is asked again, and whether the rest is
// asked at all.
func TestMatchStatuses(t *testing.T) {
	two := strings.Join(strings.SplitAfter(threePeople, "\n")[:3], "")
	for _, c := range []struct {
		name   string
		give   []func(http.ResponseWriter)
		want   [2]matchOutcome
		waited []time.Duration
	}{
		{"quota ends it", []func(http.ResponseWriter){status(429, "Retry-After", "3600")}, [2]matchOutcome{outcomeQuota, outcomeQuota}, nil},
		{"not let in ends it", []func(http.ResponseWriter){status(401)}, [2]matchOutcome{outcomeRefused, outcomeRefused}, nil},
		{"no right ends it", []func(http.ResponseWriter){status(403)}, [2]matchOutcome{outcomeRefused, outcomeRefused}, nil},
		{"one is refused", []func(http.ResponseWriter){status(400), status(422)}, [2]matchOutcome{outcomeRefused, outcomeNone}, nil},
		{"an error is not asked again", []func(http.ResponseWriter){status(500), status(422)}, [2]matchOutcome{outcomeFailed, outcomeNone}, nil},
		{"not ready is asked again", []func(http.ResponseWriter){status(503, "Retry-After", "5"), status(503), bundle(aMatch), status(422)},
			[2]matchOutcome{outcomeMatched, outcomeNone}, []time.Duration{5 * time.Second, time.Second}},
		{"not ready for long", []func(http.ResponseWriter){status(503, "Retry-After", "999999999"), status(503), status(503), status(422)},
			[2]matchOutcome{outcomeFailed, outcomeNone}, []time.Duration{maxMatchWait, time.Second}},
		{"a redirect is not followed", []func(http.ResponseWriter){status(307, "Location", "/fhir/Patient/$hash-match"), status(422)}, [2]matchOutcome{outcomeFailed, outcomeNone}, nil},
		{"no bundle", []func(http.ResponseWriter){bundle(`{"resourceType":"Patient","id":"p7"}`), bundle(`<html>`)}, [2]matchOutcome{outcomeFailed, outcomeFailed}, nil},
		{"an empty bundle", []func(http.ResponseWriter){bundle(`{"resourceType":"Bundle"}`), status(204)}, [2]matchOutcome{outcomeFailed, outcomeFailed}, nil},
		{"another person's task", []func(http.ResponseWriter){bundle(strings.Replace(aMatch, `"Patient/p7"`, `"Patient/p8"`, 1)), status(422)}, [2]matchOutcome{outcomeFailed, outcomeNone}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := &answers{give: c.give}
			results, summary, waited, err := a.ask(t, two, 2)
			if len(results) != 2 || results[0].Outcome != c.want[0] || results[1].Outcome != c.want[1] || fmt.Sprint(waited) != fmt.Sprint(c.waited) {
				t.Errorf("%+v, waited %v", results, waited)
			}
			answered := c.want[0] != outcomeFailed && c.want[0] != outcomeRefused && c.want[0] != outcomeQuota
			if answered != (err == nil) || !answered && !errors.Is(err, errReported) {
				t.Errorf("%v, %s", err, summary)
			}
		})
	}
}

// A partner's export has names and columns of its own: those that are known count,
// the others stay at home.
func TestMatchFileOfAnotherSystem(t *testing.T) {
	var warnings bytes.Buffer
	rows, err := parseMatchFile([]byte("Id,BIRTHDATE,DEATHDATE,SSN,FIRST,LAST,GENDER,Zip Code,mulberry\nr7,1951-05-23,,999-12-3456,Zebulon,Quarrington,F,02139,secret\n"), &warnings)
	if err != nil {
		t.Fatal(err)
	}
	want := hashmatch.Demographics{Names: []hashmatch.Name{{Family: "Quarrington", Given: []string{"Zebulon"}}}, BirthDate: "1951-05-23", Sex: "F",
		Addresses: []hashmatch.Address{{ZIP: "02139"}}, SSN: "999-12-3456"}
	if len(rows) != 1 || rows[0].ref != "r7" || !reflect.DeepEqual(rows[0].person, want) {
		t.Errorf("%+v", rows)
	}
	if got := warnings.String(); got != "match: line 1: not used, and not sent: column 3, 9\n" {
		t.Error(got)
	}
}

// What is wrong with a file is told by line and column, never by what stands
// there: a file without a header has a patient in its first line.
func TestMatchFileErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "the file is empty"},
		{"no header", strings.SplitAfter(threePeople, "\n")[1], "line 1: no column birth_date"},
		{"only an unknown column", "mulberry\nZebulon\n", "line 1: no column birth_date"},
		{"one column by two names", "given,birth_date,First_Name\n", "line 1, column 3: given stands twice"},
		{"separated by semicolons", "given;family;birth_date\nAda;Nobody;1980-01-01\n", "separated by commas"},
		{"a column twice", "given,birth_date,given\n", "line 1, column 3"},
		{"no birth date", "given,family\nZebulon,Quarrington\n", "line 1: no column birth_date"},
		{"no rows", "given,birth_date\n", "no patient"},
		{"too few columns", "given,birth_date\nZebulon\n", "line 2: another number of columns"},
		{"a quote amid", "given,birth_date\nZeb\"ulon,1951-05-23\n", "line 2, column 4"},
		{"an open quote", "given,birth_date\n\"Zebulon,1951-05-23\n", "line 2"},
		{"not UTF-8", "given,birth_date\nZebulon\xff,1951-05-23\n", "line 2, column 1: not UTF-8"},
	} {
		var warnings bytes.Buffer
		_, err := parseMatchFile([]byte(c.text), &warnings)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
			continue
		}
		for _, s := range secrets {
			if strings.Contains(strings.ToLower(err.Error()+warnings.String()), s) {
				t.Errorf("%s: %q is shown: %v", c.name, s, err)
			}
		}
	}
}

func TestMatchFileWarnings(t *testing.T) {
	var warnings bytes.Buffer
	rows, err := parseMatchFile([]byte("\ufeffBirth_Date, phone,family\r\n1951-99-23,734-555-0166;12,Quarrington\r\n"), &warnings)
	if err != nil || len(rows) != 1 || len(rows[0].person.Phones) != 2 || rows[0].ref != "2" {
		t.Fatalf("%+v, %v", rows, err)
	}
	want := "match: line 2, column 1 (birth_date): not usable, left out\nmatch: line 2, column 2 (phone): not usable, left out\n"
	if warnings.String() != want {
		t.Errorf("%s", warnings.String())
	}
	warnings.Reset()
	if _, err := parseMatchFile([]byte("birth_date\n"+strings.Repeat("1951-99-23\n", 100)), &warnings); err != nil || strings.Count(warnings.String(), "\n") != shownWarnings+1 {
		t.Errorf("%d lines, %v", strings.Count(warnings.String(), "\n"), err)
	}
}

// The table cannot steer the terminal.
func TestMatchTable(t *testing.T) {
	var out bytes.Buffer
	p := newMatchPrinter(&out, false)
	for _, r := range []matchResult{
		{Ref: "a\x1b[2J", Outcome: outcomeMatched, Patient: "p7", Tasks: []matchTask{{Text: "One", Status: "requested", Due: "2026-11-30"}, {Text: "Two\ttabs\n"}, {Text: "Done", Status: "completed", Due: "2026-11-30"}}},
		{Ref: "b", Outcome: outcomeFailed, Detail: "status 500"},
	} {
		if err := p.print(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	want := "REF     OUTCOME  PATIENT  TASKS\na?[2J   matched  p7       One (due 2026-11-30); Two?tabs?; Done (completed)\nb       failed            status 500\n"
	if got := out.String(); strings.ReplaceAll(got, " ", "") != strings.ReplaceAll(want, " ", "") {
		t.Errorf("%s", got)
	}
}

func TestMatchAddress(t *testing.T) {
	for base, ok := range map[string]bool{
		"https://payer.example/fhir": true, "http://127.0.0.1:8080/fhir": true, "http://localhost/fhir": true, "http://[::1]:1/fhir": true,
		"http://payer.example/fhir": false, "http://127.0.0.1.payer.example/fhir": false, "ftp://localhost/": false, "": false,
		"https://u:p@payer.example/fhir": false, "https://payer.example/fhir?x=1": false, "payer.example": false,
	} {
		if _, err := newMatchClient(base, matchBearer, "", 5, 0); (err == nil) != ok {
			t.Errorf("%s: %v", base, err)
		}
	}
	if _, err := newMatchClient("https://payer.example", "two words", "", 5, 0); err == nil {
		t.Error("a bearer key of two words is taken")
	}
}

// Over TLS a server of unknown authority is not asked; with --ca it is.
func TestMatchTLS(t *testing.T) {
	asked := 0
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		_, _ = io.WriteString(w, aMatch)
	}))
	defer server.Close()
	server.Config.ErrorLog = nil
	ca := matchFile(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	for _, c := range []struct {
		ca   string
		want matchOutcome
	}{{"", outcomeFailed}, {ca, outcomeMatched}} {
		client, err := newMatchClient(server.URL, matchBearer, c.ca, 100, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := client.ask(t.Context(), matchTestKey(t), matchRowsOf(t, threePeople)[0].person); got.Outcome != c.want {
			t.Errorf("%+v, want %s", got, c.want)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	if _, err := newMatchClient(server.URL, matchBearer, matchFile(t, "no.pem", "no certificate"), 5, 0); err == nil {
		t.Error("a file without certificates is taken")
	}
}

func TestMatchFlags(t *testing.T) {
	file := matchFile(t, "patients.csv", threePeople)
	for _, args := range [][]string{
		{}, {file, file}, {"--rate", "0", file}, {"--rate", "101", file}, {"--rate", "NaN", file}, {"--retries", "11", file},
		{"--url", "https://payer.example", file}, {"--client-key-file", file, file},
	} {
		var usage usageError
		if _, err := matchFlags(args); !errors.As(err, &usage) {
			t.Errorf("%v: %v", args, err)
		}
	}
	o, err := matchFlags([]string{file, "--json", "--work", "w"})
	if err != nil || !o.json || o.file != file || o.work != "w" {
		t.Errorf("%+v, %v", o, err)
	}
}

// With --tokens nothing but a key file and the patients is needed, and nothing is
// sent.
func TestMatchTokens(t *testing.T) {
	var out bytes.Buffer
	if err := printTokens(&out, matchTestKey(t), matchRowsOf(t, threePeople)); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d requests, want 2", len(lines))
	}
	for _, line := range lines {
		if _, err := hashmatch.DecodeRequest([]byte(line)); err != nil {
			t.Error(err)
		}
	}
	o := matchOptions{keyFile: matchFile(t, "key", matchKeyText), tokens: true}
	if _, client, err := o.open(); err != nil || client != nil {
		t.Errorf("%v, %v", client, err)
	}
	o.keyFile = matchFile(t, "key", matchKeyText[1:])
	if _, _, err := o.open(); err == nil || strings.Contains(err.Error(), matchKeyText[10:20]) {
		t.Errorf("a short key: %v", err)
	}
}
