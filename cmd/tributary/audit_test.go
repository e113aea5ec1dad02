package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tributary-health/tributary/audit"
)

// recorded makes a data folder with a record of six events, three members.
func recorded(t *testing.T) (data string, head audit.Mark) {
	t.Helper()
	data = t.TempDir()
	l, err := audit.Open(filepath.Join(data, "audit"), audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		e := audit.Event{
			Time: time.Date(2026, 3, 1+i, 12, 0, 0, 0, time.UTC), Kind: "read", Client: "provider", Policy: "0a1b2c3d4e", Outcome: audit.OK,
			Request: "GET Claim/[id]", Commit: 7, Generation: "9f",
			Subjects: []audit.Subject{{Patient: fmt.Sprintf("p%d", i%3), Resources: []string{fmt.Sprintf("Claim/c%d/_history/1", i)}}},
		}
		if i == 4 {
			e.Kind, e.Client, e.Request = audit.Delivery, "care", "SEND fhir.changes.care/0"
		}
		if err := l.Append(context.Background(), e); err != nil {
			t.Fatal(err)
		}
	}
	head = l.Head()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return data, head
}

// audited runs the command and returns what it printed to standard output.
func audited(t *testing.T, args ...string) (string, error) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	old := os.Stdout
	os.Stdout = w
	printed := make(chan string)
	go func() {
		b, _ := io.ReadAll(r)
		printed <- string(b)
	}()
	err = runAudit(context.Background(), args)
	os.Stdout = old
	_ = w.Close()
	return <-printed, err
}

func TestAuditAccount(t *testing.T) {
	data, _ := recorded(t)
	out, err := audited(t, "account", "Patient/p1", "--data", data)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2 entries tell of Patient/p1", "2026-03-02 12:00:00.000  provider  read", "care", "SEND fhir.changes.care/0", "0a1b2c3d", "Claim/c4/_history/1", "complete for entries 1 to 6"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	table, _, _ := strings.Cut(out, "\naudit: ") // what follows has hashes
	for _, other := range []string{"p0", "p2", "/c0", "/c2"} {
		if strings.Contains(table, other) {
			t.Errorf("%s, another member's, stands in\n%s", other, out)
		}
	}
	out, err = audited(t, "account", "--json", "--from", "2026-03-03", "p1", "--data", data)
	if err != nil || strings.Count(out, "\n") != 1 || !strings.HasPrefix(out, `{"n":5,`) {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestAuditList(t *testing.T) {
	data, _ := recorded(t)
	out, err := audited(t, "list", "--data", data, "--client", "care", "--fhir")
	if err != nil || strings.Count(out, "\n") != 1 || !strings.HasPrefix(out, `{"resourceType":"AuditEvent","id":"5-1"`) {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = audited(t, "list", "--data", data, "--to", "2026-03-03T12:00:00Z", "--json")
	if err != nil || strings.Count(out, "\n") != 2 {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestAuditVerify(t *testing.T) {
	data, head := recorded(t)
	out, err := audited(t, "verify", "--data", data, "--expect", head.String(), "--key", filepath.Join(data, "audit", "audit.pub"))
	if err != nil || !strings.Contains(out, "entries 1 to 6") || !strings.Contains(out, "head "+head.String()) {
		t.Errorf("%v\n%s", err, out)
	}
	_, fingerprint, _ := strings.Cut(strings.TrimSpace(out), "key  ")
	if out, err := audited(t, "verify", "--data", filepath.Join(data, "audit"), "--key", fingerprint); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	other := strings.Repeat("0", 64)
	if out, err := audited(t, "verify", "--data", data, "--key", other); !errors.Is(err, errReported) {
		t.Errorf("another key: %v\n%s", err, out)
	}
	later := audit.Mark{Number: head.Number + 1, Hash: head.Hash}
	if out, err := audited(t, "verify", "--data", data, "--expect", later.String()); !errors.Is(err, errReported) || !strings.Contains(out, "taken back") {
		t.Errorf("a head ahead of the log: %v\n%s", err, out)
	}
	segment := filepath.Join(data, "audit", "000001.log")
	text, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(segment, bytes.Replace(text, []byte("Claim/c3"), []byte("Claim/c9"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err = audited(t, "verify", "--data", data)
	if !errors.Is(err, errReported) || !strings.Contains(out, "000001.log, offset ") || !strings.Contains(out, "entry 4: was changed") || !strings.Contains(out, "audit: 5 of the entries 1 to 6 are good") || !strings.Contains(out, "faults: 1") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := audited(t, "account", "p0", "--data", data); !errors.Is(err, errReported) || !strings.Contains(out, "not complete") {
		t.Errorf("%v\n%s", err, out)
	}
}

// A head that is not whole is told of in plain words, and one that is gone is none.
func TestAuditHead(t *testing.T) {
	data, _ := recorded(t)
	head := filepath.Join(data, "audit", "head")
	text, err := os.ReadFile(head)
	if err != nil {
		t.Fatal(err)
	}
	end := bytes.IndexByte(text, '\n')
	if text[end-1]++; text[end-1] > '0'+1 { // the signature's last digit
		text[end-1] = '0'
	}
	if err := os.WriteFile(head, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := audited(t, "verify", "--data", data); !errors.Is(err, errReported) || !strings.Contains(out, "half 1 of the head: its signature is not of this key") {
		t.Errorf("%v\n%s", err, out)
	}
	if err := os.Remove(head); err != nil {
		t.Fatal(err)
	}
	if out, err := audited(t, "verify", "--data", data); !errors.Is(err, errReported) || !strings.Contains(out, "\nhead none\n") {
		t.Errorf("%v\n%s", err, out)
	}
}

// A wrong command line is told apart from a record that is wrong.
func TestAuditUsage(t *testing.T) {
	data, _ := recorded(t)
	for _, args := range [][]string{{"look"}, {"verify", "--data", t.TempDir()}, {"verify", "--data", data, "--expect", "5"}, {"verify", "--data", data, "--key", "none"},
		{"account", "--data", data}, {"account", "a", "b", "--data", data}, {"account", "Claim/x", "--data", data}, {"account", "Jane Doe", "--data", data}, {"list", "--data", data, "--from", "yesterday"}} {
		var usage usageError
		if out, err := audited(t, args...); !errors.As(err, &usage) {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
}
