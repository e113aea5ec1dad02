package compose

import (
	"maps"
	"slices"

	"github.com/tributary-health/tributary/change"
)

// newestChange is what a transaction did to the dates of one table in a member's
// record.
type newestChange struct {
	table   *timed
	raised  string // the newest date of any row that came
	removed string // the newest date of any row that went
}

// noteDate notes the change's dates.
func (e *engine) noteDate(s *memberSet, d *delta) {
	i, ok := slices.BinarySearchFunc(e.plan.timed, d.decl.Table, func(t *timed, table change.Table) int {
		return compareTables(t.table, table)
	})
	if !ok {
		return
	}
	t := e.plan.timed[i]
	var old, now string
	if d.existed() {
		old = dateText(t, d.before)
	}
	if d.exists() {
		now = dateText(t, d.after)
	}
	if old == now {
		return
	}
	c := s.newest[t.table]
	if c == nil {
		c = &newestChange{table: t}
		s.newest[t.table] = c
	}
	c.raised, c.removed = later(c.raised, now), later(c.removed, old)
}

// settleNewest brings the member's newest dates up to date and reports whether
// the newest of all has changed. Rows are scanned only where the newest one may
// have gone.
func (e *engine) settleNewest(member string, s *memberSet) (bool, error) {
	if len(s.newest) == 0 {
		return false, nil
	}
	before, err := e.newest(member)
	if err != nil {
		return false, err
	}
	for _, table := range slices.SortedFunc(maps.Keys(s.newest), compareTables) {
		c := s.newest[table]
		stored, err := e.storedNewest(member, table)
		if err != nil {
			return false, err
		}
		now := later(stored, c.raised)
		if c.removed != "" && c.removed == later(c.removed, now) {
			if now, err = e.scanNewest(c.table, member); err != nil {
				return false, err
			}
		}
		e.putNewest(member, table, stored, now)
	}
	after, err := e.newest(member)
	return before != after, err
}

// rescanNewest finds the newest date of every table from the rows alone, and
// changes nothing.
func (e *engine) rescanNewest(member string) ([]newestDate, error) {
	dates := make([]newestDate, 0, len(e.plan.timed))
	for _, t := range e.plan.timed {
		stored, err := e.storedNewest(member, t.table)
		if err != nil {
			return nil, err
		}
		now, err := e.scanNewest(t, member)
		if err != nil {
			return nil, err
		}
		dates = append(dates, newestDate{t.table, stored, now})
	}
	return dates, nil
}

// maxDated bounds the members whose newest dates are kept.
const maxDated = 50_000

// dates returns the newest date of each table in the member's record. The map is
// kept: putNewest alone changes it, and never while members are prepared.
func (e *engine) dates(member string) (map[change.Table]string, error) {
	e.mu.Lock()
	dates, ok := e.dated[member]
	e.mu.Unlock()
	if ok {
		return dates, nil
	}
	dates = make(map[change.Table]string)
	var bad error
	err := e.state.rows(newestTable(e.plan.root), member, func(key string, body []byte) bool {
		t, ok := change.ParseTable(key)
		if !ok {
			bad = &Error{Op: "read newest date", Table: newestTable(e.plan.root), Err: errBody}
		}
		dates[t] = bodyText(body)
		return ok
	})
	if err == nil {
		err = bad
	}
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.dated) >= maxDated || e.dated == nil {
		e.dated = make(map[string]map[change.Table]string)
	}
	e.dated[member] = dates
	return dates, nil
}

func (e *engine) storedNewest(member string, table change.Table) (string, error) {
	dates, err := e.dates(member)
	return dates[table], err
}

func (e *engine) putNewest(member string, table change.Table, old, now string) {
	if old == now {
		return
	}
	var body []byte
	if now != "" {
		body = textBody(now)
	}
	e.put(newestTable(e.plan.root), member, table.String(), body)
	if dates := e.dated[member]; dates != nil {
		dates[table] = now
	}
}

func (e *engine) scanNewest(t *timed, member string) (newest string, err error) {
	rows, err := e.memberRows(t.table, member)
	for i := range rows {
		newest = later(newest, dateText(t, rows[i].row))
	}
	return newest, err
}

// newest returns the newest date in the member's record, empty for none.
func (e *engine) newest(member string) (newest string, err error) {
	dates, err := e.dates(member)
	for _, date := range dates {
		newest = later(newest, date)
	}
	return newest, err
}
