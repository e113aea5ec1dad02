package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/capture/clock"
	"github.com/tributary-health/tributary/capture/mysql"
	"github.com/tributary-health/tributary/capture/postgres"
	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/compose/mapping"
)

// row is one row of the sample, as capture reads it.
type row struct {
	schema *change.Schema
	route  string
	values []change.Value
}

// sample is the sample members' rows, by source, and the keys that make another
// member's rows of them.
type sample struct {
	rows map[string][]row
	keys map[string]bool
	used map[string][]capture.Table
}

// readSample reads the tables that the mappings compose from, out of both
// servers.
func (l *lab) readSample(ctx context.Context, set *mapping.Set) (*sample, error) {
	s := &sample{rows: map[string][]row{}, keys: map[string]bool{}, used: map[string][]capture.Table{}}
	needed := map[change.Table]bool{}
	for _, r := range set.Resources() {
		needed[r.From] = true
		for _, j := range r.Joins {
			needed[j.Table] = true
		}
	}
	for _, t := range set.Tables() {
		if needed[t.Table] {
			s.used[t.Table.Source] = append(s.used[t.Table.Source], capture.Table{Table: t.Table, Route: t.Route})
		}
	}
	emr := postgres.Config{Source: "emr", DSN: l.servers.PostgresDSN(), Tables: s.used["emr"]}
	if err := postgres.ReadSnapshot(ctx, emr, &gather{s, "emr"}); err != nil {
		return nil, err
	}
	pharmacy := mysql.Config{Source: "pharmacy", DSN: l.servers.MariaDBDSN(), Flavor: mysql.MariaDB, Tables: s.used["pharmacy"]}
	if err := mysql.ReadSnapshot(ctx, pharmacy, &gather{s, "pharmacy"}); err != nil {
		return nil, err
	}
	if today := s.used[clock.Source]; today != nil { // one day for every run, so that all compose the same
		return s, clock.ReadSnapshot(ctx, clock.Config{Fixed: "2026-01-01", Tables: today}, &gather{s, clock.Source})
	}
	return s, nil
}

// tables are a source's captured tables.
func (s *sample) tables(source string) []change.Table {
	var all []change.Table
	for _, t := range s.used[source] {
		all = append(all, t.Table)
	}
	return all
}

// of are the rows of one table.
func (s *sample) of(source, table string) []row {
	var all []row
	for _, r := range s.rows[source] {
		if r.schema.Table.Name == table {
			all = append(all, r)
		}
	}
	return all
}

// gather is a log that keeps a snapshot's rows.
type gather struct {
	s      *sample
	source string
}

func (g *gather) Resume() capture.Resume                                             { return capture.Resume{} }
func (g *gather) Durable() change.Mark                                               { return change.Mark{} }
func (g *gather) Err() error                                                         { return nil }
func (g *gather) Start(context.Context, change.TxRecord) error                       { return nil }
func (g *gather) End(context.Context, change.TxRecord) error                         { return nil }
func (g *gather) Watermark(context.Context, change.Mark, time.Time) error            { return nil }
func (g *gather) SnapshotEnd(context.Context, change.TxRecord, []change.Table) error { return nil }

func (g *gather) Append(_ context.Context, route string, ev *change.Event) error {
	values := slices.Clone(ev.After)
	for i := range values { // the reader may use its buffers again
		values[i].Text = string([]byte(values[i].Text))
	}
	g.s.rows[g.source] = append(g.s.rows[g.source], row{ev.Schema, string([]byte(route)), values})
	if route == "" {
		return nil
	}
	key, ok := ev.Schema.Key(values)
	if !ok {
		return errors.New("a sample row without a key")
	}
	g.s.keys[key], g.s.keys[string([]byte(route))] = true, true
	return nil
}

// as returns the row as that of the n-th copy of its member: every key in it
// that is a member's own becomes another one, no two the same.
func (s *sample) as(r row, n int) (row, error) {
	if r.route == "" || n == 0 {
		return r, nil
	}
	var err error
	r.values = slices.Clone(r.values)
	for i, v := range r.values {
		if v.State != change.Set || !s.keys[v.Text] {
			continue
		}
		if r.values[i].Text, err = another(v.Text, n); err != nil {
			return r, err
		}
	}
	r.route, err = another(r.route, n)
	return r, err
}

// another is the n-th variant of a UUID.
func another(uuid string, n int) (string, error) {
	if len(uuid) != 36 {
		return "", errors.New("a key of the sample that is no UUID")
	}
	head, err := strconv.ParseUint(uuid[:8], 16, 32)
	if err != nil {
		return "", errors.New("a key of the sample that is no UUID")
	}
	return fmt.Sprintf("%08x%s", uint32(head)^uint32(n)*0x9E3779B1, uuid[8:]), nil
}
