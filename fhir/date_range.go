package fhir

import (
	"errors"
	"math"
	"strings"
	"time"
)

// DateRange is the time that a date with precision covers: from Low up to but
// not including High, in microseconds since 1970 UTC. A side that is open (a
// Period without end) is the smallest or largest int64.
type DateRange struct {
	Low, High int64
}

// Always is the range that is open on both sides.
var Always = DateRange{math.MinInt64, math.MaxInt64}

var errDate = errors.New("not a date: want YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm[:ss[.fff]] with Z or an offset")

// ParseDate reads a FHIR date, dateTime or instant, or a date in a search. What
// it leaves out widens the range: "2026" is the whole year, "2026-03-01T10:00Z" a
// minute. Without offset it means UTC. The error never quotes the text.
func ParseDate(text string) (DateRange, error) {
	date, clock, timed := strings.Cut(text, "T")
	year, month, day, precision, ok := parseDay(date)
	if !ok {
		return DateRange{}, errDate
	}
	if timed {
		if precision != 3 {
			return DateRange{}, errDate
		}
		return parseClock(time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC), clock)
	}
	low := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	high := low
	switch precision {
	case 1:
		high = low.AddDate(1, 0, 0)
	case 2:
		high = low.AddDate(0, 1, 0)
	default:
		high = low.AddDate(0, 0, 1)
	}
	return DateRange{low.UnixMicro(), high.UnixMicro()}, nil
}

// parseDay reads YYYY[-MM[-DD]]; precision counts the parts.
func parseDay(s string) (year, month, day, precision int, ok bool) {
	month, day = 1, 1
	if year, ok = fixedNumber(s, 0, 4, 1, 9999); !ok {
		return
	}
	if precision = 1; len(s) == 4 {
		return
	}
	if month, ok = fixedNumber(s, 5, 2, 1, 12); !ok || s[4] != '-' {
		return year, month, day, precision, false
	}
	if precision = 2; len(s) == 7 {
		return
	}
	last := time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
	if day, ok = fixedNumber(s, 8, 2, 1, last); !ok || s[7] != '-' || len(s) != 10 {
		return year, month, day, precision, false
	}
	return year, month, day, 3, true
}

// parseClock reads hh:mm[:ss[.fraction]][zone] of the day that begins at midnight.
func parseClock(midnight time.Time, s string) (DateRange, error) {
	hour, ok1 := fixedNumber(s, 0, 2, 0, 23)
	minute, ok2 := fixedNumber(s, 3, 2, 0, 59)
	if !ok1 || !ok2 || s[2] != ':' {
		return DateRange{}, errDate
	}
	at := midnight.Add(time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute)
	width := time.Minute
	if s = s[5:]; strings.HasPrefix(s, ":") {
		second, ok := fixedNumber(s, 1, 2, 0, 60) // 60: a leap second
		if !ok {
			return DateRange{}, errDate
		}
		at, width, s = at.Add(time.Duration(second)*time.Second), time.Second, s[3:]
		if strings.HasPrefix(s, ".") {
			fraction := s[1 : 1+digitCount(s[1:])]
			if fraction == "" {
				return DateRange{}, errDate
			}
			offset, unit := parseFraction(fraction)
			at, width, s = at.Add(offset), unit, s[1+len(fraction):]
		}
	}
	east, ok := parseZone(s)
	if !ok {
		return DateRange{}, errDate
	}
	at = at.Add(-east)
	return DateRange{at.UnixMicro(), at.Add(width).UnixMicro()}, nil
}

// parseFraction reads the digits after the second's dot; microseconds are the
// finest that is told apart.
func parseFraction(digits string) (offset, unit time.Duration) {
	unit = time.Second
	for i := 0; i < len(digits) && i < 6; i++ {
		unit /= 10
		offset += time.Duration(digits[i]-'0') * unit
	}
	return offset, unit
}

// parseZone reads "", "Z" or an offset. A blank stands for the plus sign that a
// form decoder made of it.
func parseZone(s string) (east time.Duration, ok bool) {
	if s == "" || s == "Z" {
		return 0, true
	}
	hour, ok1 := fixedNumber(s, 1, 2, 0, 14)
	minute, ok2 := fixedNumber(s, 4, 2, 0, 59)
	if !ok1 || !ok2 || len(s) != 6 || s[3] != ':' {
		return 0, false
	}
	east = time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute
	switch s[0] {
	case '+', ' ':
		return east, true
	case '-':
		return -east, true
	}
	return 0, false
}

// fixedNumber reads exactly n digits at s[at:] and checks the bounds.
func fixedNumber(s string, at, n, low, high int) (int, bool) {
	if len(s) < at+n || digitCount(s[at:at+n]) != n {
		return 0, false
	}
	v := 0
	for _, c := range []byte(s[at : at+n]) {
		v = v*10 + int(c-'0')
	}
	return v, low <= v && v <= high
}

func digitCount(s string) int {
	n := 0
	for n < len(s) && '0' <= s[n] && s[n] <= '9' {
		n++
	}
	return n
}
