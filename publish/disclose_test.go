package publish_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/tributary-health/tributary/publish"
)

// register is where disclosures are put on the record. It refuses as fail says.
type register struct {
	tb        testing.TB
	disclosed map[string]bool
	calls     int
	fail      func() error
}

func (r *register) disclose(_ context.Context, partition int32, records []publish.Record) error {
	r.calls++
	if len(records) == 0 || len(records) > 3 {
		r.tb.Fatalf("%d records at once", len(records))
	}
	if err := r.fail(); err != nil {
		return err
	}
	for _, rec := range records {
		r.disclosed[place(partition, rec)] = true
	}
	return nil
}

func place(partition int32, r publish.Record) string {
	return fmt.Sprint(partition, " ", header(r, publish.HeaderOutbox))
}

// watched is a topic that takes nothing which is not on the record, not even
// into a transaction that is given up.
type watched struct {
	*txTopic
	register *register
}

func (w *watched) see(partition int32, r publish.Record) {
	if !w.register.disclosed[place(partition, r)] {
		w.tb.Fatalf("sent before it was disclosed: %s", place(partition, r))
	}
}

func (w *watched) Append(ctx context.Context, partition int32, records []publish.Record) error {
	for _, r := range records {
		w.see(partition, r)
	}
	return w.topic.Append(ctx, partition, records)
}

func (w *watched) Transact(ctx context.Context, fn func(func(int32, publish.Record) error) error) error {
	return w.txTopic.Transact(ctx, func(write func(int32, publish.Record) error) error {
		return fn(func(partition int32, r publish.Record) error {
			w.see(partition, r)
			return write(partition, r)
		})
	})
}

// plain hides that a topic is transactional.
type plain struct{ w *watched }

func (p plain) Last(ctx context.Context, partition int32) (uint64, int64, error) {
	return p.w.Last(ctx, partition)
}

func (p plain) Append(ctx context.Context, partition int32, records []publish.Record) error {
	return p.w.Append(ctx, partition, records)
}

var errRegister = errors.New("the register is full")

func disclosing(t *testing.T, transactional bool) (*growing, *watched, *register, func() *publish.Publisher) {
	g := &growing{outbox: newOutbox("g")}
	r := &register{tb: t, disclosed: map[string]bool{}, fail: func() error { return nil }}
	w := &watched{&txTopic{topic: newTopic(), tb: t}, r}
	cfg := publish.Config{Outbox: g, Topic: plain{w}, Partitions: 2, Records: 3, Disclose: r.disclose}
	if transactional {
		cfg.Topic = w
	}
	return g, w, r, func() *publish.Publisher { return publish.New(cfg) }
}

// TestNotDisclosedNotSent refuses every disclosure: nothing is sent. When the
// register is there again, everything is.
func TestNotDisclosedNotSent(t *testing.T) {
	for _, transactional := range []bool{false, true} {
		g, w, r, start := disclosing(t, transactional)
		g.addUnit("emr", 4, 5)
		g.addUnit("", 3, 9)
		r.fail = func() error { return errRegister }
		p := start()
		for range 5 {
			if n, err := p.Step(context.Background()); n != 0 || !errors.Is(err, errRegister) {
				t.Fatalf("transactional %v: %d records, %v", transactional, n, err)
			}
		}
		if len(w.records[0])+len(w.records[1]) > 0 || g.marks[0]+g.marks[1] > 0 {
			t.Fatalf("transactional %v: sent", transactional)
		}
		r.fail = func() error { return nil }
		drain(t, p)
		w.check(t, g.outbox)
	}
}

// TestDisclosedAtLeastOnce kills publishers at random calls of topic and
// register: what is sent is on the record before, and what was on the record and
// not sent comes there again.
func TestDisclosedAtLeastOnce(t *testing.T) {
	again := 0
	for seed := range uint64(100) {
		for _, transactional := range []bool{false, true} {
			r := rand.New(rand.NewPCG(seed, 9))
			g, w, reg, start := disclosing(t, transactional)
			spoilt := true
			w.fail = func(int) (before, after error) {
				switch {
				case spoilt && r.IntN(4) == 0:
					return errAway, nil
				case spoilt && r.IntN(4) == 0:
					return nil, errAway
				}
				return nil, nil
			}
			reg.fail = func() error {
				if spoilt && r.IntN(4) == 0 {
					return errRegister
				}
				return nil
			}
			for range 10 {
				g.addUnit(pickSource(r), r.IntN(5), r.IntN(5))
				before := reg.calls
				p := start()
				for range r.IntN(4) {
					_, _ = p.Step(context.Background())
				}
				// Only what the topic holds may be taken for disclosed by the next one.
				held := map[string]bool{}
				for partition, records := range w.records {
					for _, rec := range records {
						held[place(partition, rec)] = true
					}
				}
				if len(held) < len(reg.disclosed) && reg.calls > before {
					again++
				}
				reg.disclosed = held
			}
			spoilt = false
			drain(t, start())
			w.check(t, g.outbox)
			for partition, records := range w.records {
				for _, rec := range records {
					if !reg.disclosed[place(partition, rec)] {
						t.Fatalf("seed %d: %s was never disclosed", seed, place(partition, rec))
					}
				}
			}
		}
	}
	if again == 0 {
		t.Fatal("no kill fell between disclosing and sending")
	}
}

func pickSource(r *rand.Rand) string {
	if r.IntN(4) == 0 {
		return ""
	}
	return "emr"
}
