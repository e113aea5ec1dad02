package api_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tributary-health/tributary/api"
	"github.com/tributary-health/tributary/audit"
)

// A client that is locked out and asks on does not fill the disk with its refusals,
// and not one of them is lost.
func TestLockedOutClientFillsNoDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	log, err := audit.Open(dir, audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c, _ := recorded(newFakeStore())
	c.Audit, c.Match = log.Append, &fakeMatcher{wait: 24 * time.Hour}
	handler := api.New(c)
	const requests = 20000
	started := time.Now()
	for range requests {
		if w := serveOne(handler, askRecorded(t, matchLine)); w.Code != 429 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	t.Logf("%.0f refusals a second", requests/time.Since(started).Seconds())
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	entries, events := 0, uint64(0)
	if _, err := audit.Read(dir, time.Time{}, time.Time{}, audit.VerifyOptions{}, func(e audit.Entry) error {
		entries, events = entries+1, events+max(e.Count, 1)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "000001.log"))
	if err != nil {
		t.Fatal(err)
	}
	if t.Logf("%d entries, %d bytes", entries, info.Size()); events != requests || entries > 200 {
		t.Errorf("%d entries for %d of %d refusals", entries, events, requests)
	}
}

// What the record refuses is not given, and nobody is told to ask again: it would be
// refused each time. Operators are told what it was.
func TestUnrecordableIsNotGiven(t *testing.T) {
	store := newFakeStore() // whose ids are not of the form
	store.load(t)
	log, err := audit.Open(filepath.Join(t.TempDir(), "audit"), audit.Options{ID: func(id string) bool { return len(id) == 26 }})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	c, _ := recorded(store)
	c.Audit = log.Append
	var told error
	c.Failed = func(_ string, err error) { told = err }
	w := serveOne(api.New(c), askRecorded(t, "GET /fhir/Patient/p1"))
	if w.Code != 500 || w.Result().Header.Get("Retry-After") != "" || strings.Contains(w.Body.String(), "p1") {
		t.Errorf("%d %v %s", w.Code, w.Result().Header, w.Body)
	}
	if !errors.Is(told, audit.ErrRefused) || log.Head().Number != 0 {
		t.Errorf("told %v, %d entries", told, log.Head().Number)
	}
}
