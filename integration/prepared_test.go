package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/tributary-health/tributary/demo"
	"github.com/tributary-health/tributary/testdata"
)

// Two folders that tests begin with copies of, each made once, when the first
// test asks: to make servers, load the sample and compose it takes longer than
// most of what is tested after it. Nothing in them runs.
var (
	loaded   = sync.OnceValues(func() (string, error) { return prepare("loaded", load) })
	composed = sync.OnceValues(func() (string, error) { return prepare("composed", compose) })
)

// preparedFolder is where they lie; it is removed when all tests have ended.
var preparedFolder string

func prepare(name string, fill func(ctx context.Context, work string) error) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	work := filepath.Join(preparedFolder, name)
	if err := fill(ctx, work); err != nil {
		return "", fmt.Errorf("prepare %s: %w", work, err)
	}
	return work, nil
}

// load makes servers that hold the sample.
func load(ctx context.Context, work string) error {
	servers, err := demo.Start(ctx, demo.Options{Work: work})
	if err != nil {
		return err
	}
	err = demo.Load(ctx, servers, demo.LoadOptions{Data: testdata.Synthea()})
	if stopErr := servers.Stop(ctx); err == nil {
		err = stopErr
	}
	return err
}

// compose makes a demo that was ready, without a workload, and was stopped.
func compose(ctx context.Context, work string) error {
	from, err := loaded()
	if err != nil {
		return err
	}
	if err := copyDemo(from, work); err != nil {
		return err
	}
	api, err := unusedAddr()
	if err != nil {
		return err
	}
	d := &demoRun{work: work, api: api, broker: "127.0.0.1:0"}
	cmd := exec.CommandContext(ctx, binary, d.demoArgs()...)
	d.output = &safeBuffer{}
	cmd.Stdout, cmd.Stderr = d.output, d.output
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for tick := time.NewTicker(50 * time.Millisecond); !d.answersReady(); {
		select {
		case <-tick.C:
		case err := <-ended:
			return fmt.Errorf("the demo ended: %w\n%s", err, d.printed())
		}
	}
	_ = cmd.Process.Signal(os.Interrupt)
	if err := <-ended; err != nil {
		return fmt.Errorf("stop the demo: %w\n%s", err, d.printed())
	}
	return nil
}

// copyDemo copies the work folder of a demo that does not run. The copy's servers
// take ports of their own.
func copyDemo(from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	// Files that a store made in advance are mostly holes.
	if out, err := exec.Command("cp", "-a", "--sparse=always", from+"/.", to).CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s: %w\n%s", from, err, out)
	}
	path := filepath.Join(to, "servers.json")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var state map[string]any
	if err := json.Unmarshal(text, &state); err != nil {
		return err
	}
	if state["servers"] != from {
		return fmt.Errorf("the servers of %s lie in %v: let the users postgres and mysql enter the folder for temporary files", from, state["servers"])
	}
	state["servers"], state["postgresPort"], state["mariadbPort"] = to, 0, 0
	if text, err = json.Marshal(state); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

// composedDemo is newDemo with the sample composed: its start is not the first.
// For tests of what is behind the first snapshot, with the embedded broker.
func composedDemo(t *testing.T) *demoRun {
	t.Helper()
	return demoFrom(t, composed)
}

// demoFrom makes a demo from a prepared folder.
func demoFrom(t *testing.T, prepared func() (string, error)) *demoRun {
	t.Helper()
	from, err := prepared()
	if err != nil {
		t.Fatal(err)
	}
	d := emptyDemo(t)
	if err := copyDemo(from, d.work); err != nil {
		t.Fatal(err)
	}
	return d
}
