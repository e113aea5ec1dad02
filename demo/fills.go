package demo

import (
	"fmt"
	"time"
)

// Fills: an order with DISPENSES = n was handed over up to n times. The first fill is at START; each further one a calendar
// month after the one before, on START's day of the month (or the month's last day, where it is shorter) and at START's time of
// day, as long as that is not later than STOP. An order without STOP goes on until the data set's newest encounter or
// medication time, never until today. STOP before START (the data has ten) leaves the first fill.
//
// A fill supplies the days until the next monthly date, or until STOP when that comes first, but at least one; one unit a day.

// A fill is one dispensing of an order.
type fill struct {
	number    int // from 0
	dispensed time.Time
	days      int
}

// monthly calls each for every fill of an order. A zero stop means none; last then ends the order.
func monthly(start, stop, last time.Time, dispenses int, each func(fill) error) error {
	end := stop
	if stop.IsZero() {
		end = last
	}
	for n := range dispenses {
		at := addMonths(start, n)
		if n > 0 && at.After(end) {
			break
		}
		next := addMonths(start, n+1)
		if !stop.IsZero() && stop.Before(next) {
			next = stop
		}
		days := max(1, int(next.Sub(at).Round(24*time.Hour)/(24*time.Hour)))
		if err := each(fill{n, at, days}); err != nil {
			return err
		}
	}
	return nil
}

// addMonths is the same day and time n months later, or the last day of a month that lacks the day. (time.AddDate would go on
// into the month after.)
func addMonths(t time.Time, n int) time.Time {
	first := time.Date(t.Year(), t.Month()+time.Month(n), 1, t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
	days := first.AddDate(0, 1, -1).Day()
	return first.AddDate(0, 0, min(t.Day(), days)-1)
}

// quantity is the units handed over, with the column's two digits after the point.
func (f fill) quantity() string { return fmt.Sprintf("%d.00", f.days) }
