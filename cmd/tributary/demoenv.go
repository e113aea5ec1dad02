package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// demoEnvFile is where a running demo says how to reach it: shell assignments.
const demoEnvFile = "demo.env"

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
