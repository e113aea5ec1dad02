package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tributary-health/tributary/testdata"
)

// Population says which members to make. Equal ones make equal files.
type Population struct {
	Members int
	Seed    uint64
	Median  float64 // of the log-normal distribution of rows per member
	Sigma   float64
	Largest int
}

// district is the number of members that share copies of the sample's
// organizations and providers: a practice does not grow with the population.
const district = 500

// Visits lie between these days, and coverage begins with the first.
var (
	firstDay = time.Date(2016, 1, 1, 0, 0, 0, 0, time.UTC)
	lastDay  = time.Date(2025, 12, 31, 0, 0, 0, 0, time.UTC)
	midDay   = time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC)
)

// Write makes the population in a folder, one plain CSV file a table.
func (p *Population) Write(ctx context.Context, folder string) (*Made, error) {
	if p.Members < 1 || p.Median <= 0 || p.Sigma < 0 || p.Largest < 1 {
		return nil, errors.New("a population needs members, and rows for them")
	}
	s, err := readSample(testdata.Synthea())
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	if old, err := os.ReadDir(folder); err != nil || len(old) > 0 {
		return nil, errors.Join(err, fmt.Errorf("%s is not empty", folder))
	}
	g := &generator{Population: p, sample: s, files: map[string]*outFile{}, made: &Made{ByFile: map[string]int{}}}
	if err := g.all(ctx, folder); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g.made, g.close()
}

// outFile is one file being written.
type outFile struct {
	table *table
	file  *os.File
	buf   *bufio.Writer
	csv   *csv.Writer
	row   []string
}

type generator struct {
	*Population
	sample *Sample
	files  map[string]*outFile
	made   *Made
}

func (g *generator) all(ctx context.Context, folder string) error {
	for _, name := range fileNames {
		f, err := os.Create(filepath.Join(folder, name+".csv"))
		if err != nil {
			return err
		}
		o := &outFile{table: g.sample.tables[name], file: f, buf: bufio.NewWriterSize(f, 1<<16)}
		o.csv = csv.NewWriter(o.buf)
		g.files[name] = o
		if err := o.csv.Write(o.table.header); err != nil {
			return err
		}
	}
	for _, r := range g.sample.tables["payers"].rows {
		if err := g.put("payers", r); err != nil {
			return err
		}
	}
	for i := range g.Members {
		if i%district == 0 {
			if err := g.district(i / district); err != nil {
				return err
			}
		}
		if i%1000 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if err := g.member(i); err != nil {
			return err
		}
	}
	return nil
}

func (g *generator) close() error {
	var errs []error
	for _, o := range g.files {
		o.csv.Flush()
		errs = append(errs, o.csv.Error(), o.buf.Flush(), o.file.Close())
	}
	return errors.Join(errs...)
}

func (g *generator) put(file string, row []string) error {
	g.made.Rows++
	g.made.ByFile[file]++
	return g.files[file].csv.Write(row)
}

// district writes a district's copies of what its members share.
func (g *generator) district(n int) error {
	change := rewrite{sample: g.sample, district: g.mask(uint64(n), 1), own: g.mask(uint64(n), 1)}
	for _, name := range []string{"organizations", "providers"} {
		for _, r := range g.sample.tables[name].rows {
			if err := g.put(name, change.row(g.files[name], r)); err != nil {
				return err
			}
		}
	}
	return nil
}

// A mask makes other keys of keys, no two the same.
type mask [2]uint64

func (g *generator) mask(n, purpose uint64) mask {
	r := rand.New(rand.NewPCG(g.Seed, n<<8|purpose))
	return mask{r.Uint64(), r.Uint64()}
}

// member writes a member's row, coverage and visits.
func (g *generator) member(i int) error {
	r := rand.New(rand.NewPCG(g.Seed, uint64(i)<<8))
	patients := g.sample.tables["patients"]
	who := patients.rows[r.IntN(len(patients.rows))]
	id := newKey(r)
	before := g.made.Rows
	born, err := g.person(r, id, who)
	if err != nil {
		return err
	}
	payer := g.sample.payers[r.IntN(len(g.sample.payers))]
	for _, span := range [][2]string{{stamp(firstDay), stamp(midDay)}, {stamp(midDay), ""}} {
		if err := g.put("payer_transitions", g.named("payer_transitions", map[string]string{
			"PATIENT": id, "MEMBERID": newKey(r), "START_DATE": span[0], "END_DATE": span[1], "PAYER": payer, "PLAN_OWNERSHIP": "Self"})); err != nil {
			return err
		}
	}
	change := rewrite{sample: g.sample, district: g.mask(uint64(i/district), 1), toPatient: id, toPayer: payer}
	for want := before + g.rows(r); ; {
		if err := g.visit(r, &change, born); err != nil {
			return err
		}
		if g.made.Rows >= want {
			break
		}
	}
	g.made.Members = append(g.made.Members, Member{ID: id, Rows: g.made.Rows - before})
	return nil
}

// visit writes one visit of the sample as the member's.
func (g *generator) visit(r *rand.Rand, change *rewrite, born time.Time) error {
	v := g.sample.visits[r.IntN(len(g.sample.visits))]
	first := firstDay
	if born.After(first) {
		first = born
	}
	day := first.AddDate(0, 0, r.IntN(1+int(lastDay.Sub(first)/(24*time.Hour))))
	change.own, change.fromPatient, change.fromPayer = mask{r.Uint64(), r.Uint64()}, v.patient, v.payer
	change.days = int(day.Sub(v.start.Truncate(24*time.Hour)) / (24 * time.Hour))
	for _, name := range fileNames {
		for _, row := range v.rows[name] {
			if err := g.put(name, change.row(g.files[name], row)); err != nil {
				return err
			}
		}
	}
	return nil
}

// person writes the member's own row: one of the sample's, by another name, born
// up to ten years earlier, and alive.
func (g *generator) person(r *rand.Rand, id string, who []string) (born time.Time, err error) {
	t := g.sample.tables["patients"]
	row := slices.Clone(who)
	set := func(column, text string) { row[t.column(column)] = text }
	get := func(column string) string { return who[t.column(column)] }
	born, err = time.Parse(time.DateOnly, get("BIRTHDATE"))
	if err != nil {
		return born, errors.New("the sample has a patient without a date of birth")
	}
	born = born.AddDate(0, 0, -r.IntN(3650))
	set("Id", id)
	set("BIRTHDATE", born.Format(time.DateOnly))
	set("DEATHDATE", "")
	set("SSN", fmt.Sprintf("999-%02d-%04d", 10+r.IntN(90), r.IntN(10000)))
	set("DRIVERS", fmt.Sprintf("S99%06d", r.IntN(1_000_000)))
	set("PASSPORT", fmt.Sprintf("X%08dX", r.IntN(100_000_000)))
	for _, column := range []string{"FIRST", "MIDDLE", "LAST", "MAIDEN"} {
		if get(column) != "" {
			set(column, strings.TrimRight(get(column), "0123456789")+strconv.Itoa(r.IntN(1000)))
		}
	}
	set("ADDRESS", fmt.Sprint(1+r.IntN(999), " ", strings.TrimLeft(get("ADDRESS"), "0123456789 ")))
	return born, g.put("patients", row)
}

// named is a row of the file with some of its columns.
func (g *generator) named(file string, cells map[string]string) []string {
	t := g.sample.tables[file]
	row := make([]string, len(t.header))
	for i, h := range t.header {
		row[i] = cells[strings.ToUpper(h)]
	}
	return row
}

func stamp(t time.Time) string { return t.Format(time.RFC3339) }
