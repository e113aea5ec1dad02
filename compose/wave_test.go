package compose_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/compose"
)

// unitStore is a memStore that keeps each unit as it was given, its pieces put
// together again.
type unitStore struct {
	*memStore
	given    map[commit.Number]*commit.Unit
	top      commit.Number
	together int // units that made versions and came in one batch with another
}

func (s *unitStore) Stage(ctx context.Context, b commit.Batch) error {
	err := s.memStore.Stage(ctx, b)
	if err == nil {
		s.take(b)
	}
	return err
}

func (s *unitStore) Commit(ctx context.Context, b commit.Batch, f commit.Frontier) error {
	err := s.memStore.Commit(ctx, b, f)
	if err == nil || s.Frontier().Number == f.Number { // durable, even if nobody learns
		s.take(b)
	}
	return err
}

func (s *unitStore) take(b commit.Batch) {
	made := 0
	for i := range b.Units {
		u := &b.Units[i]
		if u.Number < s.top {
			s.fault("unit %d goes on behind unit %d", u.Number, s.top)
		}
		s.top = u.Number
		if len(u.Versions) > 0 {
			made++
		}
		whole := s.given[u.Number]
		if whole == nil {
			whole = &commit.Unit{}
			s.given[u.Number] = whole
		}
		rows, vs := putRows(whole.Rows, u.Rows), append(whole.Versions, u.Versions...)
		parked, tokens := append(whole.Parked, u.Parked...), append(whole.Tokens, u.Tokens...)
		*whole = *u
		whole.Rows, whole.Versions, whole.Parked, whole.Tokens = rows, vs, parked, tokens
	}
	if made > 1 {
		s.together += made
	}
}

// putRows adds rows to those of earlier pieces: the last change of each place
// holds, and whether the row was new is what the first one says.
func putRows(rows, more []commit.Row) []commit.Row {
	for _, r := range more {
		i := slices.IndexFunc(rows, func(o commit.Row) bool { return o.Table == r.Table && o.Route == r.Route && o.Key == r.Key })
		r.Body = bytes.Clone(r.Body)
		if i < 0 {
			rows = append(rows, r)
			continue
		}
		r.New = rows[i].New
		rows[i] = r
	}
	return rows
}

// wholeFeed gives the whole log at once: what is applied next depends on nothing
// but the log.
type wholeFeed struct {
	recs []compose.Record
	done bool
}

func (f *wholeFeed) Poll(context.Context) ([]compose.Record, error) {
	if f.done {
		return nil, io.EOF
	}
	f.done = true
	return f.recs, nil
}

func (w *world) wholeFeed(from map[tp]int64) *wholeFeed {
	f := &wholeFeed{}
	for _, at := range sortedParts(w.log.parts) {
		f.recs = append(f.recs, w.log.parts[at][from[at]:]...)
	}
	return f
}

// crowd is a world of many members, composed once. What its sources do from then
// on lies in the log and is not yet applied.
type crowd struct {
	*world
	base *memStore
	dead map[string][]string // keys of rows that were deleted, by table
}

func newCrowd(t testing.TB, seed uint64, people, txs int) *crowd {
	c := &crowd{world: newWorld(t, seed), base: newMemStore(), dead: map[string][]string{}}
	for i := range people {
		c.a.do(op{"a.people", nil, vals("p"+strconv.Itoa(i), "name"+strconv.Itoa(i), "1950-01-01")})
	}
	for i := range 3 {
		c.a.do(op{"a.makers", nil, vals("k"+strconv.Itoa(i), "maker")}, op{"a.drugs", nil, vals("d"+strconv.Itoa(i), "drug", "k"+strconv.Itoa(i))})
	}
	for range 4 * people {
		c.act(c.a, 1)
		c.act(c.b, 2)
	}
	c.wa.start(-1)
	c.wa.snapshot()
	c.wb.start(-1)
	c.wb.snapshot()
	c.drive(t, c.base, rand.New(rand.NewPCG(seed, 7)), nil, never)
	c.a.minimal = seed%2 == 0
	for range txs {
		c.act([]*system{c.a, c.b}[c.rnd.IntN(2)], 1+c.rnd.IntN(2))
		if c.rnd.IntN(4) == 0 {
			c.wa.stream()
			c.wb.stream()
		}
	}
	c.wa.stream()
	c.wb.stream()
	return c
}

// act commits a transaction of n changes. Most are of one member each; some are
// of rows that all share, and keys that were deleted come again, anywhere.
func (c *crowd) act(s *system, n int) {
	s.doEach(n, func() op {
		table := []string{"a.people", "a.orders", "a.orders"}[c.rnd.IntN(3)]
		if s == c.b {
			table = []string{"b.fills", "b.claims", "b.lines", "b.notes"}[c.rnd.IntN(4)]
		} else if c.rnd.IntN(25) == 0 {
			table = "a.drugs"
		}
		keys := slices.Sorted(maps.Keys(s.rows[table]))
		if dead := c.dead[table]; len(dead) > 0 && c.rnd.IntN(3) == 0 {
			i := c.rnd.IntN(len(dead))
			key := dead[i]
			c.dead[table] = slices.Delete(dead, i, i+1)
			return op{table, nil, c.fill(s, table, key)}
		}
		if len(keys) == 0 || c.rnd.IntN(4) == 0 {
			c.next++
			return op{table, nil, c.fill(s, table, fmt.Sprintf("%s%d", table[2:3], 100+c.next))}
		}
		from := s.rows[table][keys[c.rnd.IntN(len(keys))]]
		if c.rnd.IntN(3) == 0 {
			c.dead[table] = append(c.dead[table], from[0].Text)
			return op{table, from, nil}
		}
		to, fresh := slices.Clone(from), c.fill(s, table, from[0].Text)
		for i := 1; i < len(to); i++ {
			if moves := i == 1 && table != "a.people"; c.rnd.IntN(2) == 0 && (!moves || c.rnd.IntN(3) == 0) {
				to[i] = fresh[i]
			}
		}
		if table == "a.people" && c.rnd.IntN(4) == 0 {
			to[1] = vals("broken")[0]
		}
		return op{table, from, to}
	})
}

// copyOf is a store with the same content.
func copyOf(s *memStore) *memStore {
	return &memStore{committed: s.committed.clone(), work: s.committed.clone()}
}

// applied applies what lies in the log to a copy of the base, in an order of
// arrival that the seed alone decides, and returns the store with its units.
func (c *crowd) applied(t testing.TB, seed uint64, edit func(*compose.Config)) *unitStore {
	t.Helper()
	s := &unitStore{memStore: copyOf(c.base), given: map[commit.Number]*commit.Unit{}}
	c.drive(t, s.memStore, rand.New(rand.NewPCG(seed, 8)), func(cfg *compose.Config) {
		cfg.Store, cfg.GroupTime = s, time.Hour
		cfg.Feed.(*simFeed).batch = 150
		edit(cfg)
	}, never)
	for _, f := range s.faults {
		t.Errorf("store contract: %s", f)
	}
	return s
}

// sameUnits compares unit by unit everything that there is of it.
func sameUnits(t testing.TB, got, want *unitStore) {
	t.Helper()
	for _, n := range slices.Sorted(maps.Keys(want.given)) {
		g, w := got.given[n], want.given[n]
		if g == nil {
			t.Fatalf("unit %d is missing", n)
		}
		if what := unitDiffers(g, w); what != "" {
			t.Fatalf("unit %d of source %s at %s has other %s", n, w.Source, w.Position, what)
		}
	}
	if g, w := len(got.given), len(want.given); g != w {
		t.Fatalf("%d units, want %d", g, w)
	}
	gf, wf := got.Frontier(), want.Frontier()
	if gf.Number != wf.Number || !slices.Equal(gf.Outbox, wf.Outbox) {
		t.Fatalf("frontier %d %v, want %d %v", gf.Number, gf.Outbox, wf.Number, wf.Outbox)
	}
	for at, w := range wf.Offsets { // of the tx topics they depend on when a watermark is committed
		if g := gf.Offsets[at]; g != w && !strings.HasSuffix(at.Topic, ".tx") {
			t.Errorf("offset of %v is %d, want %d", at, g, w)
		}
	}
	if g, w := counts(t, gf), counts(t, wf); g != w {
		t.Fatalf("counts are\n %s, want\n %s", g, w)
	}
}

func unitDiffers(g, w *commit.Unit) string {
	place := func(a, b commit.Row) int {
		return strings.Compare(fmt.Sprint(a.Table, a.Route, "\x00", a.Key), fmt.Sprint(b.Table, b.Route, "\x00", b.Key))
	}
	switch {
	case g.Source != w.Source || g.Position != w.Position || g.Token != w.Token || !g.Committed.Equal(w.Committed):
		return "origin: " + fmt.Sprint(g.Source, g.Position)
	case g.Count != w.Count || len(g.Versions) != len(w.Versions):
		return fmt.Sprintf("counts: %d of %d, want %d of %d", len(g.Versions), g.Count, len(w.Versions), w.Count)
	case !slices.Equal(g.Sources, w.Sources):
		return fmt.Sprintf("sources: %v, want %v", g.Sources, w.Sources)
	case !reflect.DeepEqual(g.Parked, w.Parked):
		return fmt.Sprintf("parked: %v, want %v", g.Parked, w.Parked)
	case !slices.Equal(tokenTexts(g.Tokens), tokenTexts(w.Tokens)):
		return fmt.Sprintf("tokens: %v, want %v", tokenTexts(g.Tokens), tokenTexts(w.Tokens))
	case !reflect.DeepEqual(slices.SortedFunc(slices.Values(g.Rows), place), slices.SortedFunc(slices.Values(w.Rows), place)):
		return "rows"
	}
	for i := range g.Versions {
		if a, b := &g.Versions[i], &w.Versions[i]; !reflect.DeepEqual(a, b) {
			return fmt.Sprintf("versions: %s %s/%d sequence %d, want %s %s/%d sequence %d", a.Op, a.ResourceID, a.Number, a.Sequence, b.Op, b.ResourceID, b.Number, b.Sequence)
		}
	}
	return ""
}

// tokenTexts prints sets; the order within a set is the maker's own.
func tokenTexts(sets []commit.TokenSet) (texts []string) {
	for _, s := range sets {
		var tokens []string
		for _, t := range s.Tokens {
			tokens = append(tokens, fmt.Sprintf("%x", t))
		}
		slices.Sort(tokens)
		texts = append(texts, fmt.Sprint(s.Resource, s.Member, tokens))
	}
	return texts
}

// counts is what the frontier counts: rows, deletes of rows that were not there,
// rows without a resource.
func counts(t testing.TB, f commit.Frontier) string {
	t.Helper()
	all := map[string]any{}
	read := func(name string, b []byte, keys ...string) {
		var m map[string]json.RawMessage
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			all[name+k] = m[k]
		}
	}
	read("", f.Extra, "skipped")
	for name, p := range f.Sources {
		read(name+" ", p.Extra, "rows", "missing")
	}
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Transactions that are applied in waves are the units that they are one by one.
func TestWaveIsItsTransactionsOneByOne(t *testing.T) {
	ways := map[string]func(*compose.Config){
		"as it is":              func(*compose.Config) {},
		"piece by piece":        func(c *compose.Config) { c.PieceVersions = 1 },
		"no room":               func(c *compose.Config) { c.PreparedBytes, c.CacheBytes, c.Readers = 1, 1, 1 },
		"no room, full at once": func(c *compose.Config) { c.PreparedBytes, c.CacheBytes, c.GroupBytes = 1, 1, 1 },
	}
	seeds := uint64(6)
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		c := newCrowd(t, seed, 30, 120)
		alone := c.applied(t, seed, func(cfg *compose.Config) { cfg.GroupTxs = 1 })
		for _, way := range slices.Sorted(maps.Keys(ways)) {
			t.Run(fmt.Sprintf("%d %s", seed, way), func(t *testing.T) {
				s := c.applied(t, seed, ways[way])
				if strings.Contains(way, "piece") && 3*s.together < len(s.given) {
					t.Errorf("%d of %d units were in waves: that tries nothing", s.together, len(s.given))
				}
				if strings.Contains(way, "full") && s.together > 0 {
					t.Errorf("%d units came together, though each of them was more than a group", s.together)
				}
				sameUnits(t, s, alone)
				c.check(t, s.memStore)
			})
		}
		if seed < 2 { // a replay, which knows no waves, gives the same again
			s, again := c.applied(t, seed, ways["as it is"]), newMemStore()
			if err := c.replayInto(t, again, s.memStore, rand.New(rand.NewPCG(seed, 9)), nil, 0); err != nil {
				t.Fatal(err)
			}
			sameStore(t, seed, again, s.memStore)
		}
	}
}

// A key that was deleted in one member's record and comes again in another's.
func TestKeyComesAgainInAnotherRecord(t *testing.T) {
	f := newFlow(t, two)
	f.b.do(f.b.remove("b.fills", "f1"))
	f.b.do(op{"b.fills", nil, vals("f1", "p2", "o1", "c", "again", "2020-02-01T00:00:00Z")})
	f.b.do(f.b.remove("b.claims", "c1")) // with a line and a note below it
	f.b.do(op{"b.claims", nil, vals("c1", "p2", "2020-03-01")})
	for _, v := range f.run(nil) {
		if v.Type == "MedicationDispense" && v.Number > 3 {
			t.Errorf("version %d of what was deleted once and made once again", v.Number)
		}
	}
}

// Wherever the process dies within a wave, what it does again is the same.
func TestWaveThroughCrashes(t *testing.T) {
	for seed := range uint64(2) {
		c := newCrowd(t, 20+seed, 20, 40)
		run := func(group int, fail func() int) *unitStore {
			s := &unitStore{memStore: copyOf(c.base), given: map[commit.Number]*commit.Unit{}}
			c.drive(t, s.memStore, nil, func(cfg *compose.Config) {
				for n := range s.given { // a unit that was staged and not committed is given again
					if n > s.Frontier().Number {
						delete(s.given, n)
					}
				}
				s.top = s.Frontier().Number
				cfg.Store, cfg.GroupTxs, cfg.GroupTime = s, group, time.Hour
				cfg.PieceVersions = 1 + int(seed)%2*2000
				cfg.Feed = c.wholeFeed(s.Frontier().Offsets)
			}, fail)
			return s
		}
		alone := run(1, never)
		for n := range 6 {
			deaths := 4
			s := run(7+n%3*20, func() int {
				if deaths--; deaths < 0 {
					return 0
				}
				return 30 + c.rnd.IntN(400)
			})
			for _, f := range s.faults {
				t.Errorf("store contract: %s", f)
			}
			sameUnits(t, s, alone)
		}
	}
}

// A transaction that cannot be applied, or a context that ends, stops a wave:
// nothing of it becomes visible, and the error says which transaction it was.
func TestWaveStopsWhole(t *testing.T) {
	f := newFlow(t, func(w *world) {
		for i := range 8 {
			w.a.do(op{"a.people", nil, vals("p"+strconv.Itoa(i), "one", "1950-01-01")})
		}
	})
	from := f.store.Frontier()
	for i := range 8 {
		f.a.do(f.a.update("a.people", "p"+strconv.Itoa(i), "name", "two"))
	}
	f.wa.stream()
	start := func(edit func(*compose.Config)) *compose.Worker {
		cfg := compose.Config{Set: f.set, Store: f.store, Sources: []string{"a", "b"}, Partitions: partitions, ChangePartitions: 3,
			Feed: f.wholeFeed(from.Offsets), PieceVersions: 1}
		f.withTokens(&cfg, f.store)
		edit(&cfg)
		w, err := compose.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = w.Close() })
		if err := w.Step(context.Background()); err != nil { // before anything is polled
			t.Fatal(err)
		}
		return w
	}
	stays := func(w *compose.Worker, err error) {
		t.Helper()
		if again := w.Step(context.Background()); err == nil || !errors.Is(again, err) {
			t.Errorf("the worker goes on after %v: %v", err, again)
		}
		if n := f.store.Frontier().Number; n != from.Number {
			t.Errorf("commit %d is visible, before it was %d", n, from.Number)
		}
		f.store.reopen()
	}

	ctx, cancel := context.WithCancel(context.Background())
	w := start(func(cfg *compose.Config) {
		tokens := cfg.Tokens
		cfg.Tokens = func(typ string, content []byte) []commit.Token { // within the wave
			cancel()
			return tokens(typ, content)
		}
	})
	err := w.Step(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the step returned %v", err)
	}
	stays(w, err)

	bad := f.a.txs[len(f.a.txs)-4]
	for _, recs := range f.log.parts {
		for i := range recs {
			if ev := recs[i].Event; ev != nil && ev.Position.Ordinal == bad.at { // of a row that is nowhere
				wrong := *ev
				wrong.After = slices.Clone(ev.After)
				wrong.After[0], wrong.After[2] = change.Of(ev.After[0].Text+"?"), change.Value{State: change.Unchanged}
				recs[i].Event = &wrong
			}
		}
	}
	w = start(func(*compose.Config) {})
	err = w.Step(context.Background())
	if at := pos(bad.at, 1).String(); err == nil || !strings.Contains(err.Error(), at) || !strings.Contains(err.Error(), "a.people") {
		t.Errorf("the step returned %v, which does not name %s", err, at)
	}
	stays(w, err)
}
