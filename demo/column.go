package demo

import (
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A column is one column of a target table, as the server's own catalog describes it.
type column struct {
	name  string
	null  bool
	check check
}

// A check turns a cell's text, which is not empty, into what the server takes, or says why it is none of the column's type.
// Text that stands for no value gives "" for both. Servers round, truncate and convert in their own ways; whatever passes here is kept digit for digit.
type check func(text string) (out, reason string)

// maxText is what a text column without a length takes.
const maxText = 1 << 20

// text takes up to n characters. A fixed-length column drops trailing blanks, so it takes none.
func textCheck(n int, fixed bool) check {
	return func(text string) (string, string) {
		switch {
		case len(text) > n && utf8.RuneCountInString(text) > n:
			return "", "longer than the column, which holds " + strconv.Itoa(n) + " characters"
		case !utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0:
			return "", "not UTF-8 text"
		case fixed && strings.HasSuffix(text, " "):
			return "", "ends with a blank, which a fixed-length column drops"
		}
		return text, ""
	}
}

func enumCheck(words []string) check {
	return func(text string) (string, string) {
		if !slices.Contains(words, text) {
			return "", "none of " + strings.Join(words, ", ")
		}
		return text, ""
	}
}

func uuidCheck(text string) (string, string) {
	if !isUUID(text) {
		return "", "not a UUID"
	}
	return text, ""
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
		default:
			return false
		}
	}
	return true
}

func boolCheck(text string) (string, string) {
	if text != "true" && text != "false" {
		return "", "neither true nor false"
	}
	return text, ""
}

func intCheck(bits int, unsigned bool) check {
	return func(text string) (string, string) {
		var err error
		if unsigned {
			_, err = strconv.ParseUint(text, 10, bits)
		} else {
			_, err = strconv.ParseInt(text, 10, bits)
		}
		if err != nil {
			return "", "not a whole number that the column holds"
		}
		return text, ""
	}
}

// doubleCheck takes numbers. NaN, which Synthea writes for an average over nobody, is no value: NULL.
func doubleCheck(text string) (string, string) {
	v, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil || math.IsInf(v, 0):
		return "", "not a number"
	case math.IsNaN(v):
		return "", ""
	}
	return text, ""
}

// decimalCheck takes numbers with at most scale digits after the point, and precision in all; zeros at the end do not count.
// A negative scale takes any.
func decimalCheck(precision, scale int) check {
	return func(text string) (string, string) {
		if !isDecimal(text) {
			return "", "not a decimal number"
		}
		if scale < 0 {
			return text, ""
		}
		mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
		whole, fraction, _ := strings.Cut(strings.TrimLeft(mantissa, "+-"), ".")
		shift, _ := strconv.Atoi(exponent)                         // isDecimal has seen to it; none is 0
		digits := strings.TrimLeft(whole+fraction, "0")            // significant, of the value times 10^-shift
		kept := strings.TrimRight(digits, "0")                     //
		after := len(fraction) - shift - (len(digits) - len(kept)) // digits needed after the point
		if len(kept) == 0 {
			return text, ""
		}
		if after > scale {
			return "", "more digits after the point than the column's " + strconv.Itoa(scale)
		}
		if len(kept)-after > precision-scale {
			return "", "more digits before the point than the column's " + strconv.Itoa(precision-scale)
		}
		return text, ""
	}
}

// isDecimal tells whether text is digits with an optional sign, point and small exponent.
func isDecimal(text string) bool {
	if strings.Trim(text, "+-.0123456789eE") != "" {
		return false
	}
	if _, exponent, ok := strings.Cut(strings.ToLower(text), "e"); ok {
		if n, err := strconv.Atoi(exponent); err != nil || n < -400 || n > 400 {
			return false
		}
	}
	_, ok := new(big.Rat).SetString(text)
	return ok
}

func dateCheck(text string) (string, string) {
	if _, err := time.Parse(time.DateOnly, text); err != nil {
		return "", "not a date (YYYY-MM-DD)"
	}
	return text, ""
}

// timestampCheck takes times to the second in the forms Synthea's versions write, and gives them in layout, in UTC.
func timestampCheck(layout string) check {
	return func(text string) (string, string) {
		t, ok := parseTime(text)
		if !ok {
			return "", "not a time (YYYY-MM-DDThh:mm:ssZ)"
		}
		if t.Nanosecond() != 0 {
			return "", "parts of a second, which the column does not hold"
		}
		return t.Format(layout), ""
	}
}

// parseTime reads a point in time; one without a zone is UTC.
func parseTime(text string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, time.DateTime, "2006-01-02T15:04:05", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}
