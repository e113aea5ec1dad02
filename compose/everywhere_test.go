package compose_test

import (
	"math/rand/v2"
	"testing"

	"github.com/tributary-health/tributary/compose"
)

// sharedRow adds mappings that are joined with one row of a.makers everywhere: of
// members' rows, of rows that reach their member through others, of reference rows.
var sharedRow = []string{"resource: Communication\n", `resource: Flag
from: a.people
join:
  today: {one: a.makers, is: k1}
  orders: {all: a.orders}
body:
  status: active
  code: {text: '= row.name + (today == null ? "" : today.name) + string(size(orders))'}
  subject: {reference: '= ref("Patient", "a.people", row.id)'}
---
resource: Task
from: b.notes
join:
  today: {one: a.makers, is: k1}
where: 'today != null && row.text < today.name'
skipped: false
body: {status: requested, intent: plan, description: '= row.text'}
---
resource: Basic
from: a.drugs
join:
  today: {one: a.makers, is: k1}
  drugs: {many: a.drugs, by: maker}
body:
  code: {text: '= today == null ? "none" : today.name'}
---
resource: Communication
`}

func sharedWorld(t *testing.T, seed uint64) *world {
	w := newWorld(t, seed)
	w.set = loadMappings(t, sharedRow...)
	return w
}

func TestSharedRow(t *testing.T) {
	f := &flow{world: sharedWorld(t, 7), t: t, store: newMemStore()}
	two(f.world)
	f.wa.start(-1)
	f.wa.snapshot()
	f.wb.start(-1)
	f.wb.snapshot()
	f.run(nil)
	// All that use the row, of both members and of none; nothing else.
	f.a.do(f.a.update("a.makers", "k1", "name", "a"))
	f.want(f.run(nil), "delete Task, update Basic, update Basic, update Flag, update Flag, update Medication, update Medication, "+
		"update MedicationRequest, update Organization")
	f.a.do(op{"a.makers", nil, vals("k2", "another")})
	f.want(f.run(nil), "create Organization")
	f.b.do(f.b.update("b.notes", "n1", "text", "Z"))
	f.want(f.run(nil), "create Task, update ChargeItem, update Communication")
	f.a.do(f.a.remove("a.makers", "k1"))
	f.want(f.run(nil), "delete Organization, delete Task, update Basic, update Basic, update Flag, update Flag, update Medication, update Medication, update MedicationRequest")
	// A change of the row and of one member's, in one transaction.
	f.a.do(op{"a.makers", nil, vals("k1", "b")}, f.a.update("a.people", "p2", "name", "zwei"))
	f.want(f.run(nil), "create Organization, create Task, update Basic, update Basic, update Flag, update Flag, update Medication, update Medication, "+
		"update MedicationRequest, update Patient")
	// A parked member is whole again when the row changes after its mending.
	f.a.do(f.a.update("a.people", "p1", "name", "broken"))
	f.run(nil)
	f.a.do(f.a.update("a.makers", "k1", "name", "c"), f.a.update("a.people", "p1", "name", "mended"))
	f.run(nil)
}

// TestSharedRowAnyHistory applies random transactions, in the middle of which the
// process dies: what is stored is what the rows give.
func TestSharedRowAnyHistory(t *testing.T) {
	for seed := range uint64(12) {
		w, store := sharedWorld(t, seed), newMemStore()
		w.a.do(op{"a.makers", nil, vals("k1", "m")})
		w.seed()
		w.wa.start(-1)
		w.wa.snapshot()
		w.wb.start(-1)
		w.wb.snapshot()
		rnd := rand.New(rand.NewPCG(seed, 2))
		for range 6 {
			for range 5 {
				w.change(w.a, 4)
				w.change(w.b, 4)
				if r := w.a.rows["a.makers"]["k1"]; r != nil && rnd.IntN(2) == 0 {
					w.a.do(w.a.update("a.makers", "k1", "name", string(rune('a'+rnd.IntN(26)))))
				}
			}
			w.wa.stream()
			w.wb.stream()
			fails := 2
			w.drive(t, store, rnd, func(c *compose.Config) { c.GroupBytes = 1 + int(seed%3)*1000 }, func() int {
				if fails--; fails < 0 {
					return 0
				}
				return 1 + rnd.IntN(40)
			})
			w.check(t, store)
		}
	}
}
