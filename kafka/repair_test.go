package kafka_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tributary-health/tributary/kafka"
)

// crashImage is the data directory of a broker as a kill would leave it, with
// several segments in one partition, and how many records that holds.
func crashImage(t *testing.T) (dir string, records int64) {
	t.Helper()
	live := t.TempDir()
	b := startBroker(t, kafka.BrokerConfig{Dir: live, SegmentBytes: 4 << 10})
	if err := kafka.EnsureTopics(timeout(t), b.Connection(), []kafka.TopicSpec{{Name: "a.b", Partitions: 1}}); err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for range 40 {
		if err := client.ProduceSync(timeout(t), &kgo.Record{Topic: "a.b", Value: make([]byte, 500)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		records++
	}
	dir = t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "log"), os.DirFS(filepath.Join(live, "log"))); err != nil {
		t.Fatal(err)
	}
	return dir, records
}

// segments returns the partition's segment files, in order.
func segments(t *testing.T, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".dat") {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil || len(paths) < 3 {
		t.Fatalf("%d segments, %v", len(paths), err)
	}
	last := func(p string) int { return len(filepath.Base(p)) }
	for i := range paths { // by number: shorter names first
		for j := i; j > 0 && last(paths[j]) < last(paths[j-1]); j-- {
			paths[j], paths[j-1] = paths[j-1], paths[j]
		}
	}
	return paths
}

func appendFile(t *testing.T, path string, bytes []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Write(bytes); err != nil {
		t.Fatal(err)
	}
}

// After a kill everything that was acknowledged is there, the batch that was
// being written is not, and the log goes on behind it.
func TestLogAfterKill(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, last string){
		"clean":      func(*testing.T, string) {},
		"torn batch": func(t *testing.T, last string) { appendFile(t, last, head(t, last, 300)) },
		"torn head":  func(t *testing.T, last string) { appendFile(t, last, head(t, last, 7)) },
		"zeros":      func(t *testing.T, last string) { appendFile(t, last, make([]byte, 5000)) },
		"torn bytes": func(t *testing.T, last string) {
			batch := head(t, last, 12+int(head(t, last, 12)[10])<<8+int(head(t, last, 12)[11]))
			batch[len(batch)-1] ^= 1
			appendFile(t, last, batch)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, records := crashImage(t)
			paths := segments(t, dir)
			damage(t, paths[len(paths)-1])
			for range 2 { // the second time after a clean stop
				b := startBroker(t, kafka.BrokerConfig{Dir: dir, SegmentBytes: 4 << 10})
				tp := kafka.TopicPartition{Topic: "a.b"}
				ranges, err := kafka.Ranges(timeout(t), b.Connection(), "a.b")
				if err != nil || ranges[tp] != (kafka.Range{Start: 0, End: records}) {
					t.Fatalf("%v, %v; want %d records", ranges, err, records)
				}
				client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.ConsumePartitions(
					map[string]map[int32]kgo.Offset{"a.b": {0: kgo.NewOffset().At(0)}}))
				if err != nil {
					t.Fatal(err)
				}
				if err := client.ProduceSync(timeout(t), &kgo.Record{Topic: "a.b", Value: make([]byte, 500)}).FirstErr(); err != nil {
					t.Fatal(err)
				}
				records++
				for next := int64(0); next < records; {
					client.PollFetches(timeout(t)).EachRecord(func(r *kgo.Record) {
						if r.Offset != next || len(r.Value) != 500 {
							t.Errorf("offset %d with %d bytes, want offset %d", r.Offset, len(r.Value), next)
						}
						next++
					})
				}
				client.Close()
				b.Close()
			}
		})
	}
}

func head(t *testing.T, path string, n int) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil || len(b) < n {
		t.Fatal(len(b), err)
	}
	return b[:n:n]
}

// A log that lost or changed what it acknowledged is not opened.
func TestDamagedLogIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(t *testing.T, paths []string)
		want   string
	}{
		"bit flipped": {func(t *testing.T, paths []string) {
			b := head(t, paths[1], 600)
			whole, _ := os.ReadFile(paths[1])
			b[200] ^= 1
			if err := os.WriteFile(paths[1], append(b, whole[600:]...), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "checksum"},
		"segment gone":  {func(t *testing.T, paths []string) { _ = os.Remove(paths[1]) }, "due is"},
		"segment short": {func(t *testing.T, paths []string) { _ = os.Truncate(paths[1], 700) }, "ends within a batch"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, _ := crashImage(t)
			c.damage(t, segments(t, dir))
			_, err := kafka.StartBroker(kafka.BrokerConfig{Dir: dir, Addr: "127.0.0.1:0"})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "a.b-0") {
				t.Errorf("start: %v, want %q", err, c.want)
			}
		})
	}
	t.Run("end went back", func(t *testing.T) {
		dir, _ := crashImage(t)
		startBroker(t, kafka.BrokerConfig{Dir: dir, SegmentBytes: 4 << 10}).Close()
		paths := segments(t, dir)
		if err := os.Remove(paths[len(paths)-1]); err != nil {
			t.Fatal(err)
		}
		_, err := kafka.StartBroker(kafka.BrokerConfig{Dir: dir, Addr: "127.0.0.1:0"})
		if err == nil || !strings.Contains(err.Error(), "acknowledged records are gone") {
			t.Errorf("start: %v", err)
		}
	})
}
