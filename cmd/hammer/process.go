package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a running `tributary demo`.
type process struct {
	cmd  *exec.Cmd
	done chan error
	env  map[string]string
	http *http.Client
	out  *os.File
}

// startTributary starts the program over a work folder whose databases are
// loaded, and returns when it listens.
func startTributary(ctx context.Context, program, work, data string) (*process, error) {
	out, err := os.Create(filepath.Join(work, "demo.out"))
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, "demo", "--work", work, "--data", data, "--workload=off", "--api", "127.0.0.1:0", "--broker", "127.0.0.1:0")
	cmd.Stdout, cmd.Stderr = out, out
	p := &process{cmd: cmd, done: make(chan error, 1), out: out, http: &http.Client{
		Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}}}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, out.Close())
	}
	go func() { p.done <- cmd.Wait() }()
	err = p.until(ctx, 10*time.Minute, 10*time.Millisecond, func() (bool, error) {
		p.env, err = readEnv(filepath.Join(work, "demo.env"))
		return p.env["PID"] == strconv.Itoa(cmd.Process.Pid) && p.env["FHIR"] != "", nil
	})
	if err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

// stop ends the program and its databases, and waits for it.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGINT)
	defer p.out.Close()
	select {
	case err := <-p.done:
		p.done <- err
		return err
	case <-time.After(2 * time.Minute):
		_ = p.cmd.Process.Kill()
		return errors.New("tributary did not stop within two minutes")
	}
}

// until asks again and again, and gives up when the program ended.
func (p *process) until(ctx context.Context, limit, every time.Duration, met func() (bool, error)) error {
	end := time.After(limit)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if ok, err := met(); ok || err != nil {
			return err
		}
		select {
		case err := <-p.done:
			p.done <- err
			text, _ := os.ReadFile(p.out.Name())
			return fmt.Errorf("tributary ended: %w\n%s", errors.Join(err, errors.New("see its last lines")), text[max(0, len(text)-2000):])
		case <-ctx.Done():
			return ctx.Err()
		case <-end:
			return fmt.Errorf("not met within %s", limit)
		case <-tick.C:
		}
	}
}

// root is the server's address without the FHIR base path.
func (p *process) root() string { return strings.TrimSuffix(p.env["FHIR"], "/fhir") }

// get asks the server. The body is read whole.
func (p *process) get(ctx context.Context, address, key string) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := p.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// status is what is read of the server's status.
type status struct {
	Composed  bool   `json:"composed"`
	Composing [2]int `json:"composing"`
	Commit    uint64 `json:"commit"`
	Sources   []struct {
		Tables   map[string]int64 `json:"rows"`
		Snapshot bool             `json:"snapshot_open"`
	} `json:"sources"`
	Parked []json.RawMessage `json:"parked"`
	Topic  []struct {
		Committed uint64 `json:"committed"`
		Announced uint64 `json:"announced"`
	} `json:"change_topic"`
}

func (p *process) status(ctx context.Context) (status, error) {
	var s status
	code, body, err := p.get(ctx, p.root()+"/status", p.env["OPERATOR_KEY"])
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("status: the server answered %d", code)
	}
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(body, &s)
}

func (s status) rows() (n int64) {
	for _, source := range s.Sources {
		for _, rows := range source.Tables {
			n += rows
		}
	}
	return n
}

// announced tells whether the change topic has everything.
func (s status) announced() bool {
	for _, t := range s.Topic {
		if t.Announced < t.Committed {
			return false
		}
	}
	return true
}

// cpuSeconds is the metric of the process's CPU time.
const cpuSeconds = "process_cpu_seconds_total"

// metrics are the server's, those of one name with labels added up.
func (p *process) metrics(ctx context.Context) (map[string]float64, error) {
	code, body, err := p.get(ctx, p.root()+"/metrics", p.env["OPERATOR_KEY"])
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("metrics: the server answered %d", code)
	}
	if err != nil {
		return nil, err
	}
	all := map[string]float64{}
	for line := range strings.Lines(string(body)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if at := strings.IndexByte(line, '}'); at > 0 {
			name, value, ok = line[:strings.IndexByte(line, '{')], strings.TrimSpace(line[at+1:]), true
		}
		if n, err := strconv.ParseFloat(value, 64); ok && err == nil && name != "#" {
			all[name] += n
		}
	}
	return all, nil
}

// memory is the process's resident memory now and at its highest, in MiB.
func (p *process) memory() (now, most float64) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) < 2 {
			continue
		}
		kib, _ := strconv.ParseFloat(fields[1], 64)
		switch fields[0] {
		case "VmRSS:":
			now = kib / 1024
		case "VmHWM:":
			most = kib / 1024
		}
	}
	return now, most
}

// readEnv reads a file of shell assignments without quotes inside.
func readEnv(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	env := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			env[name] = strings.Trim(value, "'")
		}
	}
	return env, nil
}

// folderMiB is what the files below a folder hold.
func folderMiB(folder string) float64 {
	var sum int64
	_ = filepath.WalkDir(folder, func(_ string, d os.DirEntry, err error) error {
		if err != nil {
			return nil // files come and go meanwhile
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			sum += info.Size()
		}
		return nil
	})
	return float64(sum) / (1 << 20)
}
