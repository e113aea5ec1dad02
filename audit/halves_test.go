package audit_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/tributary-health/tributary/audit"
)

// A half of the head that kept a mark of before, put in the other's place, would
// vouch for a log that was cut by as much. So no half keeps one, and an older one
// from elsewhere is found beside the newer.
func TestNoHalfKeepsAFormerMark(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	l, err := audit.Open(dir, audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var former []byte
	for i := range 3 {
		if err := l.Append(t.Context(), event(i)); err != nil {
			t.Fatal(err)
		}
		head, err := os.ReadFile(filepath.Join(dir, "head"))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(head[:4096], head[4096:]) {
			t.Fatalf("after entry %d the halves differ", i+1)
		}
		if former != nil && bytes.Equal(former, head) {
			t.Fatal("the head stands still")
		}
		former = head
	}
	if err := l.Append(t.Context(), event(3)); err != nil {
		t.Fatal(err)
	}
	newest, err := os.ReadFile(filepath.Join(dir, "head"))
	if err != nil {
		t.Fatal(err)
	}
	for half := range 2 {
		mixed := bytes.Clone(newest)
		copy(mixed[half*4096:][:4096], former[:4096])
		if err := os.WriteFile(filepath.Join(dir, "head"), mixed, 0o600); err != nil {
			t.Fatal(err)
		}
		report, err := audit.Verify(dir, audit.VerifyOptions{})
		if err != nil || len(report.Findings) == 0 {
			t.Errorf("half %d of before: %v, %v", half+1, report.Findings, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "head"), newest, 0o600); err != nil {
		t.Fatal(err)
	}
}
