package demo_test

import (
	"compress/gzip"
	"context"
	"database/sql"
	"encoding/csv"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/tools/txtar"

	"github.com/tributary-health/tributary/demo"
)

var (
	emrTables      = []string{"organizations", "providers", "patients", "encounters", "conditions", "allergies", "immunizations", "procedures", "observations"}
	pharmacyTables = []string{"payers", "payer_transitions", "medications", "fills", "claims", "claims_transactions"}
)

// load loads the sample and returns the tables' row counts, which it compares with the files'.
func load(t *testing.T, s *demo.Servers) map[string]int64 {
	t.Helper()
	done := map[string]int64{}
	err := demo.Load(t.Context(), s, demo.LoadOptions{Data: os.DirFS(sample), Progress: func(table string, n, total int64) {
		if n < done[table] || n > total {
			t.Errorf("progress of %s: %d after %d, of %d", table, n, done[table], total)
		}
		done[table] = n
	}})
	if err != nil {
		t.Fatal(err)
	}
	have := counts(t, s)
	for _, table := range append(emrTables, pharmacyTables...) {
		if have[table] == 0 || have[table] != done[table] {
			t.Errorf("%s has %d rows, progress said %d", table, have[table], done[table])
		}
		if table != "fills" && have[table] != int64(len(file(t, table))-1) {
			t.Errorf("%s has %d rows, its file %d", table, have[table], len(file(t, table))-1)
		}
	}
	return have
}

func counts(t *testing.T, s *demo.Servers) map[string]int64 {
	t.Helper()
	n := map[string]int64{}
	pg, my := open(t, s)
	for _, table := range emrTables {
		var k int64
		if err := pg.QueryRow(t.Context(), "SELECT count(*) FROM "+table).Scan(&k); err != nil {
			t.Fatal(err)
		}
		n[table] = k
	}
	for _, table := range pharmacyTables {
		var k int64
		if err := my.QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&k); err != nil {
			t.Fatal(err)
		}
		n[table] = k
	}
	return n
}

// open connects to both servers until the test's end.
func open(t *testing.T, s *demo.Servers) (*pgx.Conn, *sql.DB) {
	t.Helper()
	pg, err := pgx.Connect(t.Context(), s.PostgresDSN())
	if err != nil {
		t.Fatal(err)
	}
	my, err := sql.Open("mysql", s.MariaDBDSN())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pg.Close(context.Background()); my.Close() })
	return pg, my
}

// file is a sample file's records, header first.
func file(t *testing.T, table string) [][]string {
	t.Helper()
	f, err := os.Open(filepath.Join(sample, table+".csv.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(z).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// rowsOf reads a table back as text: one map a row.
func rowsOf(t *testing.T, pg *pgx.Conn, my *sql.DB, table string, pharmacy bool) []map[string]string {
	t.Helper()
	var all []map[string]string
	scan := func(names []string, read func(...any) error) {
		cells := make([]sql.NullString, len(names))
		to := make([]any, len(names))
		for i := range cells {
			to[i] = &cells[i]
		}
		if err := read(to...); err != nil {
			t.Fatal(err)
		}
		row := map[string]string{}
		for i, name := range names {
			row[strings.ToUpper(name)] = cells[i].String
		}
		all = append(all, row)
	}
	if pharmacy {
		rows, err := my.QueryContext(t.Context(), "SELECT * FROM "+table)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		names, _ := rows.Columns()
		for rows.Next() {
			scan(names, rows.Scan)
		}
		return all
	}
	rows, err := pg.Query(t.Context(), "SELECT * FROM "+table, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var names []string
	for _, d := range rows.FieldDescriptions() {
		names = append(names, d.Name)
	}
	for rows.Next() {
		scan(names, func(to ...any) error {
			for i, b := range rows.RawValues() {
				*to[i].(*sql.NullString) = sql.NullString{String: string(b), Valid: b != nil}
			}
			return nil
		})
	}
	return all
}

// Every cell of every file is in its table, digit for digit; a decimal may have zeros added by its column's scale.
func TestLoadKeepsEveryCell(t *testing.T) {
	t.Parallel()
	s, _ := start(t, demo.Options{})
	load(t, s)
	pg, my := open(t, s)
	for i, table := range append(append([]string{}, emrTables...), pharmacyTables...) {
		if table == "fills" {
			continue
		}
		records := file(t, table)
		rows := rowsOf(t, pg, my, table, i >= len(emrTables))
		want := map[string]int{}
		for _, r := range records[1:] {
			want[canonical(records[0], func(i int) string { return r[i] })]++
		}
		for _, r := range rows {
			want[canonical(records[0], func(i int) string { return r[strings.ToUpper(records[0][i])] })]--
		}
		for _, n := range want {
			if n != 0 {
				t.Errorf("%s: rows of the file are missing or others are there", table)
				break
			}
		}
	}
	checkAdded(t, pg, my)
	checkReload(t, s, pg, my)
}

// canonical is a row in one form for file and database: a decimal without trailing zeros, times in one layout.
func canonical(names []string, cell func(int) string) string {
	var b strings.Builder
	for i, name := range names {
		text := cell(i)
		if r, ok := new(big.Rat).SetString(text); ok && strings.ContainsAny(text, ".") {
			text = r.RatString()
		} else if ok && !strings.HasPrefix(text, "0") {
			text = r.RatString()
		} else if text == "0" {
			text = "0"
		} else if t, err := time.Parse("2006-01-02 15:04:05-07", text); err == nil {
			text = t.UTC().Format(time.RFC3339)
		} else if t, err := time.Parse(time.DateTime, text); err == nil {
			text = t.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(&b, "%s=%q ", name, text)
	}
	return b.String()
}

// checkAdded checks the rows' invented columns by questions that must have no answer.
func checkAdded(t *testing.T, pg *pgx.Conn, my *sql.DB) {
	t.Helper()
	for what, q := range map[string]string{
		"deceased without a date":       "SELECT count(*) FROM patients WHERE deceased <> (deathdate IS NOT NULL)",
		"members' numbers given twice":  "SELECT count(*) - count(DISTINCT member_number) FROM patients WHERE member_number IS NOT NULL",
		"all have a member number":      "SELECT count(*) FROM (SELECT 1 HAVING (SELECT count(*) FROM patients WHERE member_number IS NULL) = 0) x",
		"NPI issued or of wrong length": "SELECT count(*) FROM providers WHERE npi !~ '^[03-9][0-9]{9}$'",
		"NPI given twice":               "SELECT count(*) - count(DISTINCT npi) FROM providers",
		"phone numbers of real people":  `SELECT count(*) FROM patients WHERE phone !~ '^\([2-9][0-9]{2}\) 555-01[0-9]{2}$'`,
		"no blood pressure is paired":   "SELECT count(*) FROM (SELECT 1 HAVING (SELECT count(paired) FROM observations) < 200) x",
		"rows paired wrongly": `SELECT count(*) FROM observations a LEFT JOIN observations b ON b.id = a.paired AND b.paired = a.id AND b.patient = a.patient
			AND b.encounter IS NOT DISTINCT FROM a.encounter AND b.date = a.date AND a.code IN ('8480-6', '8462-4') AND b.code IN ('8480-6', '8462-4') AND b.code <> a.code
			WHERE a.paired IS NOT NULL AND b.id IS NULL`,
		"halves that have each other": `SELECT count(*) FROM observations a JOIN observations b ON b.patient = a.patient AND b.encounter = a.encounter AND b.date = a.date
			WHERE a.code = '8480-6' AND b.code = '8462-4' AND a.paired IS NULL AND b.paired IS NULL`,
		"email addresses of real people": `SELECT count(*) FROM patients WHERE email !~ '^[a-z0-9]+\.[a-z0-9]+\.[0-9a-f]{4}@example\.org$'`,
	} {
		var n int
		if err := pg.QueryRow(t.Context(), q).Scan(&n); err != nil || n != 0 {
			t.Errorf("%s: %d, %v", what, n, err)
		}
	}
	for what, q := range map[string]string{
		"fills beyond DISPENSES":      "SELECT count(*) FROM medications m WHERE (SELECT count(*) FROM fills f WHERE f.medication = m.id) > m.dispenses",
		"orders without a fill":       "SELECT count(*) FROM medications m WHERE dispenses > 0 AND NOT EXISTS (SELECT 1 FROM fills f WHERE f.medication = m.id AND f.refill_number = 0 AND f.dispensed = m.start)",
		"refills after STOP":          "SELECT count(*) FROM fills f JOIN medications m ON m.id = f.medication WHERE f.refill_number > 0 AND f.dispensed > m.stop",
		"fills of another's order":    "SELECT count(*) FROM fills f JOIN medications m ON m.id = f.medication WHERE f.patient <> m.patient OR f.code <> m.code",
		"fills without NDC or supply": "SELECT count(*) FROM fills WHERE ndc IS NULL OR days_supply NOT BETWEEN 1 AND 31 OR quantity <> days_supply",
		"reversed orders' fills":      "SELECT count(*) - 5 FROM fills f JOIN medications m ON m.id = f.medication WHERE m.stop < m.start",
	} {
		var n int
		if err := my.QueryRowContext(t.Context(), q).Scan(&n); err != nil || n != 0 {
			t.Errorf("%s: %d, %v", what, n, err)
		}
	}
}

// checkReload loads once more and finds the same rows.
func checkReload(t *testing.T, s *demo.Servers, pg *pgx.Conn, my *sql.DB) {
	t.Helper()
	before := checksums(t, pg, my)
	if _, err := pg.Exec(t.Context(), "DELETE FROM demo_loader.finished"); err != nil {
		t.Fatal(err)
	}
	if _, err := my.Exec("DELETE FROM demo_loader.finished"); err != nil {
		t.Fatal(err)
	}
	load(t, s)
	if after := checksums(t, pg, my); after != before {
		t.Errorf("a second load of the same files gave other rows:\n%s\n%s", before, after)
	}
}

func checksums(t *testing.T, pg *pgx.Conn, my *sql.DB) string {
	t.Helper()
	var b strings.Builder
	for _, table := range emrTables {
		var sum string
		err := pg.QueryRow(t.Context(), "SELECT md5(string_agg(x::text, E'\\n' ORDER BY id)) FROM "+table+" x", pgx.QueryExecModeSimpleProtocol).Scan(&sum)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&b, table, sum)
	}
	for _, table := range pharmacyTables {
		var name, sum string
		if err := my.QueryRowContext(t.Context(), "CHECKSUM TABLE "+table).Scan(&name, &sum); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&b, table, sum)
	}
	return b.String()
}

// Bad files get an error that names file, line and column and quotes nothing; odd but right ones load.
func TestLoadFiles(t *testing.T) {
	t.Parallel()
	cases, err := filepath.Glob("testdata/load/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases in testdata/load: %v", err)
	}
	s, _ := start(t, demo.Options{})
	base, err := txtar.ParseFile("testdata/base.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range cases {
		t.Run(filepath.Base(name), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			data, want, query, answer := fstest.MapFS{}, "", "", ""
			for _, f := range append(base.Files, a.Files...) {
				text := strings.TrimSpace(string(f.Data))
				switch {
				case f.Name == "want":
					want = text
				case f.Name == "query":
					query = text
				case f.Name == "answer":
					answer = text
				case text == "":
					delete(data, f.Name)
				default:
					data[f.Name] = &fstest.MapFile{Data: f.Data}
				}
			}
			runLoadCase(t, s, data, want, query, answer)
		})
	}
}

func runLoadCase(t *testing.T, s *demo.Servers, data fstest.MapFS, want, query, answer string) {
	t.Helper()
	err := demo.Load(t.Context(), s, demo.LoadOptions{Data: data})
	if want != "" {
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	pg, my := open(t, s)
	var got sql.NullString
	if strings.Contains(query, "pharmacy.") {
		err = my.QueryRowContext(t.Context(), query).Scan(&got)
	} else {
		err = pg.QueryRow(t.Context(), query).Scan(&got)
	}
	if err != nil || got.String != answer {
		t.Errorf("%s: %q, %v; want %q", query, got.String, err, answer)
	}
	if err := demo.Load(t.Context(), s, demo.LoadOptions{Data: os.DirFS(sample)}); err == nil || !strings.Contains(err.Error(), "other files' rows") {
		t.Errorf("a load of other files into the same databases: %v", err)
	}
	_, err1 := pg.Exec(t.Context(), "DELETE FROM demo_loader.finished")
	_, err2 := my.Exec("DELETE FROM demo_loader.finished")
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
}
