package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A port that is taken is named once, with its flag, and no folder is left that
// holds nothing.
func TestTakenPortLeavesNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken, work := l.Addr().String(), filepath.Join(t.TempDir(), "work")
	err = runDemo(context.Background(), []string{"--work", work, "--api", taken, "--broker", "127.0.0.1:0"})
	if err == nil || !strings.Contains(err.Error(), "--api") || strings.Count(err.Error(), taken) != 1 {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(work); !os.IsNotExist(err) {
		t.Errorf("the work folder is left behind (%v)", err)
	}
}

// A folder that the demo did not make is not its to clean, whatever its files are
// called; one that it only locked is.
func TestCleanTouchesNoForeignFolder(t *testing.T) {
	foreign := t.TempDir()
	for _, name := range []string{"data", demoConfigFile, "tributary.log"} {
		if err := os.WriteFile(filepath.Join(foreign, name), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := cleanDemo(context.Background(), foreign); err == nil || !strings.Contains(err.Error(), foreign) {
		t.Errorf("error %v", err)
	}
	if left, err := os.ReadDir(foreign); err != nil || len(left) != 3 {
		t.Errorf("of 3 files %d are left (%v)", len(left), err)
	}
	locked := filepath.Join(t.TempDir(), "work")
	if err := os.Mkdir(locked, 0o755); err != nil {
		t.Fatal(err)
	}
	unlock, err := lockDemo(locked)
	if err != nil {
		t.Fatal(err)
	}
	if err := cleanDemo(context.Background(), locked); err == nil {
		t.Error("a folder in use was cleaned")
	}
	unlock()
	if err := cleanDemo(context.Background(), locked); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(locked); !os.IsNotExist(err) {
		t.Errorf("the folder is left behind (%v)", err)
	}
}
