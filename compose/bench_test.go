package compose_test

import (
	"fmt"
	"testing"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/compose"
)

// BenchmarkComposeAll composes members of 40 orders and 200 fills each.
func BenchmarkComposeAll(b *testing.B) {
	set := loadMappings(b)
	schemas := map[string]*change.Schema{}
	for table := range worldColumns {
		schemas[table] = schemaOf(table)
	}
	var events []*change.Event
	add := func(table string, texts ...string) {
		events = append(events, &change.Event{Op: change.Read, Incarnation: 1, Schema: schemas[table], After: vals(texts...)})
	}
	for i := range 100 {
		add("a.drugs", fmt.Sprint("d", i), "drug", "k")
	}
	for m := range 50 {
		member := fmt.Sprint("p", m)
		add("a.people", member, "name", "1950-01-01")
		for o := range 40 {
			order := fmt.Sprint(member, "o", o)
			add("a.orders", order, member, fmt.Sprint("d", o), "note", "2020-01-01T00:00:00")
			for f := range 5 {
				add("b.fills", fmt.Sprint(order, "f", f), member, order, "c", "text", "2020-01-01T00:00:00Z")
			}
		}
	}
	n := 0
	for b.Loop() {
		rows := func(yield func(*change.Event, error) bool) {
			for _, ev := range events {
				if !yield(ev, nil) {
					return
				}
			}
		}
		if err := compose.ComposeAll(set, rows, func(compose.Expected) error { n++; return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "resources/s")
}
