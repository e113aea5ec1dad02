package fhir_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/tributary-health/tributary/fhir"
)

var stamped = time.Date(2026, 11, 20, 10, 0, 0, 123456789, time.FixedZone("", 3600))

func TestStamp(t *testing.T) {
	for _, c := range []struct{ content, want string }{
		{`{"resourceType":"P","id":"x","meta":{},"a":1.50}`,
			`{"resourceType":"P","id":"x","meta":{"versionId":"7","lastUpdated":"2026-11-20T09:00:00.123Z"},"a":1.50}`},
		{`{"resourceType":"P","id":"x","meta":{"profile":["u"]}}`,
			`{"resourceType":"P","id":"x","meta":{"versionId":"7","lastUpdated":"2026-11-20T09:00:00.123Z","profile":["u"]}}`},
		{`{"contained":[{"meta":{}}],"a":{"meta":{}},"meta":{ }}`,
			`{"contained":[{"meta":{}}],"a":{"meta":{}},"meta":{"versionId":"7","lastUpdated":"2026-11-20T09:00:00.123Z" }}`},
	} {
		got := fhir.Stamp([]byte("prefix "), []byte(c.content), 7, stamped)
		if string(got) != "prefix "+c.want {
			t.Errorf("Stamp gives\n%s, want\n%s", got, c.want)
		}
		if back := fhir.Unstamp([]byte(c.want)); string(back) != c.content {
			t.Errorf("Unstamp gives\n%s, want\n%s", back, c.content)
		}
	}
}

func TestStampWantsMeta(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Fatal("no panic")
		}
	}()
	fhir.Stamp(nil, []byte(`{"resourceType":"P"}`), 1, stamped)
}

func FuzzUnstampUndoesStamp(f *testing.F) {
	for _, s := range jsonSeeds {
		f.Add([]byte(s), uint64(1))
	}
	f.Add([]byte(`{"meta":{"versionId":"1","lastUpdated":"x"}}`), uint64(9))
	f.Fuzz(func(t *testing.T, content []byte, n uint64) {
		fhir.Unstamp(content) // any bytes
		if meta := fhir.Member(content, "meta"); !fhir.ValidJSON(content) || len(meta) == 0 || meta[0] != '{' {
			return
		}
		kept := bytes.Clone(content)
		body := fhir.Stamp(nil, content, n, stamped)
		if back := fhir.Unstamp(body); !bytes.Equal(back, content) {
			t.Fatalf("%q stamped is %q, unstamped %q", content, body, back)
		}
		if !fhir.ValidJSON(body) || !bytes.Equal(kept, content) {
			t.Fatalf("%q became %q", kept, body)
		}
	})
}
