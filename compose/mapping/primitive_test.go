package mapping

import (
	"encoding/json"
	"testing"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/common/types"
)

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "a", `"\/`, "\x00\x1f\u007f\u2028é😀", "\xff", "a\xc3", "<&>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, ok := appendString(nil, s)
		if ok != utf8.ValidString(s) {
			t.Fatalf("%q: ok = %v", s, ok)
		}
		if !ok {
			return
		}
		var back string
		if err := json.Unmarshal(b, &back); err != nil || back != s {
			t.Fatalf("%q became %s (%v)", s, b, err)
		}
	})
}

func FuzzNumber(f *testing.F) {
	for _, s := range []string{"", "0", "-0", "01", "1.", ".5", "1.50", "1e5", "1E+05", "-", "1e", "NaN", "0x1", "1_0", "+1", "10.0e-3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var n json.Number
		valid := json.Unmarshal([]byte(s), &n) == nil && n.String() == s && s != ""
		if validNumber(s) != valid {
			t.Fatalf("validNumber(%q) = %v", s, !valid)
		}
		for _, p := range []primitive{integerType, unsignedIntType, positiveIntType} {
			if p.check(s) == "" && !valid {
				t.Fatalf("%q passes as a whole number", s)
			}
		}
	})
}

func FuzzDates(f *testing.F) {
	for _, s := range []string{"", "2020", "2020-02", "2020-02-29", "2021-02-29", "2020-02-29T23:59:60Z", "2020-01-01T00:00:00.5+14:00", "2020-01-01T00:00:00"} {
		f.Add(s, 1)
	}
	f.Fuzz(func(t *testing.T, s string, n int) {
		if validDate(s) {
			layout := "2006-01-02"[:len(s)]
			if _, err := time.Parse(layout, s); err != nil {
				t.Fatalf("%q is no date", s)
			}
		}
		set := &Set{}
		for _, v := range []any{date(types.String(s)), addMonths(types.String(s), types.Int(n)), addDays(types.String(s), types.Int(n)),
			set.dateIn(types.String(s), types.String("America/New_York")), latest(types.DefaultTypeAdapter.NativeToValue([]string{s}))} {
			if out, ok := v.(types.String); ok && !validDateTime(string(out), true) {
				t.Fatalf("%q gave %q", s, out)
			}
		}
	})
}

func TestAddMonths(t *testing.T) {
	for _, c := range []struct {
		text string
		n    int
		want string
	}{
		{"2020-01-31", 1, "2020-02-29"},
		{"2021-01-31", 1, "2021-02-28"},
		{"2020-03-31", -1, "2020-02-29"},
		{"2020-01-15", -12, "2019-01-15"},
		{"2020-12-31T10:00:00.5Z", 2, "2021-02-28T10:00:00.5Z"},
		{"2020-06-30T00:00:00", 0, "2020-06-30T00:00:00"},
		{"2020-01-01", -1, "2019-12-01"},
	} {
		if got := addMonths(types.String(c.text), types.Int(c.n)); got != types.String(c.want) {
			t.Errorf("addMonths(%s, %d) = %v", c.text, c.n, got)
		}
	}
	for _, text := range []string{"", "2020", "2020-02", "2020-02-30", "20200101", "yesterday"} {
		if !types.IsError(addMonths(types.String(text), types.Int(1))) {
			t.Errorf("addMonths takes %q", text)
		}
	}
	if !types.IsError(addMonths(types.String("9999-12-01"), types.Int(1))) || !types.IsError(addMonths(types.String("0001-01-01"), types.Int(-1))) {
		t.Error("addMonths leaves the years of a date")
	}
}

func TestDate(t *testing.T) {
	for text, want := range map[string]string{
		"2020": "2020", "2020-02": "2020-02", "2020-02-29": "2020-02-29", "2020-02-29T10:00:00Z": "2020-02-29",
		"2020-02-29T10:00:00": "2020-02-29", "2020-02-29T10:00:00.123+05:30": "2020-02-29",
	} {
		if got := date(types.String(text)); got != types.String(want) {
			t.Errorf("date(%q) = %v", text, got)
		}
	}
	for _, text := range []string{"", "infinity", "0000-00-00T00:00:00Z", "2020-02-29 10:00:00", "2020-02-29T24:00:00Z", "2020-02-29T", "2020-02-29T10:00:00+5"} {
		if !types.IsError(date(types.String(text))) {
			t.Errorf("date takes %q", text)
		}
	}
}

func TestColumnText(t *testing.T) {
	newYork, err := loadZone("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text string
		zone *time.Location
		want string
	}{
		{"2020-01-02T03:04:05", time.UTC, "2020-01-02T03:04:05Z"},
		{"2020-01-02T03:04:05.000000", time.UTC, "2020-01-02T03:04:05Z"},
		{"2020-01-02T03:04:05.120000", time.UTC, "2020-01-02T03:04:05.120000Z"},
		{"2020-01-02T23:04:05", newYork, "2020-01-03T04:04:05Z"},
		{"2020-07-02T23:04:05.5", newYork, "2020-07-03T03:04:05.5Z"},
		{"0000-00-00T00:00:00", newYork, "0000-00-00T00:00:00"},
		{"infinity", time.UTC, "infinity"},
	} {
		if got := columnText(10, c.text, c.zone); got != c.want {
			t.Errorf("columnText(%q, %s) = %q", c.text, c.zone, got)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"status", "subject", "authoredOn", "medicationCodeableConcept"}
	for name, want := range map[string]string{"stauts": "status", "Subject": "subject", "authordOn": "authoredOn", "zzzzz": "", "": ""} {
		if got := nearest(name, known); got != want {
			t.Errorf("nearest(%q) = %q", name, got)
		}
	}
}

func TestCompareNumbers(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"9", "10", -1}, {"-1", "1", -1}, {"1.50", "1.5", 0}, {"123456789012345678901", "123456789012345678900", 1}, {"1e+300", "2", 1}, {"x", "y", -1}} {
		if got := compareNumbers(c.a, c.b); got != c.want {
			t.Errorf("%s, %s: %d", c.a, c.b, got)
		}
	}
}

func TestAddDays(t *testing.T) {
	for _, c := range []struct {
		text string
		n    int
		want string
	}{
		{"2024-02-28", 1, "2024-02-29"},
		{"2023-02-28", 1, "2023-03-01"},
		{"2024-03-01", -1, "2024-02-29"},
		{"2020-12-31T10:00:00.5Z", 365, "2021-12-31T10:00:00.5Z"},
		{"2020-12-31T10:00:00", 0, "2020-12-31T10:00:00"},
		{"9999-12-30", 1, "9999-12-31"},
		{"0001-01-02", -1, "0001-01-01"},
	} {
		if got := addDays(types.String(c.text), types.Int(c.n)); got != types.String(c.want) {
			t.Errorf("addDays(%s, %d) = %v", c.text, c.n, got)
		}
		if n := daysBetween(types.String(c.text), types.String(c.want)); n != types.Int(c.n) {
			t.Errorf("daysBetween(%s, %s) = %v", c.text, c.want, n)
		}
	}
	for _, text := range []string{"", "2020", "2020-02", "2020-02-30", "0000-00-00", "infinity"} {
		if !types.IsError(addDays(types.String(text), types.Int(1))) || !types.IsError(daysBetween(types.String("2020-01-01"), types.String(text))) {
			t.Errorf("days are counted from %q", text)
		}
	}
	if !types.IsError(addDays(types.String("9999-12-31"), types.Int(1))) || !types.IsError(addDays(types.String("0001-01-01"), types.Int(-1))) {
		t.Error("addDays leaves the years of a date")
	}
	if !types.IsError(addDays(types.String("2020-01-01"), types.Int(1<<62))) {
		t.Error("addDays takes any number")
	}
}

// TestDateInZone: the day changes at the zone's midnight, summer and winter.
func TestDateInZone(t *testing.T) {
	set := &Set{}
	for _, c := range []struct{ text, zone, want string }{
		{"2026-01-02T04:59:59Z", "America/New_York", "2026-01-01"},
		{"2026-01-02T05:00:00Z", "America/New_York", "2026-01-02"},
		{"2026-07-02T03:59:59.999Z", "America/New_York", "2026-07-01"},
		{"2026-07-02T04:00:00Z", "America/New_York", "2026-07-02"},
		{"2026-01-01T23:00:00-05:00", "UTC", "2026-01-02"},
		{"2026-01-02T01:00:00+05:30", "UTC", "2026-01-01"},
		{"2016-12-31T23:59:60Z", "UTC", "2017-01-01"},
		{"2026-01-02T01:00:00", "America/New_York", "2026-01-02"},
		{"2026-01-02", "America/New_York", "2026-01-02"},
		{"2026-01", "America/New_York", "2026-01"},
	} {
		if got := set.dateIn(types.String(c.text), types.String(c.zone)); got != types.String(c.want) {
			t.Errorf("date(%s, %s) = %v, want %s", c.text, c.zone, got, c.want)
		}
	}
	for _, text := range []string{"0001-01-01T00:00:00Z", "yesterday", ""} {
		if got := set.dateIn(types.String(text), types.String("America/New_York")); !types.IsError(got) {
			t.Errorf("date(%q, America/New_York) = %v", text, got)
		}
	}
}
