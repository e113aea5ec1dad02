package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/capture/clock"
	"github.com/tributary-health/tributary/capture/mysql"
	"github.com/tributary-health/tributary/capture/postgres"
	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/compose/mapping"
	"github.com/tributary-health/tributary/kafka"
)

// source is one system of record: its name, its tables, and what its technology
// does for it.
type source struct {
	name   string
	tables []capture.Table

	// resnapshot asks the next reader for a new snapshot; only the source's own
	// goroutine changes it.
	resnapshot bool

	// warn is told what an operator should know; nil where nobody listens.
	warn func(what string, about ...any)

	check   func(context.Context) ([]capture.Problem, error)
	schemas func(context.Context, []capture.Table) (map[change.Table]*change.Schema, error)
	// head is the ordinal where the source's log ends.
	head func(context.Context) (uint64, error)
	// snapshot reads all tables at one point into log.
	snapshot func(ctx context.Context, log capture.Log) error
	read     func(log capture.Log, hooks capture.Hooks, resnapshot bool) func(context.Context) error
}

func (s *source) tableNames() []change.Table {
	names := make([]change.Table, len(s.tables))
	for i, t := range s.tables {
		names[i] = t.Table
	}
	return names
}

// names lists the sources' names, in their order.
func names(sources []*source) []string {
	list := make([]string, len(sources))
	for i, s := range sources {
		list[i] = s.name
	}
	return list
}

// newSources gives each configured source the tables that the mappings declare
// for it. Where they declare today's date there is also the clock.
func newSources(cfg *Config, set *mapping.Set) ([]*source, error) {
	byName := map[string]*source{}
	var all []*source
	for _, name := range cfg.sourceNames() {
		byName[name] = &source{name: name}
		all = append(all, byName[name])
	}
	var errs []error
	for _, decl := range set.Tables() {
		s := byName[decl.Table.Source]
		if s == nil && decl.Table.Source == clock.Source {
			s = &source{name: clock.Source}
			byName[clock.Source], all = s, append(all, s)
		}
		if s == nil {
			errs = append(errs, fmt.Errorf("mappings: table %s: the configuration has no source %q", decl.Table, decl.Table.Source))
			continue
		}
		s.tables = append(s.tables, capture.Table{Table: decl.Table, Route: decl.Route})
	}
	for _, s := range all {
		if len(s.tables) == 0 {
			errs = append(errs, fmt.Errorf("sources.%s: the mappings declare no table of it", s.name))
			continue
		}
		if s.name == clock.Source {
			s.bindClock(cfg.Clock)
		} else {
			s.bind(cfg.Sources[s.name])
		}
	}
	slices.SortFunc(all, func(a, b *source) int { return strings.Compare(a.name, b.name) })
	return all, errors.Join(errs...)
}

// bind chooses the technology.
func (s *source) bind(c SourceConfig) {
	if c.Kind == "postgres" {
		pc := postgres.Config{Source: s.name, DSN: c.DSN, Slot: c.Slot, Publication: c.Publication, Tables: s.tables}
		s.check = func(ctx context.Context) ([]capture.Problem, error) { return postgres.Check(ctx, pc) }
		s.schemas = func(ctx context.Context, tables []capture.Table) (map[change.Table]*change.Schema, error) {
			pc := pc
			pc.Tables = tables
			return postgres.Schemas(ctx, pc)
		}
		s.head = func(ctx context.Context) (uint64, error) { return postgres.Head(ctx, pc) }
		s.snapshot = func(ctx context.Context, log capture.Log) error { return postgres.ReadSnapshot(ctx, pc, log) }
		s.read = func(log capture.Log, hooks capture.Hooks, resnapshot bool) func(context.Context) error {
			pc := pc
			pc.Hooks, pc.Resnapshot = hooks, resnapshot
			return postgres.New(pc, log).Run
		}
		return
	}
	mc := mysql.Config{Source: s.name, DSN: c.DSN, Flavor: c.Kind, ServerID: c.ServerID, Tables: s.tables}
	s.check = func(ctx context.Context) ([]capture.Problem, error) { return mysql.Check(ctx, mc) }
	s.schemas = func(ctx context.Context, tables []capture.Table) (map[change.Table]*change.Schema, error) {
		mc := mc
		mc.Tables = tables
		return mysql.Schemas(ctx, mc)
	}
	s.head = func(ctx context.Context) (uint64, error) { return mysql.Head(ctx, mc) }
	s.snapshot = func(ctx context.Context, log capture.Log) error { return mysql.ReadSnapshot(ctx, mc, log) }
	s.read = func(log capture.Log, hooks capture.Hooks, resnapshot bool) func(context.Context) error {
		mc := mc
		mc.Hooks, mc.Resnapshot = hooks, resnapshot
		return mysql.New(mc, log).Run
	}
}

// bindClock is bind of the source that reads no database.
func (s *source) bindClock(c ClockConfig) {
	cc := clock.Config{Zone: c.Zone, Fixed: c.Date, Tables: s.tables}
	s.check = func(context.Context) ([]capture.Problem, error) { return clock.Check(cc), nil }
	s.schemas = func(_ context.Context, tables []capture.Table) (map[change.Table]*change.Schema, error) {
		return clock.Schemas(tables)
	}
	s.head = func(context.Context) (uint64, error) { return clock.Head(cc) }
	s.snapshot = func(ctx context.Context, log capture.Log) error { return clock.ReadSnapshot(ctx, cc, log) }
	s.read = func(log capture.Log, hooks capture.Hooks, resnapshot bool) func(context.Context) error {
		cc := cc
		cc.Hooks, cc.Resnapshot = hooks, resnapshot
		cc.Behind = func(landed, today string) {
			if s.warn != nil {
				s.warn("clock: today is before the day that was landed; it waits until they meet (to set it back: tributary run --resnapshot clock)",
					"landed", landed, "today", today)
			}
		}
		return clock.New(cc, log).Run
	}
}

// capture reads one source until ctx ends or it fails for good. A connection
// that was lost is taken up again, as a new incarnation, after a pause.
func (p *pipeline) capture(ctx context.Context, s *source) error {
	pause := time.Second
	for {
		began := time.Now()
		err := p.captureOnce(ctx, s)
		if ctx.Err() != nil {
			return nil
		}
		var ce *capture.Error
		if err == nil || (errors.As(err, &ce) && ce.Kind != capture.Transient) || (ce == nil && err != nil) {
			return err
		}
		p.observe.problem(s.name, err.Error())
		p.log.Warn("capture: trying again", "source", s.name, "in", pause, "error", err)
		if time.Since(began) > time.Minute {
			pause = time.Second
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(pause*2, 30*time.Second)
	}
}

func (p *pipeline) captureOnce(ctx context.Context, s *source) error {
	w, err := kafka.OpenWriter(ctx, kafka.WriterConfig{
		Connection: p.conn, Registry: p.registry, Source: s.name, Tables: s.tableNames(),
		Partitions: p.cfg.Partitions, Format: kafka.Format(p.cfg.Kafka.Format)})
	if err != nil {
		return err
	}
	defer w.Close()
	resnapshot := s.resnapshot
	applied := p.store.Frontier().Sources[s.name].Position
	durable := w.Resume().Durable.Position
	if !resnapshot && durable.Compare(applied) < 0 && durable.IsZero() {
		return &capture.Error{Op: "resume", Kind: capture.Gone, Source: s.name, Position: applied.String(),
			Err:  fmt.Errorf("the store has applied the source up to here, and the topic %s does not say where to go on", kafka.TxTopic(s.name)),
			Hint: "store and broker belong together: restore both from one copy, or begin anew with a data folder that holds only the id key"}
	}
	hooks := capture.Hooks{
		SnapshotTable: func(table change.Table, rows, estimate int64, done bool) {
			p.observe.snapshotTable(table, rows, estimate, done)
			if done {
				p.log.Info("snapshot: table read", "table", table.String(), "rows", rows)
			}
		},
		Rows: func(n int) { p.observe.captured(s.name, n) },
		Head: func(mark change.Mark, at time.Time) {
			p.observe.heard(s.name, mark, at)
			p.observe.problem(s.name, "")
		},
	}
	log := &sourceLog{Writer: w}
	err = s.read(log, hooks, resnapshot)(ctx)
	if log.snapshotted {
		s.resnapshot = false
	}
	return err
}
