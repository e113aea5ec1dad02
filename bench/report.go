package main

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-health/tributary/demo"
)

// Report is one run's figures, as bench/results keeps them.
type Report struct {
	Date       string       `json:"date"`
	Host       Host         `json:"host"`
	Command    string       `json:"command"`
	Took       string       `json:"took"`
	Benchmarks []*Benchmark `json:"benchmarks"`
}

// Host is the machine and the programs that were measured.
type Host struct {
	Kind       string `json:"kind"`
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	MemoryMiB  int    `json:"memory_mib"`
	Kernel     string `json:"kernel"`
	LoadBefore string `json:"load_before"` // what else ran: the load averages at the start
	Go         string `json:"go"`
	PostgreSQL string `json:"postgresql"`
	MariaDB    string `json:"mariadb"`
}

// Benchmark is one pair's turns. Baseline and Ours are in Unit. Expected is what
// is asked of the ratio now, and Aim what nothing in the design may bar; zero for
// a figure that only explains another.
type Benchmark struct {
	Name     string    `json:"name"`
	Title    string    `json:"title"`
	Data     string    `json:"data"`
	Unit     string    `json:"unit"`
	Baseline string    `json:"baseline"`
	Expected float64   `json:"expected,omitempty"`
	Aim      float64   `json:"aim,omitempty"`
	Turns    []Turn    `json:"turns"`
	Median   Turn      `json:"median"`
	Notes    []string  `json:"notes,omitempty"`
	Spread   []float64 `json:"ratio_spread"`
}

// Turn is one measurement of both halves, directly after one another. The median
// turn's Ratio is the median of the ratios.
type Turn struct {
	Baseline float64 `json:"baseline"`
	Ours     float64 `json:"ours"`
	Ratio    float64 `json:"ratio"`
}

func newReport(ctx context.Context, s *demo.Servers) (*Report, error) {
	r := &Report{
		Date: time.Now().UTC().Format(time.DateOnly), Command: strings.TrimSpace("scripts/bench " + strings.Join(os.Args[1:], " ")),
		Host: Host{
			Kind: fmt.Sprintf("%s-%s-%dcpu", runtime.GOOS, runtime.GOARCH, runtime.NumCPU()), Cores: runtime.NumCPU(),
			CPU: field("/proc/cpuinfo", "model name"), Kernel: line("/proc/sys/kernel/osrelease"),
			LoadBefore: line("/proc/loadavg"), Go: runtime.Version(),
		},
	}
	_, _ = fmt.Sscan(field("/proc/meminfo", "MemTotal"), &r.Host.MemoryMiB)
	r.Host.MemoryMiB /= 1024
	conn, err := pgx.Connect(ctx, s.PostgresDSN())
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	if err := conn.QueryRow(ctx, "SHOW server_version").Scan(&r.Host.PostgreSQL); err != nil {
		return nil, err
	}
	db, err := sql.Open("mysql", s.MariaDBDSN())
	if err != nil {
		return nil, err
	}
	defer func() { _ = db.Close() }()
	return r, db.QueryRowContext(ctx, "SELECT version()").Scan(&r.Host.MariaDB)
}

// line is a small file's text without its end of line; empty where there is none.
func line(path string) string {
	text, _ := os.ReadFile(path)
	return strings.TrimSpace(string(text))
}

// field finds "name : value" in a file of such lines.
func field(path, name string) string {
	for l := range strings.Lines(line(path)) {
		if key, value, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// add begins a benchmark.
func (r *Report) add(b Benchmark) *Benchmark {
	r.Benchmarks = append(r.Benchmarks, &b)
	return &b
}

// turn records one turn and says so.
func (b *Benchmark) turn(baseline, ours float64) {
	b.Turns = append(b.Turns, Turn{round(baseline), round(ours), ratio(ours, baseline)})
	say(fmt.Sprintf("%s: %s %s, baseline %s: %.2f", b.Name, figure(ours), b.Unit, figure(baseline), ours/baseline))
	var base, mine, ratios []float64
	for _, t := range b.Turns {
		base, mine, ratios = append(base, t.Baseline), append(mine, t.Ours), append(ratios, t.Ratio)
	}
	b.Median = Turn{median(base), median(mine), median(ratios)}
	b.Spread = []float64{slices.Min(ratios), slices.Max(ratios)}
}

func (b *Benchmark) note(format string, args ...any) {
	b.Notes = append(b.Notes, fmt.Sprintf(format, args...))
}

func median(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	n := len(all)
	return (all[(n-1)/2] + all[n/2]) / 2
}

func round(f float64) float64 { return float64(int64(f*10+0.5)) / 10 }

func ratio(a, b float64) float64 { return float64(int64(a/b*1000+0.5)) / 1000 }

// finish writes the figures, and the page's tables from them.
func (r *Report) finish(folder, page string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if folder == "" {
		_, err := fmt.Printf("%s\n%s\n", text, r.tables())
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	file := filepath.Join(folder, r.Date+"-"+r.Host.Kind+".json")
	if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
		return err
	}
	say("figures in " + file)
	if page == "" {
		return nil
	}
	return renderFile(file, page)
}

// The marks between which the page's tables lie.
const (
	tablesBegin = "<!-- tables: written by scripts/bench -->\n"
	tablesEnd   = "<!-- end of tables -->\n"
)

// renderFile writes a page's tables from a file of figures.
func renderFile(file, page string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var r Report
	if err := json.Unmarshal(text, &r); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	old, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	before, rest, ok := bytes.Cut(old, []byte(tablesBegin))
	_, after, ended := bytes.Cut(rest, []byte(tablesEnd))
	if !ok || !ended {
		return fmt.Errorf("%s: the marks of the tables are missing", page)
	}
	var out bytes.Buffer
	w := bufio.NewWriter(&out)
	fmt.Fprintf(w, "%s%s%s\nThe figures of each turn: [%s](results/%s).\n\n%s%s", before, tablesBegin, r.tables(), filepath.Base(file), filepath.Base(file), tablesEnd, after)
	if err := w.Flush(); err != nil {
		return err
	}
	return os.WriteFile(page, out.Bytes(), 0o644)
}

// tables is the page's part that the figures decide.
func (r *Report) tables() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nMachine: %d cores (%s), %d MiB, Linux %s; %s, PostgreSQL %s, MariaDB %s. Load average at the start: %s.\n",
		r.Host.Cores, r.Host.CPU, r.Host.MemoryMiB, r.Host.Kernel, r.Host.Go, r.Host.PostgreSQL, r.Host.MariaDB, r.Host.LoadBefore)
	fmt.Fprintf(&b, "Run on %s with `%s`, in %s.\n\n", r.Date, r.Command, r.Took)
	b.WriteString("| measured | ours | baseline | ratio | lowest and highest | expected now | to come |\n|---|---:|---:|---:|---|---:|---:|\n")
	for _, m := range r.Benchmarks {
		fmt.Fprintf(&b, "| %s | %s %s | %s | **%.2f** | %.2f to %.2f (%d turns) | %s | %s |\n", m.Title, figure(m.Median.Ours), m.Unit,
			figure(m.Median.Baseline), m.Median.Ratio, m.Spread[0], m.Spread[1], len(m.Turns), wanted(m.Expected), wanted(m.Aim))
	}
	b.WriteString("\nThe data and the baseline of each:\n\n")
	for _, m := range r.Benchmarks {
		fmt.Fprintf(&b, "- %s: %s; beside %s.", m.Title, m.Data, m.Baseline)
		for _, n := range m.Notes {
			fmt.Fprintf(&b, " %s", n)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func wanted(f float64) string {
	if f == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f", f)
}

// figure prints a number with thousands apart.
func figure(f float64) string {
	s := fmt.Sprintf("%.0f", f)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
