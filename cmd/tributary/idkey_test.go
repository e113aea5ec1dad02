package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// A lost or exchanged id key would delete every resource and make it again under
// another id: it is refused.
func TestIDKeyIsNeverReplaced(t *testing.T) {
	dir := t.TempDir()
	first, err := readIDKey(dir)
	if err != nil || len(first) != 32 {
		t.Fatalf("%d bytes, %v", len(first), err)
	}
	again, err := readIDKey(dir)
	if err != nil || !bytes.Equal(first, again) {
		t.Fatalf("the second read differs: %v", err)
	}
	path := filepath.Join(dir, "id.key")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := readIDKey(dir); err == nil {
		t.Error("a lost key was replaced by a new one")
	}
	if err := os.WriteFile(path, bytes.Repeat([]byte{7}, 32), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readIDKey(dir); err == nil {
		t.Error("another key was taken")
	}
}
