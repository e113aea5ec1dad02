package demo

import (
	"encoding/csv"
	"fmt"
	"math/big"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// The published example of the NPI's check digit is 1234567893.
func TestLuhn(t *testing.T) {
	if !validNPI("1234567893") || validNPI("1234567890") || validNPI("123456789") || validNPI("12345678x3") {
		t.Error("the published example and its neighbours are judged wrongly")
	}
	for i := range 2000 {
		npi := nationalProvider(fmt.Sprint("provider ", i), i%3)
		if !validNPI(npi) || npi[0] == '1' || npi[0] == '2' {
			t.Fatalf("provider %d got an NPI that is issued or wrong", i)
		}
		for d := '0'; d <= '9'; d++ { // any other last digit is wrong
			if other := npi[:9] + string(d); other != npi && validNPI(other) {
				t.Fatalf("two check digits are right for provider %d", i)
			}
		}
	}
}

// Every table's keys are different from each other's, equal rows' too, and are UUIDs of version 8.
func TestIDsAreUnique(t *testing.T) {
	data := os.DirFS("../testdata/synthea")
	s, err := look(data)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, table := range tables {
		rows := int64(0)
		err := table.each(data, s, func(c *csvFile, r row) error {
			rows++
			get, ok := table.value("id")
			if !ok {
				return nil // the file's own
			}
			id, err := get(s, c, r)
			if err != nil {
				return err
			}
			if !isUUID(id) || id[14] != '8' || !strings.Contains("89ab", id[19:20]) {
				t.Errorf("%s: a key is no UUID of version 8", table.name)
			}
			if other, twice := seen[id]; twice {
				t.Errorf("a key of %s is also one of %s", table.name, other)
			}
			seen[id] = table.name
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if rows == 0 || rows != s.rows[table.name] {
			t.Errorf("%s: %d rows, %d counted before", table.name, rows, s.rows[table.name])
		}
	}
	if surrogate("t", 0, "a", "bc") == surrogate("t", 0, "ab", "c") {
		t.Error("a key depends on the joined texts only")
	}
}

// A decimal passes exactly when rounding it to the column's scale changes nothing and it fits.
func FuzzDecimal(f *testing.F) {
	for _, seed := range []string{"0", "1.50", "-0.001", "123456789012.34", "1e3", "1.5E-1", "00012.340", "+1", ".5", "1.", "-", "1e", "0x10", "1/3", "1_0"} {
		f.Add(seed, uint8(14), uint8(2))
	}
	f.Fuzz(func(t *testing.T, text string, precision, scale uint8) {
		p := int(precision%30) + 1
		s := int(scale) % (p + 1)
		out, reason := decimalCheck(p, s)(text)
		if !isDecimal(text) {
			if reason == "" {
				t.Fatal("passed, and is no decimal")
			}
			return
		}
		r, _ := new(big.Rat).SetString(text)
		limit := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(p-s)), nil))
		rounded, _ := new(big.Rat).SetString(r.FloatString(s))
		fits := rounded.Cmp(r) == 0 && new(big.Rat).Abs(r).Cmp(limit) < 0
		if fits != (reason == "") || fits && out != text {
			t.Fatalf("numeric(%d,%d): fits %v, the check says %q", p, s, fits, reason)
		}
	})
}

// Counting line ends gives as many records as parsing, wherever parsing succeeds.
func FuzzCountRecords(f *testing.F) {
	for _, seed := range []string{"", "A\n", "A\n1", "A\n\n1\n\r\n2\n", "A,B\n\"x\n\"\"y\",2\r\n", "\xef\xbb\xbfA\n1\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
		if err != nil {
			return
		}
		n, err := countRecords(fstest.MapFS{"x.csv": {Data: []byte(text)}}, "x")
		if err != nil || n != int64(max(0, len(rows)-1)) {
			t.Fatalf("counted %d, %v; parsed %d", n, err, len(rows)-1)
		}
	})
}

// The escaping that both servers' bulk loads read: nothing in a cell can end a field, a row or the copy.
func FuzzEscape(f *testing.F) {
	f.Add("a\tb\\N\r\n\\.")
	f.Fuzz(func(t *testing.T, text string) {
		out := string(escape(nil, text))
		if strings.ContainsAny(out, "\t\n\r") {
			t.Fatal("a separator got through")
		}
		back := strings.NewReplacer(`\\`, `\`, `\t`, "\t", `\n`, "\n", `\r`, "\r").Replace(out)
		if back != text {
			t.Fatal("the text did not come back")
		}
	})
}

// The crosswalk is well-formed, and what it lacks gets an NDC in the invented range.
func TestDrugCodes(t *testing.T) {
	ndc, err := drugCodes()
	if err != nil {
		t.Fatal(err)
	}
	if got := ndc("1000126"); got != "00005485400" {
		t.Errorf("a drug of the crosswalk got %s", got)
	}
	got := ndc("no such drug")
	if _, err := strconv.Atoi(got); err != nil || len(got) != 11 || !strings.HasPrefix(got, "99998") {
		t.Errorf("an unknown drug got %s", got)
	}
}

// An error of the installation names what to run; nothing is installed in this test.
func TestPackagesNamed(t *testing.T) {
	if got := fmt.Sprint(packages([]string{"PostgreSQL", "MariaDB"})); got != "[postgresql mariadb-server]" {
		t.Errorf("packages %s", got)
	}
	if p := findPrograms(); len(p.missing()) > 0 {
		t.Errorf("missing here: %v", p.missing())
	} else if _, err := p.postgresFor(t.TempDir()); err != nil {
		t.Error(err)
	}
}
