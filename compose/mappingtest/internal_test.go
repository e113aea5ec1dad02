package mappingtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tributary-health/tributary/change"
)

// FuzzLayOut: the layout changes blanks only, and laying out twice changes
// nothing more.
func FuzzLayOut(f *testing.F) {
	f.Add(`{"a":[1,{"b":"x\"}],"}],"c":{},"d":[],"e":null,"f":1.50e+2,"g":"é\\"}`)
	f.Add(`[[[[]]],{"":""}]`)
	f.Add(`"only text"`)
	f.Add(` true `)
	f.Add(`{"long":["` + strings.Repeat("x", 90) + `","` + strings.Repeat("é", 90) + `"]}`)
	f.Fuzz(func(t *testing.T, text string) {
		out, err := layOut([]byte(text))
		if err != nil {
			if json.Valid([]byte(text)) {
				t.Fatal(err)
			}
			return
		}
		var a, b bytes.Buffer
		if json.Compact(&a, []byte(text)) != nil || json.Compact(&b, []byte(out)) != nil || a.String() != b.String() {
			t.Fatalf("%q became %q", text, out)
		}
		if again, err := layOut([]byte(out)); err != nil || again != out {
			t.Fatalf("laid out again: %q after %q (%v)", again, out, err)
		}
	})
}

// FuzzCompareLines: what is equal and removed makes the first text, what is equal
// and added the second.
func FuzzCompareLines(f *testing.F) {
	f.Add("a\nb\nc", "a\nc\nd")
	f.Add("", "x")
	f.Add("a\na\nb\na", "a\nb\na\na")
	f.Fuzz(func(t *testing.T, x, y string) {
		a, b := strings.Split(x, "\n"), strings.Split(y, "\n")
		if len(a)*len(b) > 10_000 {
			return
		}
		var gotA, gotB []string
		for _, e := range compareLines(a, b) {
			if e.op != '+' {
				if e.a != len(gotA) {
					t.Fatalf("line %d is numbered %d", len(gotA), e.a)
				}
				gotA = append(gotA, e.text)
			}
			if e.op != '-' {
				if e.b != len(gotB) {
					t.Fatalf("line %d is numbered %d", len(gotB), e.b)
				}
				gotB = append(gotB, e.text)
			}
		}
		if !slices.Equal(a, gotA) || !slices.Equal(b, gotB) {
			t.Fatalf("%q, %q became %q, %q", a, b, gotA, gotB)
		}
	})
}

func TestUnified(t *testing.T) {
	a := strings.Split("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20", " ")
	b := slices.Concat(a[:1], []string{"x"}, a[2:8], a[9:])
	got := unified(compareLines(a, b), 101, func(e edit) string { return string(e.op) })
	want := "@@ -101,12 +1,11 @@ -\n 1\n-2\n+x\n 3\n 4\n 5\n 6\n 7\n 8\n-9\n 10\n 11\n 12\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	b = slices.Concat([]string{"0"}, a[:19], []string{"y"})
	got = unified(compareLines(a, b), 1, func(e edit) string { return string(e.op) })
	want = "@@ -1,3 +1,4 @@ +\n+0\n 1\n 2\n 3\n@@ -17,4 +18,4 @@ -\n 17\n 18\n 19\n-20\n+y\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestPaths(t *testing.T) {
	text := "{\n \"a\": [\n  {\n   \"b\": 1,\n   \"c\": {\n    \"d\": [\n     1,\n     2\n    ]\n   }\n  },\n  {\"x\": 1}\n ],\n \"e\": 2\n}"
	want := []string{"", "a", "a[0]", "a[0].b", "a[0].c", "a[0].c.d", "a[0].c.d[0]", "a[0].c.d[1]", "a[0].c.d", "a[0].c", "a[0]", "a[1]", "a", "e", ""}
	if got := paths(strings.Split(text, "\n")); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// Cells keep their text, whatever way they are written; null and empty differ.
func TestRowsOfBothForms(t *testing.T) {
	show := func(rows [][]cell, faults []Failure) string {
		var b strings.Builder
		for _, f := range faults {
			fmt.Fprintf(&b, "fault %d: %s\n", f.Line, f.What)
		}
		for _, r := range rows {
			for _, c := range r {
				if c.set {
					fmt.Fprintf(&b, "%s=%q@%d ", c.column, c.text, c.line)
				}
			}
			b.WriteByte('\n')
		}
		return b.String()
	}
	csv := "# a comment\n\nid, a ,b,c\n1,,\"\",007\n# between\n2,\"x, \"\"y\"\"\nz\", 1.0 ,null\n"
	want := "id=\"1\"@14 b=\"\"@14 c=\"007\"@14 \nid=\"2\"@16 a=\"x, \\\"y\\\"\\nz\"@16 b=\"1.0\"@17 c=\"null\"@17 \n"
	if got := show(readRows(section{line: 11, text: csv})); got != want {
		t.Errorf("CSV: got\n%s\nwant\n%s", got, want)
	}
	yaml := "# a comment\n- {id: 1, a: null, b: \"\", c: 007}\n- id: 2\n  a: |-\n    x\n    y\n  b: 1.0\n  c: \"null\"\n  d: ~\n  e: 2020-01-02\n"
	want = "id=\"1\"@12 b=\"\"@12 c=\"007\"@12 \nid=\"2\"@13 a=\"x\\ny\"@14 b=\"1.0\"@17 c=\"null\"@18 e=\"2020-01-02\"@20 \n"
	if got := show(readRows(section{line: 11, text: yaml})); got != want {
		t.Errorf("YAML: got\n%s\nwant\n%s", got, want)
	}
}

func FuzzReadRows(f *testing.F) {
	f.Add("id,a\n1,\"x")
	f.Add("- {a: 1, b: [x]}\n- &a")
	f.Add("- \"")
	f.Fuzz(func(t *testing.T, text string) {
		rows, faults := readRows(section{line: 1, text: text})
		for _, f := range faults {
			if f.What == "" || f.Line < 1 {
				t.Errorf("fault %+v", f)
			}
		}
		for _, r := range rows {
			row(&change.Schema{Columns: []change.Column{{Name: "id", Type: change.Int, Key: true}}}, r)
		}
	})
}

// TestSchemasRoundTrip: every type and mark comes back as it was written.
func TestSchemasRoundTrip(t *testing.T) {
	a := &change.Schema{Table: change.Table{Source: "x", Name: "y.z"}}
	for typ := change.String; typ <= change.EnumSet; typ++ {
		a.Columns = append(a.Columns, change.Column{Name: "c_" + typ.String(), Type: typ, Key: typ%3 == 0, Nullable: typ%2 == 0})
	}
	b := &change.Schema{Table: change.Table{Source: "a", Name: "b"}, Columns: []change.Column{{Name: "id", Type: change.Int, Key: true}}}
	var out strings.Builder
	if err := WriteSchemas(&out, Schemas{a.Table: a, b.Table: b}); err != nil {
		t.Fatal(err)
	}
	back, err := ParseSchemas("x", "# comment\n\n"+out.String())
	if err != nil || len(back) != 2 {
		t.Fatalf("%d tables, %v, of\n%s", len(back), err, out.String())
	}
	for _, s := range []*change.Schema{a, b} {
		if got := back[s.Table]; got == nil || !slices.Equal(got.Columns, s.Columns) {
			t.Errorf("%s came back as %+v", s.Table, got)
		}
	}
	if _, err := ParseSchemas("f.txt", "a.b\n  c text\n  d int\n  d int\n"); err == nil || strings.Count(err.Error(), "f.txt:") != 2 {
		t.Errorf("error %v", err)
	}
}
