package pebble_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	engine "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/store/pebble"
)

// The measured unit is a row change as composition makes it: row state of 250
// bytes, a version of 700 and a search entry of 80, of one of 20,000 members.
const (
	rowBytes     = 250
	bodyBytes    = 700
	indexBytes   = 80
	benchMembers = 20_000
)

// shapes are the batch sizes of reference measurements: small transactions, and
// a group or a catch-up.
var shapes = []int{20, 500}

// text is JSON-like: it compresses as resources do, and no two are alike.
func text(r *rand.Rand, size int) []byte {
	var b strings.Builder
	for b.Len() < size {
		fmt.Fprintf(&b, `{"system":"http://example.org/%x","value":"%08x"},`, r.Uint32()&15, r.Uint32())
	}
	return []byte(b.String()[:size])
}

// loader makes units; every resource is created once and then updated.
type loader struct {
	r        *rand.Rand
	versions map[string]uint64
	outbox   [4]uint64
	number   uint64
	pool     [][]byte
	creates  bool // only new resources
}

func newLoader(creates bool) *loader {
	l := &loader{r: rand.New(rand.NewPCG(1, 2)), versions: map[string]uint64{}, creates: creates}
	for range 1000 {
		l.pool = append(l.pool, text(l.r, bodyBytes))
	}
	return l
}

func (l *loader) batch(rows int) (commit.Batch, commit.Frontier) {
	table := change.Table{Source: "s", Name: "t"}
	l.number++
	u := commit.Unit{Number: commit.Number(l.number), Source: "s", Count: uint32(rows)}
	used := map[string]bool{}
	for i := range rows {
		member := fmt.Sprintf("m%020d", l.r.IntN(benchMembers))
		id := fmt.Sprintf("%s-%04d", member, l.r.IntN(27))
		if l.creates {
			id = fmt.Sprintf("%s-%012d", member, l.number<<20+uint64(i))
		}
		if used[id] {
			continue
		}
		used[id] = true
		p := change.Partition(member, 4)
		l.versions[id]++
		l.outbox[p]++
		body := l.pool[l.r.IntN(len(l.pool))]
		v := commit.Version{Op: commit.Update, Partition: p, Outbox: l.outbox[p], Sequence: uint32(len(u.Versions))}
		v.Version = fhir.Version{ResourceID: fhir.ResourceID{Type: "MedicationRequest", ID: id}, Member: member, Number: l.versions[id], Body: body, Index: body[:indexBytes]}
		u.Versions = append(u.Versions, v)
		u.Rows = append(u.Rows, commit.Row{Table: table, Route: member, Key: id, Body: body[:rowBytes]})
	}
	u.Sources = []change.Freshness{{Source: "s", Position: change.Position{Generation: 1, Ordinal: l.number}}}
	f := commit.Frontier{Number: u.Number, Outbox: l.outbox[:], Sources: map[string]commit.Progress{"s": {Freshness: u.Sources[0]}}, Offsets: map[commit.TopicPartition]int64{}}
	for p := range int32(4) {
		for t := range 8 {
			f.Offsets[commit.TopicPartition{Topic: fmt.Sprint("cdc.s.t", t), Partition: p}] = int64(l.number)
		}
	}
	return commit.Batch{Units: []commit.Unit{u}}, f
}

// BenchmarkCommit writes synced batches; rows/s is to be held against
// BenchmarkDirect of the same shape.
func BenchmarkCommit(b *testing.B) {
	for _, creates := range []bool{true, false} {
		for _, rows := range shapes {
			b.Run(fmt.Sprintf("creates=%v/rows=%d", creates, rows), func(b *testing.B) {
				db, err := pebble.Open(b.TempDir(), pebble.Options{})
				if err != nil {
					b.Fatal(err)
				}
				defer func() { _ = db.Close() }()
				l := newLoader(creates)
				total := 0
				b.ReportAllocs()
				b.ResetTimer()
				for range b.N {
					b.StopTimer()
					batch, f := l.batch(rows)
					b.StartTimer()
					if err := db.Commit(ctx, batch, f); err != nil {
						b.Fatal(err)
					}
					total += len(batch.Units[0].Versions)
				}
				b.ReportMetric(float64(total)/b.Elapsed().Seconds(), "rows/s")
			})
		}
	}
}

// BenchmarkDirect writes keys and values of the same sizes straight to Pebble,
// with the same options: what the disk and Pebble give to a store that neither
// reads nor checks. An update writes the replaced version once more, as a
// history must.
func BenchmarkDirect(b *testing.B) {
	for _, creates := range []bool{true, false} {
		for _, rows := range shapes {
			b.Run(fmt.Sprintf("creates=%v/rows=%d", creates, rows), func(b *testing.B) { benchDirect(b, creates, rows) })
		}
	}
}

func benchDirect(b *testing.B, creates bool, rows int) {
	o := &engine.Options{
		FormatMajorVersion: engine.FormatNewest, CacheSize: 640 << 20, MemTableSize: 128 << 20,
		MemTableStopWritesThreshold: 4, L0CompactionThreshold: 8, L0StopWritesThreshold: 40, LBaseMaxBytes: 256 << 20,
		CompactionConcurrencyRange: func() (int, int) { return 1, 2 }, WALBytesPerSync: 1 << 20, Logger: silent{},
	}
	o.Levels[0].FilterPolicy = bloom.FilterPolicy(10)
	db, err := engine.Open(b.TempDir(), o)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	l := newLoader(creates)
	total := 0
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		batch, _ := l.batch(rows)
		b.StartTimer()
		w := db.NewBatch()
		var key []byte
		set := func(space byte, value []byte, parts ...string) {
			key = append(key[:0], space, 0, 1)
			for _, p := range parts {
				key = append(key, p...)
			}
			_ = w.Set(key, value, nil)
		}
		for i := range batch.Units[0].Versions {
			v := &batch.Units[0].Versions[i]
			set('R', batch.Units[0].Rows[i].Body, v.Member, v.ID)
			set('C', v.Body, v.ID)
			set('M', v.Index, v.Member, v.ID)
			set('O', v.Index[:40], fmt.Sprintf("%012d", v.Outbox))
			if v.Number == 1 {
				set('E', nil, v.Member, v.ID)
			} else {
				set('H', v.Body, v.ID, fmt.Sprintf("%08d", v.Number))
			}
		}
		set('F', v500)
		if err := w.Commit(engine.Sync); err != nil {
			b.Fatal(err)
		}
		total += len(batch.Units[0].Versions)
	}
	b.ReportMetric(float64(total)/b.Elapsed().Seconds(), "rows/s")
}

var v500 = make([]byte, 500)

// BenchmarkStage writes unsynced pieces, as a snapshot or a first composition
// does.
func BenchmarkStage(b *testing.B) {
	db, err := pebble.Open(b.TempDir(), pebble.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	l := newLoader(true)
	total := 0
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		batch, _ := l.batch(1000)
		batch.Units[0].Number = 1
		b.StartTimer()
		if err := db.Stage(ctx, batch); err != nil {
			b.Fatal(err)
		}
		total += 1000
	}
	b.ReportMetric(float64(total)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkRead reads as the API does: a view at the frontier and one resource.
func BenchmarkRead(b *testing.B) {
	db, err := pebble.Open(b.TempDir(), pebble.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	l := newLoader(false)
	for range 200 {
		batch, f := l.batch(500)
		if err := db.Commit(ctx, batch, f); err != nil {
			b.Fatal(err)
		}
	}
	var all []fhir.ResourceID
	for id := range l.versions {
		all = append(all, fhir.ResourceID{Type: "MedicationRequest", ID: id})
	}
	r := rand.New(rand.NewPCG(5, 6))
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			v, err := db.At(0)
			if err != nil {
				b.Fatal(err)
			}
			if _, ok, err := v.Read(all[r.IntN(len(all))]); !ok || err != nil {
				b.Fatal(ok, err)
			}
			_ = v.Close()
		}
	})
	b.Run("scan", func(b *testing.B) { // one member's resources of a type
		b.ReportAllocs()
		for range b.N {
			v, err := db.At(0)
			if err != nil {
				b.Fatal(err)
			}
			n := 0
			member, _, _ := strings.Cut(all[r.IntN(len(all))].ID, "-")
			if err := v.Scan("MedicationRequest", member, false, "", "", func(fhir.Version) bool { n++; return true }); err != nil || n == 0 {
				b.Fatal(n, err)
			}
			_ = v.Close()
		}
	})
}
