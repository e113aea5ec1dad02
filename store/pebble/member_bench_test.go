package pebble_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/store/pebble"
)

// recordTables are the tables of a member's record in the benchmark below, and
// recordResources its resources, two of a type.
const (
	recordTables    = 12
	recordResources = 12
)

func recordOf(m int) string { return fmt.Sprintf("m%07d", m*2654435761%9999991) }

// resourceOf names the nth resource of a member: by a hash, as composition does,
// so that ids say nothing of whose they are.
func resourceOf(member string, n int) fhir.ResourceID {
	sum := sha256.Sum256(fmt.Append(nil, member, n))
	return fhir.ResourceID{Type: fmt.Sprint("Type", n/2), ID: hex.EncodeToString(sum[:16])}
}

func recordTable(t int) change.Table { return change.Table{Source: "s", Name: fmt.Sprint("t", t)} }

// fillRecords writes members' records: up to three rows in each of the tables, and
// their resources, of which one in 24 has a second version; a tenth more rows come
// later.
func fillRecords(b *testing.B, db *pebble.DB, members int) {
	r := rand.New(rand.NewPCG(3, 4))
	pool := text(r, 16<<20) // values differ by where they begin
	var outbox [1]uint64
	for number := uint64(1); number <= 2; number++ {
		unit := commit.Unit{Number: commit.Number(number), Source: "s"}
		var count uint32
		for m := 0; m < members; m++ {
			member := recordOf(m)
			for t := range recordTables {
				for range r.IntN(4) { // a member has something in three of four tables
					if number == 1 || r.IntN(10) == 0 {
						row := pool[r.IntN(len(pool)-rowBytes):][:rowBytes]
						unit.Rows = append(unit.Rows, commit.Row{Table: recordTable(t), Route: member, Key: fmt.Sprintf("%010d", r.Uint32()), Grouped: true, Body: row})
					}
				}
			}
			for n := range recordResources {
				if number == 2 && (n > 0 || m%2 == 0) {
					continue
				}
				body := pool[r.IntN(len(pool)-bodyBytes):][:bodyBytes]
				outbox[0]++
				v := commit.Version{Op: commit.Update, Outbox: outbox[0], Sequence: count}
				v.Version = fhir.Version{ResourceID: resourceOf(member, n), Member: member, Number: number, Body: body, Index: body[:indexBytes]}
				unit.Versions = append(unit.Versions, v)
				count++
			}
			if len(unit.Rows) > 20_000 || m == members-1 {
				unit.Count = count
				if err := db.Stage(ctx, commit.Batch{Units: []commit.Unit{unit}}); err != nil {
					b.Fatal(err)
				}
				unit.Rows, unit.Versions = nil, nil
			}
		}
		if err := db.Commit(ctx, commit.Batch{}, commit.Frontier{Number: unit.Number, Outbox: outbox[:]}); err != nil {
			b.Fatal(err)
		}
	}
}

// changeRecords adds rows of members drawn at random, in commits so many that
// several levels have some of them, as after a day of changes.
func changeRecords(b *testing.B, db *pebble.DB, members int) {
	r := rand.New(rand.NewPCG(5, 6))
	pool := text(r, 1<<20)
	f := db.Frontier()
	for range 40 {
		f.Number++
		unit := commit.Unit{Number: f.Number, Source: "s"}
		for range members / 50 {
			table := recordTable(r.IntN(recordTables))
			row := pool[r.IntN(len(pool)-rowBytes):][:rowBytes]
			unit.Rows = append(unit.Rows, commit.Row{Table: table, Route: recordOf(r.IntN(members)), Key: fmt.Sprintf("%010d", r.Uint32()), Body: row})
		}
		if err := db.Commit(ctx, commit.Batch{Units: []commit.Unit{unit}}, f); err != nil {
			b.Fatal(err)
		}
	}
}

// processor is the CPU time that the process has taken, in ns: on a machine that
// is shared it says more than the clock.
func processor() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkRecord reads single records of a store of many members as composition,
// the API and the publisher do. STORE_BENCH_MEMBERS says how many members: 100,000
// are 1.3 GB of values. The cache holds about a third of them, as in a large store.
func BenchmarkRecord(b *testing.B) {
	members, _ := strconv.Atoi(os.Getenv("STORE_BENCH_MEMBERS"))
	if members == 0 {
		members = 10_000
	}
	dir := b.TempDir()
	o := pebble.Options{CacheBytes: int64(members) * 5000, MemTableBytes: 4 << 20}
	for range 3 { // opened again, what was written is in tables, and settled
		db, err := pebble.Open(dir, o)
		if err != nil {
			b.Fatal(err)
		}
		if db.Frontier().Number == 0 {
			fillRecords(b, db, members)
		}
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
	}
	db, err := pebble.Open(dir, o)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	changeRecords(b, db, members)
	for end := time.Now().Add(20 * time.Second); !db.Settled() && time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond)
	}
	for _, c := range recordReads(b, db) {
		b.Run(c.name, func(b *testing.B) {
			r := rand.New(rand.NewPCG(7, 8))
			b.ReportAllocs()
			began, missed := processor(), db.Misses()
			for range b.N {
				c.read(recordOf(r.IntN(members)), r)
			}
			b.ReportMetric(float64(processor()-began)/1e3/float64(b.N), "cpu-µs/op")
			b.ReportMetric(float64(db.Misses()-missed)/float64(b.N), "blocks/op")
		})
	}
	b.Run("routes", func(b *testing.B) {
		began := processor()
		for range b.N {
			n := 0
			if err := db.Routes(recordTable(3), func(string) bool { n++; return true }); err != nil || n < members/2 {
				b.Fatal(n, err)
			}
		}
		b.ReportMetric(float64(processor()-began)/1e3/float64(b.N)/float64(members), "cpu-µs/member")
	})
	b.Run("all rows", func(b *testing.B) {
		began := processor()
		for range b.N {
			if err := db.AllRows(recordTable(3), "", "", func(string, string, []byte) bool { return true }); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(processor()-began)/1e3/float64(b.N)/float64(members), "cpu-µs/member")
	})
}

type recordRead struct {
	name string
	read func(member string, r *rand.Rand)
}

func recordReads(b *testing.B, db *pebble.DB) []recordRead {
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	some := func(m string, r *rand.Rand) fhir.ResourceID { return resourceOf(m, r.IntN(recordResources)) }
	view := func() *pebble.View { v, err := db.At(0); must(err); return v }
	return []recordRead{
		{"rows of all tables", func(m string, _ *rand.Rand) {
			for t := range recordTables {
				must(db.Rows(recordTable(t), m, func(string, []byte) bool { return true }))
			}
		}},
		{"a row that is not there", func(m string, _ *rand.Rand) { _, err := db.Row(recordTable(0), m, "x"); must(err) }},
		{"list of resources", func(m string, _ *rand.Rand) { must(db.Resources(m, func(fhir.ResourceID) bool { return true })) }},
		{"heads of all resources", func(m string, _ *rand.Rand) {
			must(db.Resources(m, func(id fhir.ResourceID) bool { _, _, err := db.Head(id); must(err); return true }))
		}},
		{"head that is not there", func(m string, _ *rand.Rand) { _, _, err := db.Head(resourceOf(m, -1)); must(err) }},
		{"scan", func(m string, _ *rand.Rand) {
			must(view().Scan("Type3", m, false, "", "", func(fhir.Version) bool { return true }))
		}},
		{"bodies of all resources", func(m string, _ *rand.Rand) {
			v := view()
			must(db.Resources(m, func(id fhir.ResourceID) bool { _, _, err := v.Read(id); must(err); return true }))
		}},
		{"history", func(m string, _ *rand.Rand) {
			must(view().History(resourceOf(m, 0), 0, func(fhir.Version) bool { return true }))
		}},
		{"read", func(m string, r *rand.Rand) { _, _, err := view().Read(some(m, r)); must(err) }},
		{"outbox of 12 members", func(_ string, r *rand.Rand) {
			n := uint64(12 * recordResources)
			must(db.Announcements(0, r.Uint64N(db.Frontier().Outbox[0]-n), func(uint64, commit.Announcement) bool { n--; return n > 0 }))
		}},
	}
}
