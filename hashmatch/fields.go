package hashmatch

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const (
	firstYear = 1880
	lastYear  = 2100
	// maxMemberID is more than any payer prints on a card.
	maxMemberID = 64
	minMemberID = 4
)

var notMember = set(placeholders["member"])

// NormalBirthDate is a date of birth as YYYYMMDD, from YYYY-MM-DD, YYYYMMDD or
// MM/DD/YYYY. Where the middle cannot be a month and the end can, the two are
// taken to be swapped. It is "" for what is no day from 1880 to 2100, and for
// 1900-01-01, which systems write when they know none.
func NormalBirthDate(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "T")
	var y, m, d string
	switch dash, slash := strings.Split(s, "-"), strings.Split(s, "/"); {
	case len(dash) == 3:
		y, m, d = dash[0], dash[1], dash[2]
	case len(slash) == 3:
		m, d, y = slash[0], slash[1], slash[2]
	case len(s) == 8:
		y, m, d = s[:4], s[4:6], s[6:]
	}
	year, month, day := number(y, 4), number(m, 2), number(d, 2)
	if month > 12 && day >= 1 && day <= 12 {
		month, day = day, month
	}
	t := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	if year < firstYear || year > lastYear || month < 1 || day < 1 || t.Month() != time.Month(month) || t.Day() != day {
		return ""
	}
	if normal := t.Format("20060102"); normal != "19000101" {
		return normal
	}
	return ""
}

// number is the value of one to width digits, all of width 4; -1 for others.
func number(s string, width int) int {
	if len(s) == 0 || len(s) > width || width == 4 && len(s) != 4 || digits(s) != s {
		return -1
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return -1
	}
	return n
}

// dayEitherWay is a normalised date with day and month in ascending order, so
// that a swapped date is the same.
func dayEitherWay(date string) string {
	if date == "" {
		return ""
	}
	a, b := date[4:6], date[6:]
	return date[:4] + min(a, b) + max(a, b)
}

// NormalSex is F or M, or "" for all else: an abbreviation with a full stop is
// none of the words.
func NormalSex(s string) string {
	switch strings.ToUpper(strings.TrimSpace(s)) {
	case "F", "FEMALE", "W", "WOMAN", "GIRL":
		return "F"
	case "M", "MALE", "MAN", "BOY":
		return "M"
	}
	return ""
}

// NormalPhone is a number of the North American plan as ten digits, without
// country code and extension. It is "" for others, and for one whose last seven
// digits are all the same.
func NormalPhone(s string) string {
	if i := strings.IndexAny(s, "xX#;"); i >= 0 {
		s = s[:i]
	}
	n := digits(s)
	if len(n) == 11 && n[0] == '1' {
		n = n[1:]
	}
	if len(n) != 10 || n[0] < '2' || same(n[3:]) {
		return ""
	}
	return n
}

// NormalMemberID is a member id's letters and digits, in upper case. It is ""
// for less than four of them, for more than 64, for one character repeated and
// for a placeholder.
func NormalMemberID(s string) string {
	id := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || isDigit(r) {
			return r
		}
		return -1
	}, upper(s))
	if n := letters(id); n < minMemberID || n > maxMemberID || same(id) || notMember[id] {
		return ""
	}
	return id
}

// NormalSSN4 is the last four digits of a social security number, from four
// digits or from all nine. It is "" for 0000 and 9999, and for whole numbers
// that were never one person's.
func NormalSSN4(s string) string {
	n := digits(s)
	switch {
	case len(n) != 4 && len(n) != 9, len(n) == 9 && same(n):
		return ""
	case n == "123456789", n == "078051120", n == "219099999":
		return ""
	}
	if n = n[len(n)-4:]; n == "0000" || n == "9999" {
		return ""
	}
	return n
}

// NormalZIP is the first five digits of a ZIP code. Four digits are one that
// lost its zero. It is "" for others, and for 00000 and 99999.
func NormalZIP(s string) string {
	n := digits(s)
	switch len(n) {
	case 4:
		n = "0" + n
	case 5, 9:
		n = n[:5]
	default:
		return ""
	}
	if n == "00000" || n == "99999" {
		return ""
	}
	return n
}

// String keeps a person out of logs: it says how much is known, not what.
func (p Person) String() string {
	return fmt.Sprintf("person with %d given and %d family names, %d addresses, %d phones, %d member ids",
		len(p.Given), len(p.Family), len(p.Addresses), len(p.Phones), len(p.MemberIDs))
}
