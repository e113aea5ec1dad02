package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/compose"
)

// statusReport is what /status answers and `tributary status` prints.
type statusReport struct {
	Version    string         `json:"version"`
	Generation string         `json:"generation"`
	Commit     uint64         `json:"commit"`
	Composed   bool           `json:"composed"`
	Composing  [2]int         `json:"composing"`
	Mappings   string         `json:"mappings"`
	Sources    []sourceStatus `json:"sources"`
	Parked     []parkedStatus `json:"parked"`
	Skipped    []skippedRows  `json:"skipped"`
	Topic      []topicStatus  `json:"change_topic"`
	Clients    []clientStatus `json:"clients"`
	Audit      string         `json:"audit_head"` // entry number and hash of the record's last entry
}

type sourceStatus struct {
	Name       string                   `json:"name"`
	Applied    string                   `json:"applied"`
	Committed  time.Time                `json:"committed,omitzero"` // absent until something is applied
	LagSeconds float64                  `json:"lag_seconds"`
	Head       string                   `json:"head"`
	Snapshot   bool                     `json:"snapshot_open"`
	Tables     map[string]int64         `json:"rows"`
	Progress   map[string]tableProgress `json:"snapshot_progress"`
	Problem    string                   `json:"problem,omitempty"`
}

// parkedStatus names a parked root by what the API calls it, not by its source
// key.
type parkedStatus struct {
	Root     string    `json:"root"`
	Since    time.Time `json:"since"`
	Attempts int       `json:"attempts"`
	Reason   string    `json:"reason"`
}

type skippedRows struct {
	Table  string `json:"table"`
	Reason string `json:"reason"`
	Rows   int64  `json:"rows"`
}

type topicStatus struct {
	Partition int    `json:"partition"`
	Committed uint64 `json:"committed"`
	Announced uint64 `json:"announced"`
}

func (p *pipeline) status() (statusReport, error) {
	f := p.store.Frontier()
	w := p.worker.Status()
	r := statusReport{
		Version: version, Generation: f.Generation, Commit: uint64(f.Number), Composed: f.Composed, Mappings: p.set.Version(),
		Parked: []parkedStatus{}, Skipped: []skippedRows{}, Clients: p.clientStatuses(), Audit: p.audit.Head().String(),
	}
	p.observe.mu.Lock()
	r.Composing = p.observe.composing
	p.observe.mu.Unlock()
	for _, s := range p.sources {
		r.Sources = append(r.Sources, p.sourceStatus(s.name, f.Sources[s.name].Freshness, w))
	}
	p.observe.parked.Set(float64(len(w.Parked)))
	for _, k := range w.Parked {
		r.Parked = append(r.Parked, parkedStatus{p.rootName(k.Root), k.Since, k.Attempts, k.Reason})
	}
	for table, reasons := range w.Skipped {
		for reason, rows := range reasons {
			if rows > 0 {
				r.Skipped = append(r.Skipped, skippedRows{table, reason, rows})
			}
		}
	}
	sort.Slice(r.Skipped, func(i, j int) bool {
		return r.Skipped[i].Table+r.Skipped[i].Reason < r.Skipped[j].Table+r.Skipped[j].Reason
	})
	for i, n := range f.Outbox {
		mark, err := p.store.Mark(int32(i))
		if err != nil {
			return r, err
		}
		r.Topic = append(r.Topic, topicStatus{i, n, mark})
	}
	return r, nil
}

func (p *pipeline) sourceStatus(name string, at change.Freshness, w compose.Status) sourceStatus {
	view := p.observe.view(name)
	s := sourceStatus{Name: name, Applied: at.Position.String(), Committed: at.Committed, Head: view.head.Position.String(),
		Progress: view.snapshots, Problem: view.problem}
	if !at.Committed.IsZero() {
		s.LagSeconds = time.Since(at.Committed).Seconds()
	}
	for _, ws := range w.Sources {
		if ws.Source == name {
			s.Snapshot, s.Tables = ws.Snapshot, ws.Rows
		}
	}
	return s
}

func (p *pipeline) serveStatus(w http.ResponseWriter, _ *http.Request) {
	r, err := p.status()
	if err != nil {
		p.log.Error("status", "error", err)
		http.Error(w, "status is not to be had", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(r)
}

// serveCommit answers the largest commit number at which no source is further
// than the positions in the query (?emr=1.234.0&...).
func (p *pipeline) serveCommit(w http.ResponseWriter, r *http.Request) {
	at := map[string]change.Position{}
	for _, s := range p.sources {
		pos, err := change.ParsePosition(r.URL.Query().Get(s.name))
		if err != nil {
			http.Error(w, "a position is needed for source "+s.name, http.StatusBadRequest)
			return
		}
		at[s.name] = pos
	}
	n, err := p.store.CommitAt(at)
	if err != nil {
		http.Error(w, "no such commit", http.StatusNotFound)
		return
	}
	_, _ = io.WriteString(w, strconv.FormatUint(uint64(n), 10))
}

func runStatus(ctx context.Context, args []string) error {
	f := newFlags("status", "Prints positions, lag, row counts, skipped rows and parked members of a running process.")
	target := targetFlags(f)
	asJSON := f.Bool("json", false, "print as JSON")
	if err := parseFlags(f, args); err != nil {
		return err
	}
	t, err := target.resolve()
	if err != nil {
		return err
	}
	var r statusReport
	if err := t.getJSON(ctx, "/status", &r); err != nil {
		return err
	}
	if *asJSON {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	printStatus(os.Stdout, r)
	return nil
}

func printStatus(w io.Writer, r statusReport) {
	fmt.Fprintf(w, "commit %d, generation %s, tributary %s, mappings %s\n", r.Commit, r.Generation, r.Version, r.Mappings)
	if !r.Composed {
		fmt.Fprintf(w, "first composition: %d of %d members\n", r.Composing[0], r.Composing[1])
	}
	for _, s := range r.Sources {
		state := "streaming"
		if s.Snapshot {
			state = "snapshot open"
		}
		applied := "nothing applied yet"
		if !s.Committed.IsZero() {
			applied = fmt.Sprintf("applied %s, committed %s, lag %.1f s", s.Applied, s.Committed.Format(time.RFC3339), s.LagSeconds)
		}
		fmt.Fprintf(w, "\nsource %s: %s, %s\n", s.Name, state, applied)
		if s.Problem != "" {
			fmt.Fprintf(w, "  problem: %s\n", s.Problem)
		}
		tables := make([]string, 0, len(s.Tables))
		for t := range s.Tables {
			tables = append(tables, t)
		}
		sort.Strings(tables)
		for _, t := range tables {
			fmt.Fprintf(w, "  %-24s %10d rows\n", t, s.Tables[t])
		}
	}
	if len(r.Skipped) > 0 {
		fmt.Fprintln(w, "\nrows without a resource, and why, in the mappings' own words")
	}
	for _, k := range r.Skipped {
		fmt.Fprintf(w, "  %-32s %8d  %s\n", k.Table, k.Rows, k.Reason)
	}
	fmt.Fprintln(w, "\nchange topic")
	for _, t := range r.Topic {
		fmt.Fprintf(w, "  partition %d: %d of %d announced\n", t.Partition, t.Announced, t.Committed)
	}
	if len(r.Clients) > 0 {
		fmt.Fprintln(w, "\nclients")
	}
	for _, c := range r.Clients {
		fmt.Fprintf(w, "  %s\n", c.line())
	}
	fmt.Fprintf(w, "\nrecord of disclosures: last entry %s\n", r.Audit)
	fmt.Fprintf(w, "\nparked: %d\n", len(r.Parked))
	for _, k := range r.Parked {
		fmt.Fprintf(w, "  %s since %s, attempt %d: %s\n", k.Root, k.Since.Format(time.RFC3339), k.Attempts, strings.TrimSpace(k.Reason))
	}
}
