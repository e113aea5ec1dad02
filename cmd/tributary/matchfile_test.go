package main

import (
	"bytes"
	"testing"

	"github.com/tributary-health/tributary/hashmatch"
)

// What a warning says is left out gives no token at all.
func TestMatchFileLeavesOutWhatItSays(t *testing.T) {
	secret, err := hashmatch.ParseKey(bytes.Repeat([]byte("5a"), 32))
	if err != nil {
		t.Fatal(err)
	}
	key, err := secret.Derive("2026Q4")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, row, without, warning string }{
		{"a placeholder before a name", "Kim,Test Lee,3131", "Kim,,3131", "match: line 2, column 3 (family): not usable, left out\n"},
		{"a placeholder as given name", "Baby Kim,Lee,3131", ",Lee,3131", "match: line 2, column 2 (given): not usable, left out\n"},
		{"nobody's name", "Mr John,Doe Jr,3131", ",,3131", "match: line 2, column 2 (given): not usable, left out\nmatch: line 2, column 3 (family): not usable, left out\n"},
	} {
		ask := func(row string) (request, warned string) {
			var warnings bytes.Buffer
			rows, err := parseMatchFile([]byte("birth_date,given,family,ssn4\n1990-05-05,"+row+"\n"), &warnings)
			if err != nil || len(rows) != 1 {
				t.Fatalf("%s: %d rows, %v", c.name, len(rows), err)
			}
			r, err := key.Request(rows[0].person)
			if err != nil {
				t.Fatal(err)
			}
			return string(r.Encode()), warnings.String()
		}
		got, warned := ask(c.row)
		if warned != c.warning {
			t.Errorf("%s: %s", c.name, warned)
		}
		if want, _ := ask(c.without); got != want {
			t.Errorf("%s: other tokens than without it", c.name)
		}
	}
}

// A row without ref goes by its line, and a ref may stand twice: it is the
// partner's own.
func TestMatchFileRefs(t *testing.T) {
	var warnings bytes.Buffer
	rows, err := parseMatchFile([]byte("ref,birth_date\na,1990-05-05\n ,1990-05-06\na,1990-05-07\n"), &warnings)
	if err != nil || len(rows) != 3 || rows[0].ref != "a" || rows[1].ref != "3" || rows[2].ref != "a" || warnings.Len() > 0 {
		t.Errorf("%+v, %v, %s", rows, err, warnings.String())
	}
}
