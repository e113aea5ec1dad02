package audit_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tributary-health/tributary/audit"
)

// BenchmarkAppend is what every answer waits for.
func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			l := open(b, filepath.Join(b.TempDir(), "audit"), audit.Options{})
			waits := make([][]time.Duration, callers)
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for c := range callers {
				wg.Go(func() {
					for i := c; i < b.N; i += callers {
						began := time.Now()
						if err := l.Append(context.Background(), event(i)); err != nil {
							b.Error(err)
						}
						waits[c] = append(waits[c], time.Since(began))
					}
				})
			}
			wg.Wait()
			all := slices.Concat(waits...)
			slices.Sort(all)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
			b.ReportMetric(float64(all[len(all)/2].Microseconds()), "median-µs")
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
		})
	}
}

// BenchmarkVerify and the account of one member, over many entries.
func BenchmarkVerify(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "audit")
	l := open(b, dir, audit.Options{})
	const entries = 1_000_000
	var wg sync.WaitGroup
	for c := range 1000 {
		wg.Go(func() {
			for i := range entries / 1000 {
				if err := l.Append(context.Background(), event(i*1000+c)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			r := verified(b, dir, audit.VerifyOptions{})
			b.SetBytes(r.Bytes)
			if len(r.Findings) > 0 || r.Entries != entries {
				b.Fatalf("%+v", r)
			}
		}
	})
	b.Run("account", func(b *testing.B) {
		for b.Loop() {
			n := 0
			r, err := audit.Account(dir, "p77777", time.Time{}, time.Time{}, audit.VerifyOptions{}, func(audit.Entry) error { n++; return nil })
			if err != nil || len(r.Findings) > 0 || n != 1 {
				b.Fatalf("%d, %v, %v", n, r.Findings, err)
			}
		}
	})
	b.Run("since-newest-hour", func(b *testing.B) {
		for b.Loop() {
			if err := l.Since(noon.Add((entries-3600)*time.Second), func(audit.Event) bool { return true }); err != nil {
				b.Fatal(err)
			}
		}
	})
}
