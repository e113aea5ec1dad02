package compose_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tributary-health/tributary/compose"
	"github.com/tributary-health/tributary/compose/mapping"
)

// world is two systems of record, their captures and the log.
type world struct {
	set   *mapping.Set
	rnd   *rand.Rand
	clock time.Time
	a, b  *system
	wa    *writer
	wb    *writer
	log   *simLog
	next  int

	tokensID   string // empty: no tokens
	tokenTypes []string
}

func newWorld(t testing.TB, seed uint64) *world {
	w := &world{set: loadMappings(t), rnd: rand.New(rand.NewPCG(seed, 1)), log: newSimLog(), tokensID: "key", tokenTypes: []string{"Patient", "MedicationDispense"}}
	w.clock = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	w.a, w.b = newSystem(w.set, "a", &w.clock), newSystem(w.set, "b", &w.clock)
	w.wa = &writer{s: w.a, log: w.log, rnd: w.rnd}
	w.wb = &writer{s: w.b, log: w.log, rnd: w.rnd}
	return w
}

// people is the members, and what else they need to exist for.
func (w *world) seed() {
	for i := range 5 {
		w.a.do(op{"a.people", nil, vals("p"+strconv.Itoa(i), "name"+strconv.Itoa(i), "1950-01-0"+strconv.Itoa(i+1))})
	}
	for i := range 3 {
		w.a.do(op{"a.makers", nil, vals("k"+strconv.Itoa(i), "maker"+strconv.Itoa(i))})
		w.a.do(op{"a.drugs", nil, vals("d"+strconv.Itoa(i), "drug"+strconv.Itoa(i), "k"+strconv.Itoa(i))})
	}
	for range 30 {
		w.change(w.a, 1)
		w.change(w.b, 1)
	}
}

// change commits a random transaction of up to n changes.
func (w *world) change(s *system, n int) {
	s.doEach(1+w.rnd.IntN(n), func() op {
		tables := slices.Sorted(maps.Keys(s.rows))
		table := tables[w.rnd.IntN(len(tables))]
		keys := slices.Sorted(maps.Keys(s.rows[table]))
		if len(keys) == 0 || w.rnd.IntN(3) == 0 {
			w.next++
			return op{table, nil, w.fill(s, table, fmt.Sprintf("%s%d", table[2:3], 100+w.next))}
		}
		from := s.rows[table][keys[w.rnd.IntN(len(keys))]]
		if w.rnd.IntN(4) == 0 {
			return op{table, from, nil}
		}
		to := slices.Clone(from)
		fresh := w.fill(s, table, from[0].Text)
		for i := 1; i < len(to); i++ {
			if w.rnd.IntN(2) == 0 {
				to[i] = fresh[i]
			}
		}
		if w.rnd.IntN(20) == 0 { // a key change, of a row that may be another's parent
			w.next++
			to[0] = vals(fmt.Sprintf("%s%d", table[2:3], 100+w.next))[0]
		}
		return op{table, from, to}
	})
}

// fill makes a row with random content that often refers to rows there are.
func (w *world) fill(s *system, table, key string) row {
	ref := func(table string) string {
		rows := w.a.rows[table]
		if table[:1] == "b" {
			rows = w.b.rows[table]
		}
		keys := slices.Sorted(maps.Keys(rows))
		if len(keys) == 0 || w.rnd.IntN(8) == 0 {
			return "x" + strconv.Itoa(w.rnd.IntN(3))
		}
		return keys[w.rnd.IntN(len(keys))]
	}
	text := "text" + strconv.Itoa(w.rnd.IntN(1000))
	day := time.Date(2020, 1, 1+w.rnd.IntN(2000), w.rnd.IntN(24), 0, 0, 0, time.UTC)
	switch table {
	case "a.people":
		return vals(key, text, day.Format(time.DateOnly))
	case "a.makers":
		return vals(key, text)
	case "a.drugs":
		return vals(key, text, ref("a.makers"))
	case "a.orders":
		return vals(key, ref("a.people"), ref("a.drugs"), text, day.Format("2006-01-02T15:04:05"))
	case "b.fills":
		code := "NULL"
		if w.rnd.IntN(3) > 0 {
			code = "c"
		}
		return vals(key, ref("a.people"), ref("a.orders"), code, text, day.Format(time.RFC3339))
	case "b.claims":
		return vals(key, ref("a.people"), day.Format(time.DateOnly))
	case "b.lines":
		return vals(key, ref("b.claims"), text)
	}
	return vals(key, ref("b.lines"), text)
}

// drive runs workers over the log until all of it is applied. fail says at which
// of the next store calls the process dies, 0 for never.
func (w *world) drive(t testing.TB, store *memStore, rnd *rand.Rand, edit func(*compose.Config), fail func() int) *compose.Worker {
	t.Helper()
	for {
		cfg := compose.Config{
			Set: w.set, Store: store, Sources: []string{"a", "b"}, Partitions: partitions, ChangePartitions: 3,
			SpillDir: t.TempDir(), RetryEvery: time.Hour,
			Feed: &simFeed{log: w.log, next: maps.Clone(store.Frontier().Offsets), rnd: rnd, batch: 30},
		}
		w.withTokens(&cfg, store)
		if f := cfg.Feed.(*simFeed); f.next == nil {
			f.next = make(map[tp]int64)
		}
		if edit != nil {
			edit(&cfg)
		}
		if n := fail(); n > 0 {
			store.failAt, store.failAfter = int(store.calls.Load())+n, n%2 == 0
		}
		worker, err := compose.New(cfg)
		for err == nil {
			err = worker.Step(context.Background())
		}
		if errors.Is(err, io.EOF) {
			if err := worker.Close(); err != nil {
				t.Fatal(err)
			}
			return worker
		}
		if worker != nil {
			_ = worker.Close()
		}
		if !errors.Is(err, errInjected) {
			t.Fatal(err)
		}
		store.reopen()
	}
}

func never() int { return 0 }

// check compares the store with the sources.
func (w *world) check(t testing.TB, store *memStore) {
	t.Helper()
	for _, f := range store.faults {
		t.Error("store contract: " + f)
	}
	if err := store.outboxDense(); err != nil {
		t.Error(err)
	}
	if got, want := storedRows(store), sourceRows(w.a, w.b); !maps.Equal(got, want) {
		t.Errorf("row state: %d rows, the sources have %d%s", len(got), len(want), difference(got, want))
	}
	w.checkReserved(t, store)
	want, parked := expected(t, w.set, w.a, w.b)
	got := map[string]string{}
	for id, c := range store.current() {
		got[id.String()] = c
	}
	if len(parked) == 0 && !maps.Equal(got, want) {
		for id := range want {
			if got[id] != want[id] {
				t.Errorf("%s\n is   %s\n want %s", id, got[id], want[id])
			}
		}
		for id := range got {
			if _, ok := want[id]; !ok {
				t.Errorf("ghost: %s %s", id, got[id])
			}
		}
	}
}

// checkReserved checks that rows by which rows are found point at rows there
// are.
func (w *world) checkReserved(t testing.TB, store *memStore) {
	t.Helper()
	for p := range store.committed.rows {
		table, what, ok := strings.Cut(p.table.String(), "#")
		s := w.a
		if table[:1] == "b" {
			s = w.b
		}
		kind, column, _ := strings.Cut(what, ":")
		switch {
		case !ok:
		case kind == "route" && s.rows[table][p.key] == nil:
			t.Errorf("left behind: %v", p)
		case kind == "by":
			key := p.key[strings.LastIndex(p.key, "\x1f")+1:]
			if r := s.rows[table][key]; r == nil || r[s.schemas[table].Column(column)].Text != p.route {
				t.Errorf("left behind: %v", p)
			}
		}
	}
}

func difference(got, want map[string]bool) string {
	s := ""
	for r := range got {
		if !want[r] {
			s += "\n too much: " + r
		}
	}
	for r := range want {
		if !got[r] {
			s += "\n missing: " + r
		}
	}
	return s
}
