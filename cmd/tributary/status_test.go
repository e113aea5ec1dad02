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
