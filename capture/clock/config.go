package clock

import (
	"cmp"
	"errors"
	"fmt"
	"time"
	_ "time/tzdata" // the same zones on every machine

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/change"
)

// Source is the clock's name as a source. Mappings that declare one of its tables
// need the clock; without them nothing of it exists.
const Source = "clock"

// Today is the one table.
var Today = change.Table{Source: Source, Name: "today"}

// MaxMissed is how many missed days are landed one by one.
const MaxMissed = 31

// Config says whose day it is. Tables is required: Today, as a reference table.
type Config struct {
	// Zone is the IANA name of the zone whose midnight begins a day; default UTC.
	Zone string
	// Fixed is a date (2006-01-02) that is always today: for tests and rehearsals.
	// In a data folder that is used afterwards without it the clock waits until
	// the date has come.
	Fixed string
	// Tables are what the mappings declare of the source.
	Tables []capture.Table
	// Heartbeat is how often the day is looked at and a watermark is written;
	// default 500 ms.
	Heartbeat time.Duration
	// Now is the wall clock; default time.Now.
	Now func() time.Time
	// Resnapshot begins with a new snapshot although the log has one.
	Resnapshot bool
	// Behind is told once, in a Run, that today is before the landed day. It MUST
	// return quickly.
	Behind func(landed, today string)
	Hooks  capture.Hooks
}

// day is a date as its number since 1970-01-01.
type day int64

func dayOf(t time.Time) day {
	return day(time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC).Unix() / 86400)
}

func (d day) String() string { return d.in(time.UTC).Format(time.DateOnly) }

// in is the day's first moment in a zone.
func (d day) in(zone *time.Location) time.Time {
	y, m, n := time.Unix(int64(d)*86400, 0).UTC().Date()
	return time.Date(y, m, n, 0, 0, 0, 0, zone)
}

// lastDay is 9999-12-31, the last that a date can be.
const lastDay day = 2932896

// timer tells the time and the day by a configuration.
type timer struct {
	zone  *time.Location
	fixed day // 0 for none
	now   func() time.Time
}

// Check reports what is wrong with the configuration; there is no server to ask.
func Check(c Config) []capture.Problem {
	_, err := c.timer()
	if err == nil {
		return nil
	}
	p := capture.Problem{Source: Source, What: err.Error()}
	var ce *capture.Error
	if errors.As(err, &ce) {
		p.What, p.Hint = ce.Err.Error(), ce.Hint
	}
	return []capture.Problem{p}
}

func (c Config) timer() (*timer, error) {
	zone, err := time.LoadLocation(cmp.Or(c.Zone, "UTC"))
	if err != nil || c.Zone == "Local" {
		return nil, configError(fmt.Errorf("%q is not a time zone", c.Zone), "a name like America/New_York")
	}
	t := &timer{zone: zone, now: c.Now}
	if t.now == nil {
		t.now = time.Now
	}
	if c.Fixed != "" {
		at, err := time.Parse(time.DateOnly, c.Fixed)
		if t.fixed = dayOf(at); err != nil || t.fixed < 1 {
			return nil, configError(fmt.Errorf("%q is not a date after 1970-01-01", c.Fixed), "write it as 2006-01-02")
		}
	}
	for _, table := range c.Tables {
		switch {
		case table.Table != Today:
			return nil, configError(fmt.Errorf("the clock has no table %q", table.Table.Name), "its table is "+Today.String())
		case table.Route.Kind != change.Reference:
			return nil, configError(fmt.Errorf("table %s belongs to no member", Today), "declare it with {reference: true}")
		}
	}
	return t, nil
}

func configError(err error, hint string) error {
	return &capture.Error{Op: "configure", Kind: capture.Configuration, Source: Source, Err: err, Hint: hint}
}

// today is the day now.
func (t *timer) today() (day, error) {
	if t.fixed != 0 {
		return t.fixed, nil
	}
	d := dayOf(t.now().In(t.zone))
	if d < 1 || d > lastDay {
		return 0, &capture.Error{Op: "read the clock", Kind: capture.Transient, Source: Source,
			Err: errors.New("the machine's clock is not in the years 1970 to 9999"), Hint: "set it"}
	}
	return d, nil
}

// Schemas returns what the clock's tables are.
func Schemas(tables []capture.Table) (map[change.Table]*change.Schema, error) {
	schemas := make(map[change.Table]*change.Schema)
	for _, t := range tables {
		if t.Table == Today {
			schemas[Today] = schema
		}
	}
	return schemas, nil
}

var schema = &change.Schema{Table: Today, Columns: []change.Column{
	{Name: "id", Type: change.Int, Key: true, Native: "integer"},
	{Name: "date", Type: change.Date, Native: "date"},
}}

func row(d day) []change.Value { return []change.Value{change.Of("1"), change.Of(d.String())} }
