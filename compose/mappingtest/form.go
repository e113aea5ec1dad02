package mappingtest

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"

	"github.com/tributary-health/tributary/change"
)

// Text that no form allows and sources have all the same: capture keeps it as
// the source prints it.
var oddTimes = regexp.MustCompile(`^(-?infinity|0000-.*|\d{4}-00-.*|\d{4}-\d\d-00.*|.* BC)$`)

var (
	dateForm      = regexp.MustCompile(`^\d{4,}-\d\d-\d\d$`)
	timestampForm = regexp.MustCompile(`^\d{4,}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?$`)
	instantForm   = regexp.MustCompile(`^\d{4,}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$`)
	timeForm      = regexp.MustCompile(`^-?\d{2,3}:\d\d:\d\d(\.\d+)?$`)
	decimalForm   = regexp.MustCompile(`^[+-]?\d*\.?\d+([eE][+-]?\d+)?$`)
)

// badForm is the form that a type's text has, if this text has another one: the
// mapping would meet a value that capture never sends.
func badForm(t change.Type, text string) (hint string) {
	odd := oddTimes.MatchString(text)
	switch t {
	case change.Bool:
		if text != "true" && text != "false" {
			return "true or false"
		}
	case change.Int:
		if _, err := strconv.ParseInt(text, 10, 64); err != nil {
			return "a whole number"
		}
	case change.Uint:
		if _, err := strconv.ParseUint(text, 10, 64); err != nil {
			return "a whole number that is not negative"
		}
	case change.Decimal, change.Float:
		if !decimalForm.MatchString(text) && text != "NaN" && !strings.HasSuffix(text, "Infinity") {
			return "a number like 12.50"
		}
	case change.Date:
		if !dateForm.MatchString(text) && !odd {
			return "a day like 2006-01-02"
		}
	case change.Timestamp:
		if !timestampForm.MatchString(text) && !odd {
			return "a time without a zone like 2006-01-02T15:04:05"
		}
	case change.Instant:
		if !instantForm.MatchString(text) && !odd {
			return "a time in UTC like 2006-01-02T15:04:05Z"
		}
	case change.Time:
		if !timeForm.MatchString(text) {
			return "a time of day like 15:04:05"
		}
	case change.JSON:
		if !json.Valid([]byte(text)) {
			return "JSON text"
		}
	}
	return ""
}
