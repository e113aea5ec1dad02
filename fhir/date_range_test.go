package fhir_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tributary-health/tributary/fhir"
)

func TestParseDate(t *testing.T) {
	for _, c := range []struct{ text, low, high string }{
		{"2026", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"},
		{"2024-02", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"},
		{"2024-02-29", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"},
		{"1935-12-31", "1935-12-31T00:00:00Z", "1936-01-01T00:00:00Z"},
		{"2026-11-20T10:30Z", "2026-11-20T10:30:00Z", "2026-11-20T10:31:00Z"},
		{"2026-11-20T10:30", "2026-11-20T10:30:00Z", "2026-11-20T10:31:00Z"},
		{"2026-11-20T23:30:15-05:00", "2026-11-21T04:30:15Z", "2026-11-21T04:30:16Z"},
		{"2026-11-20T10:30:15 02:00", "2026-11-20T08:30:15Z", "2026-11-20T08:30:16Z"},
		{"2026-11-20T10:30:15.12Z", "2026-11-20T10:30:15.12Z", "2026-11-20T10:30:15.13Z"},
		{"2026-11-20T10:30:15.1234567Z", "2026-11-20T10:30:15.123456Z", "2026-11-20T10:30:15.123457Z"},
		{"2026-12-31T23:59:60Z", "2027-01-01T00:00:00Z", "2027-01-01T00:00:01Z"},
	} {
		r, err := fhir.ParseDate(c.text)
		low, _ := time.Parse(time.RFC3339Nano, c.low)
		high, _ := time.Parse(time.RFC3339Nano, c.high)
		if err != nil || r.Low != low.UnixMicro() || r.High != high.UnixMicro() {
			t.Errorf("ParseDate(%q) = %v to %v, %v", c.text, time.UnixMicro(r.Low).UTC(), time.UnixMicro(r.High).UTC(), err)
		}
	}
}

func TestParseDateRefuses(t *testing.T) {
	for _, text := range []string{
		"", "26", "0000", "2026-", "2026-13", "2026-1-1", "2026-02-29", "2026-11-31", "2026-00", "2026-11-20T", "2026-11-20T10", "2026-11-20T24:00Z",
		"2026-11-20T10:60Z", "2026-11-20T10:30:61Z", "2026-11-20T10:30:15.Z", "2026-11-20T10:30:15+2:00", "2026-11-20T10:30:15+15:00", "2026-11T10:30Z",
		"2026-11-20 10:30", "20261120", "17.05.1970", "2026-11-20Z", "２０２６",
	} {
		if r, err := fhir.ParseDate(text); err == nil {
			t.Errorf("ParseDate(%q) = %v", text, r)
		} else if text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("the error repeats %q: %v", text, err)
		}
	}
}

func FuzzParseDate(f *testing.F) {
	for _, s := range []string{"2026", "2026-11-20T10:30:15.123+01:00", "9999-12-31T23:59:60.999999-14:00", "0001"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := fhir.ParseDate(text)
		if err == nil && r.Low >= r.High {
			t.Fatalf("%q is the empty range %v", text, r)
		}
		if at, e := time.Parse(time.RFC3339, text); e == nil && err == nil && len(text) >= 20 && !(r.Low <= at.UnixMicro() && at.UnixMicro() < r.High) {
			t.Fatalf("%q is %v, not in %v", text, at.UnixMicro(), r)
		}
	})
}
