package mapping

import (
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// date gives the day of a date or dateTime, with the precision it has.
func date(args ...ref.Val) ref.Val {
	if args[0] == types.NullValue {
		return types.NullValue
	}
	text, ok := args[0].(types.String)
	switch {
	case !ok || !validDateTime(string(text), true):
		return fault("date needs a date or a dateTime")
	case len(text) > 10:
		return text[:10]
	}
	return text
}

// dateIn gives the day that a time lies in where a zone's clocks are. A date, and
// a time without a zone, lies in its own day everywhere.
func (s *Set) dateIn(args ...ref.Val) ref.Val {
	day := date(args[0])
	text, ok := args[0].(types.String)
	if !ok || len(text) <= 10 || types.IsError(day) {
		return day
	}
	at, zoned := instantOf(string(text))
	if !zoned {
		return day
	}
	name, _ := args[1].(types.String)
	zone, ok := s.located.Load(string(name))
	if !ok {
		loaded, err := loadZone(string(name))
		if err != nil {
			return fault("date got a zone that does not exist")
		}
		zone, _ = s.located.LoadOrStore(string(name), loaded)
	}
	return dayText(at.In(zone.(*time.Location)))
}

// instantOf reads a dateTime that was checked before; ok is false for one without
// a zone.
func instantOf(s string) (at time.Time, ok bool) {
	offset := 0
	switch n := len(s); {
	case s[n-1] == 'Z':
	case s[n-6] == '+', s[n-6] == '-':
		offset = (number(s[n-5:n-3])*60 + number(s[n-2:])) * 60
		if s[n-6] == '-' {
			offset = -offset
		}
	default:
		return at, false
	}
	return time.Date(number(s[:4]), time.Month(number(s[5:7])), number(s[8:10]),
		number(s[11:13]), number(s[14:16]), number(s[17:19])-offset, 0, time.UTC), true
}

// dayText is the day of a time, which must be in the years that a date can have.
func dayText(t time.Time) ref.Val {
	if t.Year() < 1 || t.Year() > 9999 {
		return fault("a date leaves the years that it can have")
	}
	return types.String(t.Format(time.DateOnly))
}

// dayOf reads the day of a date or dateTime.
func dayOf(function string, v ref.Val) (time.Time, ref.Val) {
	text, ok := v.(types.String)
	if !ok || len(text) < 10 || !validDateTime(string(text), true) {
		return time.Time{}, fault(function + " needs a date or a dateTime with a day")
	}
	return time.Date(number(text[:4]), time.Month(number(text[5:7])), number(text[8:10]), 0, 0, 0, 0, time.UTC), nil
}

// addDays moves a date or dateTime by whole days.
func addDays(args ...ref.Val) ref.Val {
	if args[0] == types.NullValue {
		return types.NullValue
	}
	day, bad := dayOf("addDays", args[0])
	if bad != nil {
		return bad
	}
	n, ok := args[1].(types.Int)
	if !ok || n < -3_660_000 || n > 3_660_000 {
		return fault("addDays needs a whole number of days")
	}
	moved, ok := dayText(day.AddDate(0, 0, int(n))).(types.String)
	if !ok {
		return fault("addDays leaves the years that a date can have")
	}
	text, _ := args[0].(types.String)
	return moved + text[10:]
}

// daysBetween counts the days from the first to the second; their times of day
// do not count.
func daysBetween(args ...ref.Val) ref.Val {
	if args[0] == types.NullValue || args[1] == types.NullValue {
		return types.NullValue
	}
	from, bad := dayOf("daysBetween", args[0])
	if bad != nil {
		return bad
	}
	to, bad := dayOf("daysBetween", args[1])
	if bad != nil {
		return bad
	}
	return types.Int((to.Unix() - from.Unix()) / 86400)
}

// latest gives the last of a list of dates and dateTimes, as they compare in
// expressions; nulls are left out.
func latest(args ...ref.Val) ref.Val { return extreme("latest", args[0], 1) }

// earliest gives the first of them.
func earliest(args ...ref.Val) ref.Val { return extreme("earliest", args[0], -1) }

func extreme(function string, v ref.Val, sign int) ref.Val {
	list, ok := v.(traits.Lister)
	if !ok {
		return fault(function + " needs a list")
	}
	var best ref.Val = types.NullValue
	size, _ := list.Size().(types.Int)
	for i := types.Int(0); i < size; i++ {
		item := list.Get(i)
		if item == types.NullValue {
			continue
		}
		text, ok := item.(types.String)
		if !ok || !validDateTime(string(text), true) {
			return fault(function + " needs dates and dateTimes")
		}
		if kept, ok := best.(types.String); !ok || sign > 0 && text > kept || sign < 0 && text < kept {
			best = text
		}
	}
	return best
}

// addMonths moves a date or dateTime by whole months; a day that the month does
// not have becomes its last.
func addMonths(args ...ref.Val) ref.Val {
	if args[0] == types.NullValue {
		return types.NullValue
	}
	text, ok := args[0].(types.String)
	if !ok || len(text) < 10 || !validDateTime(string(text), true) {
		return fault("addMonths needs a date or a dateTime with a day")
	}
	n, ok := args[1].(types.Int)
	if !ok || n < -120_000 || n > 120_000 {
		return fault("addMonths needs a whole number of months")
	}
	year, month, day := number(text[:4]), number(text[5:7]), number(text[8:10])
	months := year*12 + month - 1 + int(n)
	year, month = months/12, months%12+1
	if months < 12 || year > 9999 {
		return fault("addMonths leaves the years that a date can have")
	}
	day = min(day, daysIn(year, month))
	var out [10]byte
	pad(out[:4], year)
	pad(out[5:7], month)
	pad(out[8:], day)
	out[4], out[7] = '-', '-'
	return types.String(out[:]) + text[10:]
}

func pad(dst []byte, n int) {
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = byte('0' + n%10)
		n /= 10
	}
}

// number reads digits that were checked before.
func number[T ~string](s T) int {
	n := 0
	for i := 0; i < len(s); i++ {
		n = n*10 + int(s[i]-'0')
	}
	return n
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

func areDigits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i]-'0' > 9 {
			return false
		}
	}
	return len(s) > 0
}

// validDate reports whether the text is a FHIR date: a year, a month or a day
// that exists.
func validDate(s string) bool {
	if len(s) != 4 && len(s) != 7 && len(s) != 10 || !areDigits(s[:4]) || s[:4] == "0000" {
		return false
	}
	if len(s) == 4 {
		return true
	}
	if s[4] != '-' || !areDigits(s[5:7]) || number(s[5:7]) < 1 || number(s[5:7]) > 12 {
		return false
	}
	if len(s) == 7 {
		return true
	}
	if s[7] != '-' || !areDigits(s[8:]) {
		return false
	}
	day := number(s[8:])
	return day >= 1 && day <= daysIn(number(s[:4]), number(s[5:7]))
}

// validClock reports whether the text is 15:04:05, with a fraction or without.
func validClock(s string) bool {
	if len(s) < 8 || s[2] != ':' || s[5] != ':' || !areDigits(s[:2]) || !areDigits(s[3:5]) || !areDigits(s[6:8]) {
		return false
	}
	if number(s[:2]) > 23 || number(s[3:5]) > 59 || number(s[6:8]) > 60 {
		return false
	}
	return len(s) == 8 || s[8] == '.' && areDigits(s[9:])
}

// validDateTime reports whether the text is a FHIR dateTime: a date, or a day
// with a time and a zone. Expressions may also have a time without one.
func validDateTime(s string, zoneless bool) bool {
	if len(s) <= 10 {
		return validDate(s)
	}
	if !validDate(s[:10]) || s[10] != 'T' {
		return false
	}
	clock := s[11:]
	n := len(clock)
	switch {
	case n > 0 && clock[n-1] == 'Z':
		clock = clock[:n-1]
	case n > 6 && (clock[n-6] == '+' || clock[n-6] == '-'):
		if _, err := time.Parse("-07:00", clock[n-6:]); err != nil {
			return false
		}
		clock = clock[:n-6]
	default:
		if !zoneless {
			return false
		}
	}
	return validClock(clock)
}
