package main

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/tributary-health/tributary/change"
)

// observer gathers what the stages tell of themselves, for metrics, status and
// the demo's screen. It carries nothing that a stage depends on. Labels hold
// source and table names, never anything of a member.
type observer struct {
	registry  *prometheus.Registry
	rows      *prometheus.CounterVec
	versions  prometheus.Counter
	applied   *prometheus.CounterVec
	commits   prometheus.Gauge
	lag       *prometheus.GaugeVec
	parked    prometheus.Gauge
	requests  *prometheus.CounterVec
	latency   *prometheus.HistogramVec
	announced prometheus.Counter

	mu        sync.Mutex
	sources   map[string]*sourceView
	composing [2]int
	totalIn   int64
	totalOut  int64
}

// sourceView is what was last heard of a source.
type sourceView struct {
	head      change.Mark
	headAt    time.Time
	snapshots map[string]tableProgress
	problem   string
}

// tableProgress is how far a table's snapshot is.
type tableProgress struct {
	Rows     int64 `json:"rows"`
	Estimate int64 `json:"estimate"`
	Done     bool  `json:"done"`
}

func newObserver(sources []string) *observer {
	o := &observer{
		registry: prometheus.NewRegistry(),
		rows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tributary_captured_rows_total", Help: "Row events read from a source's log or snapshot."}, []string{"source"}),
		versions: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tributary_versions_total", Help: "Resource versions committed."}),
		applied: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tributary_applied_rows_total", Help: "Row events applied to the store."}, []string{"source"}),
		commits: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tributary_commit_number", Help: "The store's visible commit number."}),
		lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tributary_lag_seconds", Help: "Age of the newest source commit or watermark applied."}, []string{"source"}),
		parked: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tributary_parked_roots", Help: "Members and reference rows whose last composition failed."}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tributary_http_requests_total", Help: "FHIR requests answered."}, []string{"route", "status"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tributary_http_request_seconds", Help: "Time to answer a FHIR request.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 12)}, []string{"route"}),
		announced: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tributary_announced_total", Help: "Records durably written to the change topic."}),
		sources: make(map[string]*sourceView),
	}
	o.registry.MustRegister(o.rows, o.versions, o.applied, o.commits, o.lag, o.parked, o.requests, o.latency, o.announced,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, s := range sources {
		o.sources[s] = &sourceView{snapshots: make(map[string]tableProgress)}
		o.rows.WithLabelValues(s)
		o.applied.WithLabelValues(s)
	}
	return o
}

func (o *observer) captured(source string, n int) {
	o.rows.WithLabelValues(source).Add(float64(n))
	o.mu.Lock()
	o.totalIn += int64(n)
	o.mu.Unlock()
}

func (o *observer) snapshotTable(table change.Table, rows, estimate int64, done bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sources[table.Source].snapshots[table.Name] = tableProgress{rows, estimate, done}
}

func (o *observer) heard(source string, head change.Mark, at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.sources[source]
	s.head, s.headAt = head, at
}

func (o *observer) problem(source, what string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sources[source].problem = what
}

func (o *observer) committed(at change.Freshness, rows, versions int) {
	o.versions.Add(float64(versions))
	if at.Source != "" {
		o.applied.WithLabelValues(at.Source).Add(float64(rows))
		if !at.Committed.IsZero() {
			o.lag.WithLabelValues(at.Source).Set(time.Since(at.Committed).Seconds())
		}
	}
	o.mu.Lock()
	o.totalOut += int64(versions)
	o.mu.Unlock()
}

func (o *observer) composed(done, total int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.composing = [2]int{done, total}
}

// totals are the row events captured and the versions committed so far.
func (o *observer) totals() (in, out int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.totalIn, o.totalOut
}

// view copies what was last heard of a source.
func (o *observer) view(source string) sourceView {
	o.mu.Lock()
	defer o.mu.Unlock()
	v := *o.sources[source]
	v.snapshots = make(map[string]tableProgress, len(o.sources[source].snapshots))
	for k, p := range o.sources[source].snapshots {
		v.snapshots[k] = p
	}
	return v
}
