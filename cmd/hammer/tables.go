package main

import (
	"fmt"
	"slices"
	"strings"
)

// tables are the figures side by side, with each size's ratio to the first.
func (r *Report) tables() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nMachine: %d cores (%s), %d MiB, Linux %s; %s.\nRun on %s with `%s`.\n\n", r.Cores, r.CPU, r.MemoryMiB, r.Kernel, r.Go, r.Date, r.Command)
	r.table(&b, "population", []item{
		{"rows in the sources, fills included", false, func(s *Size) float64 { return float64(s.Rows) }, "%.0f"},
		{"rows of a member in the files: median", false, func(s *Size) float64 { return float64(s.MedianRows) }, "%.0f"},
		{"rows of a member in the files: most", false, func(s *Size) float64 { return float64(s.MostRows) }, "%.0f"},
		{"resources composed", false, func(s *Size) float64 { return float64(s.Resources) }, "%.0f"},
		{"store, MiB", false, func(s *Size) float64 { return s.StoreMiB }, "%.0f"},
		{"store, bytes a source row", true, func(s *Size) float64 { return s.StoreMiB * (1 << 20) / float64(s.Rows) }, "%.0f"},
		{"topics, MiB", false, func(s *Size) float64 { return s.TopicMiB }, "%.0f"},
		{"topics, bytes a source row", true, func(s *Size) float64 { return s.TopicMiB * (1 << 20) / float64(s.Rows) }, "%.0f"},
	})
	changes := []item{
		{"snapshot until ready, s", false, func(s *Size) float64 { return s.SnapshotSeconds }, "%.1f"},
		{"of that until composition began, s", false, func(s *Size) float64 { return s.RowStateSeconds }, "%.1f"},
		{"snapshot, rows/s", true, func(s *Size) float64 { return s.SnapshotRate }, "%.0f"},
		{"snapshot, CPU µs a row", true, func(s *Size) float64 { return 1e6 * s.SnapshotCPU / float64(s.Rows) }, "%.0f"},
		{"from ready until everything is announced and the process idle, s", false, func(s *Size) float64 { return s.SettleSeconds }, "%.1f"},
	}
	if len(r.Sizes) > 0 {
		for i, l := range r.Sizes[0].Live {
			changes = append(changes, item{"live changes, " + l.Among + ": rows/s until visible", true, func(s *Size) float64 { return s.live(i).Rate }, "%.0f"},
				item{"live changes, " + l.Among + ": the sources' own time, s", false, func(s *Size) float64 { return s.live(i).SourceSeconds }, "%.1f"},
				item{"live changes, " + l.Among + ": CPU µs a row", true, func(s *Size) float64 { return s.live(i).CPU }, "%.0f"})
		}
	}
	changes = append(changes, []item{
		{"one change, commit to visible, ms (p50)", true, func(s *Size) float64 { return s.FreshP50 }, "%.1f"},
		{"one change, commit to visible, ms (p99)", true, func(s *Size) float64 { return s.FreshP99 }, "%.1f"},
		{"resident before composition, most, MiB", true, func(s *Size) float64 { return s.RowsRSS }, "%.0f"},
		{"resident when ready, MiB", true, func(s *Size) float64 { return s.SnapshotRSS }, "%.0f"},
		{"resident, most until ready, MiB", true, func(s *Size) float64 { return s.SnapshotPeak }, "%.0f"},
		{"resident after everything, MiB", true, func(s *Size) float64 { return s.LiveRSS }, "%.0f"},
	}...)
	r.table(&b, "snapshot and live changes", changes)
	if len(r.Sizes) == 0 {
		return b.String()
	}
	var reads []item
	for i, k := range r.Sizes[0].Reads {
		reads = append(reads, item{k.Name + ", " + k.Among + ": p50 ms", true, func(s *Size) float64 { return s.Reads[i].P50 }, "%.2f"},
			item{k.Name + ", " + k.Among + ": p99 ms", true, func(s *Size) float64 { return s.Reads[i].P99 }, "%.2f"},
			item{k.Name + ", " + k.Among + ": CPU µs", true, func(s *Size) float64 { return s.Reads[i].CPU }, "%.0f"})
	}
	r.table(&b, "reads", reads)
	return b.String()
}

// item is one line of a table.
type item struct {
	title string
	ratio bool
	get   func(*Size) float64
	form  string
}

func (r *Report) table(b *strings.Builder, title string, items []item) {
	fmt.Fprintf(b, "| %s |", title)
	for _, s := range r.Sizes {
		fmt.Fprintf(b, " %s members |", figure(float64(s.Members)))
	}
	if len(r.Sizes) > 1 {
		fmt.Fprint(b, " ratio of the last to the first |")
	}
	fmt.Fprintf(b, "\n|---|%s\n", strings.Repeat("---:|", len(r.Sizes)+min(1, len(r.Sizes)-1)))
	for _, it := range items {
		if !slices.ContainsFunc(r.Sizes, func(s *Size) bool { return it.get(s) != 0 }) {
			continue // not measured
		}
		fmt.Fprintf(b, "| %s |", it.title)
		for _, s := range r.Sizes {
			fmt.Fprintf(b, " %s |", thousands(fmt.Sprintf(it.form, it.get(s))))
		}
		if n := len(r.Sizes); n > 1 {
			ratio := ""
			if first := it.get(r.Sizes[0]); it.ratio && first > 0 {
				ratio = fmt.Sprintf("**%.2f**", it.get(r.Sizes[n-1])/first)
			}
			fmt.Fprintf(b, " %s |", ratio)
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
}

// figure is a whole number with its thousands apart.
func figure(f float64) string { return thousands(fmt.Sprintf("%.0f", f)) }

func thousands(s string) string {
	whole, rest, point := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if point {
		return whole + "." + rest
	}
	return whole
}
