package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Report is the figures of one run.
type Report struct {
	Date       string     `json:"date"`
	Command    string     `json:"command"`
	Population Population `json:"population"`
	CPU        string     `json:"cpu"`
	Cores      int        `json:"cores"`
	MemoryMiB  int        `json:"memory_mib"`
	Kernel     string     `json:"kernel"`
	Go         string     `json:"go"`
	Sizes      []*Size    `json:"sizes"`
}

// Size is what was measured of one population. Memory is in MiB.
type Size struct {
	Members         int     `json:"members"`
	LoadBefore      string  `json:"load_before"`
	FileRows        int     `json:"file_rows"`
	MedianRows      int     `json:"median_rows"`
	MostRows        int     `json:"most_rows"`
	LoadSeconds     float64 `json:"load_seconds"`
	Rows            int64   `json:"rows"`
	Resources       int64   `json:"resources"`
	RowStateSeconds float64 `json:"row_state_seconds"` // until composition began
	SnapshotSeconds float64 `json:"snapshot_seconds"`  // until ready
	SnapshotRate    float64 `json:"snapshot_rows_per_second"`
	SnapshotCPU     float64 `json:"snapshot_cpu_seconds"`
	SettleSeconds   float64 `json:"settle_seconds"` // from ready to idle
	RowsRSS         float64 `json:"rows_rss"`
	SnapshotRSS     float64 `json:"snapshot_rss"`
	SnapshotPeak    float64 `json:"snapshot_peak_rss"`
	SnapshotHeap    float64 `json:"snapshot_heap"`
	StoreMiB        float64 `json:"store_mib"`
	TopicMiB        float64 `json:"topic_mib"`
	Live            []Live  `json:"live"`
	LiveRSS         float64 `json:"live_rss"`
	PeakRSS         float64 `json:"peak_rss"`
	FreshP50        float64 `json:"fresh_p50_ms"`
	FreshP99        float64 `json:"fresh_p99_ms"`
	Reads           []Read  `json:"reads"`
}

// Live is a burst of changes to rows of some members.
type Live struct {
	Among         string  `json:"among"`
	Rows          int     `json:"rows"`
	Versions      int     `json:"versions"`
	Seconds       float64 `json:"seconds"`
	SourceSeconds float64 `json:"source_seconds"`
	Rate          float64 `json:"rows_per_second"`
	CPU           float64 `json:"cpu_us_per_row"`
}

// live returns the i-th burst; a size that was measured without it has zeros.
func (s *Size) live(i int) (l Live) {
	if i < len(s.Live) {
		l = s.Live[i]
	}
	return l
}

// Read is one kind of read.
type Read struct {
	Name  string  `json:"name"`
	Among string  `json:"among"`
	Rate  float64 `json:"answers_per_second"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	CPU   float64 `json:"cpu_us"` // the server's, an answer
}

func newReport(command string, p *Population) *Report {
	r := &Report{Date: time.Now().UTC().Format(time.DateOnly), Command: strings.TrimSpace(command), Population: *p, Cores: runtime.NumCPU(),
		CPU: field("/proc/cpuinfo", "model name"), Kernel: line("/proc/sys/kernel/osrelease"), Go: runtime.Version()}
	_, _ = fmt.Sscan(field("/proc/meminfo", "MemTotal"), &r.MemoryMiB)
	r.MemoryMiB /= 1024
	return r
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

// save writes the figures, and the page's tables from them. With add, what the
// file has of other sizes stays.
func (r *Report) save(folder, page string, add bool) error {
	if folder == "" {
		return nil
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	file := filepath.Join(folder, fmt.Sprintf("growth-%s-%s-%s-%dcpu.json", r.Date, runtime.GOOS, runtime.GOARCH, r.Cores))
	if add {
		old, err := readReport(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		r.merge(old)
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil || page == "" {
		return err
	}
	return render(file, page)
}

// merge takes over sizes that the report lacks.
func (r *Report) merge(old *Report) {
	if old == nil || old.Population != r.Population {
		return
	}
	for _, s := range old.Sizes {
		if !slices.ContainsFunc(r.Sizes, func(mine *Size) bool { return mine.Members == s.Members }) {
			r.Sizes = append(r.Sizes, s)
		}
	}
	slices.SortFunc(r.Sizes, func(a, b *Size) int { return a.Members - b.Members })
}

func readReport(file string) (*Report, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var r Report
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return &r, nil
}

func runRender(args []string) error {
	f := newFlags("render", "Writes a page's tables from a file of figures, and runs nothing: hammer render FIGURES PAGE")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() != 2 {
		return errors.New("render: name the file of figures and the page")
	}
	return render(f.Arg(0), f.Arg(1))
}

// The marks between which the page's tables lie.
const (
	tablesBegin = "<!-- tables: written by scripts/growth -->\n"
	tablesEnd   = "<!-- end of tables -->\n"
)

func render(file, page string) error {
	r, err := readReport(file)
	if err != nil {
		return err
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
	text := fmt.Appendf(nil, "%s%s%s\nAll figures: [%s](results/%s).\n\n%s%s", before, tablesBegin, r.tables(), filepath.Base(file), filepath.Base(file), tablesEnd, after)
	return os.WriteFile(page, text, 0o644)
}
