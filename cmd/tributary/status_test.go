package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// Before anything is applied there is no time to print, and none is made up.
func TestStatusBeforeAnythingIsApplied(t *testing.T) {
	r := statusReport{Sources: []sourceStatus{{Name: "emr", Applied: "0.0.0", Snapshot: true}}}
	var b strings.Builder
	printStatus(&b, r)
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, printed := range []string{b.String(), string(text)} {
		if strings.Contains(printed, "0001-01-01") {
			t.Errorf("a time that nobody knows: %s", printed)
		}
	}
	if !strings.Contains(b.String(), "source emr: snapshot open, nothing applied yet") {
		t.Errorf("printed:\n%s", b.String())
	}
}

// Without a key nothing is asked: the answer would not say where it belongs.
func TestKeyIsAskedFor(t *testing.T) {
	t.Setenv("TRIBUTARY_KEY", "")
	f := newFlags("status", "")
	target := targetFlags(f)
	if err := f.Parse([]string{"--fhir", "http://127.0.0.1:1/fhir"}); err != nil {
		t.Fatal(err)
	}
	if _, err := target.resolve(); err == nil || !strings.Contains(err.Error(), "TRIBUTARY_KEY") {
		t.Errorf("got %v", err)
	}
	t.Setenv("TRIBUTARY_KEY", "operator-key-0123456789")
	if _, err := target.resolve(); err != nil {
		t.Error(err)
	}
}
