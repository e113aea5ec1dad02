package pebble_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/store/pebble"
)

// recordTables are the tables of a member's record in the benchmark below.
const recordTables = 12

func recordOf(m int) string { return fmt.Sprintf("m%07d", m*2654435761%9999991) }

// fillRecords writes members' records: up to three rows in each of the tables, and
// two resources of which one has a second version; a tenth more rows come later.
func fillRecords(b *testing.B, db *pebble.DB, members int) {
	r := rand.New(rand.NewPCG(3, 4))
	pool := text(r, 16<<20) // values differ by where they begin
	var outbox [1]uint64
	for number := uint64(1); number <= 2; number++ {
		unit := commit.Unit{Number: commit.Number(number), Source: "s"}
		var count uint32
		for m := 0; m < members; m++ {
			member := recordOf(m)
			body := pool[r.IntN(len(pool)-bodyBytes):][:bodyBytes]
			for t := range recordTables {
				for range r.IntN(4) { // a member has something in three of four tables
					if number == 1 || r.IntN(10) == 0 {
						row := pool[r.IntN(len(pool)-rowBytes):][:rowBytes]
						unit.Rows = append(unit.Rows, commit.Row{Table: change.Table{Source: "s", Name: fmt.Sprint("t", t)}, Route: member, Key: fmt.Sprintf("%010d", r.Uint32()), Body: row})
					}
				}
			}
			for n := range 2 {
				if number == 2 && (n == 1 || m%2 == 0) {
					continue
				}
				outbox[0]++
				v := commit.Version{Op: commit.Update, Outbox: outbox[0], Sequence: count}
				v.Version = fhir.Version{ResourceID: fhir.ResourceID{Type: "Claim", ID: fmt.Sprint(member, "-", n)}, Member: member, Number: number, Body: body, Index: body[:indexBytes]}
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
			table := change.Table{Source: "s", Name: fmt.Sprint("t", r.IntN(recordTables))}
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

// BenchmarkRecord reads single records of a store of many members as composition
// and the API do. STORE_BENCH_MEMBERS says how many members: 100,000 are 0.6 GB of
// values, 260 MB on the disk. A store has more than two levels only when it is much
// larger than LBaseMaxBytes, and grouped reads gain by levels: to see it, measure
// with a smaller one. Compactions count as CPU time while they run: take the later
// figures.
func BenchmarkRecord(b *testing.B) {
	members, _ := strconv.Atoi(os.Getenv("STORE_BENCH_MEMBERS"))
	if members == 0 {
		members = 10_000
	}
	dir := b.TempDir()
	o := pebble.Options{CacheBytes: 256 << 20, MemTableBytes: 4 << 20}
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
	tables := make([]change.Table, recordTables)
	for t := range tables {
		tables[t] = change.Table{Source: "s", Name: fmt.Sprint("t", t)}
	}
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		read func(member string)
	}{
		{"rows of all tables", func(m string) {
			for _, t := range tables {
				must(db.Rows(t, m, func(string, []byte) bool { return true }))
			}
		}},
		{"a row that is not there", func(m string) { _, err := db.Row(tables[0], m, "x"); must(err) }},
		{"list of resources", func(m string) { must(db.Resources(m, func(fhir.ResourceID) bool { return true })) }},
		{"head", func(m string) { _, _, err := db.Head(fhir.ResourceID{Type: "Claim", ID: m + "-1"}); must(err) }},
		{"head that is not there", func(m string) { _, _, err := db.Head(fhir.ResourceID{Type: "Claim", ID: m + "-3"}); must(err) }},
		{"scan", func(m string) {
			v, _ := db.At(0)
			must(v.Scan("Claim", m, false, "", "", func(fhir.Version) bool { return true }))
		}},
		{"history", func(m string) {
			v, _ := db.At(0)
			must(v.History(fhir.ResourceID{Type: "Claim", ID: m + "-0"}, 0, func(fhir.Version) bool { return true }))
		}},
		{"read", func(m string) {
			v, _ := db.At(0)
			_, _, err := v.Read(fhir.ResourceID{Type: "Claim", ID: m + "-0"})
			must(err)
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := rand.New(rand.NewPCG(7, 8))
			b.ReportAllocs()
			began := processor()
			for range b.N {
				c.read(recordOf(r.IntN(members)))
			}
			b.ReportMetric(float64(processor()-began)/1e3/float64(b.N), "cpu-µs/op")
		})
	}
}
