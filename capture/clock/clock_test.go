package clock_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/capture/clock"
	"github.com/tributary-health/tributary/change"
)

var tables = []capture.Table{{Table: clock.Today, Route: change.Route{Kind: change.Reference}}}

// wall is a wall clock that starts at a time and goes on with the bubble's.
type wall struct {
	at    time.Time
	begun time.Time
}

func (w *wall) set(text string) {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	w.at, w.begun = at, time.Now()
}

func (w *wall) now() time.Time { return w.at.Add(time.Since(w.begun)) }

// start runs a reader until stop is called, which returns what Run did.
func start(cfg clock.Config, log capture.Log) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	cfg.Tables, cfg.Heartbeat = tables, cmp.Or(cfg.Heartbeat, time.Minute)
	go func() { done <- clock.New(cfg, log).Run(ctx) }()
	synctest.Wait()
	return func() error {
		cancel()
		return <-done
	}
}

// pass lets time go by.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, log := &wall{}, newLog()
		w.set("2026-03-07T15:00:00Z")
		stop := start(clock.Config{Zone: "America/New_York", Now: w.now}, log)
		log.want(t, "START snapshot", "r 1.20519.1 2026-03-07 at 2026-03-07T15:00:00Z", "SNAPSHOT_END 1.20519.0 at 2026-03-07T15:00:00Z today=1")
		pass(13*time.Hour + 59*time.Minute) // 23:59 in New York
		log.want(t)
		pass(2 * time.Minute)
		log.want(t, "u 1.20520.1 2026-03-07 to 2026-03-08 at 2026-03-08T05:00:00Z", "END 1.20520.0 at 2026-03-08T05:00:00Z")
		pass(23 * time.Hour) // the day that has no more
		log.want(t, "u 1.20521.1 2026-03-08 to 2026-03-09 at 2026-03-09T04:00:00Z", "END 1.20521.0 at 2026-03-09T04:00:00Z")
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
		// A day and a half later: Tuesday's row was missed.
		log = log.reopen(0)
		w.set("2026-03-10T20:00:00Z")
		stop = start(clock.Config{Zone: "America/New_York", Now: w.now}, log)
		log.want(t, "START 1.20521.0", "u 1.20522.1 2026-03-09 to 2026-03-10 at 2026-03-10T04:00:00Z", "END 1.20522.0 at 2026-03-10T04:00:00Z")
		_ = stop()
	})
}

func TestMissedDays(t *testing.T) {
	for _, c := range []struct {
		days int
		want []string
	}{
		{0, []string{"START 1.20440.0"}},
		{3, []string{"START 1.20440.0", "u 1.20441.1", "END 1.20441.0", "u 1.20442.1", "END 1.20442.0", "u 1.20443.1", "END 1.20443.0"}},
		{32, []string{"START snapshot", "r 1.20472.1", "SNAPSHOT_END 1.20472.0"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			w, log := &wall{}, newLog()
			w.set("2025-12-18T12:00:00Z")
			_ = start(clock.Config{Now: w.now}, log)()
			log = log.reopen(0)
			w.set(time.Date(2025, 12, 18+c.days, 11, 0, 0, 0, time.UTC).Format(time.RFC3339))
			_ = start(clock.Config{Now: w.now}, log)()
			var got []string
			for _, line := range log.news() {
				words := strings.Fields(line)
				got = append(got, strings.Join(words[:2], " "))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("after %d days: %q, want %q", c.days, got, c.want)
			}
		})
	}
}

// The wall clock goes back, the zone goes west: the log waits, and says so once.
func TestNeverBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, log, said := &wall{}, newLog(), []string{}
		cfg := clock.Config{Now: w.now, Behind: func(landed, today string) { said = append(said, landed+" "+today) }}
		w.set("2026-03-02T10:00:00Z")
		stop := start(cfg, log)
		log.news()
		w.set("2026-02-28T10:00:00Z")
		pass(time.Hour)
		log.want(t)
		if want := []string{"2026-03-02 2026-02-28"}; !slices.Equal(said, want) {
			t.Errorf("said %q, want %q", said, want)
		}
		_ = stop()
		log = log.reopen(0)
		cfg.Zone = "Pacific/Honolulu"
		w.set("2026-03-02T09:00:00Z")
		stop = start(cfg, log)
		log.want(t, "START 1.20514.0")
		pass(time.Hour)
		log.want(t) // it is the second there too: they have met
		pass(24 * time.Hour)
		log.want(t, "u 1.20515.1 2026-03-02 to 2026-03-03 at 2026-03-03T10:00:00Z", "END 1.20515.0 at 2026-03-03T10:00:00Z")
		_ = stop()
		if want := []string{"2026-03-02 2026-02-28", "2026-03-02 2026-03-01"}; !slices.Equal(said, want) {
			t.Errorf("said %q, want %q", said, want)
		}
		log.checkTimes(t)
		// Set back on purpose: another generation.
		log = log.reopen(0)
		w.set("2026-01-01T12:00:00Z")
		cfg.Resnapshot = true
		stop = start(cfg, log)
		log.want(t, "START snapshot", "r 2.20454.1 2026-01-01 at 2026-01-01T12:00:00Z", "SNAPSHOT_END 2.20454.0 at 2026-01-01T12:00:00Z today=1")
		_ = stop()
	})
}

func TestFixed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, log := &wall{}, newLog()
		w.set("2026-03-02T10:00:00Z")
		cfg := clock.Config{Now: w.now, Fixed: "2030-01-01"}
		stop := start(cfg, log)
		log.want(t, "START snapshot", "r 1.21915.1 2030-01-01 at 2026-03-02T10:00:00Z", "SNAPSHOT_END 1.21915.0 at 2026-03-02T10:00:00Z today=1")
		pass(100 * time.Hour)
		log.want(t)
		_ = stop()
		log = log.reopen(0)
		cfg.Fixed = "2030-01-02"
		stop = start(cfg, log)
		log.want(t, "START 1.21915.0", "u 1.21916.1 2030-01-01 to 2030-01-02 at 2026-03-06T14:00:00Z", "END 1.21916.0 at 2026-03-06T14:00:00Z")
		_ = stop()
	})
}

// Watermarks go on while nothing happens.
func TestWatermarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, log := &wall{}, newLog()
		w.set("2026-03-02T10:00:00Z")
		heads := 0
		stop := start(clock.Config{Now: w.now, Heartbeat: 500 * time.Millisecond, Hooks: capture.Hooks{Head: func(mark change.Mark, at time.Time) {
			if heads++; mark.Position.Ordinal != 20514 || !at.Equal(w.now()) {
				t.Errorf("head %v at %v", mark, at)
			}
		}}}, log)
		pass(10 * time.Second)
		_ = stop()
		if n := log.count(change.Watermark); n < 20 || heads != n-1 { // one is the snapshot's
			t.Errorf("%d watermarks and %d heads in ten seconds", n, heads)
		}
		log.checkTimes(t)
	})
}

// TestAnyCrash stops readers at random moments, loses what was not acknowledged,
// and looks at what a composer makes of the log: every day, once, in order.
func TestAnyCrash(t *testing.T) {
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			w, log := &wall{}, newLog()
			w.set("2026-01-01T12:00:00Z")
			for range 12 {
				log.lag, log.failAfter = rnd.IntN(7), 1+rnd.IntN(14)
				stop := start(clock.Config{Now: w.now, Heartbeat: time.Hour}, log)
				pass(time.Duration(rnd.IntN(60)) * time.Hour)
				_ = stop()
				log = log.reopen(rnd.IntN(7))
				w.set(w.now().Add(time.Duration(rnd.IntN(72)) * time.Hour).Format(time.RFC3339))
				if _, err := log.days(); err != nil {
					t.Fatalf("seed %d: %v\n%s", seed, err, log)
				}
			}
			log.lag, log.failAfter = 0, 0
			stop := start(clock.Config{Now: w.now}, log)
			_ = stop()
			last, err := log.days()
			if today := w.now().Format(time.DateOnly); err != nil || last != today {
				t.Fatalf("seed %d: the log ends on %s, it is %s: %v\n%s", seed, last, today, err, log)
			}
		})
	}
}

func TestResumeRefuses(t *testing.T) {
	mark := func(ordinal uint64, token string) change.Mark {
		return change.Mark{Position: change.Position{Generation: 1, Ordinal: ordinal}, Token: token}
	}
	for name, c := range map[string]struct {
		resume capture.Resume
		kind   capture.Kind
	}{
		"another source": {capture.Resume{Durable: mark(20514, "0/16B3748"), Incarnation: 3, History: "7311/1/emr"}, capture.History},
		"no day":         {capture.Resume{Durable: mark(1<<40, "2026-03-02"), Incarnation: 3, History: "clock"}, capture.Corrupt},
		"another token":  {capture.Resume{Durable: mark(20514, "2026-03-03"), Incarnation: 3, History: "clock"}, capture.Corrupt},
	} {
		log := newLog()
		log.resume = c.resume
		err := clock.New(clock.Config{Tables: tables}, log).Run(t.Context())
		var ce *capture.Error
		if !errors.As(err, &ce) || ce.Kind != c.kind || len(log.entries) > 0 {
			t.Errorf("%s: %v, %d records", name, err, len(log.entries))
		}
	}
}

func TestConfig(t *testing.T) {
	if p := clock.Check(clock.Config{Zone: "America/New_York", Fixed: "2026-02-28", Tables: tables}); len(p) > 0 {
		t.Errorf("%v", p)
	}
	other := change.Table{Source: clock.Source, Name: "now"}
	for want, cfg := range map[string]clock.Config{
		`"Mars" is not a time zone`:                   {Zone: "Mars"},
		`"Local" is not a time zone`:                  {Zone: "Local"},
		`"2026-02-30" is not a date after 1970-01-01`: {Fixed: "2026-02-30"},
		`"1970-01-01" is not a date after 1970-01-01`: {Fixed: "1970-01-01"},
		`the clock has no table "now"`:                {Tables: []capture.Table{{Table: other}}},
		`table clock.today belongs to no member`:      {Tables: []capture.Table{{Table: clock.Today, Route: change.Route{Kind: change.ByMember, Column: "id"}}}},
	} {
		p := clock.Check(cfg)
		if len(p) != 1 || p[0].What != want || p[0].Hint == "" || p[0].Source != clock.Source {
			t.Errorf("%+v, want %q", p, want)
		}
		if _, err := clock.Head(cfg); err == nil {
			t.Errorf("%s: it has a head", want)
		}
		if err := clock.New(cfg, newLog()).Run(t.Context()); err == nil {
			t.Errorf("%s: it runs", want)
		}
	}
}

func TestPeek(t *testing.T) {
	cfg := clock.Config{Zone: "Asia/Tokyo", Tables: tables, Now: func() time.Time { return time.Date(2026, 3, 1, 15, 0, 0, 0, time.UTC) }}
	if head, err := clock.Head(cfg); head != 20514 || err != nil {
		t.Errorf("head %d, %v", head, err)
	}
	log := newLog()
	log.started = true
	if err := clock.ReadSnapshot(t.Context(), cfg, log); err != nil {
		t.Fatal(err)
	}
	log.want(t, "r 1.20514.1 2026-03-02 at 2026-03-01T15:00:00Z", "SNAPSHOT_END 1.20514.0 at 2026-03-01T15:00:00Z today=1")
	schemas, err := clock.Schemas(tables)
	if err != nil || schemas[clock.Today] == nil || fmt.Sprint(schemas[clock.Today].KeyColumns()) != "[0]" {
		t.Errorf("%v, %v", schemas, err)
	}
}
