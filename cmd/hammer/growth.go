package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tributary-health/tributary/demo"
)

// growthFlags are the flags of `hammer growth`.
type growthFlags struct {
	members, tributary, work, results, page string
	seconds                                 float64
	changes, connections                    int
	add                                     bool
}

func runGrowth(ctx context.Context, args []string) error {
	var o growthFlags
	f := newFlags("growth", "Runs the demo over populations of several sizes, one after another, and measures each.")
	p := populationFlags(f)
	f.StringVar(&o.members, "members", "1000,10000,100000", "sizes, comma separated; ratios are to the first")
	f.StringVar(&o.tributary, "tributary", "bin/tributary", "the `program`")
	f.StringVar(&o.work, "work", "", "`folder` for data and servers; default: a temporary one. What is made there is removed")
	f.StringVar(&o.results, "results", "bench/results", "`folder` for the figures; empty: print only")
	f.StringVar(&o.page, "page", "bench/growth.md", "`page` whose tables are rewritten; empty: none")
	f.Float64Var(&o.seconds, "seconds", 3, "length of each measurement of reads")
	f.IntVar(&o.connections, "connections", 2, "clients that read at the same time")
	f.IntVar(&o.changes, "changes", 3000, "transactions of 2 rows that are committed at each source as fast as they go")
	f.BoolVar(&o.add, "add", false, "keep today's figures of other sizes")
	if err := f.Parse(args); err != nil {
		return err
	}
	all, err := sizes(o.members)
	if err != nil || f.NArg() > 0 {
		return errors.Join(err, errors.New("growth: flags only (hint: hammer growth -h)"))
	}
	if o.work == "" {
		if o.work, err = os.MkdirTemp("", "tributary-growth-"); err != nil {
			return err
		}
		defer os.Remove(o.work)
		if err := os.Chmod(o.work, 0o755); err != nil { // the servers' users pass through
			return err
		}
	}
	report := newReport("scripts/growth "+strings.Join(args, " "), p)
	for _, n := range all {
		size, err := measure(ctx, o, *p, n)
		if err != nil {
			return fmt.Errorf("%d members: %w", n, err)
		}
		report.Sizes = append(report.Sizes, size)
		if err := report.save(o.results, o.page, o.add); err != nil { // after each: the next may take long
			return err
		}
	}
	fmt.Print(report.tables())
	return nil
}

// lab is one size being measured.
type lab struct {
	growthFlags
	made    *Made
	servers *demo.Servers
	process *process
	ids     *ids
	size    *Size
}

// measure makes one population, runs everything over it, and takes it away again.
func measure(ctx context.Context, o growthFlags, p Population, n int) (_ *Size, err error) {
	p.Members = n
	work := filepath.Join(o.work, fmt.Sprint(n))
	data := filepath.Join(work, "csv")
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if made, _ := demo.Made(work); made {
			err = errors.Join(err, demo.Remove(ctx, work))
		}
		err = errors.Join(err, os.RemoveAll(work))
	}()
	l := &lab{growthFlags: o, size: &Size{Members: n, LoadBefore: line("/proc/loadavg")}}
	say("%d members: writing", n)
	if l.made, err = p.Write(ctx, data); err != nil {
		return nil, err
	}
	l.size.FileRows, l.size.MedianRows, l.size.MostRows = l.made.Rows, l.made.quantile(0.5), l.made.quantile(1)
	if err := l.load(ctx, work, data); err != nil {
		return nil, err
	}
	if l.process, err = startTributary(ctx, o.tributary, work, data); err != nil {
		return nil, err
	}
	err = l.run(ctx, work)
	return l.size, errors.Join(err, l.process.stop())
}

func (l *lab) load(ctx context.Context, work, data string) (err error) {
	if l.servers, err = demo.Start(ctx, demo.Options{Work: work, Log: func(text string) { say("%s", text) }}); err != nil {
		return err
	}
	began := time.Now()
	if err := demo.Load(ctx, l.servers, demo.LoadOptions{Data: os.DirFS(data)}); err != nil {
		return err
	}
	l.size.LoadSeconds = time.Since(began).Seconds()
	say("databases loaded in %.0f s", l.size.LoadSeconds)
	return nil
}

func (l *lab) run(ctx context.Context, work string) (err error) {
	if err := l.snapshot(ctx); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	if err := l.settle(ctx); err != nil {
		return err
	}
	l.size.StoreMiB, l.size.TopicMiB = folderMiB(filepath.Join(work, "data", "store")), folderMiB(filepath.Join(work, "data", "broker"))
	if l.ids, err = newIDs(filepath.Join(work, "data", "id.key")); err != nil {
		return err
	}
	if err := l.reads(ctx); err != nil {
		return fmt.Errorf("reads: %w", err)
	}
	if err := l.live(ctx); err != nil {
		return fmt.Errorf("live changes: %w", err)
	}
	l.size.LiveRSS, l.size.PeakRSS = l.process.memory()
	s, err := l.process.status(ctx)
	if err == nil && len(s.Parked) > 0 {
		err = fmt.Errorf("%d members are parked", len(s.Parked))
	}
	return err
}

// snapshot waits for the first composition. The clock starts when the process
// listens, which is when its readers start.
func (l *lab) snapshot(ctx context.Context) error {
	began := time.Now()
	var landed, composing time.Duration
	err := l.process.until(ctx, 3*time.Hour, 200*time.Millisecond, func() (bool, error) {
		now, _ := l.process.memory()
		s, err := l.process.status(ctx)
		if err != nil {
			return false, err
		}
		since := time.Since(began)
		if s.Composing[0] > 0 && composing == 0 {
			composing = since
		}
		if composing == 0 {
			landed = since
			l.size.RowsRSS = max(l.size.RowsRSS, now)
		}
		code, _, err := l.process.get(ctx, l.process.root()+"/readyz", "")
		return code == http.StatusOK, err
	})
	if err != nil {
		return err
	}
	took := time.Since(began).Seconds()
	s, err := l.process.status(ctx)
	if err != nil {
		return err
	}
	l.size.Rows = s.rows()
	for _, t := range s.Topic {
		l.size.Resources += int64(t.Committed)
	}
	l.size.RowStateSeconds, l.size.SnapshotSeconds = landed.Seconds(), took
	l.size.SnapshotRate = float64(l.size.Rows) / took
	l.size.SnapshotRSS, l.size.SnapshotPeak = l.process.memory()
	m, err := l.process.metrics(ctx)
	l.size.SnapshotCPU, l.size.SnapshotHeap = m[cpuSeconds], m["go_memstats_heap_inuse_bytes"]/(1<<20)
	say("snapshot: %d rows, %d resources, ready after %.1f s (rows %.1f s), %.0f rows/s, resident %.0f MiB, most %.0f MiB",
		l.size.Rows, l.size.Resources, took, landed.Seconds(), l.size.SnapshotRate, l.size.SnapshotRSS, l.size.SnapshotPeak)
	return err
}

// settle waits, two minutes at most, until everything is announced and the
// process has been nearly idle for a second: what comes after the first
// composition, announcing and the store's own tidying, is not the readers' load.
func (l *lab) settle(ctx context.Context) error {
	began, last := time.Now(), -1.0
	return l.process.until(ctx, time.Hour, time.Second, func() (bool, error) {
		s, err := l.process.status(ctx)
		if err != nil {
			return false, err
		}
		m, err := l.process.metrics(ctx)
		idle := last >= 0 && m[cpuSeconds]-last < 0.1
		last = m[cpuSeconds]
		l.size.SettleSeconds = time.Since(began).Seconds()
		return idle && s.announced() || l.size.SettleSeconds > 120, err
	})
}

// dice are the same at every size.
func dice(purpose uint64) *rand.Rand { return rand.New(rand.NewPCG(7, purpose)) }
