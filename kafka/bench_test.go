package kafka_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/tributary-health/tributary/kafka"
)

// BenchmarkWriter lands transactions of a hundred small rows on the embedded
// broker, synced, and waits until all are durable.
func BenchmarkWriter(b *testing.B) {
	for _, compression := range []string{"none", "snappy", "lz4"} {
		b.Run(compression, func(b *testing.B) {
			z := newZoo(b)
			w := z.begin(func(c *kafka.WriterConfig) { c.Compression, c.Linger = compression, 0 })
			owners := make([]string, 1000)
			for i := range owners {
				owners[i] = fmt.Sprintf("5f0c2f5e-%04d-4b7a", i)
			}
			ev := pet(2, 1, "some text of about the size that a row has, a hundred bytes or a little more, as a note would be")
			ctx := context.Background()
			b.ReportAllocs()
			b.ResetTimer()
			ordinal := uint64(2)
			for i := range b.N {
				ev.Position.Ordinal, ev.Position.Sequence = ordinal, uint64(i%100+1)
				if err := w.Append(ctx, owners[i*7%1000], ev); err != nil {
					b.Fatal(err)
				}
				if i%100 == 99 {
					if err := w.End(ctx, ended(ordinal)); err != nil {
						b.Fatal(err)
					}
					ordinal++
				}
			}
			if err := w.Flush(ctx); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// BenchmarkReader reads rows back, decoded.
func BenchmarkReader(b *testing.B) {
	z := newZoo(b)
	w := z.begin()
	ctx := context.Background()
	for i := range b.N {
		if err := w.Append(ctx, fmt.Sprint(i%1000), pet(2, uint64(i+1), "some text of about the size that a row has, a hundred bytes or more")); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.End(ctx, ended(2)); err != nil {
		b.Fatal(err)
	}
	z.flush(w)
	r, err := kafka.OpenReader(ctx, kafka.ReaderConfig{Connection: z.conn, Registry: z.registry, Topics: topicNames(zooTopics(4))})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; {
		got, err := r.Poll(ctx)
		if err != nil {
			b.Fatal(err)
		}
		for i := range got {
			if got[i].Event != nil {
				n++
			}
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
