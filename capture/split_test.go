package capture_test

import (
	"errors"
	"testing"

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/change"
)

var (
	schema = &change.Schema{Table: change.Table{Source: "s", Name: "t"}, Columns: []change.Column{
		{Name: "id", Type: change.Int, Key: true},
		{Name: "member", Type: change.String},
		{Name: "note", Type: change.String, Nullable: true},
	}}
	byMember  = change.Route{Kind: change.ByMember, Column: "member"}
	reference = change.Route{Kind: change.Reference}
	unsent    = change.Value{State: change.Unchanged}
	null      = change.Value{}
)

func row(id, member string, note change.Value) []change.Value {
	return []change.Value{change.Of(id), change.Of(member), note}
}

func update(before, after []change.Value) *change.Event {
	return &change.Event{Op: change.Update, Schema: schema, Before: before, After: after,
		Position: change.Position{Generation: 1, Ordinal: 7, Sequence: 3}}
}

func TestSplit(t *testing.T) {
	x := change.Of("x")
	for _, tt := range []struct {
		name   string
		route  change.Route
		ev     *change.Event
		ops    string
		made   []change.Value
		column string
	}{
		{name: "plain update", route: byMember, ev: update(row("1", "a", x), row("1", "a", null)), ops: "u"},
		{name: "unsent stays unsent", route: byMember, ev: update(row("1", "a", x), row("1", "a", unsent)), ops: "u"},
		{name: "member", route: byMember, ev: update(row("1", "a", x), row("1", "b", unsent)), ops: "dc", made: row("1", "b", x)},
		{name: "member to null", route: byMember,
			ev:  update(row("1", "a", x), []change.Value{change.Of("1"), null, null}),
			ops: "dc", made: []change.Value{change.Of("1"), null, null}},
		{name: "key", route: byMember, ev: update(row("1", "a", null), row("2", "a", unsent)), ops: "dc", made: row("2", "a", null)},
		{name: "key of reference", route: reference, ev: update(row("1", "a", x), row("2", "b", x)), ops: "dc", made: row("2", "b", x)},
		{name: "reference has no route", route: reference, ev: update(row("1", "a", x), row("1", "b", x)), ops: "u"},
		{name: "new row not whole", route: byMember, ev: update(row("1", "a", unsent), row("1", "b", unsent)), column: "note"},
		{name: "old member unknown", route: byMember,
			ev: update([]change.Value{change.Of("1"), unsent, unsent}, row("1", "b", x)), column: "member"},
		{name: "no old row", route: byMember, ev: update(nil, row("1", "b", x)), column: "id"},
		{name: "create", route: byMember, ev: &change.Event{Op: change.Create, Schema: schema, After: row("1", "a", x)}, ops: "c"},
		{name: "delete", route: byMember, ev: &change.Event{Op: change.Delete, Schema: schema, Before: row("1", "a", unsent)}, ops: "d"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := capture.Split(tt.route, tt.ev)
			var ce *capture.Error
			if errors.As(err, &ce) {
				if ce.Column != tt.column || ce.Table != "t" {
					t.Fatalf("error names %s.%s: %v", ce.Table, ce.Column, err)
				}
				return
			}
			if err != nil || tt.column != "" {
				t.Fatalf("error %v, want one naming %q", err, tt.column)
			}
			ops := ""
			for i := range got {
				ops += string(rune(got[i].Op))
			}
			if ops != tt.ops {
				t.Fatalf("operations %s, want %s", ops, tt.ops)
			}
			if ops != "dc" {
				return
			}
			if got[0].After != nil || got[1].Before != nil {
				t.Error("Delete has After or Create has Before")
			}
			for i, v := range got[1].After {
				if v != tt.made[i] {
					t.Errorf("column %d of the new row: %+v, want %+v", i, v, tt.made[i])
				}
			}
		})
	}
}

func TestRouteText(t *testing.T) {
	ev := update(row("1", "a", null), []change.Value{change.Of("1"), unsent, null})
	for _, tt := range []struct {
		route change.Route
		ev    *change.Event
		want  string
		bad   bool
	}{
		{byMember, ev, "a", false},
		{reference, ev, "", false},
		{change.Route{Kind: change.ByParent, Column: "gone"}, ev, "", true},
		{byMember, &change.Event{Op: change.Delete, Schema: schema, Before: row("1", "b", unsent)}, "b", false},
		{byMember, &change.Event{Op: change.Delete, Schema: schema, Before: []change.Value{change.Of("1"), unsent, unsent}}, "", true},
		{byMember, &change.Event{Op: change.Create, Schema: schema, After: []change.Value{change.Of("1"), null, null}}, "", false},
	} {
		got, err := capture.RouteText(tt.route, schema, tt.ev)
		if got != tt.want || (err != nil) != tt.bad {
			t.Errorf("RouteText = %q, %v; want %q, error %v", got, err, tt.want, tt.bad)
		}
	}
}
