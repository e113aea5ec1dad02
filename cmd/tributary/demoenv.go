package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
)

// demoEnvFile is where a running demo says how to reach it: shell assignments.
const demoEnvFile = "demo.env"

// demoLockFile is held by whatever process uses the work folder.
const demoLockFile = "demo.lock"

// lockDemo makes the process the only demo of the work folder until unlock, or
// its own end however it comes.
func lockDemo(work string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(work, demoLockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return func() { _ = f.Close() }, nil
	}
	_ = f.Close()
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("lock the work folder: %w", err)
	}
	who := ""
	if env, err := readDemoEnv(work); err == nil {
		who = " (process " + env["PID"] + ")"
	}
	return nil, fmt.Errorf("a demo runs in %s already%s: stop it, or name another folder with --work", work, who)
}

// writeDemoEnv replaces the file at once, readable by its owner alone: it holds
// keys.
func writeDemoEnv(work string, env map[string]string) error {
	names := make([]string, 0, len(env))
	for n := range env {
		names = append(names, n)
	}
	sort.Strings(names)
	var b strings.Builder
	for _, n := range names {
		fmt.Fprintf(&b, "%s=%s\n", n, shellQuote(env[n]))
	}
	path := filepath.Join(work, demoEnvFile)
	if err := os.WriteFile(path+".new", []byte(b.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// readDemoEnv reads what writeDemoEnv wrote.
func readDemoEnv(work string) (map[string]string, error) {
	f, err := os.Open(filepath.Join(work, demoEnvFile))
	if err != nil {
		return nil, fmt.Errorf("no demo runs in %s: %w", work, err)
	}
	defer f.Close()
	env := map[string]string{}
	s := bufio.NewScanner(f)
	for s.Scan() {
		name, value, ok := strings.Cut(s.Text(), "=")
		if ok {
			env[name] = strings.ReplaceAll(strings.Trim(value, "'"), `'\''`, "'")
		}
	}
	return env, s.Err()
}

func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
