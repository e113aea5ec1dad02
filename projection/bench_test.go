package projection_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tributary-health/tributary/projection"
	"github.com/tributary-health/tributary/store/pebble"
)

// onDisk is a base store and a client's on the real disk. bodies is about how
// many bytes a resource has.
func onDisk(b *testing.B) (*base, *client) {
	b.Helper()
	db, err := pebble.Open(b.TempDir(), pebble.Options{CacheBytes: 64 << 20, MemTableBytes: 64 << 20})
	must(b, err)
	own, err := pebble.Open(b.TempDir(), pebble.ClientStore())
	must(b, err)
	from := newBase(b)
	_ = from.DB.Close()
	from.DB = db
	c := &client{t: b, db: own}
	b.Cleanup(func() { _ = own.Close() })
	c.cfg = projection.Config{Base: from, Policy: policy{"p"}, Client: "cm"}
	c.start(nil)
	return from, c
}

func bigPuts(from, n int, status string) []put {
	text := strings.Repeat("some text ", 120)
	var puts []put
	for i := from; i < from+n; i++ {
		puts = append(puts, put{id: claimID(i), member: fmt.Sprint("m", i/50), status: status + text, note: "1"})
	}
	return puts
}

// BenchmarkFirst projects a first composition of 50,000 resources of 1.3 kB.
func BenchmarkFirst(b *testing.B) {
	const resources = 50_000
	for b.Loop() {
		b.StopTimer()
		from, c := onDisk(b)
		from.unit("", epoch, bigPuts(0, resources, "one"))
		from.commit()
		b.StartTimer()
		must(b, c.catchUp())
	}
	b.ReportMetric(float64(resources*b.N)/b.Elapsed().Seconds(), "versions/s")
}

// BenchmarkLive projects small commits as they come: three versions each.
func BenchmarkLive(b *testing.B) {
	from, c := onDisk(b)
	from.unit("", epoch, bigPuts(0, 5000, "one"))
	from.commit()
	must(b, c.catchUp())
	n := 0
	for b.Loop() {
		n++
		from.unit("emr", epoch.Add(time.Duration(n)*time.Millisecond), bigPuts(n%4000, 3, fmt.Sprint(n)))
		from.commit()
		must(b, c.catchUp())
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "commits/s")
}

// BenchmarkBehind projects many small commits that have gathered.
func BenchmarkBehind(b *testing.B) {
	const commits = 10_000
	for b.Loop() {
		b.StopTimer()
		from, c := onDisk(b)
		for n := range commits {
			from.unit("emr", epoch.Add(time.Duration(n)*time.Millisecond), bigPuts(n%4000, 3, fmt.Sprint(n)))
			if n%500 == 499 {
				from.commit()
			}
		}
		b.StartTimer()
		must(b, c.catchUp())
	}
	b.ReportMetric(float64(commits*b.N)/b.Elapsed().Seconds(), "commits/s")
}
