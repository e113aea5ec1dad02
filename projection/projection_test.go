package projection_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/projection"
)

func seeds(tb testing.TB, n uint64) uint64 {
	if testing.Short() {
		return max(n/5, 2)
	}
	return n
}

// TestGenerated projects generated histories and compares with the model after
// every commit of the base store.
func TestGenerated(t *testing.T) {
	for seed := range seeds(t, 40) {
		r := rand.New(rand.NewPCG(seed, 1))
		b, m := newBase(t), newModel()
		c := newClient(t, b)
		c.cfg.GroupBytes, c.cfg.GroupUnits = 1+r.IntN(3000), 1+r.IntN(5)
		c.start(nil)
		at := epoch
		for range 40 {
			at = randomGroup(r, b, m, at)
			must(t, c.catchUp())
			m.compare(t, c.db)
			if s := c.p.Status(); s.Base != b.number || !s.Ready || int(s.Number) != len(m.commits) {
				t.Fatalf("seed %d: status %+v at %d", seed, s, b.number)
			}
		}
		if len(m.commits) < 20 {
			t.Fatalf("seed %d: only %d commits are shown", seed, len(m.commits))
		}
	}
}

// randomGroup commits some units, the last now and then a large one in pieces.
func randomGroup(r *rand.Rand, b *base, m *model, at time.Time) time.Time {
	for range 1 + r.IntN(3) {
		at = at.Add(time.Duration(r.IntN(4000)) * time.Millisecond)
		most := 4
		if r.IntN(10) == 0 {
			most = 60
		}
		puts := randomPuts(r, r, most)
		b.unit(pick(r, []string{"emr", "pharmacy", ""}), at, puts)
		m.unit(at, puts)
		if r.IntN(4) == 0 {
			b.stage()
		}
	}
	b.commit()
	return at
}

var errKilled = errors.New("killed")

// dying is a store whose process is killed at one of its writes, before or
// after it took effect.
type dying struct {
	projection.Store
	left int
	late bool
}

func (d *dying) die(write func() error) error {
	if d.left--; d.left > 0 {
		return write()
	}
	if d.left == 0 && d.late {
		return errors.Join(write(), errKilled)
	}
	return errKilled
}

func (d *dying) Stage(c ctxType, b commit.Batch) error {
	return d.die(func() error { return d.Store.Stage(c, b) })
}

func (d *dying) Commit(c ctxType, b commit.Batch, f commit.Frontier) error {
	return d.die(func() error { return d.Store.Commit(c, b, f) })
}

// TestKilled kills the projection at random writes, with a power loss, and goes
// on with what the disk has: each change is there once.
func TestKilled(t *testing.T) {
	kills := 0
	for seed := range seeds(t, 60) {
		r := rand.New(rand.NewPCG(seed, 2))
		b, m := newBase(t), newModel()
		c := newClient(t, b)
		c.cfg.GroupBytes, c.cfg.GroupUnits, c.cfg.SkipEntries = 1+r.IntN(1500), 1+r.IntN(4), 1+r.IntN(20)
		at := epoch
		for range 12 {
			for range r.IntN(6) {
				at = randomGroup(r, b, m, at)
			}
			if r.IntN(4) > 0 {
				c.start(func(s projection.Store) projection.Store {
					return &dying{s, 1 + r.IntN(6), r.IntN(2) == 0}
				})
				err := c.catchUp()
				if err != nil && !errors.Is(err, errKilled) {
					t.Fatal(err)
				}
				if err != nil {
					kills++
					if s := c.p.Status(); s.Ready || s.Err == nil {
						t.Fatalf("a dead projection says %+v", s)
					}
				}
				c.lose(r)
			}
		}
		c.start(nil)
		must(t, c.catchUp())
		m.compare(t, c.db)
	}
	if kills < 20 {
		t.Fatalf("only %d kills", kills)
	}
	t.Logf("%d kills", kills)
}

// TestScanned begins an empty projection when the base store's first entries are
// gone: what is current is one commit, and then the rest follows.
func TestScanned(t *testing.T) {
	for seed := range seeds(t, 6) {
		r := rand.New(rand.NewPCG(seed, 3))
		b, m := newBase(t), newModel()
		at := epoch
		for range 20 {
			at = randomGroup(r, b, m, at)
		}
		many(b, m, at)
		dropAll(t, b)
		c := newClient(t, b)
		c.cfg.GroupBytes = 1 + r.IntN(100_000)
		c.start(func(s projection.Store) projection.Store { return &dying{s, 2, false} })
		if err := c.catchUp(); err != nil && !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		c.lose(r)
		c.start(nil)
		must(t, c.catchUp())
		current(t, m, c)
		if n := c.db.Frontier().Number; n != 1 {
			t.Fatalf("%d commits", n)
		}
		view, err := c.db.At(1)
		must(t, err)
		if told := view.Committed(); told.IsZero() || !told.Equal(told.Truncate(10*time.Second)) {
			t.Fatalf("the commit's time is %v, which may be that of a hidden change", told)
		}
		b.unit("emr", at, []put{{id: claimID(1), member: "a", status: "changed", note: "1"}})
		m.unit(at, []put{{id: claimID(1), member: "a", status: "changed", note: "1"}})
		b.commit()
		must(t, c.catchUp())
		current(t, m, c)
		if n := c.db.Frontier().Number; n != 2 {
			t.Fatalf("%d commits", n)
		}
		must(t, c.db.Check(ctx))
	}
}

// TestMovedWithoutDeletion wants a move to be a deletion and a creation, whatever
// the base store made of it: who follows the first member hears that it is gone.
func TestMovedWithoutDeletion(t *testing.T) {
	for _, to := range []string{"b", "x1"} {
		b, m := newBase(t), newModel()
		b.silent = true
		c := newClient(t, b)
		for _, member := range []string{"a", to, "a"} {
			puts := []put{{id: claimID(1), member: member, status: "one", note: "1"}}
			b.unit("emr", epoch, puts)
			m.unit(epoch, puts)
			b.commit()
			must(t, c.catchUp())
			m.compare(t, c.db)
		}
		if n := m.heads[claimID(1)].number; to == "b" && n != 5 || to == "x1" && n != 3 {
			t.Fatalf("to %s: version %d", to, n)
		}
	}
}

// TestGoneIsNoGap wants a stop when entries that were not taken are gone.
func TestGoneIsNoGap(t *testing.T) {
	b, m := newBase(t), newModel()
	c := newClient(t, b)
	b.unit("emr", epoch, []put{{id: claimID(1), member: "a", status: "one", note: "1"}})
	b.commit()
	must(t, c.catchUp())
	many(b, m, epoch)
	dropAll(t, b)
	if err := c.catchUp(); err == nil {
		t.Fatal("went on over a gap")
	}
	if s := c.p.Status(); s.Ready || s.Err == nil {
		t.Fatalf("status %+v", s)
	}
	if _, err := projection.New(c.cfg); !errors.Is(err, projection.ErrOther) {
		t.Fatalf("a new one: %v", err)
	}
}

// TestOther wants another policy, base store or topic to be refused.
func TestOther(t *testing.T) {
	b := newBase(t)
	c := newClient(t, b)
	b.unit("emr", epoch, []put{{id: claimID(1), member: "a", status: "one", note: "1"}})
	b.commit()
	must(t, c.catchUp())
	id, ok, err := projection.Noted(c.db)
	if err != nil || !ok || id.Policy != "p1" || id.Base != b.Generation() {
		t.Fatalf("noted %+v %v %v", id, ok, err)
	}
	for name, change := range map[string]func(*projection.Config){
		"policy":     func(cfg *projection.Config) { cfg.Policy = policy{"p2"} },
		"base":       func(cfg *projection.Config) { cfg.Base = newBase(t) },
		"partitions": func(cfg *projection.Config) { cfg.Partitions = 5 },
		"build":      func(cfg *projection.Config) { cfg.Build = 1 },
	} {
		cfg := c.cfg
		change(&cfg)
		if _, err := projection.New(cfg); !errors.Is(err, projection.ErrOther) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	if _, err := projection.New(c.cfg); err != nil {
		t.Fatal(err)
	}
	back := newBase(t) // the base store restored from a backup
	cfg := c.cfg
	cfg.Base = restored{back, b.Generation()}
	if _, err := projection.New(cfg); !errors.Is(err, projection.ErrOther) {
		t.Errorf("an older base store: %v", err)
	}
	data := newBase(t) // a store with data of something else
	data.unit("emr", epoch, []put{{id: claimID(1), member: "a", status: "one", note: "1"}})
	data.commit()
	cfg = c.cfg
	cfg.Store = data.DB
	if _, err := projection.New(cfg); !errors.Is(err, projection.ErrOther) {
		t.Errorf("a store of something else: %v", err)
	}
}

type restored struct {
	*base
	generation string
}

func (r restored) Generation() string { return r.generation }

// TestUnredactable wants a stop at what cannot be redacted, which is neither
// shown nor left out, nor anything after it.
func TestUnredactable(t *testing.T) {
	for name, body := range map[string]string{
		"malformed":   `{"resourceType":"Claim","id":"2","meta":{"versionId":"1","lastUpdated":"x"},"secret":"s3cret"}`,
		"not stamped": `{"resourceType":"Claim","id":"2","meta":{"source":"t"},"status":"x","note":"s3cret"}`,
		"no meta":     `{"resourceType":"Claim","id":"2","status":"x","note":"s3cret"}`,
		"twice":       `{"resourceType":"Claim","id":"2","meta":{"versionId":"7","lastUpdated":"x","versionId":"8","lastUpdated":"s3cret"},"note":"1"}`,
		"empty":       ``,
	} {
		b := newBase(t)
		c := newClient(t, b)
		b.unit("emr", epoch, []put{{id: claimID(1), member: "a", status: "one", note: "1"}})
		b.commit()
		b.unit("emr", epoch, []put{{id: claimID(2), member: "a", status: "two", note: "2"}})
		b.waits[0].Versions[0].Body = []byte(body)
		b.unit("emr", epoch, []put{{id: claimID(3), member: "a", status: "three", note: "3"}})
		b.commit()
		err := c.catchUp()
		if err == nil || !contains(err, "Claim/2") || !contains(err, "client cm") || contains(err, "s3cret") {
			t.Fatalf("%s: %v", name, err)
		}
		if s := c.p.Status(); s.Ready || s.Err == nil {
			t.Fatalf("%s: status %+v", name, s)
		}
		if err := c.p.Wait(ctx, 3); err == nil {
			t.Fatalf("%s: waited in vain and well", name)
		}
		if _, err := c.p.Step(ctx); err == nil {
			t.Fatalf("%s: it goes on", name)
		}
		if n := c.db.Frontier().Number; n > 1 {
			t.Fatalf("%s: %d commits", name, n)
		}
	}
}

// TestRun follows beside a base store that is written to, and waits.
func TestRun(t *testing.T) {
	b, m := newBase(t), newModel()
	c := newClient(t, b)
	run, stop := contextWithCancel(t)
	done := make(chan error, 1)
	go func() { done <- c.p.Run(run) }()
	r := rand.New(rand.NewPCG(5, 5))
	at := epoch
	for range 30 {
		at = randomGroup(r, b, m, at)
		must(t, c.p.Wait(run, b.number))
		if n := c.db.Frontier().Number; int(n) != len(m.commits) {
			t.Fatalf("%d commits, want %d", n, len(m.commits))
		}
	}
	stop()
	must(t, <-done)
	m.compare(t, c.db)
	if err := c.p.Wait(run, b.number+1); err == nil {
		t.Fatal("waited for what will not come")
	}
}

// TestKept wants the base store to drop nothing that a projection has not taken.
func TestKept(t *testing.T) {
	b, m := newBase(t), newModel()
	c, late := newClient(t, b), newClient(t, b)
	kept := b.Keep(projection.Taken(c.p, late.p))
	many(b, m, epoch)
	must(t, c.catchUp())
	publishAll(t, b, kept.Published)
	if n, err := b.Dropped(0); n != 0 || err != nil {
		t.Fatalf("dropped up to %d before all took it: %v", n, err)
	}
	must(t, late.catchUp())
	m.compare(t, late.db)
	b.unit("emr", epoch, manyPuts(1, "again"))
	b.commit()
	must(t, c.catchUp())
	must(t, late.catchUp())
	publishAll(t, b, kept.Published)
	if n, err := b.Dropped(change0()); n == 0 || err != nil {
		t.Fatalf("dropped up to %d after all took it: %v", n, err)
	}
}

func ExampleFirstVersion() {
	fmt.Println(projection.FirstVersion(0), projection.FirstVersion(1))
	// Output: 1 16777217
}
