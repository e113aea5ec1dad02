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

// rescanNewest does so for every table from the rows alone.
func (e *engine) rescanNewest(member string) error {
	for _, t := range e.plan.timed {
		stored, err := e.storedNewest(member, t.table)
		if err != nil {
			return err
		}
		now, err := e.scanNewest(t, member)
		if err != nil {
			return err
		}
		e.putNewest(member, t.table, stored, now)
	}
	return nil
}

func (e *engine) storedNewest(member string, table change.Table) (string, error) {
	body, err := e.state.row(newestTable(e.plan.root), member, table.String())
	return bodyText(body), err
}

func (e *engine) putNewest(member string, table change.Table, old, now string) {
	switch {
	case old == now:
	case now == "":
		e.put(newestTable(e.plan.root), member, table.String(), nil)
	default:
		e.put(newestTable(e.plan.root), member, table.String(), textBody(now))
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
	err = e.state.rows(newestTable(e.plan.root), member, func(_ string, body []byte) bool {
		newest = later(newest, bodyText(body))
		return true
	})
	return newest, err
}
